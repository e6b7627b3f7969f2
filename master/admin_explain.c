/* Explain: what would become of a connection. */

#include <stdlib.h>
#include <unistd.h>

#include "admin_internal.h"
#include "clock.h"
#include "config.h"
#include "err.h"
#include "explain.h"
#include "geoip_reader.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "state.h"
#include "stats_segment.h"
#include "supervisor.h"

/* clang-format off */
static const struct {
    enum close_reason reason;
    McProxy__V1__Verdict verdict;
    const char *client_sees;
} endings[] = {
    {CLOSE_MAX_CONNECTIONS,    MC_PROXY__V1__VERDICT__VERDICT_MAX_CONNECTIONS,    "close"},
    {CLOSE_PROXY_UNTRUSTED,    MC_PROXY__V1__VERDICT__VERDICT_PROXY_UNTRUSTED,    "reset"},
    {CLOSE_BLOCKED_IP,         MC_PROXY__V1__VERDICT__VERDICT_BLOCKED_IP,         "reset"},
    {CLOSE_BLOCKED_CIDR,       MC_PROXY__V1__VERDICT__VERDICT_BLOCKED_CIDR,       "reset"},
    {CLOSE_BLOCKED_COUNTRY,    MC_PROXY__V1__VERDICT__VERDICT_BLOCKED_COUNTRY,    "reset"},
    {CLOSE_RATE_LIMIT,         MC_PROXY__V1__VERDICT__VERDICT_RATE_LIMIT,         "reset"},
    {CLOSE_HELLO_MALFORMED,    MC_PROXY__V1__VERDICT__VERDICT_HELLO_MALFORMED,    "reset"},
    {CLOSE_NO_ROUTE,           MC_PROXY__V1__VERDICT__VERDICT_NO_ROUTE,           "reset"},
    {CLOSE_BACKEND_UNRESOLVED, MC_PROXY__V1__VERDICT__VERDICT_BACKEND_UNRESOLVED, "reset"},
};

static const McProxy__V1__RouteMatch matches[] = {
    [HOST_PATTERN_EXACT]    = MC_PROXY__V1__ROUTE_MATCH__ROUTE_MATCH_EXACT,
    [HOST_PATTERN_WILDCARD] = MC_PROXY__V1__ROUTE_MATCH__ROUTE_MATCH_WILDCARD,
    [HOST_PATTERN_ANY]      = MC_PROXY__V1__ROUTE_MATCH__ROUTE_MATCH_DEFAULT,
};
/* clang-format on */

/** The message, and what it points to. */
struct answer {
    McProxy__V1__ExplainResponse message;
    McProxy__V1__FirewallRule rule;
    McProxy__V1__RateUsage rate;
    McProxy__V1__Route route;
    McProxy__V1__ExplainStep steps[EXPLAIN_STEPS_MAX];
    McProxy__V1__ExplainStep *step_list[EXPLAIN_STEPS_MAX];
    char client[ADDRESS_TEXT_MAX];
    char rule_text[ADDRESS_TEXT_MAX];
    char addrs[SHM_BACKEND_ADDRS_MAX][ADDRESS_TEXT_MAX];
    char *addr_list[SHM_BACKEND_ADDRS_MAX];
    struct explanation explanation;
};

/* ---- the question ---- */

static int parse_address(const char *field, const char *text, struct ip_addr *out, struct strbuf *why)
{
    size_t len = why->len;

    strbuf_addf(why, "%s: ", field);
    if (text[0] == '\0') {
        strbuf_add(why, "is missing; expected an IP address");
        return ERR_INVALID;
    }
    int rc = ip_addr_parse(bytes_of_str(text), out, why);
    if (rc == 0)
        strbuf_cut(why, len);
    return rc == 0 ? 0 : ERR_INVALID;
}

static int read_question(const struct admin *a, const McProxy__V1__ExplainRequest *request, struct explain_question *q,
                         struct strbuf *why)
{
    int rc;

    if ((rc = admin_find_listener(a, request->listener_addr, &q->listener_id, &q->listener, why)) != 0 ||
        (rc = parse_address("from", request->from, &q->client, why)) != 0)
        return rc;
    q->sni = bytes_of_str(request->sni);
    q->now_ns = clock_monotonic_ns();
    if (request->peer[0] == '\0')
        return 0;
    if (q->listener->proxy_mode == PROXY_MODE_OFF) {
        strbuf_add(why, "peer: this listener has proxy_protocol = off, so nobody connects in another's name");
        return ERR_INVALID;
    }
    return parse_address("peer", request->peer, &q->peer, why);
}

/* ---- the answer ---- */

static void fill_ending(struct answer *answer, const struct explain_question *q)
{
    const struct explanation *e = &answer->explanation;
    McProxy__V1__ExplainResponse *m = &answer->message;

    m->verdict = MC_PROXY__V1__VERDICT__VERDICT_ROUTED;
    for (size_t i = 0; !e->is_routed && i < sizeof endings / sizeof endings[0]; i++) {
        if (endings[i].reason == e->reason) {
            m->verdict = endings[i].verdict;
            m->client_sees = admin_text(endings[i].client_sees);
        }
    }
    if (e->is_routed)
        return;
    m->reason = admin_text(close_reason_word(e->reason));
    if (e->reason == CLOSE_NO_ROUTE && q->listener->no_route_mode == NO_ROUTE_ALERT)
        m->client_sees = admin_text("alert");
}

