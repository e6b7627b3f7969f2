/* The birth of a worker. Between fork and exec nothing but async-signal-safe calls: all that needs memory is prepared before. */

#include "worker_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child_start.h"
#include "handover.h"

#define ENVIRONMENT_MAX 16
#define HANDOVER_FDS    (HANDOVER_FD_END - HANDOVER_FD_CONTROL)
#define WORKER_NAME_MAX 32
#define BINARY_PATH_MAX 40

/* What a worker may see of the master's environment: nothing that an operator sets for mc-proxy, and no secrets. */
static const char *const kept_variables[] = {"ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS=", "GCOV_", "MALLOC_"};

/** Everything that the child needs, made before the fork. */
struct spawn_plan {
    int fds[HANDOVER_FDS]; /* in the order of enum handover_fd; -1: /dev/null */
    int binary_fd;
    char binary_path[BINARY_PATH_MAX];
    char name[WORKER_NAME_MAX];
    char *argv[3];
    char *environment[ENVIRONMENT_MAX + 1];
};

int worker_binary_open(void)
{
    return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
}

static bool is_kept(const char *variable)
{
    for (size_t i = 0; i < sizeof kept_variables / sizeof kept_variables[0]; i++) {
        if (strncmp(variable, kept_variables[i], strlen(kept_variables[i])) == 0)
            return true;
    }
    return false;
}

static void plan_environment(struct spawn_plan *plan)
{
    size_t count = 0;

    for (char **variable = environ; variable != NULL && *variable != NULL && count < ENVIRONMENT_MAX; variable++) {
        if (is_kept(*variable))
            plan->environment[count++] = *variable;
    }
    plan->environment[count] = NULL;
}

static void plan_init(struct spawn_plan *plan, const struct worker_spawn *spec)
{
    static char subcommand[] = HANDOVER_SUBCOMMAND;

    *plan = (struct spawn_plan){.binary_fd = spec->binary_fd};
    plan->fds[0] = spec->control_fd;
    plan->fds[HANDOVER_FD_TABLES - HANDOVER_FD_CONTROL] = spec->tables_fd;
    plan->fds[HANDOVER_FD_STATS - HANDOVER_FD_CONTROL] = spec->stats_fd;
    plan->fds[HANDOVER_FD_LOG - HANDOVER_FD_CONTROL] = spec->log_fd;
    plan->fds[HANDOVER_FD_RATE - HANDOVER_FD_CONTROL] = spec->rate_fd;
    snprintf(plan->name, sizeof plan->name, "mc-proxy: worker %u", spec->slot);
    plan->argv[0] = plan->name;
    plan->argv[1] = subcommand;
    plan_environment(plan);
}

/* ---- in the child ---- */

/* Sources may lie where targets belong, so all of them move out of the way first. */
static int child_place_fds(struct spawn_plan *plan, int *report_fd)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null_fd < 0 || child_move_up(&null_fd, HANDOVER_FD_END) != 0 ||
        child_move_up(report_fd, HANDOVER_FD_END) != 0 || child_move_up(&plan->binary_fd, HANDOVER_FD_END) != 0)
        return -1;
    for (int i = 0; i < HANDOVER_FDS; i++) {
        if (plan->fds[i] < 0)
            plan->fds[i] = null_fd;
        else if (child_move_up(&plan->fds[i], HANDOVER_FD_END) != 0)
            return -1;
    }
    if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(null_fd, STDOUT_FILENO) < 0)
        return -1;
    for (int i = 0; i < HANDOVER_FDS; i++) {
        if (dup2(plan->fds[i], HANDOVER_FD_CONTROL + i) < 0)
            return -1;
    }
    return 0;
}

/* A terminal's signals that came between fork and setpgid were meant for the master: ignoring a signal throws a pending one away. */
static void child_leave_group(void)
{
    static const int from_terminal[] = {SIGINT, SIGQUIT, SIGHUP, SIGTSTP};
    struct sigaction action = {.sa_handler = SIG_IGN};

    setpgid(0, 0);
    for (size_t i = 0; i < sizeof from_terminal / sizeof from_terminal[0]; i++)
        sigaction(from_terminal[i], &action, NULL);
    child_reset_signals(NULL, 0);
}

/* "/proc/self/fd/N" without stdio. */
static void child_binary_path(struct spawn_plan *plan)
{
    char digits[12];
    size_t n = 0, len = sizeof "/proc/self/fd/" - 1;

    memcpy(plan->binary_path, "/proc/self/fd/", len);
    for (unsigned fd = (unsigned)plan->binary_fd; n == 0 || fd > 0; fd /= 10)
        digits[n++] = (char)('0' + fd % 10);
    while (n > 0)
        plan->binary_path[len++] = digits[--n];
    plan->binary_path[len] = '\0';
}

static void child_exec(void *context, int *report_fd)
{
    struct spawn_plan *plan = context;

    child_leave_group();
    if (child_place_fds(plan, report_fd) != 0)
        return;
    /* An unprivileged master that may bind port 443 was given that as an ambient capability; without one, exec leaves a worker none. */
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    child_close_from(HANDOVER_FD_END); /* at exec: the report pipe and the binary must stay usable until then */
    syscall(SYS_execveat, plan->binary_fd, "", plan->argv, plan->environment, AT_EMPTY_PATH);
    if (errno == ENOSYS || errno == EPERM) { /* not there, or kept away by a container's filter */
        child_binary_path(plan);
        execve(plan->binary_path, plan->argv, plan->environment);
    }
}

int worker_spawn(const struct worker_spawn *spec, pid_t *pid_out)
{
    struct spawn_plan plan;

    plan_init(&plan, spec);
    return child_start(child_exec, &plan, pid_out);
}
