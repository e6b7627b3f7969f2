#ifndef CLIENT_COUNTS_H
#define CLIENT_COUNTS_H

#include <stdint.h>

#include "check.h"

struct rates;

/*
 * Connections by client address, out of a stream of them, in bounded memory: who has been quiet for a while is forgotten, and when all
 * places are taken, newcomers are counted together as CLIENT_COUNTS_OTHERS.
 */
struct client_counts;

#define CLIENT_COUNTS_MAX    16384u
#define CLIENT_COUNTS_OTHERS "(others)"
#define CLIENT_COUNTS_QUIET  30u /* looks without a connection until an address is forgotten */

/** NULL without memory. */
struct client_counts *client_counts_new(void) MUST_CHECK;
/** Accepts NULL; clears the caller's pointer. */
void client_counts_free(struct client_counts **counts);

enum { CLIENT_ENDED, CLIENT_REFUSED, CLIENT_BYTES_IN, CLIENT_BYTES_OUT, CLIENT_VALUES };

/**
 * A connection has ended.
 *
 * @param endpoint  "192.0.2.1:5000", "[2001:db8::1]:5000"; anything else is a client of that name
 * @param values    what it adds
 */
void client_counts_add(struct client_counts *counts, const char *endpoint, const uint64_t values[CLIENT_VALUES]);

/** A look at all of them: rates_begin(), rates_put() for each and rates_end(). */
void client_counts_look(struct client_counts *counts, struct rates *rates, uint64_t now_ms);

#endif
