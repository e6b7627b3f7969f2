#ifndef RATES_H
#define RATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"

/*
 * Counters that only go up, looked at now and then, as numbers per second. Pure but for its memory: time and counters are the
 * caller's. A counter that is lower than before began again at zero (the server was restarted), so what it has is what was added;
 * a key that was not there in the look before had zero. The first look has no rates.
 *
 *     rates_begin(r, now_ms);
 *     rates_put(r, "www.example.com", counters);     for each
 *     rates_end(r);                                  then rates_list()
 */
#define RATES_VALUES_MAX 4
#define RATES_KEY_MAX    336 /* a listener's address and a hostname, with NUL */

struct rates_row {
    char key[RATES_KEY_MAX];
    uint64_t counters[RATES_VALUES_MAX];
    uint64_t per_second[RATES_VALUES_MAX]; /* rounded; 0 in the first look */
};

struct rates {
    unsigned value_count;
    uint64_t at_ms;   /* of the look at hand */
    uint64_t last_ms; /* of the one before; 0: there was none */
    struct rates_row *rows;
    size_t count, room;
    struct rates_row *before; /* by key */
    size_t before_count, before_room;
    bool is_short; /* memory ran out: rows are missing */
};

/** All zero but value_count (1..RATES_VALUES_MAX). */
void rates_init(struct rates *r, unsigned value_count);
void rates_fini(struct rates *r);

/** A look, at a moment by the monotonic clock (1 and up). One that is not later than the look before has no rates. */
void rates_begin(struct rates *r, uint64_t now_ms);

/** Counters of a key; a key that comes again adds to what it has. Longer keys are cut. */
void rates_put(struct rates *r, const char *key, const uint64_t *counters);

/** Compute, and put the busiest rows first: by the first value's rate, then by its counter, then by key. */
void rates_end(struct rates *r);

/** Are there rates already? */
static inline bool rates_are_known(const struct rates *r)
{
    return r->last_ms != 0 && r->at_ms > r->last_ms;
}

/** What was added between two values of a counter, per second. @param elapsed_ms  0: 0 */
uint64_t rates_per_second(uint64_t before, uint64_t after, uint64_t elapsed_ms);

#endif
