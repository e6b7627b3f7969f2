/* Connections that have to wait for their PROXY header or hello, and the cap on them: from struct conn to the budget and back. */

#include "conn_wait.h"

#include <stddef.h>

#include "clock.h"
#include "conn.h"
#include "conn_setup.h"
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

/**
 * Who was accepted in the turn that ends now may have its hello in the socket already: nobody goes unheard. Whoever is older would have
 * been reported. False: nothing to hear; else it may have gone on, waited or ended, but is not heard again.
 */
static bool hear(struct conn *c)
{
    struct conn_setup *setup = c->setup;

    if (setup->is_heard || c->bytes_in > 0 || (int32_t)(conn_worker(c)->wheel.now - setup->accept_tick) > 1)
        return false;
    setup->is_heard = true;
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
            continue;
        log_full(w);
        conn_close(setup->owner, CLOSE_HELLO_EVICTED); /* and with that out of the budget */
    }
}
