/* Many changes of routes as one: made in a copy of the hash array in force, shown by one store of the root. */

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "route_writer_internal.h"
#include "table_batch.h"

struct route_batch {
    struct route_writer *writer;
    struct route_set *set; /* the copy; its records are those in force and the batch's own */
    shm_off root;          /* memory for the new root */
    struct table_batch records;
};

#define RETIRED_PLACES 1 /* the old array; the old depths have theirs from route_writer_copy_depths() */

static uint64_t record_bytes(const void *record)
{
    return route_record_bytes(record);
}

static void free_record(void *writer, shm_off record)
{
    route_record_free(writer, record);
}

static const struct table_batch_kind kind = {record_bytes, free_record, route_record_free_retired};

/* ---- the copy ---- */

/** What the master counts besides: by listener, and by depth where there are wildcards. */
static int copy_counts(const struct route_set *from, struct route_set *to)
{
    memcpy(to->route_counts, from->route_counts, sizeof to->route_counts);
    for (unsigned i = 0; i < SHM_LISTENERS_MAX; i++) {
        if (from->depth_counts[i] == NULL)
            continue;
        size_t bytes = (SHM_ROUTE_DEPTH_MAX + 1) * sizeof *from->depth_counts[i];
        if ((to->depth_counts[i] = malloc(bytes)) == NULL)
            return ERR_NO_MEMORY;
        memcpy(to->depth_counts[i], from->depth_counts[i], bytes);
    }
    return 0;
}

static int copy_set(struct route_writer *w, struct route_batch *batch)
{
    struct route_set *set = batch->set;
    int rc = 0;

    if ((rc = copy_counts(w->live, set)) != 0 || (rc = route_writer_copy_depths(w, &set->depths)) != 0)
        return rc;
    if ((rc = hash_writer_rebuild(&w->live->hash, w->tables, 1, &set->hash)) != 0)
        goto free_depths;
    if ((rc = tables_retire_reserve(w->tables, RETIRED_PLACES)) != 0)
        goto free_array;
    if ((rc = tables_root_prepare(w->tables, &batch->root)) == 0)
        return 0;

    tables_retire_unreserve(w->tables, RETIRED_PLACES);
free_array:
    hash_writer_free_now(&set->hash, w->tables);
free_depths:
    tables_free_now(w->tables, set->depths, ROUTE_DEPTHS_BYTES);
    tables_retire_unreserve(w->tables, 1);
    return rc;
}

static void free_batch(struct route_batch *batch)
{
    if (batch == NULL)
        return;
    if (batch->set != NULL)
        route_set_fini(batch->set);
    free(batch->set);
    free(batch);
}

int route_batch_begin(struct route_writer *w, struct route_batch **out)
{
    struct route_batch *batch = calloc(1, sizeof *batch);
    int rc = ERR_NO_MEMORY;

    CHECK(w->prepared == 0);
    (void)tables_reclaim(w->tables);
    if (batch != NULL && (batch->set = calloc(1, sizeof *batch->set)) != NULL)
        rc = copy_set(w, batch);
    if (rc != 0) {
        free_batch(batch);
        return rc;
    }
    batch->writer = w;
    table_batch_init(&batch->records, w->tables);
    *out = batch;
    return 0;
}

/* ---- the changes ---- */

/** Is this the record that the tables in force show under its key? */
static bool is_live(const struct route_batch *batch, const struct route_key *key, shm_off record)
{
    return route_set_find(batch->writer->live, batch->writer->tables, key, NULL) == record;
}

static void note_gone(struct route_batch *batch, const struct route_key *key, shm_off old)
{
    if (old != 0)
        table_batch_note_gone(&batch->records, old, is_live(batch, key, old));
}

int route_batch_put(struct route_batch *batch, uint16_t listener, const struct host_pattern *pattern,
                    const struct backend_addr *backend, bool send_proxy_protocol)
{
    struct route_writer *w = batch->writer;
    struct route_key key = route_key_of(w->tables, listener, pattern);
    shm_off record = 0;
    int rc = 0;

    CHECK(listener < SHM_LISTENERS_MAX);
    if ((rc = table_batch_make_room(&batch->records)) != 0 ||
        (rc = route_writer_prepare_unseen(w, batch->set, &key, backend, send_proxy_protocol, &record)) != 0)
        return rc;
    table_batch_note_made(&batch->records, record);
    note_gone(batch, &key, route_set_put(batch->set, w->tables, &key, record));
    return 0;
}

int route_batch_remove(struct route_batch *batch, uint16_t listener, const struct host_pattern *pattern)
{
    struct route_writer *w = batch->writer;
    struct route_key key = route_key_of(w->tables, listener, pattern);
    int rc = table_batch_make_room(&batch->records);

    CHECK(listener < SHM_LISTENERS_MAX);
    if (rc != 0)
        return rc;
    shm_off old = route_set_remove(batch->set, w->tables, &key);
    note_gone(batch, &key, old);
    return old != 0 ? 0 : ERR_NOT_FOUND;
}

/* ---- the end ---- */

static void retire_arrays(struct route_writer *w, const struct route_set *old)
{
    if (old->hash.ref.bucket_count != 0)
        tables_retire(w->tables, old->hash.ref.buckets, hash_writer_bytes(&old->hash.ref), NULL, NULL);
    else
        tables_retire_unreserve(w->tables, 1);
    tables_retire(w->tables, old->depths, ROUTE_DEPTHS_BYTES, NULL, NULL);
}

void route_batch_publish(struct route_batch **batch)
{
    struct route_batch *b = *batch;
    struct route_writer *w = b->writer;
    struct route_set *old = w->live;

    CHECK(w->prepared == 0);
    tables_change_begin(w->tables);
    struct shm_root value = *tables_root(w->tables);
    value.routes = b->set->hash.ref;
    value.route_depths = b->set->depths;
    tables_root_publish(w->tables, b->root, &value);
    retire_arrays(w, old);
    table_batch_publish(&b->records, &kind, w);
    tables_change_end(w->tables);

    w->live = b->set;
    b->set = old;
    free_batch(b);
    *batch = NULL;
}

void route_batch_abort(struct route_batch **batch)
{
    struct route_batch *b = *batch;

    if (b == NULL)
        return;
    struct tables *t = b->writer->tables;
    table_batch_abort(&b->records, &kind, b->writer);
    hash_writer_free_now(&b->set->hash, t);
    tables_free_now(t, b->set->depths, ROUTE_DEPTHS_BYTES);
    tables_root_abort(t, b->root);
    tables_retire_unreserve(t, RETIRED_PLACES + 1);
    free_batch(b);
    *batch = NULL;
}
