/* mc-proxy whose workers run under callgrind: main.c of the real one, with this in front of worker_main(). The master is the real
 * master at full speed. It executes its own binary as a worker, and that worker executes itself once more, under valgrind, with the
 * descriptors of the handover where they are.
 *
 * Two things differ from the shipped worker: it has no system-call filter and no resource limits, because valgrind makes calls of
 * its own. All other objects are the shipped ones.
 *
 * What is counted is the work on events: neither waiting and looking, of which a busy machine needs more, nor the turns of libev's loop, which
 * are those of the tick.
 *
 * When the worker ends, it says on standard error "==PID== Collected : INSTRUCTIONS". */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handover.h"

#define INSIDE "MC_PROXY_WORKER_IS_INSIDE" /* in the environment of the second execution */

int __real_worker_main(void);
int __wrap_worker_main(void);

static int run_under_callgrind(void)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    if (len > 0) {
        self[len] = '\0';
        (void)setenv(INSIDE, "1", 1);
        (void)execlp("valgrind", "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--vgdb=no",
                     "--toggle-collect=wait_for_events*", "--toggle-collect=ev_run", "--collect-atstart=yes", self,
                     HANDOVER_SUBCOMMAND, (char *)NULL);
    }
    fprintf(stderr, "mc-proxy-callgrind: cannot run valgrind: %s\n", strerror(errno));
    return EXIT_FAILURE;
}

int __wrap_worker_main(void)
{
    return getenv(INSIDE) != NULL ? __real_worker_main() : run_under_callgrind();
}
