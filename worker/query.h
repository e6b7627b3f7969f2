#ifndef QUERY_H
#define QUERY_H

#include <stddef.h>
#include <stdint.h>

#include "ctl_msg.h"

struct worker;

#define QUERY_ANSWER_MAX (CTL_MSG_MAX - sizeof(struct ctl_header))
#define QUERY_PLACES_MAX 512 /* places of the pool that one query looks at: well under a millisecond */

/**
 * What the master asks about open connections: look at the next of them, list, count or close those that are meant, and say where to go
 * on. Nothing is kept between two queries. A connection that is open all the time comes exactly once; one that begins or ends meanwhile
 * may come or not.
 *
 * @param out  QUERY_ANSWER_MAX bytes: gets the answer with its records
 * @return its length
 */
size_t query_answer(struct worker *w, const struct ctl_query *query, struct ctl_query_answer *out);

#endif
