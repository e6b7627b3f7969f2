/* Telling people who edit the file that the database decides. */

#include "config.h"
#include "log_event.h"
#include "state_internal.h"
#include "store.h"

static const char routes_message[] =
    "the file has routes that the database has not or has otherwise; the database decides: mc-proxy routes import changes it";
static const char rules_message[] =
    "the file has firewall rules that the database has not; the database decides: mc-proxy firewall import changes it";

static void on_difference(const struct config_listener *listener, const struct store_difference *d, void *ctx)
{
    struct log_event e;

    (void)ctx;
    log_event_begin(&e, LOG_INFO, listener != NULL ? routes_message : rules_message);
    if (listener != NULL)
        log_event_cstr(&e, LOG_KEY_LISTENER, listener->addr_text);
    log_event_u64(&e, LOG_KEY_MISSING, d->missing);
    if (listener != NULL)
        log_event_u64(&e, LOG_KEY_DIFFERENT, d->different);
    log_event_end(&e);
}

void state_log_differences(struct state *state, const struct config *config)
{
    char text[512];
    struct strbuf why = STRBUF_OF(text);
    struct log_event e;

    CHECK_MAGIC(state, STATE_MAGIC);
    if (!log_is_enabled(LOG_INFO) || store_compare(state->store, config, on_difference, NULL, &why) == 0)
        return;
    log_event_begin(&e, LOG_WARN, "cannot compare the file's routes and firewall rules with the database's");
    log_event_cstr(&e, LOG_KEY_ERROR, text);
    log_event_end(&e);
}
