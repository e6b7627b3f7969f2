#ifndef TOP_VIEW_H
#define TOP_VIEW_H

#include <stdbool.h>
#include <stdio.h>

#include "check.h"
#include "rates.h"

struct McProxy__V1__GetStatusResponse; /* mc_proxy/v1/admin.pb-c.h */

/* A page of `mc-proxy top`: what happens per second, over all and by something. */

enum top_by { TOP_BY_ROUTE, TOP_BY_CLIENT, TOP_BY_REASON, TOP_BY_LISTENER, TOP_BY_COUNT };

/** "route", "client", ...; for the option and its help. */
const char *top_by_word(enum top_by by);

/** What is looked at. Each of the groups has its own values: see top_view.c. */
struct top {
    struct rates all; /* one row */
    struct rates groups[TOP_BY_COUNT];
    bool is_by_route; /* otherwise routes are not asked for */
    uint64_t lost;    /* connections that clients were not told of */
};

void top_init(struct top *top);
void top_fini(struct top *top);

/** One look at everything but clients, which client_counts_look() puts. */
void top_look(struct top *top, const struct McProxy__V1__GetStatusResponse *status, uint64_t now_ms);

/** How a page is laid out. */
struct top_layout {
    bool is_shown[TOP_BY_COUNT];
    unsigned rows;    /* of each table, at most */
    unsigned columns; /* 40 and up */
};

/** Errors of `to` are the caller's. */
void top_print(const struct top *top, const struct McProxy__V1__GetStatusResponse *status,
               const struct top_layout *layout, FILE *to);

#endif
