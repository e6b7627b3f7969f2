#ifndef ROUTE_WRITER_INTERNAL_H
#define ROUTE_WRITER_INTERNAL_H

#include "backend_set.h"
#include "route_set.h"
#include "route_writer.h"

/* What route_writer.c and route_bulk.c share. */

struct route_writer {
    struct tables *tables;
    struct backend_set *backends;
    struct route_set *live; /* what the root shows */
    uint32_t prepared;      /* changes between their halves */
};

/** Free a record that no reader can hold, and its reference to the backend. */
void route_record_free(struct route_writer *w, shm_off record);

#endif