static void fill_rule(struct answer *answer)
{
    const struct explanation *e = &answer->explanation;
    struct strbuf text = STRBUF_OF(answer->rule_text);

    if (!e->has_rule && (e->is_routed || e->reason != CLOSE_BLOCKED_COUNTRY))
        return;
    mc_proxy__v1__firewall_rule__init(&answer->rule);
    answer->rule.value = answer->rule_text;
    answer->message.rule = &answer->rule;
    if (!e->has_rule) {
        answer->rule.type = MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_COUNTRY;
        strbuf_add(&text, e->country);
    } else if (e->reason == CLOSE_BLOCKED_IP) {
        answer->rule.type = MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_IP;
        ip_addr_format(&e->rule.addr, &text);
    } else {
        answer->rule.type = MC_PROXY__V1__FIREWALL_RULE_TYPE__FIREWALL_RULE_TYPE_CIDR;
        ip_cidr_format(&e->rule, &text);
    }
}

static void fill_rate(struct answer *answer)
{
    const struct rate_usage *usage = &answer->explanation.rate;

    if (!answer->explanation.was_rated || usage->rule.limit == 0)
        return;
    mc_proxy__v1__rate_usage__init(&answer->rate);
    answer->rate.limit = usage->rule.limit;
    answer->rate.window_ms = usage->rule.window_ms;
    answer->rate.used = usage->used;
    answer->rate.retry_in_ms = usage->retry_in_ns > 0 ? usage->retry_in_ns / 1000000 + 1 : 0;
    answer->message.rate = &answer->rate;
}

static void fill_route(struct answer *answer)
{
    struct explanation *e = &answer->explanation;
    McProxy__V1__ExplainResponse *m = &answer->message;

    if (!e->has_route)
        return;
    mc_proxy__v1__route__init(&answer->route);
    answer->route.hostname = e->pattern;
    answer->route.backend = e->backend;
    answer->route.send_proxy_protocol = e->send_proxy_protocol;
    m->route = &answer->route;
    m->match = matches[e->match];
    m->is_counted = e->is_counted;
    m->backend_addrs = answer->addr_list;
    for (; m->n_backend_addrs < e->addr_count; m->n_backend_addrs++) {
        struct strbuf text = STRBUF_OF(answer->addrs[m->n_backend_addrs]);
        ip_endpoint_format(&e->addrs[m->n_backend_addrs], &text);
        answer->addr_list[m->n_backend_addrs] = answer->addrs[m->n_backend_addrs];
    }
}

static void fill_steps(struct answer *answer)
{
    struct explanation *e = &answer->explanation;
    McProxy__V1__ExplainResponse *m = &answer->message;

    m->steps = answer->step_list;
    for (; m->n_steps < e->step_count; m->n_steps++) {
        McProxy__V1__ExplainStep *step = &answer->steps[m->n_steps];
        mc_proxy__v1__explain_step__init(step);
        step->name = admin_text(explain_step_word(e->steps[m->n_steps].kind));
        step->text = e->steps[m->n_steps].text;
        answer->step_list[m->n_steps] = step;
    }
}

static void fill_answer(struct answer *answer, const struct explain_question *q)
{
    struct strbuf client = STRBUF_OF(answer->client);
    McProxy__V1__ExplainResponse *m = &answer->message;

    mc_proxy__v1__explain_response__init(m);
    ip_addr_format(&q->client, &client);
    m->client = answer->client;
    m->country = answer->explanation.country;
    m->sni = answer->explanation.sni;
    m->active_connections = answer->explanation.active_connections;
    m->max_connections = answer->explanation.max_connections;
    fill_ending(answer, q);
    fill_rule(answer);
    fill_rate(answer);
    fill_route(answer);
    fill_steps(answer);
}

/** The database that workers look up in, opened as they open it; NULL: there is none. */
static int open_geoip(const struct admin *a, struct geoip_reader **out)
{
    int fd = supervisor_geoip(a->parts.supervisor);
    int copy = fd >= 0 ? dup(fd) : -1;

    *out = NULL;
    if (fd < 0)
        return 0;
    return copy >= 0 ? geoip_reader_open(copy, out) : ERR_UNAVAILABLE;
}

static void explain(struct admin *a, struct grpc_call *call, const void *message)
{
    struct explain_question question = {0};
    struct explain_parts parts = {
        .tables = state_tables(a->parts.state), .rates = state_rates(a->parts.state), .stats = a->parts.stats->stats};
    char text[ADMIN_WHY_MAX];
    struct strbuf why = STRBUF_OF(text);
    struct geoip_reader *geoip = NULL;
    struct answer *answer = NULL;
    int rc = read_question(a, message, &question, &why);

    if (rc == 0 && (answer = calloc(1, sizeof *answer)) == NULL)
        rc = ERR_NO_MEMORY;
    if (rc == 0 && open_geoip(a, &geoip) != 0) {
        rc = ERR_UNAVAILABLE;
        strbuf_add(&why, "the GeoIP database cannot be opened now");
    }
    if (rc == 0) {
        parts.geoip = geoip;
        explain_connection(&parts, &question, &answer->explanation);
        fill_answer(answer, &question);
        admin_reply(call, &answer->message.base);
    } else {
        admin_fail(call, rc, &why);
    }
    geoip_reader_close(&geoip);
    free(answer);
}

void admin_on_explain(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &mc_proxy__v1__explain_request__descriptor, explain);
}
