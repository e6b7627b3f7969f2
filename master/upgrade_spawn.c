/* The birth of a successor: the same program file, as it is now, with our sockets. All that needs memory is prepared before the fork. */

#include "upgrade_spawn.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "child_start.h"
#include "err.h"

#define FIRST_FD      3 /* SD_LISTEN_FDS_START */
#define PID_VARIABLE  "LISTEN_PID="
#define OWN_VARIABLES 3

/* A watchdog is for the process that is the main one; the others would be wrong for the successor. */
static const char *const dropped_variables[] = {"WATCHDOG_PID=", "LISTEN_"};

struct spawn_plan {
    char *const *argv;
    char **environment;
    char *names;     /* LISTEN_FDNAMES=... */
    char number[32]; /* LISTEN_FDS=... */
    char pid[32];    /* LISTEN_PID=..., completed in the child */
    int *fds;
    unsigned count;
};

/* ---- the program ---- */

int upgrade_find_program(struct strbuf *out)
{
    union {
        unsigned long value;
        const char *text;
    } executed = {.value = getauxval(AT_EXECFN)};
    char folder[PATH_MAX];

    if (executed.text == NULL || strncmp(executed.text, "/dev/fd/", 8) == 0) { /* fexecve(3) */
        ssize_t n = readlink("/proc/self/exe", folder, sizeof folder);
        if (n < 0)
            return ERR_SYSTEM;
        strbuf_add_bytes(out, bytes_of(folder, (size_t)n));
    } else if (executed.text[0] == '/') {
        strbuf_add(out, executed.text);
    } else {
        if (getcwd(folder, sizeof folder) == NULL)
            return ERR_SYSTEM;
        strbuf_addf(out, "%s/%s", folder, executed.text);
    }
    return out->overflowed ? ERR_NO_SPACE : 0;
}

/* ---- the plan ---- */

static bool is_dropped(const char *variable)
{
    for (size_t i = 0; i < sizeof dropped_variables / sizeof dropped_variables[0]; i++) {
        if (strncmp(variable, dropped_variables[i], strlen(dropped_variables[i])) == 0)
            return true;
    }
    return false;
}

static int plan_environment(struct spawn_plan *plan)
{
    size_t count = 0, used = 0;

    while (environ[count] != NULL)
        count++;
    plan->environment = calloc(count + OWN_VARIABLES + 1, sizeof *plan->environment);
    if (plan->environment == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        if (!is_dropped(environ[i]))
            plan->environment[used++] = environ[i];
    }
    plan->environment[used++] = plan->names;
    plan->environment[used++] = plan->number;
    plan->environment[used++] = plan->pid;
    plan->environment[used] = NULL;
    return 0;
}

static int plan_init(struct spawn_plan *plan, char *const *argv, const struct upgrade_fd *fds, unsigned count)
{
    size_t capacity = sizeof "LISTEN_FDNAMES=" + count * sizeof fds[0].name;

    *plan = (struct spawn_plan){.argv = argv, .count = count};
    plan->names = malloc(capacity);
    plan->fds = calloc(count + 1, sizeof plan->fds[0]);
    if (plan->names == NULL || plan->fds == NULL)
        return ERR_NO_MEMORY;
    struct strbuf names = strbuf_init(plan->names, capacity);
    strbuf_add(&names, "LISTEN_FDNAMES=");
    for (unsigned i = 0; i < count; i++) {
        strbuf_addf(&names, "%s%s", i > 0 ? ":" : "", fds[i].name);
        plan->fds[i] = fds[i].fd;
    }
    snprintf(plan->number, sizeof plan->number, "LISTEN_FDS=%u", count);
    memcpy(plan->pid, PID_VARIABLE, sizeof PID_VARIABLE);
    return plan_environment(plan);
}

static void plan_fini(struct spawn_plan *plan)
{
    free(plan->names);
    free(plan->fds);
    free((void *)plan->environment);
}

/* ---- in the child ---- */

/* Without stdio. */
static void child_write_pid(char *out)
{
    char digits[12];
    size_t n = 0;

    for (unsigned pid = (unsigned)getpid(); n == 0 || pid > 0; pid /= 10)
        digits[n++] = (char)('0' + pid % 10);
    while (n > 0)
        *out++ = digits[--n];
    *out = '\0';
}

/* Sources may lie where targets belong, so all of them move out of the way first. */
static int child_place_fds(struct spawn_plan *plan, int *report_fd)
{
    int end = FIRST_FD + (int)plan->count;

    if (child_move_up(report_fd, end) != 0)
        return -1;
    for (unsigned i = 0; i < plan->count; i++) {
        if (child_move_up(&plan->fds[i], end) != 0)
            return -1;
    }
    for (unsigned i = 0; i < plan->count; i++) {
        if (dup2(plan->fds[i], FIRST_FD + (int)i) < 0)
            return -1;
    }
    child_close_from(end);
    return 0;
}

static void child_exec(void *context, int *report_fd)
{
    static const int not_yet[] = {SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};
    struct spawn_plan *plan = context;

    child_write_pid(plan->pid + sizeof PID_VARIABLE - 1);
    if (child_place_fds(plan, report_fd) != 0)
        return;
    child_reset_signals(not_yet, sizeof not_yet / sizeof not_yet[0]);
    execve(plan->argv[0], plan->argv, plan->environment);
}

int upgrade_spawn(char *const *argv, const struct upgrade_fd *fds, unsigned count, pid_t *pid_out)
{
    struct spawn_plan plan;
    int rc = plan_init(&plan, argv, fds, count);

    if (rc == 0)
        rc = child_start(child_exec, &plan, pid_out);
    int error_number = errno;
    plan_fini(&plan);
    errno = error_number;
    return rc;
}
