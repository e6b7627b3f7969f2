/* Pages of `mc-proxy top`: the answer of GetStatus into counters by group, and rates into tables that fit 80 columns. */

#include "top_view.h"

#include <inttypes.h>
#include <string.h>

#include "client_text.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "strbuf.h"

#define NUMBER_WIDTH 9

/* Values of all; rejected, blocked and failed in one number have no use, so they are three. */
enum { ALL_REJECTED, ALL_BLOCKED, ALL_FAILED, ALL_VALUES };

/* Values of a group by connections. */
enum { GROUP_NEW, GROUP_BAD, GROUP_IN, GROUP_OUT, GROUP_VALUES };

/** A table: its values are those of the group, and the total of the first at the end. */
struct group {
    const char *word;
    const char *title;
    const char *values[GROUP_VALUES]; /* NULL: the table ends */
};

static const struct group groups[TOP_BY_COUNT] = {
    [TOP_BY_ROUTE] = {"route", "ROUTE", {"NEW/s", "FAILED/s", "IN/s", "OUT/s"}},
    [TOP_BY_CLIENT] = {"client", "CLIENT", {"ENDED/s", "FAILED/s", "IN/s", "OUT/s"}},
    [TOP_BY_REASON] = {"reason", "REASON", {"ENDED/s"}},
    [TOP_BY_LISTENER] = {"listener", "LISTENER", {"NEW/s", "FAILED/s", "IN/s", "OUT/s"}},
};

const char *top_by_word(enum top_by by)
{
    CHECK((unsigned)by < TOP_BY_COUNT);
    return groups[by].word;
}

static unsigned value_count(enum top_by by)
{
    unsigned count = 0;

    while (count < GROUP_VALUES && groups[by].values[count] != NULL)
        count++;
    return count;
}

void top_init(struct top *top)
{
    *top = (struct top){0};
    rates_init(&top->all, ALL_VALUES);
    for (unsigned by = 0; by < TOP_BY_COUNT; by++)
        rates_init(&top->groups[by], value_count(by));
}

void top_fini(struct top *top)
{
    rates_fini(&top->all);
    for (unsigned by = 0; by < TOP_BY_COUNT; by++)
        rates_fini(&top->groups[by]);
}

/* ---- a look ---- */

static void look_at_listeners(struct top *top, const McProxy__V1__GetStatusResponse *status, uint64_t now_ms)
{
    struct rates *listeners = &top->groups[TOP_BY_LISTENER], *reasons = &top->groups[TOP_BY_REASON];

    rates_begin(&top->all, now_ms);
    rates_begin(listeners, now_ms);
    rates_begin(reasons, now_ms);
    for (size_t i = 0; i < status->n_listeners; i++) {
        const McProxy__V1__ListenerStatus *l = status->listeners[i];
        const uint64_t all[] = {l->rejected_connections, l->blocked_connections, l->failed_connections};
        const uint64_t values[] = {l->total_connections, l->failed_connections, l->bytes_in, l->bytes_out};
        rates_put(&top->all, "", all);
        rates_put(listeners, l->addr, values);
        for (size_t r = 0; r < l->n_closed; r++)
            rates_put(reasons, l->closed[r]->reason, &l->closed[r]->connections);
    }
    rates_end(&top->all);
    rates_end(listeners);
    rates_end(reasons);
}

static void look_at_routes(struct top *top, const McProxy__V1__GetStatusResponse *status, uint64_t now_ms)
{
    struct rates *routes = &top->groups[TOP_BY_ROUTE];

    rates_begin(routes, now_ms);
    for (size_t i = 0; i < status->n_routes; i++) {
        const McProxy__V1__RouteStatus *r = status->routes[i];
        const uint64_t values[] = {r->total_connections, r->failed_connections, r->bytes_in, r->bytes_out};
        char data[RATES_KEY_MAX];
        struct strbuf key = STRBUF_OF(data);
        if (status->n_listeners > 1)
            strbuf_addf(&key, "%s ", r->listener_addr);
        strbuf_add(&key, r->hostname);
        rates_put(routes, data, values);
    }
    rates_end(routes);
}

void top_look(struct top *top, const McProxy__V1__GetStatusResponse *status, uint64_t now_ms)
{
    look_at_listeners(top, status, now_ms);
    if (top->is_by_route)
        look_at_routes(top, status, now_ms);
}

