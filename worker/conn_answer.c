/* What the backend answers first: read along as it passes by, and counted. */

#include "conn_answer.h"

#include "conn.h"
#include "conn_facts.h"
#include "conn_route_stats.h"
#include "stats.h"
#include "worker.h"

static void count_answer(const struct conn *c)
{
    stat_add(&c->listener->stats->handshakes[c->facts->answer.outcome], 1);
    conn_count_route_answer(c);
}

void conn_take_answer(struct conn *c, struct bytes in)
{
    struct conn_facts *f = c->facts;

    if (f->first_byte_us == CONN_NOT_YET) {
        uint64_t waited_us = conn_age_us(c) - f->hello_us - f->connect_us;
        f->first_byte_us = conn_span_us(waited_us);
        histogram_observe(&c->listener->stats->first_byte, &histogram_latency, waited_us);
    }
    if (server_hello_feed(&f->answer, in)) {
        c->awaits_answer = 0;
        count_answer(c);
    }
}

void conn_end_answer(struct conn *c)
{
    if (server_hello_is_done(&c->facts->answer))
        return;
    server_hello_end(&c->facts->answer);
    count_answer(c);
}
