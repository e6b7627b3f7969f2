/* Counters as rates: two looks, sorted by key, and what was added between them. */

#include "rates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rates_init(struct rates *r, unsigned value_count)
{
    CHECK(value_count >= 1 && value_count <= RATES_VALUES_MAX);
    *r = (struct rates){.value_count = value_count};
}

void rates_fini(struct rates *r)
{
    free(r->rows);
    free(r->before);
    *r = (struct rates){.value_count = r->value_count};
}

uint64_t rates_per_second(uint64_t before, uint64_t after, uint64_t elapsed_ms)
{
    uint64_t added = after >= before ? after - before : after;

    if (elapsed_ms == 0)
        return 0;
    unsigned __int128 rate = ((unsigned __int128)added * 1000 + elapsed_ms / 2) / elapsed_ms;
    return rate <= UINT64_MAX ? (uint64_t)rate : UINT64_MAX;
}

static int by_key(const void *left, const void *right)
{
    const struct rates_row *a = left, *b = right;

    return strcmp(a->key, b->key);
}

static int greater_first(uint64_t a, uint64_t b)
{
    return (a < b) - (a > b);
}

static int by_rate(const void *left, const void *right)
{
    const struct rates_row *a = left, *b = right;
    int order = greater_first(a->per_second[0], b->per_second[0]);

    if (order == 0)
        order = greater_first(a->counters[0], b->counters[0]);
    return order != 0 ? order : strcmp(a->key, b->key);
}

/** The rows become the look before, by key. */
void rates_begin(struct rates *r, uint64_t now_ms)
{
    struct rates_row *rows = r->before;
    size_t room = r->before_room;

    r->before = r->rows;
    r->before_count = r->count;
    r->before_room = r->room;
    r->rows = rows;
    r->room = room;
    r->count = 0;
    r->last_ms = r->at_ms;
    r->at_ms = now_ms;
    r->is_short = false;
    if (r->before_count > 0)
        qsort(r->before, r->before_count, sizeof *r->before, by_key);
}

static struct rates_row *new_row(struct rates *r)
{
    if (r->count == r->room) {
        size_t room = r->room > 0 ? 2 * r->room : 64;
        struct rates_row *rows = realloc(r->rows, room * sizeof *rows);
        if (rows == NULL)
            return NULL;
        r->rows = rows;
        r->room = room;
    }
    return &r->rows[r->count++];
}

void rates_put(struct rates *r, const char *key, const uint64_t *counters)
{
    struct rates_row *row = new_row(r);

    if (row == NULL) {
        r->is_short = true;
        return;
    }
    *row = (struct rates_row){0};
    snprintf(row->key, sizeof row->key, "%s", key);
    memcpy(row->counters, counters, r->value_count * sizeof *counters);
}

/** One row for each key. */
static void merge_keys(struct rates *r)
{
    size_t kept = 0;

    if (r->count == 0)
        return;
    qsort(r->rows, r->count, sizeof *r->rows, by_key);
    for (size_t i = 1; i < r->count; i++) {
        if (strcmp(r->rows[kept].key, r->rows[i].key) != 0) {
            r->rows[++kept] = r->rows[i];
            continue;
        }
        for (unsigned v = 0; v < r->value_count; v++)
            r->rows[kept].counters[v] += r->rows[i].counters[v];
    }
    r->count = kept + 1;
}

void rates_end(struct rates *r)
{
    static const struct rates_row none;

    merge_keys(r);
    for (size_t i = 0; rates_are_known(r) && i < r->count; i++) {
        struct rates_row *row = &r->rows[i];
        const struct rates_row *old =
            r->before_count > 0 ? bsearch(row, r->before, r->before_count, sizeof *row, by_key) : NULL;
        if (old == NULL)
            old = &none;
        for (unsigned v = 0; v < r->value_count; v++)
            row->per_second[v] = rates_per_second(old->counters[v], row->counters[v], r->at_ms - r->last_ms);
    }
    if (r->count > 0)
        qsort(r->rows, r->count, sizeof *r->rows, by_rate);
}
