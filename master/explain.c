/* What would become of a connection: each step of a worker's asked for its answer, without a connection. */

#include "explain.h"

#include <inttypes.h>
#include <string.h>

#include "config.h"
#include "geoip_reader.h"
#include "proxy_duty.h"
#include "route_table.h"
#include "strbuf.h"
#include "table_view.h"
#include "tables.h"

#define NS_PER_MS 1000000u

/** A question under way. */
struct asking {
    const struct explain_parts *parts;
    const struct explain_question *question;
    struct explanation *out;
};

static const char *const step_words[] = {
    [EXPLAIN_ACCEPT] = "accept",         [EXPLAIN_PROXY] = "proxy", [EXPLAIN_FIREWALL] = "firewall",
    [EXPLAIN_RATE_LIMIT] = "rate_limit", [EXPLAIN_HELLO] = "hello", [EXPLAIN_ROUTE] = "route",
    [EXPLAIN_BACKEND] = "backend",
};

const char *explain_step_word(enum explain_step_kind kind)
{
    CHECK((unsigned)kind < sizeof step_words / sizeof step_words[0]);
    return step_words[kind];
}

/** A new step; its text is to be added. */
static struct strbuf begin_step(struct asking *a, enum explain_step_kind kind)
{
    CHECK(a->out->step_count < EXPLAIN_STEPS_MAX);
    struct explain_step *step = &a->out->steps[a->out->step_count++];

    step->kind = kind;
    return STRBUF_OF(step->text);
}

/** The connection ends here. */
static bool end_with(struct asking *a, enum close_reason reason)
{
    a->out->reason = reason;
    return false;
}

static void add_count(struct strbuf *out, uint64_t count, const char *one, const char *many)
{
    strbuf_addf(out, "%" PRIu64 " %s", count, count == 1 ? one : many);
}

/* ---- accept: over the limit? ---- */

static uint32_t count_active(const struct asking *a)
{
    uint32_t sum = 0;

    for (unsigned slot = 0; slot < SHM_WORKERS_MAX; slot++)
        sum += atomic_load_explicit(&a->parts->stats->active[a->question->listener_id][slot], memory_order_relaxed);
    return sum;
}

static bool ask_accept(struct asking *a)
{
    struct explanation *out = a->out;
    const struct shm_tables *tables = a->parts->tables->shm;
    struct strbuf text = begin_step(a, EXPLAIN_ACCEPT);

    out->active_connections = count_active(a);
    out->max_connections =
        atomic_load_explicit(&tables->listeners[a->question->listener_id].max_connections, memory_order_relaxed);
    add_count(&text, out->active_connections, "connection is open", "connections are open");
    if (out->max_connections == 0) {
        strbuf_add(&text, ", max_connections is off");
        return true;
    }
    strbuf_addf(&text, " of max_connections %" PRIu32, out->max_connections);
    if (out->active_connections < out->max_connections) /* a worker counts the new one, and refuses what is over */
        return true;
    strbuf_add(&text, ": closed at once");
    return end_with(a, CLOSE_MAX_CONNECTIONS);
}

/* ---- the PROXY header ---- */

static void say_no_header(const struct asking *a, struct strbuf *text)
{
    if (a->question->listener->proxy_mode == PROXY_MODE_OFF)
        strbuf_add(text, "proxy_protocol is off: who connects is the client");
    else
        strbuf_add(text, "no PROXY header is expected: the peer is not in proxy_trusted, so it is the client");
}

static void say_header(const struct asking *a, const struct ip_addr *peer, struct strbuf *text)
{
    strbuf_add(text, "a PROXY header is expected");
    if (a->question->listener->trusted_count == 0) {
        strbuf_add(text, " from everybody");
    } else if (peer->family != 0) {
        strbuf_add(text, ", ");
        ip_addr_format(peer, text);
        strbuf_add(text, " is in proxy_trusted");
    } else {
        strbuf_add(text, ", from peers in proxy_trusted");
    }
    strbuf_add(text, ": the address in it counts, ");
    ip_addr_format(&a->question->client, text);
}

static bool ask_proxy(struct asking *a)
{
    const struct explain_question *q = a->question;
    const struct config_listener *l = q->listener;
    struct strbuf text = begin_step(a, EXPLAIN_PROXY);
    bool has_peer = q->peer.family != 0;
    /* Who is not named is one who may send a header, where nobody else may connect. */
    enum proxy_duty duty =
        !has_peer && l->proxy_mode == PROXY_MODE_REQUIRED
            ? PROXY_DUTY_HEADER
            : proxy_duty(l->proxy_mode, l->trusted, l->trusted_count, has_peer ? &q->peer : &q->client);

    switch (duty) {
    case PROXY_DUTY_HEADER: say_header(a, &q->peer, &text); return true;
    case PROXY_DUTY_REFUSED:
        ip_addr_format(&q->peer, &text);
        strbuf_add(&text, " is not in proxy_trusted: reset before a byte is read");
        return end_with(a, CLOSE_PROXY_UNTRUSTED);
    case PROXY_DUTY_NONE: break;
    }
    say_no_header(a, &text);
    if (!has_peer || ip_addr_equal(&q->peer, &q->client))
        return true;
    strbuf_add(&text, "; the header that it sends all the same is no ClientHello: reset");
    return end_with(a, CLOSE_HELLO_MALFORMED);
}

