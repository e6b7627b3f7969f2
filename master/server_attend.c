/*
 * What goes on while the master's loop is held up by long work on the database: workers that die or hang are replaced, their log records
 * are taken in, the watchdog is fed. Everything else, above all whatever could come back to the database or change the tables, waits for
 * the loop (docs/decisions/0015-what-goes-on-during-long-work.md).
 */

#include "clock.h"
#include "log_output.h"
#include "server_internal.h"
#include "supervisor.h"

#define ATTEND_MS 20 /* a worker is to be replaced within 100 ms; each time costs a few system calls */

void server_attend(void *context)
{
    struct server *s = context;
    uint64_t now_ms = clock_monotonic_ms();

    CHECK_MAGIC(s, SERVER_MAGIC);
    if (now_ms - s->attended_ms < ATTEND_MS || s->supervisor == NULL)
        return;
    s->attended_ms = now_ms;
    supervisor_attend(s->supervisor);
    log_drain_run(s->log_drain);
    (void)log_output_flush(s->log, 0); /* what is not taken now stays in its buffer */
    server_notify_attend(s);
}
