#ifndef ROUTE_SERIES_H
#define ROUTE_SERIES_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "shm_layout.h"

/*
 * Which counters of the stats segment (struct shm_route_stats) belong to which route. A route has a number from its first record to
 * its last: replacing it, or building the table anew, keeps number and counters. There are SHM_ROUTE_SERIES_MAX - 1 numbers; routes
 * beyond those are not counted.
 *
 * A number that is free is given to another route as late as possible, and its counters begin at 0 again. A connection of the old
 * route that ends only then is not counted: workers compare the number's generation (tables segment) with the one in their record.
 */
struct route_key;
struct route_series;
struct tables;

/** The tables are borrowed and must outlive it. 0 or ERR_NO_MEMORY. */
int route_series_new(struct tables *tables, struct route_series **out) MUST_CHECK;
/** Accepts NULL, clears the caller's pointer. */
void route_series_free(struct route_series **series);

/** The series word for a new record of this route (shm_route.series): 0 if there is none left. Release it with the record. */
uint32_t route_series_acquire(struct route_series *rs, const struct route_key *key);

/** A record is freed. 0: nothing happens. */
void route_series_release(struct route_series *rs, uint32_t word);

/** Numbers below this have been in use. */
unsigned route_series_end(const struct route_series *rs);

/** A route by its number. */
struct route_series_info {
    const char *pattern; /* "www.example.com", "*.example.com", "*"; borrowed until the next change */
    uint16_t listener;
};

/** False: no route has this number now. */
bool route_series_get(const struct route_series *rs, unsigned number, struct route_series_info *out);

#endif