/* ---- the firewall ---- */

static bool find_country(void *context, const struct ip_addr *addr, char iso_code_out[2])
{
    return geoip_reader_country(context, addr, iso_code_out);
}

/** geoip_reader_country() only reads, but a callback's context has no const. */
static void *unconst(const struct geoip_reader *reader)
{
    union {
        const struct geoip_reader *in;
        void *out;
    } u = {.in = reader};

    return u.out;
}

static void say_pass(const struct asking *a, struct strbuf *text)
{
    strbuf_add(text, "no rule covers ");
    ip_addr_format(&a->question->client, text);
    if (a->parts->geoip == NULL)
        return;
    if (a->out->country[0] == '\0')
        strbuf_add(text, "; its country is unknown, which is never blocked");
    else
        strbuf_addf(text, "; its country %s has no rule", a->out->country);
}

static enum close_reason say_blocked(struct asking *a, enum firewall_verdict verdict, struct strbuf *text)
{
    struct explanation *out = a->out;

    ip_addr_format(&a->question->client, text);
    switch (verdict) {
    case FIREWALL_BLOCKED_IP:
        out->has_rule = true;
        strbuf_add(text, " is blocked by the rule ip ");
        ip_addr_format(&out->rule.addr, text);
        return CLOSE_BLOCKED_IP;
    case FIREWALL_BLOCKED_CIDR:
        out->has_rule = true;
        strbuf_add(text, " is blocked by the rule cidr ");
        ip_cidr_format(&out->rule, text);
        return CLOSE_BLOCKED_CIDR;
    default: strbuf_addf(text, " is blocked by the rule country %s", out->country); return CLOSE_BLOCKED_COUNTRY;
    }
}

static bool ask_firewall(struct asking *a)
{
    const struct explain_parts *parts = a->parts;
    const struct ip_addr *client = &a->question->client;
    struct strbuf text = begin_step(a, EXPLAIN_FIREWALL);

    if (parts->geoip != NULL && geoip_reader_country(parts->geoip, client, a->out->country))
        a->out->country[2] = '\0';
    const struct shm_root *root = table_pin(&parts->tables->view);
    enum firewall_verdict verdict =
        firewall_find(parts->tables->shm, root, client, parts->geoip != NULL ? find_country : NULL,
                      unconst(parts->geoip), &a->out->rule);
    table_release(&parts->tables->view);
    if (verdict == FIREWALL_PASS) {
        say_pass(a, &text);
        return true;
    }
    enum close_reason reason = say_blocked(a, verdict, &text);
    strbuf_add(&text, ": reset");
    return end_with(a, reason);
}

/* ---- the rate limit ---- */

static void add_ms(struct strbuf *out, uint64_t ms)
{
    if (ms % 60000 == 0)
        strbuf_addf(out, "%" PRIu64 "m", ms / 60000);
    else if (ms % 1000 == 0)
        strbuf_addf(out, "%" PRIu64 "s", ms / 1000);
    else
        strbuf_addf(out, "%" PRIu64 "ms", ms);
}

static void say_who_counts(const struct ip_addr *client, struct strbuf *text)
{
    struct ip_cidr net = {.addr = firewall_mask_addr(client, 64), .prefix_len = 64};

    if (client->family == 6)
        ip_cidr_format(&net, text);
    else
        ip_addr_format(client, text);
}

static bool ask_rate(struct asking *a)
{
    const struct ip_addr *client = &a->question->client;
    struct rate_usage *rate = &a->out->rate;
    struct strbuf text = begin_step(a, EXPLAIN_RATE_LIMIT);

    *rate = rate_table_look(a->parts->rates, &a->parts->tables->shm->rate, client, a->question->now_ns);
    a->out->was_rated = true;
    if (rate->rule.limit == 0) {
        strbuf_add(&text, "rate_limit is off");
        return true;
    }
    say_who_counts(client, &text);
    strbuf_addf(&text, " has used %" PRIu32 " of ", rate->used);
    add_count(&text, rate->rule.limit, "new connection in ", "new connections in ");
    add_ms(&text, rate->rule.window_ms);
    if (rate->retry_in_ns == 0)
        return true;
    strbuf_addf(&text, "; the next is admitted in %" PRIu64 " ms: reset", rate->retry_in_ns / NS_PER_MS + 1);
    return end_with(a, CLOSE_RATE_LIMIT);
}

/* ---- the name ---- */

