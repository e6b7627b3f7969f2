#ifndef BACKEND_SET_H
#define BACKEND_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "bytes.h"
#include "check.h"
#include "shm_layout.h"
#include "strbuf.h"

struct tables;

/**
 * The backends in the shared tables, each once however many routes name it, counted by its users.
 *
 *     route record --backend id--> word --offset--> struct shm_backend (addresses, text)
 *
 * When may a backend go? A reader comes to it only through a route record: it loads the id, then the word. So a route's reference
 * is dropped not when the route is removed but when the memory of its record is reclaimed, that is, when no reader can hold the
 * record any more. When the last reference drops, nobody can be on the way to the word, and nobody can begin, because no visible
 * record has the id: word, record and id are free at once. A backend that is named again before that is simply counted up.
 * A new answer of the resolver replaces the record behind the word; the old record is retired like everything unpublished.
 */
struct backend_set;

/**
 * What the resolver wants to know. Called while routes are prepared, aborted or loaded and when memory is reclaimed, never by
 * backend_set_update(); must not call back into the tables. Either may be NULL.
 */
struct backend_hooks {
    /** A BACKEND_NAME is in use from now on; text is "host:port", borrowed. */
    void (*on_name_added)(void *context, uint32_t id, struct bytes text);
    /** It is not any more; the id may come back as another backend. */
    void (*on_name_removed)(void *context, uint32_t id);
    void *context;
};

/** 0 or ERR_NO_MEMORY. The tables are borrowed and must outlive the set. */
int backend_set_new(struct tables *tables, struct backend_set **out) MUST_CHECK;
void backend_set_free(struct backend_set **set);

void backend_set_set_hooks(struct backend_set *set, struct backend_hooks hooks);

/**
 * The id of a backend, with one reference for the caller; made if there is none yet, and visible to readers before this returns.
 * Every spelling of one backend has the same id.
 *
 * @return 0, or ERR_NO_MEMORY and nothing has changed
 */
int backend_set_acquire(struct backend_set *set, const struct backend_addr *addr, uint32_t *id_out) MUST_CHECK;

/** Drop a reference that no reader can make use of any more (see above). */
void backend_set_release(struct backend_set *set, uint32_t id);

/**
 * Set the addresses of a BACKEND_NAME. At most SHM_BACKEND_ADDRS_MAX are kept; the same ones again change nothing. Reclaims
 * nothing, so that no hook is called from here.
 *
 * @return 0, or ERR_NO_MEMORY and the addresses are as before
 */
int backend_set_update(struct backend_set *set, uint32_t id, const struct ip_endpoint *addrs,
                       unsigned count) MUST_CHECK;

/** A backend in use, as readers see it now; borrowed until the next call. */
const struct shm_backend *backend_set_get(const struct backend_set *set, uint32_t id);

/** Backends in use. */
uint32_t backend_set_count(const struct backend_set *set);

/** One line of key=value. */
void backend_set_dump(const struct backend_set *set, struct strbuf *out);

#endif
