#ifndef FIREWALL_WRITER_INTERNAL_H
#define FIREWALL_WRITER_INTERNAL_H

#include "firewall_set.h"
#include "firewall_writer.h"

/* What firewall_writer.c and firewall_bulk.c share. */

struct firewall_writer {
    struct tables *tables;
    struct firewall_set live; /* what the root shows */
    uint32_t prepared;        /* changes between their halves */
};

#endif
