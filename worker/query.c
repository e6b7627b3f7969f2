/* Questions about open connections: a bounded walk over the pool they live in, for each message of the master's one. */

#include "query.h"

#include <string.h>

#include "access_record.h"
#include "conn.h"
#include "conn_facts.h"
#include "conn_log.h"
#include "log_event.h"
#include "worker.h"

struct walk {
    const struct ctl_query *query;
    struct ctl_query_answer *answer;
    size_t len; /* of the answer so far */
};

static bool is_on_route(const struct conn *c, const char *route)
{
    char pattern[CONN_PATTERN_MAX];

    return c->facts != NULL && bytes_equal_str(conn_facts_route(c->facts, pattern), route);
}

static bool is_meant(const struct conn *c, const struct ctl_query *q)
{
    return (q->conn == 0 || q->conn == c->id) && (!q->has_listener || q->listener == c->listener->id) &&
           (q->client.addr.family == 0 || ip_cidr_covers(&q->client, &c->client.addr)) &&
           (q->route[0] == '\0' || is_on_route(c, q->route));
}

static void describe(struct log_event *e, const struct conn *c)
{
    uint32_t idle_ticks = conn_worker(c)->wheel.now - c->active_tick;

    log_event_begin_always(e, LOG_INFO, ACCESS_RECORD_MESSAGE);
    conn_describe(e, c, conn_age_us(c));
    log_event_cstr(e, LOG_KEY_STATE, conn_step_name((enum conn_step)c->step));
    log_event_u64(e, LOG_KEY_IDLE_MS, (uint64_t)idle_ticks * WHEEL_TICK_MS);
}

/** False: the answer has no room for it. */
static bool list_conn(struct walk *walk, const struct conn *c)
{
    struct log_event e;

    describe(&e, c);
    struct bytes record = log_event_record(&e);
    uint16_t len = (uint16_t)record.len;
    if (QUERY_ANSWER_MAX - walk->len < sizeof len + record.len)
        return false;
    uint8_t *at = (uint8_t *)walk->answer + walk->len;
    memcpy(at, &len, sizeof len);
    memcpy(at + sizeof len, record.ptr, record.len);
    walk->len += sizeof len + record.len;
    walk->answer->record_count++;
    return true;
}

/** False: not now, the answer is full. */
static bool visit(struct walk *walk, struct conn *c)
{
    if (!is_meant(c, walk->query))
        return true;
    if (walk->query->action == CTL_QUERY_LIST && !list_conn(walk, c))
        return false;
    walk->answer->matched++;
    if (walk->query->action == CTL_QUERY_CLOSE)
        conn_close(c, CLOSE_OPERATOR);
    return true;
}

size_t query_answer(struct worker *w, const struct ctl_query *query, struct ctl_query_answer *out)
{
    struct walk walk = {.query = query, .answer = out, .len = sizeof *walk.answer};
    uint64_t place = query->cursor;
    uint64_t end = place < UINT32_MAX ? place + QUERY_PLACES_MAX : place;

    *walk.answer = (struct ctl_query_answer){.query_id = query->query_id};
    for (; place < end && place < w->conns.total; place++) {
        struct conn *c = pool_at(&w->conns, (uint32_t)place, CONN_MAGIC);
        if (c != NULL && !visit(&walk, c))
            break;
    }
    walk.answer->cursor = place < w->conns.total ? place : CTL_QUERY_END;
    return walk.len;
}
