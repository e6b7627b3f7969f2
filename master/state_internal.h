#ifndef STATE_INTERNAL_H
#define STATE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "bytes.h"
#include "shm_layout.h"
#include "state.h"

/* What the files of the state share. */

struct listener_entry {
    struct listen_addr addr;
    char key[ADDRESS_TEXT_MAX]; /* canonical address: how the database names it */
    bool is_configured;         /* by the configuration in force */
    bool is_in_use;             /* workers may still route connections of it: longer than is_configured */
};

struct state {
    uint32_t magic;
    bool is_loaded;
    bool has_geoip; /* the configuration in force names a GeoIP database: country rules can be kept */
    uint64_t generation;
    char *database_path;
    struct store *store;
    void (*on_busy)(void *context);
    void *busy_context;
    struct tables *tables;
    struct backend_set *backends;
    struct backend_names *names;
    struct route_writer *routes;
    struct firewall_writer *firewall;
    struct rate_table *rates; /* shared with the workers */
    int rate_fd;
    uint64_t swept_ms; /* monotonic: when the rate table was last rid of what has passed */
    unsigned listener_count;
    struct listener_entry listeners[SHM_LISTENERS_MAX]; /* by id */
};
#define STATE_MAGIC 0x53544154u

/** Is the database open? 0, or ERR_UNAVAILABLE with words. */
int state_need_store(const struct state *state, struct strbuf *why) MUST_CHECK;

/** The listener of the configuration with this address, given as in a request. 0; ERR_INVALID, ERR_NOT_FOUND with words. */
int state_need_listener(struct state *state, struct bytes text, uint16_t *id_out, struct strbuf *why) MUST_CHECK;

/** The same for an address that has been read; text is for the words. */
int state_need_listener_at(struct state *state, const struct listen_addr *addr, struct bytes text, uint16_t *id_out,
                           struct strbuf *why) MUST_CHECK;

#endif
