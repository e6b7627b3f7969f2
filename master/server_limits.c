/* What the system lets the server have: descriptors, which workers inherit the limit of. */

#include <errno.h>
#include <sys/resource.h>

#include "config.h"
#include "conn_cap.h"
#include "log_event.h"
#include "server_internal.h"

#define CONNECTIONS_EXPECTED 4096 /* at a time, of the smallest server worth the name */

/**
 * The workers' share of the limit, in connections, where it is less than anybody would expect: they would wait in the kernel's queues,
 * and nobody would know why.
 */
static void warn_of_few_descriptors(const struct server *s)
{
    struct rlimit limit;
    struct log_event e;
    uint64_t wanted = CONNECTIONS_EXPECTED;

    for (unsigned i = 0; i < s->config->listener_count; i++) {
        if (s->config->listeners[i].max_connections > wanted)
            wanted = s->config->listeners[i].max_connections;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    uint64_t fitting = (uint64_t)conn_cap(limit.rlim_cur, s->config->listener_count) * s->config->workers;
    if (fitting >= wanted)
        return;
    log_event_begin(
        &e, LOG_WARN,
        "the limit of open files is low: more connections than these wait; raise it (LimitNOFILE, ulimit -Hn)");
    log_event_u64(&e, LOG_KEY_LIMIT, limit.rlim_cur);
    log_event_u64(&e, LOG_KEY_CONNECTIONS, fitting);
    log_event_end(&e);
}

void server_raise_descriptor_limit(const struct server *s)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_errno(LOG_WARN, "cannot raise the limit of open files", errno, LOG_KEY_DETAIL, NULL);
    warn_of_few_descriptors(s);
}
