#ifndef TABLE_BATCH_H
#define TABLE_BATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "check.h"
#include "retire_queue.h"
#include "shm_layout.h"

struct tables;

/*
 * What happens to records while many changes are put together aside, in a copy of a hash array that shares its records with the one
 * in force. Used by route_batch.c and firewall_batch.c.
 *
 *     made by the batch, still shown by its copy       publish: keep          abort: free
 *     made by the batch, replaced by it again          publish: free          abort: free
 *     of the tables in force, not shown by the copy    publish: retire        abort: keep
 */
struct record_list {
    shm_off *items;
    size_t count;
    size_t capacity;
};

struct table_batch {
    struct tables *tables;
    struct record_list made;   /* all of them */
    struct record_list unseen; /* of these, the ones that were replaced again */
    struct record_list retired;
    size_t places; /* reserved in the retire queue: one for each of these, and one for the next */
};

/** How a user's records are measured and freed. */
struct table_batch_kind {
    uint64_t (*record_bytes)(const void *record);
    void (*free_now)(void *owner, shm_off record);
    retired_free_fn free_retired; /* NULL: the memory is all there is to free */
};

void table_batch_init(struct table_batch *b, struct tables *tables);

/** Before each change: room for all that the next calls may note. 0 or ERR_NO_MEMORY. */
int table_batch_make_room(struct table_batch *b) MUST_CHECK;

/** The batch has made this record. Needs the room of one change. */
void table_batch_note_made(struct table_batch *b, shm_off record);

/** The copy does not show this record any more; is_live: it is one of the tables in force. Needs the room of one change. */
void table_batch_note_gone(struct table_batch *b, shm_off record, bool is_live);

/** Between tables_change_begin() and _end(), after the store that shows the copy. Cannot fail. */
void table_batch_publish(struct table_batch *b, const struct table_batch_kind *kind, void *owner);

/** Free what was made. */
void table_batch_abort(struct table_batch *b, const struct table_batch_kind *kind, void *owner);

#endif
