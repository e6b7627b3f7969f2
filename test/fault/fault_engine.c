/* Which calls fail. Everything that needs a system call of its own (the mapping, the unwinder's first use) is done in the constructor,
 * before a worker enters its sandbox. */

#include "fault_control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unwind.h>

#define ENVIRONMENT_MAX 64

_Thread_local int fault_depth __attribute__((tls_model("initial-exec")));

/* The linker's: where this library begins, and where its code ends. */
extern const char __ehdr_start __attribute__((visibility("hidden")));
extern const char etext __attribute__((visibility("hidden")));

static struct fault_control *control; /* NULL: this process is not under test */
static uint32_t own_role;

static uint64_t hash_frames(unsigned call, void *const *frames, int count)
{
    uint64_t h = 0xcbf29ce484222325ull ^ call ^ ((uint64_t)own_role << 32); /* FNV-1a by words */

    for (int i = 0; i < count; i++)
        h = (h ^ (uintptr_t)frames[i]) * 0x100000001b3ull;
    return h != 0 ? h : 1;
}

static void record(unsigned call, uint64_t key, void *const *frames, int count)
{
    for (uint64_t at = key, tries = 0; tries < FAULT_SITES_MAX; at++, tries++) {
        struct fault_site *site = &control->sites[at & (FAULT_SITES_MAX - 1)];
        uint64_t expected = 0;
        if (__atomic_compare_exchange_n(&site->key, &expected, key, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            site->role = own_role;
            site->call = call;
            site->stage = control->stage;
            for (int i = 0; i < count; i++)
                site->frames[i] = (uintptr_t)frames[i];
            expected = key;
        }
        if (expected == key) {
            __atomic_add_fetch(&site->count, 1, __ATOMIC_RELAXED);
            return;
        }
    }
    __atomic_add_fetch(&control->lost, 1, __ATOMIC_RELAXED);
}

static bool is_own(const void *address)
{
    return (const char *)address >= &__ehdr_start && (const char *)address < &etext;
}

struct trace {
    int count;
    void *frames[FAULT_FRAMES];
};

/* Not backtrace(): the sanitizers put themselves before it. */
static _Unwind_Reason_Code add_frame(struct _Unwind_Context *context, void *to)
{
    struct trace *trace = to;
    void *address = (void *)_Unwind_GetIP(context);

    if (!is_own(address)) /* our own frames say nothing */
        trace->frames[trace->count++] = address;
    return trace->count < FAULT_FRAMES ? _URC_NO_REASON : _URC_END_OF_STACK;
}

/** The call's site; it is remembered when sites are being recorded. */
static uint64_t site_of(unsigned call)
{
    struct trace trace = {.count = 0};

    fault_depth++;
    (void)_Unwind_Backtrace(add_frame, &trace);
    fault_depth--;
    uint64_t key = hash_frames(call, trace.frames, trace.count);
    if (control->mode == FAULT_RECORD)
        record(call, key, trace.frames, trace.count);
    return key;
}

/** One call in `n`, but not in step with any loop: one that makes two calls a turn would always have the same one interrupted. */
static bool is_drawn(uint32_t count, uint32_t n)
{
    return (count * 2654435769u >> 16) % n == 0;
}

static bool is_hit(unsigned call, uint32_t mode)
{
    switch (mode) {
    case FAULT_RECORD: (void)site_of(call); return false;
    case FAULT_SITE:
        return call == control->call && site_of(call) == control->site &&
               __atomic_fetch_add(&control->calls, 1, __ATOMIC_RELAXED) == 0;
    case FAULT_NTH:
        return call == control->call && __atomic_add_fetch(&control->calls, 1, __ATOMIC_RELAXED) == control->nth;
    case FAULT_EVERY:
        return fault_calls[call].may_be_interrupted &&
               is_drawn(__atomic_add_fetch(&control->calls, 1, __ATOMIC_RELAXED), control->nth);
    default: return false;
    }
}

static bool is_armed(void)
{
    return control != NULL && control->mode != FAULT_OFF && (control->roles & own_role) != 0 && fault_depth == 0;
}

bool fault_strikes(unsigned call)
{
    int before = errno;

    if (!is_armed() || !is_hit(call, control->mode)) {
        errno = before;
        return false;
    }
    __atomic_add_fetch(&control->strikes, 1, __ATOMIC_RELAXED);
    errno = control->mode == FAULT_EVERY ? EINTR : control->error;
    return true;
}

bool fault_is_short(void)
{
    if (!is_armed() || control->mode != FAULT_SHORT)
        return false;
    __atomic_add_fetch(&control->strikes, 1, __ATOMIC_RELAXED);
    return true;
}

void fault_in_child(void)
{
    own_role = own_role == FAULT_MASTER ? FAULT_CHILD : own_role;
}

/* The master gives its workers an environment without any of this. */
char **fault_environment(char *const *theirs)
{
    static char *made[ENVIRONMENT_MAX];
    static char preload[4096], file[4096];
    size_t n = 0;

    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", getenv("LD_PRELOAD") != NULL ? getenv("LD_PRELOAD") : "");
    snprintf(file, sizeof file, FAULT_FILE_VARIABLE "=%s",
             getenv(FAULT_FILE_VARIABLE) != NULL ? getenv(FAULT_FILE_VARIABLE) : "");
    made[n++] = preload;
    made[n++] = file;
    for (size_t i = 0; theirs[i] != NULL && n < ENVIRONMENT_MAX - 1; i++)
        made[n++] = theirs[i];
    made[n] = NULL;
    return made;
}

static uint32_t role_of(int argc, char **argv)
{
    if (argc < 2)
        return 0;
    return strcmp(argv[1], "server") == 0 ? FAULT_MASTER : strcmp(argv[1], "worker") == 0 ? FAULT_WORKER : 0;
}

__attribute__((constructor)) static void start(int argc, char **argv)
{
    struct trace trace = {.count = 0};
    const char *path = getenv(FAULT_FILE_VARIABLE);
    int fd;

    own_role = role_of(argc, argv);
    if (path == NULL || own_role == 0)
        return;
    fault_depth++;
    (void)_Unwind_Backtrace(add_frame, &trace); /* whatever it does once */
    fd = open(path, O_RDWR | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    fault_depth--;
    if (at == MAP_FAILED || ((struct fault_control *)at)->magic != FAULT_MAGIC) {
        fprintf(stderr, "fault: cannot map %s\n", path);
        _exit(99);
    }
    control = at;
}
