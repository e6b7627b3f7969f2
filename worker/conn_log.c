/* What is told of a connection: at any time all that is known of it, and at its end the access line. */

#include "conn_log.h"

#include "access_record.h"
#include "clock.h"
#include "close_reason.h"
#include "conn.h"
#include "conn_facts.h"
#include "conn_firewall.h"
#include "conn_setup.h"
#include "listener.h"
#include "log_event.h"
#include "reject_limit.h"
#include "tls_names.h"
#include "worker.h"

static const char *const party_words[] = {
    [CLOSE_BY_PROXY] = "proxy",
    [CLOSE_BY_CLIENT] = "client",
    [CLOSE_BY_BACKEND] = "backend",
};

void conn_note_end(const struct conn *c, const struct conn_side *side)
{
    if (c->facts->first_to_end == CLOSE_BY_PROXY)
        c->facts->first_to_end = side == &c->front ? CLOSE_BY_CLIENT : CLOSE_BY_BACKEND;
}

static const char *ended_by(const struct conn *c, enum close_reason reason)
{
    bool has_finished = reason == CLOSE_FINISHED && c->facts != NULL; /* it always has facts then */

    return party_words[has_finished ? c->facts->first_to_end : close_reason_party(reason)];
}

/* ---- fields that may have no value ---- */

static void add_text(struct log_event *e, enum log_key key, struct bytes text)
{
    if (text.len > 0)
        log_event_str(e, key, text);
}

static void add_endpoint(struct log_event *e, enum log_key key, const struct ip_endpoint *end)
{
    if (end->addr.family != 0)
        log_event_endpoint(e, key, end);
}

static void add_time(struct log_event *e, enum log_key key, uint32_t us)
{
    if (us != CONN_NOT_YET)
        log_event_u64(e, key, us);
}

static void add_country(struct log_event *e, const char country[2])
{
    if (country[0] != '\0')
        log_event_str(e, LOG_KEY_COUNTRY, bytes_of(country, 2));
}

/* ---- what is known when ---- */

static void add_peer(struct log_event *e, const struct conn *c)
{
    struct ip_endpoint peer = {.port = 0};

    if (c->facts == NULL)
        peer = c->setup->peer;
    else
        (void)conn_facts_peer(c->facts, &peer);
    add_endpoint(e, LOG_KEY_PEER, &peer);
}

static void add_hello(struct log_event *e, const struct conn_facts *f)
{
    char versions[TLS_VERSIONS_MAX], pattern[CONN_PATTERN_MAX];

    add_text(e, LOG_KEY_ALPN, conn_facts_alpn(f));
    add_text(e, LOG_KEY_TLS, bytes_of_str(tls_versions_text(f->versions, versions)));
    if (f->has_ech)
        log_event_bool(e, LOG_KEY_ECH, true);
    add_text(e, LOG_KEY_ROUTE, conn_facts_route(f, pattern));
}

static void add_answer(struct log_event *e, const struct server_hello *answer)
{
    char name[TLS_NAME_MAX];

    log_event_cstr(e, LOG_KEY_HANDSHAKE, handshake_outcome_word((enum handshake_outcome)answer->outcome));
    if (answer->version != 0)
        log_event_cstr(e, LOG_KEY_TLS_VERSION, tls_version_name(answer->version, name));
    if (answer->group != 0)
        log_event_cstr(e, LOG_KEY_TLS_GROUP, tls_group_name(answer->group, name));
    if (answer->outcome == HANDSHAKE_ALERT)
        log_event_cstr(e, LOG_KEY_ALERT, tls_alert_name(answer->alert, name));
}

static void add_times(struct log_event *e, const struct conn_facts *f)
{
    add_time(e, LOG_KEY_HELLO_US, f->hello_us);
    add_time(e, LOG_KEY_CONNECT_US, f->connect_us);
    add_time(e, LOG_KEY_FIRST_BYTE_US, f->first_byte_us);
}

void conn_describe(struct log_event *e, const struct conn *c, uint64_t age_us)
{
    const struct conn_facts *f = c->facts;

    log_event_u64(e, LOG_KEY_CONN, c->id);
    log_event_cstr(e, LOG_KEY_LISTENER, c->listener->addr);
    log_event_endpoint(e, LOG_KEY_CLIENT, &c->client);
    add_peer(e, c);
    log_event_str(e, LOG_KEY_SNI, f != NULL ? conn_facts_sni(f) : bytes_of(NULL, 0));
    if (f != NULL)
        add_hello(e, f);
    log_event_str(e, LOG_KEY_BACKEND, f != NULL ? conn_facts_backend(f) : bytes_of(NULL, 0));
    if (f != NULL)
        add_endpoint(e, LOG_KEY_BACKEND_ADDR, &f->backend_addr);
    add_country(e, f != NULL ? f->country : c->setup->country);
    log_event_u64(e, LOG_KEY_BYTES_IN, c->bytes_in);
    log_event_u64(e, LOG_KEY_BYTES_OUT, c->bytes_out);
    if (f != NULL)
        add_times(e, f);
    log_event_u64(e, LOG_KEY_DURATION_MS, age_us / 1000);
    log_event_u64(e, LOG_KEY_WORKER, conn_worker(c)->slot);
    if (f != NULL && server_hello_is_done(&f->answer))
        add_answer(e, &f->answer);
}

void conn_log(const struct conn *c, enum close_reason reason, uint64_t age_us)
{
    struct worker *w = conn_worker(c);
    struct log_event e;

    if (!w->settings.log_access ||
        !reject_limit_admit(&w->rejected, reason, w->settings.rejected_per_second, c->started_us + age_us))
        return;
    if (c->facts == NULL)
        conn_find_country(c);
    log_event_begin_always(&e, LOG_INFO, ACCESS_RECORD_MESSAGE);
    conn_describe(&e, c, age_us);
    log_event_cstr(&e, LOG_KEY_REASON, close_reason_word(reason));
    log_event_cstr(&e, LOG_KEY_ENDED_BY, ended_by(c, reason));
    if (c->setup != NULL)
        log_event_cstr(&e, LOG_KEY_DETAIL, c->setup->detail);
    log_event_end(&e);
}

void conn_log_held_back(struct worker *w)
{
    for (unsigned reason = 0; reason < CLOSE_REASON_COUNT; reason++) {
        uint64_t count = reject_limit_take(&w->rejected, reason);
        struct log_event e;
        if (count == 0)
            continue;
        log_event_begin_always(&e, LOG_INFO, ACCESS_HELD_BACK_MESSAGE);
        log_event_cstr(&e, LOG_KEY_REASON, close_reason_word(reason));
        log_event_u64(&e, LOG_KEY_COUNT, count);
        log_event_u64(&e, LOG_KEY_WORKER, w->slot);
        log_event_end(&e);
    }
}
