/* Questions about open connections: which worker is asked next, who gets the answer. */

#include "connection_queries.h"

#include <stdlib.h>

#include "clock.h"
#include "ctl_codec.h"
#include "err.h"
#include "shm_layout.h"

struct connection_query {
    uint32_t magic;
    struct connection_queries *queries;
    struct connection_query *next;
    struct connection_query **link; /* what points to us */
    struct ctl_query message;
    unsigned slot; /* whose turn it is; SHM_WORKERS_MAX: all were asked */
    bool is_asked; /* an answer is under way */
    bool is_run;   /* and is not within a callback */
    const struct connection_query_events *events;
    void *context;
};
#define CONNECTION_QUERY_MAGIC 0x59524551u

/** What a worker has been asked and has not answered; id 0: nothing. Stays when the query is gone: the worker answers all the same. */
struct asked {
    uint64_t query_id;
    uint64_t cursor;
};

struct connection_queries {
    uint32_t magic;
    connection_ask_fn ask;
    void *context;
    uint64_t last_id;
    unsigned count;
    struct connection_query *first;
    struct asked asked[SHM_WORKERS_MAX];
};
#define CONNECTION_QUERIES_MAGIC 0x53455551u

struct connection_queries *connection_queries_new(connection_ask_fn ask, void *context)
{
    struct connection_queries *queries = calloc(1, sizeof *queries);

    if (queries == NULL)
        return NULL;
    queries->magic = CONNECTION_QUERIES_MAGIC;
    queries->ask = ask;
    queries->context = context;
    queries->last_id = clock_monotonic_us(); /* above all that were given before */
    return queries;
}

void connection_queries_free(struct connection_queries **queries)
{
    if (*queries == NULL)
        return;
    CHECK_MAGIC(*queries, CONNECTION_QUERIES_MAGIC);
    CHECK((*queries)->first == NULL);
    (*queries)->magic = 0;
    free(*queries);
    *queries = NULL;
}

int connection_query_begin(struct connection_queries *queries, const struct ctl_query *query,
                           const struct connection_query_events *events, void *context, struct connection_query **out)
{
    CHECK_MAGIC(queries, CONNECTION_QUERIES_MAGIC);
    if (queries->count >= CONNECTION_QUERIES_MAX)
        return ERR_FULL;
    struct connection_query *q = calloc(1, sizeof *q);
    if (q == NULL)
        return ERR_NO_MEMORY;
    *q = (struct connection_query){
        .magic = CONNECTION_QUERY_MAGIC, .queries = queries, .message = *query, .events = events, .context = context};
    q->message.query_id = ++queries->last_id;
    q->message.cursor = 0;
    q->link = &queries->first;
    while (*q->link != NULL) /* at the end, so that who came first is asked for first */
        q->link = &(*q->link)->next;
    *q->link = q;
    queries->count++;
    *out = q;
    return 0;
}

void connection_query_end(struct connection_query **query)
{
    struct connection_query *q = *query;

    *query = NULL;
    if (q == NULL)
        return;
    CHECK_MAGIC(q, CONNECTION_QUERY_MAGIC);
    *q->link = q->next;
    if (q->next != NULL)
        q->next->link = q->link;
    q->queries->count--;
    q->magic = 0;
    free(q);
}

/** Ask the next worker there is, if that is possible now. Nothing may follow: on_done may end the query. */
static void go_on(struct connection_query *q)
{
    struct connection_queries *queries = q->queries;

    if (!q->is_run || q->is_asked || (q->slot < SHM_WORKERS_MAX && !q->events->has_room(q->context)))
        return;
    for (; q->slot < SHM_WORKERS_MAX; q->slot++, q->message.cursor = 0) {
        struct asked *asked = &queries->asked[q->slot];
        if (asked->query_id != 0)
            return; /* busy; it is asked when it has answered */
        if (!queries->ask(queries->context, q->slot, &q->message))
            continue;
        *asked = (struct asked){.query_id = q->message.query_id, .cursor = q->message.cursor};
        q->is_asked = true;
        return;
    }
    q->is_run = false;
    q->events->on_done(q->context);
}

void connection_query_run(struct connection_query *q)
{
    CHECK_MAGIC(q, CONNECTION_QUERY_MAGIC);
    q->is_run = true;
    go_on(q);
}

static struct connection_query *find_query(struct connection_queries *queries, uint64_t id)
{
    struct connection_query *q = queries->first;

    while (q != NULL && q->message.query_id != id)
        q = q->next;
    return q;
}

void connection_queries_resume(struct connection_queries *queries)
{
    struct connection_query *next;

    CHECK_MAGIC(queries, CONNECTION_QUERIES_MAGIC);
    for (struct connection_query *q = queries->first; q != NULL; q = next) {
        next = q->next;
        go_on(q);
    }
}

/** Who had a part lets those go first who wait for the same worker. */
static void move_to_back(struct connection_query *q)
{
    struct connection_query **end = q->link;

    if (q->next == NULL)
        return;
    *q->link = q->next;
    q->next->link = q->link;
    while (*end != NULL)
        end = &(*end)->next;
    *end = q;
    q->link = end;
    q->next = NULL;
}

/** The worker has said all that it will say. */
static void next_slot(struct connection_query *q)
{
    q->slot++;
    q->message.cursor = 0;
}

bool connection_queries_take(struct connection_queries *queries, unsigned slot, struct bytes payload)
{
    const struct ctl_query_answer *answer = (const void *)payload.ptr; /* aligned, as ctl_recv() says */
    struct asked asked = queries->asked[slot];

    CHECK_MAGIC(queries, CONNECTION_QUERIES_MAGIC);
    if (answer->query_id < asked.query_id || asked.query_id == 0)
        return true; /* for those who were here before us, see connection_queries_new() */
    if (answer->query_id > asked.query_id || answer->cursor <= asked.cursor)
        return false; /* one that goes round in circles would never end */
    queries->asked[slot] = (struct asked){0};
    struct connection_query *q = find_query(queries, asked.query_id);
    if (q != NULL) {
        q->is_asked = false;
        q->message.cursor = answer->cursor;
        if (answer->cursor == CTL_QUERY_END)
            next_slot(q);
        move_to_back(q);
        q->events->on_part(q->context, answer, ctl_answer_records(answer, payload));
    }
    connection_queries_resume(queries);
    return true;
}

void connection_queries_worker_died(struct connection_queries *queries, unsigned slot)
{
    struct asked asked = queries->asked[slot];

    CHECK_MAGIC(queries, CONNECTION_QUERIES_MAGIC);
    queries->asked[slot] = (struct asked){0};
    for (struct connection_query *q = queries->first; q != NULL; q = q->next) {
        if (q->slot != slot || (q->message.query_id != asked.query_id && q->message.cursor == 0))
            continue;
        q->is_asked = false; /* its connections ended with it; a successor's are not what was asked for */
        next_slot(q);
    }
    connection_queries_resume(queries);
}
