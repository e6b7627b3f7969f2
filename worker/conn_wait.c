/* Connections that have to wait for their PROXY header or hello, and the cap on them: from struct conn to the budget and back. */

#include <stddef.h>
#include <sys/socket.h>

#include "clock.h"
#include "conn.h"
#include "log_event.h"
#include "worker.h"

#define AUTO_SHARE           4 /* of the connections that a worker has descriptors for */
#define AUTO_MIN             64 /* a burst of slow but honest clients; who has fewer descriptors pauses accepting instead */
#define AUTO_MAX             8192 /* with a hello of 64 KiB that never ends each, that is half a GiB */
#define FULL_LOG_INTERVAL_MS 10000

void conn_wait_begin(struct conn *c)
{
    struct hello_budget *budget = &conn_worker(c)->hellos;
    struct hello_wait *wait = &c->setup->wait;

    hello_budget_remove(budget, wait); /* it waited for its PROXY header: now the announced address counts */
    c->setup->owner = c;
    hello_budget_add(budget, wait, hello_network_of(&c->client.addr));
}

void conn_wait_limit(struct worker *w)
{
    uint32_t cap = w->settings.max_pending_hellos;

    if (cap == CTL_PENDING_HELLOS_AUTO) {
        uint32_t share = (w->conn_cap + AUTO_SHARE - 1) / AUTO_SHARE;
        cap = share < AUTO_MIN ? AUTO_MIN : share < AUTO_MAX ? share : AUTO_MAX;
    }
    hello_budget_set_cap(&w->hellos, cap);
}

static void log_full(struct worker *w)
{
    uint64_t now = clock_monotonic_ms();

    if (now - w->hellos_logged_ms < FULL_LOG_INTERVAL_MS)
        return;
    w->hellos_logged_ms = now;
    log_text(LOG_WARN,
             "max_pending_hellos is reached: connections that have not sent their hello make room for new ones");
}

/** Has it sent something that nobody has looked at yet? Ends and errors do not count. */
static bool has_unread(const struct conn *c)
{
    uint8_t byte;

    return recv(c->front.fd, &byte, sizeof byte, MSG_PEEK) > 0;
}

/** A busy worker accepts in one turn what it reads in the next: who has spoken meanwhile is heard first, but only once. */
static bool hear(struct conn *c)
{
    if (c->setup->was_heard || !has_unread(c))
        return false;
    c->setup->was_heard = true;
    c->front.is_readable = true;
    conn_run(c);
    return true;
}

void conn_wait_evict(struct worker *w)
{
    struct hello_wait *wait;

    while ((wait = hello_budget_excess(&w->hellos)) != NULL) {
        struct conn_setup *setup = (struct conn_setup *)((char *)wait - offsetof(struct conn_setup, wait));
        if (hear(setup->owner))
            continue; /* it may be gone, or wait no more */
        log_full(w);
        conn_close(setup->owner, CLOSE_HELLO_EVICTED); /* and with that out of the budget */
    }
}
