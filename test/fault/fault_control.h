#ifndef FAULT_CONTROL_H
#define FAULT_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the runner (shim.py) and the processes under test share: a file, mapped by the preloaded library before a worker enters its
 * sandbox. The runner sets `mode` last and reads counters at any time. Its layout is repeated in shim.py.
 *
 * A site is a call and the way that led to it: the hash of the return addresses on the stack. It is the same in every run, because the
 * runner switches off address randomisation; the number of a call is not, as timers and the kernel's scheduling change it.
 */

#define FAULT_MAGIC     0x544c4146u /* "FALT" */
#define FAULT_FRAMES    48
#define FAULT_SITES_MAX 32768 /* a power of two */

#define FAULT_FILE_VARIABLE "MCFAULT_FILE"

enum fault_mode {
    FAULT_OFF,
    FAULT_RECORD, /* remember every site */
    FAULT_SITE,   /* the first call at `site` fails with `error` */
    FAULT_NTH,    /* the `nth` of the calls of kind `call` fails with `error` */
    FAULT_EVERY,  /* one in `nth` calls that may be interrupted fails with EINTR */
    FAULT_SHORT,  /* reads and writes of streams move one byte, those of files half */
};

enum fault_role {
    FAULT_MASTER = 1,
    FAULT_CHILD = 2, /* between fork and exec */
    FAULT_WORKER = 4,
};

struct fault_site {
    uint64_t key; /* 0: free */
    uint32_t role, call;
    uint32_t stage; /* of the session, when it was first seen */
    uint32_t count;
    uint64_t frames[FAULT_FRAMES];
};

struct fault_control {
    uint32_t magic, mode, roles, call;
    uint64_t site;
    uint32_t nth;
    int32_t error;
    uint32_t stage;
    uint32_t calls;   /* that FAULT_NTH or FAULT_EVERY counted */
    uint32_t strikes; /* calls that failed or were cut short */
    uint32_t lost;    /* sites for which there was no room */
    struct fault_site sites[FAULT_SITES_MAX];
};

/** One row for each wrapped call; the runner reads the table out of the library. */
struct fault_call {
    const char *name;
    bool may_be_interrupted;
    int errors[6]; /* what it may plausibly fail with, ended by 0 */
};

extern const struct fault_call fault_calls[];
extern const unsigned fault_call_count;

/** Does this call fail? Sets errno then. */
bool fault_strikes(unsigned call);
/** Are reads and writes cut short now? Counts one that is. */
bool fault_is_short(void);
/** The process has forked and is the child. */
void fault_in_child(void);
/** The environment that a re-executed worker gets on top of its own, NULL-terminated; valid until the next call. */
char **fault_environment(char *const *theirs);
/** Nested calls (the unwinder's, dlsym's) are let through. */
extern _Thread_local int fault_depth __attribute__((tls_model("initial-exec")));

#endif
