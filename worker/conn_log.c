/* The access line: what a connection was, what it moved and why it ended. */

#include <string.h>

#include "conn.h"
#include "listener.h"
#include "log_event.h"
#include "worker.h"

void conn_log(const struct conn *c, enum close_reason reason, uint64_t age_us)
{
    const struct worker *w = conn_worker(c);
    struct log_event e;

    if (!w->settings.log_access || !log_is_enabled(LOG_INFO))
        return;
    log_event_begin(&e, LOG_INFO, "connection");
    log_event_u64(&e, LOG_KEY_CONN, c->id);
    log_event_cstr(&e, LOG_KEY_LISTENER, c->listener->addr);
    log_event_endpoint(&e, LOG_KEY_CLIENT, &c->client);
    log_event_cstr(&e, LOG_KEY_SNI, conn_sni(c));
    log_event_cstr(&e, LOG_KEY_BACKEND, conn_backend(c));
    log_event_u64(&e, LOG_KEY_BYTES_IN, c->bytes_in);
    log_event_u64(&e, LOG_KEY_BYTES_OUT, c->bytes_out);
    log_event_u64(&e, LOG_KEY_DURATION_MS, age_us / 1000);
    log_event_u64(&e, LOG_KEY_WORKER, w->slot);
    log_event_cstr(&e, LOG_KEY_REASON, close_reason_word(reason));
    if (c->detail != NULL)
        log_event_cstr(&e, LOG_KEY_DETAIL, c->detail);
    log_event_end(&e);
}