static bool ask_hello(struct asking *a)
{
    struct bytes sni = a->question->sni;
    struct strbuf text = begin_step(a, EXPLAIN_HELLO);

    if (sni.len == 0) {
        strbuf_add(&text, "no server name: only the route * takes it");
        return true;
    }
    if (hostname_normalise(sni, a->out->sni) > 0) {
        strbuf_addf(&text, "server name %s", a->out->sni);
        return true;
    }
    a->out->sni[0] = '\0';
    strbuf_add(&text, "the server name is no hostname: reset, whatever the routes are");
    return end_with(a, CLOSE_HELLO_MALFORMED);
}

/* ---- the route ---- */

static struct bytes route_name(const struct shm_route *route)
{
    return bytes_of(route->name, route->name_len);
}

/** Copy a route and its backend out of the pinned tables. */
static void keep_route(struct explanation *out, const struct route_match *match)
{
    struct strbuf pattern = STRBUF_OF(out->pattern), backend = STRBUF_OF(out->backend);
    bool is_wildcard = (match->route->flags & SHM_ROUTE_WILDCARD) != 0;

    out->has_route = true;
    out->match = !is_wildcard                 ? HOST_PATTERN_EXACT
                 : match->route->name_len > 0 ? HOST_PATTERN_WILDCARD
                                              : HOST_PATTERN_ANY;
    strbuf_add(&pattern, out->match == HOST_PATTERN_EXACT ? "" : out->match == HOST_PATTERN_ANY ? "*" : "*.");
    strbuf_add_bytes(&pattern, route_name(match->route));
    strbuf_add_bytes(&backend, shm_backend_text(match->backend));
    out->send_proxy_protocol = (match->route->flags & SHM_ROUTE_SEND_PROXY_PROTOCOL) != 0;
    out->is_counted = match->route->series != 0;
    out->addr_count = match->backend->addr_count;
    for (unsigned i = 0; i < out->addr_count; i++)
        out->addrs[i] =
            (struct ip_endpoint){.addr = match->backend->addrs[i].addr, .port = match->backend->addrs[i].port};
}

static void find_route(const struct asking *a)
{
    const struct table_view *view = &a->parts->tables->view;
    const struct shm_root *root = table_pin(view);
    struct route_match match;

    if (route_match_name(view->tables, root, a->question->listener_id, bytes_of_str(a->out->sni), &match))
        keep_route(a->out, &match);
    table_release(view);
}

static bool ask_route(struct asking *a)
{
    static const char *const why[] = {
        [HOST_PATTERN_EXACT] = "is the route of exactly this name",
        [HOST_PATTERN_WILDCARD] = "is the longest wildcard that covers the name, which has no route of its own",
        [HOST_PATTERN_ANY] = "takes what no other route covers",
    };
    struct strbuf text = begin_step(a, EXPLAIN_ROUTE);

    find_route(a);
    if (a->out->has_route) {
        strbuf_addf(&text, "%s %s", a->out->pattern, why[a->out->match]);
        return true;
    }
    strbuf_add(&text, "no route covers it, and no_route = ");
    strbuf_add(&text, a->question->listener->no_route_mode == NO_ROUTE_ALERT
                          ? "alert: a fatal unrecognized_name alert, then close"
                          : "reset: reset");
    return end_with(a, CLOSE_NO_ROUTE);
}

/* ---- the backend ---- */

static void add_addresses(const struct explanation *out, struct strbuf *text)
{
    strbuf_add(text, out->addr_count > 1 ? ", now at these addresses, tried in this order: " : ", now at ");
    for (unsigned i = 0; i < out->addr_count; i++) {
        strbuf_add(text, i > 0 ? ", " : "");
        ip_endpoint_format(&out->addrs[i], text);
    }
}

static bool ask_backend(struct asking *a)
{
    struct explanation *out = a->out;
    bool is_unix = strncmp(out->backend, "unix:", 5) == 0;
    struct strbuf text = begin_step(a, EXPLAIN_BACKEND), first = {0};
    char first_text[ADDRESS_TEXT_MAX];

    strbuf_add(&text, out->backend);
    if (out->addr_count == 0 && !is_unix) {
        strbuf_add(&text, " is a name without a known address at the moment: reset");
        return end_with(a, CLOSE_BACKEND_UNRESOLVED);
    }
    first = STRBUF_OF(first_text);
    if (out->addr_count > 0)
        ip_endpoint_format(&out->addrs[0], &first);
    if (out->addr_count > 1 || (!is_unix && strcmp(first_text, out->backend) != 0))
        add_addresses(out, &text);
    if (out->send_proxy_protocol)
        strbuf_add(&text, "; a PROXY protocol v2 header with the client's address goes first");
    out->is_routed = true;
    return true;
}

void explain_connection(const struct explain_parts *parts, const struct explain_question *question,
                        struct explanation *out)
{
    /* In the order of a worker's: conn_accept(), conn_may_enter(), conn_step_hello(), conn_step_connect(). */
    static bool (*const steps[])(struct asking * a) = {ask_accept, ask_proxy, ask_firewall, ask_rate,
                                                       ask_hello,  ask_route, ask_backend};
    struct asking a = {.parts = parts, .question = question, .out = out};

    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (!steps[i](&a))
            return;
    }
}
