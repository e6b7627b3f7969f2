#ifndef ROUTE_WRITER_H
#define ROUTE_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "check.h"
#include "hostname.h"
#include "shm_layout.h"
#include "strbuf.h"

struct backend_set;
struct route_set;
struct tables;

/*
 * The writing side of the route table. A change has two halves, with the caller's commit between them:
 *
 *     struct route_change change;
 *     if ((rc = route_change_prepare_put(writer, listener, &pattern, &backend, send_pp, &change)) != 0)
 *         return rc;                              nothing has changed anywhere
 *     if ((rc = store_commit(...)) != 0) {
 *         route_change_abort(&change);            nothing has changed anywhere
 *         return rc;
 *     }
 *     created = route_change_publish(&change);    cannot fail
 *
 * Several changes may be prepared at a time, published or aborted in any order; each counts from its publishing. One costs the
 * same in a table of a million routes as in one of ten, except when the hash array is built anew, which happens in prepare, as it
 * changes nothing that a look-up could tell.
 */
struct route_writer;

/** A change between its halves. Embedded by the caller; the fields are the writer's. */
struct route_change {
    struct route_writer *writer; /* NULL: done */
    bool is_removal;
    uint16_t listener;
    struct host_pattern pattern;
    shm_off record; /* to be shown; holds a reference to its backend; 0 for a removal */
};

/** The tables and backends are borrowed and must outlive the writer. 0 or ERR_NO_MEMORY. */
int route_writer_new(struct tables *tables, struct backend_set *backends, struct route_writer **out) MUST_CHECK;
/** After this no tables_reclaim() any more: what waits there belongs to the writer. */
void route_writer_free(struct route_writer **writer);

/**
 * Prepare to add a route, or to replace the one with the same pattern.
 *
 * @param listener  0..SHM_LISTENERS_MAX - 1
 * @return 0, or ERR_NO_MEMORY and nothing has changed
 */
int route_change_prepare_put(struct route_writer *writer, uint16_t listener, const struct host_pattern *pattern,
                             const struct backend_addr *backend, bool send_proxy_protocol,
                             struct route_change *out) MUST_CHECK;

/** Prepare to remove a route: 0, ERR_NOT_FOUND, or ERR_NO_MEMORY. */
int route_change_prepare_remove(struct route_writer *writer, uint16_t listener, const struct host_pattern *pattern,
                                struct route_change *out) MUST_CHECK;

/**
 * Make a prepared change visible: a look-up that begins after this sees it. Cannot fail.
 *
 * @return of a put: the route is new, not replaced; of a removal: it was still there
 */
bool route_change_publish(struct route_change *change);

/** Drop a prepared change. Nothing happens to one that was published or aborted. */
void route_change_abort(struct route_change *change);

/** Both halves at once, for what is in the database already. *created_out may be NULL. */
int route_put(struct route_writer *writer, uint16_t listener, const struct host_pattern *pattern,
              const struct backend_addr *backend, bool send_proxy_protocol, bool *created_out) MUST_CHECK;
int route_remove(struct route_writer *writer, uint16_t listener, const struct host_pattern *pattern) MUST_CHECK;

/** Routes of a listener, of all listeners. */
uint32_t route_writer_count(const struct route_writer *writer, uint16_t listener);
uint32_t route_writer_total(const struct route_writer *writer);

/** Which counters are whose. */
const struct route_series *route_writer_series(const struct route_writer *writer);

/** One line of key=value. */
void route_writer_dump(const struct route_writer *writer, struct strbuf *out);

/*
 * Replacing all routes of all listeners at once, for the start and for restoring: the new table is built aside and shown by one
 * store. Changes published between begin and publish go under with the old table, and none may be prepared then.
 */
struct route_bulk;

/** @param expected  about how many routes will come; more are taken too, fewer waste memory. 0 or ERR_NO_MEMORY. */
int route_bulk_begin(struct route_writer *writer, uint64_t expected, struct route_bulk **out) MUST_CHECK;

/** Add a route; one with the same pattern is replaced. 0, or ERR_NO_MEMORY: then abort. */
int route_bulk_add(struct route_bulk *bulk, uint16_t listener, const struct host_pattern *pattern,
                   const struct backend_addr *backend, bool send_proxy_protocol) MUST_CHECK;

/** Show the new table instead of the old one. Cannot fail. Frees *bulk and clears it. */
void route_bulk_publish(struct route_bulk **bulk);

/** Drop it; nothing has changed. Accepts NULL, clears the caller's pointer. */
void route_bulk_abort(struct route_bulk **bulk);

/*
 * Many changes shown by one store. They are made in a copy of the hash array in force, which shares its records: that costs 8 to 16
 * bytes of copying per route there is, however long the names are, and nothing of the database is read. A look-up sees none of them
 * or all. Changes published between begin and publish would be lost, so none may be prepared or published meanwhile.
 */
struct route_batch;

/** 0 or ERR_NO_MEMORY. */
int route_batch_begin(struct route_writer *writer, struct route_batch **out) MUST_CHECK;

/** Add or replace a route. 0, or ERR_NO_MEMORY: then abort. */
int route_batch_put(struct route_batch *batch, uint16_t listener, const struct host_pattern *pattern,
                    const struct backend_addr *backend, bool send_proxy_protocol) MUST_CHECK;

/** Remove a route. 0; ERR_NOT_FOUND, and the batch is as it was; ERR_NO_MEMORY: then abort. */
int route_batch_remove(struct route_batch *batch, uint16_t listener, const struct host_pattern *pattern) MUST_CHECK;

/** Show all of it. Cannot fail. Frees *batch and clears it. */
void route_batch_publish(struct route_batch **batch);

/** Drop it; nothing has changed. Accepts NULL, clears the caller's pointer. */
void route_batch_abort(struct route_batch **batch);

#endif