/* ---- a page ---- */

/** "1.20M", or "-" as long as there is nothing to compare with. */
static void add_rate(bool is_known, uint64_t rate, struct strbuf *out)
{
    if (is_known)
        client_text_add_amount(rate, out);
    else
        strbuf_add(out, "-");
}

static void print_rate(const char *name, bool is_known, uint64_t rate, FILE *to)
{
    char data[16];
    struct strbuf text = STRBUF_OF(data);

    add_rate(is_known, rate, &text);
    fprintf(to, "   %s %s/s", name, data);
}

/** The sum of a value's rates. */
static uint64_t sum_of(const struct rates *r, unsigned value)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < r->count; i++)
        sum += r->rows[i].per_second[value];
    return sum;
}

static void print_head(const struct top *top, const McProxy__V1__GetStatusResponse *status, FILE *to)
{
    const struct rates *listeners = &top->groups[TOP_BY_LISTENER];
    bool is_known = rates_are_known(&top->all);
    char data[64];
    struct strbuf version = STRBUF_OF(data);

    client_text_add_printable(bytes_of_str(status->version), &version);
    fprintf(to, "mc-proxy %s%s   open %" PRIu64, data, status->is_draining ? ", draining" : "",
            status->active_connections);
    print_rate("new", is_known, sum_of(listeners, GROUP_NEW), to);
    print_rate("in", is_known, sum_of(listeners, GROUP_IN), to);
    print_rate("out", is_known, sum_of(listeners, GROUP_OUT), to);
    fputs("\nnot served:", to);
    print_rate("rejected", is_known, sum_of(&top->all, ALL_REJECTED), to);
    print_rate("blocked", is_known, sum_of(&top->all, ALL_BLOCKED), to);
    print_rate("failed", is_known, sum_of(&top->all, ALL_FAILED), to);
    fputc('\n', to);
}

/** A name in a column: printable, cut where it ends ("~" says so). */
static void print_name(const char *name, unsigned width, FILE *to)
{
    char data[2 * RATES_KEY_MAX];
    struct strbuf text = STRBUF_OF(data);

    client_text_add_printable(bytes_of_str(name), &text); /* names of ours are ASCII */
    if (text.len > width)
        fprintf(to, "%.*s~", (int)width - 1, data);
    else
        fprintf(to, "%-*s", (int)width, data);
}

static void print_number(bool is_known, uint64_t number, FILE *to)
{
    char data[16];
    struct strbuf text = STRBUF_OF(data);

    add_rate(is_known, number, &text);
    fprintf(to, "%*s", NUMBER_WIDTH, data);
}

static void print_table(const struct top *top, enum top_by by, const struct top_layout *layout, FILE *to)
{
    const struct rates *r = &top->groups[by];
    unsigned values = value_count(by);
    unsigned numbers = (GROUP_VALUES + 1) * NUMBER_WIDTH; /* the same for all tables, so that they stand in line */
    unsigned width = layout->columns > numbers + 12 ? layout->columns - numbers : 12;

    fputc('\n', to);
    print_name(groups[by].title, width, to);
    for (unsigned v = 0; v < values; v++)
        fprintf(to, "%*s", NUMBER_WIDTH, groups[by].values[v]);
    fprintf(to, "%*s\n", NUMBER_WIDTH, "TOTAL");
    for (size_t i = 0; i < r->count && i < layout->rows; i++) {
        print_name(r->rows[i].key, width, to);
        for (unsigned v = 0; v < values; v++)
            print_number(rates_are_known(r), r->rows[i].per_second[v], to);
        print_number(true, r->rows[i].counters[0], to);
        fputc('\n', to);
    }
    if (by == TOP_BY_CLIENT && top->lost > 0)
        fprintf(to, "(%" PRIu64 " connections came faster than they could be told)\n", top->lost);
    if (r->is_short)
        fputs("(more rows than there is memory for)\n", to);
}

void top_print(const struct top *top, const McProxy__V1__GetStatusResponse *status, const struct top_layout *layout,
               FILE *to)
{
    print_head(top, status, to);
    for (unsigned by = 0; by < TOP_BY_COUNT; by++) {
        if (layout->is_shown[by])
            print_table(top, by, layout, to);
    }
}
