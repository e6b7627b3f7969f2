#ifndef FIREWALL_WRITER_INTERNAL_H
#define FIREWALL_WRITER_INTERNAL_H

#include "firewall_set.h"
#include "firewall_writer.h"

/* What firewall_writer.c, firewall_bulk.c and firewall_batch.c share. */

struct firewall_writer {
    struct tables *tables;
    struct firewall_set live; /* what the root shows */
    uint32_t prepared;        /* changes between their halves */
};

/** A copy of the masks in force. A place for the old ones in the retire queue comes with it. 0 or ERR_NO_MEMORY. */
int firewall_writer_copy_masks(struct firewall_writer *w, shm_off *masks_out) MUST_CHECK;

#endif
