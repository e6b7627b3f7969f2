#ifndef ROUTE_WRITER_INTERNAL_H
#define ROUTE_WRITER_INTERNAL_H

#include "backend_set.h"
#include "route_series.h"
#include "route_set.h"
#include "route_writer.h"

/* What route_writer.c, route_bulk.c and route_batch.c share. */

struct route_writer {
    struct tables *tables;
    struct backend_set *backends;
    struct route_set *live; /* what the root shows */
    struct route_series *series;
    uint32_t prepared; /* changes between their halves */
};

/** Free a record that no reader can hold, and its references to the backend and its series. */
void route_record_free(struct route_writer *w, shm_off record);

/** The same as a retired_free_fn; the item's owner is the writer. */
bool route_record_free_retired(struct retired *item);

/** A new record, with its references to the backend and a series. 0 or ERR_NO_MEMORY. */
int route_writer_new_record(struct route_writer *w, const struct route_key *key, const struct backend_addr *backend,
                            bool send_proxy_protocol, shm_off *record_out) MUST_CHECK;

/** All that can fail of a route_set_put() into a set that nobody sees: room in it, and the new record. 0 or ERR_NO_MEMORY. */
int route_writer_prepare_unseen(struct route_writer *w, struct route_set *set, const struct route_key *key,
                                const struct backend_addr *backend, bool send_proxy_protocol,
                                shm_off *record_out) MUST_CHECK;

/** A copy of the wildcard depths in force. A place for the old ones in the retire queue comes with it. 0 or ERR_NO_MEMORY. */
int route_writer_copy_depths(struct route_writer *w, shm_off *depths_out) MUST_CHECK;

#endif
