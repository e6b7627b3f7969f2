/* Replacing all routes at once: a table built aside, shown by one store of the root. */

#include <stdlib.h>

#include "err.h"
#include "route_writer_internal.h"

struct route_bulk {
    struct route_writer *writer;
    struct route_set *set;
    shm_off root; /* memory for the new root */
};

#define RETIRED_PLACES 2 /* the old array with its records, the old depths */

static void free_record(void *writer, shm_off record)
{
    route_record_free(writer, record);
}

static bool free_retired_table(struct retired *item)
{
    const struct route_writer *w = item->owner;

    return hash_array_free_slice(w->tables, item, free_record);
}

static int allocate(struct route_writer *w, uint64_t expected, struct route_bulk *bulk)
{
    int rc = 0;

    if ((rc = tables_alloc(w->tables, ROUTE_DEPTHS_BYTES, &bulk->set->depths)) != 0)
        return rc;
    if ((rc = hash_writer_init(&bulk->set->hash, w->tables, expected)) != 0)
        goto free_depths;
    if ((rc = tables_retire_reserve(w->tables, RETIRED_PLACES)) != 0)
        goto free_array;
    if ((rc = tables_root_prepare(w->tables, &bulk->root)) == 0)
        return 0;

    tables_retire_unreserve(w->tables, RETIRED_PLACES);
free_array:
    hash_writer_free_now(&bulk->set->hash, w->tables);
free_depths:
    tables_free_now(w->tables, bulk->set->depths, ROUTE_DEPTHS_BYTES);
    return rc;
}

int route_bulk_begin(struct route_writer *w, uint64_t expected, struct route_bulk **out)
{
    struct route_bulk *bulk = calloc(1, sizeof *bulk);
    struct route_set *set = calloc(1, sizeof *set);
    int rc = bulk != NULL && set != NULL ? 0 : ERR_NO_MEMORY;

    (void)tables_reclaim(w->tables);
    if (rc == 0) {
        *bulk = (struct route_bulk){.writer = w, .set = set};
        rc = allocate(w, expected, bulk);
    }
    if (rc != 0) {
        free(set);
        free(bulk);
        return rc;
    }
    *out = bulk;
    return 0;
}

int route_bulk_add(struct route_bulk *bulk, uint16_t listener, const struct host_pattern *pattern,
                   const struct backend_addr *backend, bool send_proxy_protocol)
{
    struct route_writer *w = bulk->writer;
    struct route_key key = route_key_of(w->tables, listener, pattern);
    shm_off record = 0;

    CHECK(listener < SHM_LISTENERS_MAX);
    int rc = route_writer_prepare_unseen(w, bulk->set, &key, backend, send_proxy_protocol, &record);
    if (rc != 0)
        return rc;
    shm_off old = route_set_put(bulk->set, w->tables, &key, record);
    if (old != 0) /* never visible */
        route_record_free(w, old);
    return 0;
}

void route_bulk_publish(struct route_bulk **bulk)
{
    struct route_writer *w = (*bulk)->writer;
    struct route_set *fresh = (*bulk)->set;
    struct route_set *old = w->live;

    CHECK(w->prepared == 0);
    tables_change_begin(w->tables);
    struct shm_root value = *tables_root(w->tables);
    value.routes = fresh->hash.ref;
    value.route_depths = fresh->depths;
    tables_root_publish(w->tables, (*bulk)->root, &value);
    if (old->hash.ref.bucket_count != 0)
        tables_retire(w->tables, old->hash.ref.buckets, hash_writer_bytes(&old->hash.ref), free_retired_table, w);
    else
        tables_retire_unreserve(w->tables, 1);
    tables_retire(w->tables, old->depths, ROUTE_DEPTHS_BYTES, NULL, NULL);
    tables_change_end(w->tables);

    w->live = fresh;
    route_set_fini(old);
    free(old);
    free(*bulk);
    *bulk = NULL;
}

void route_bulk_abort(struct route_bulk **bulk)
{
    if (*bulk == NULL)
        return;
    struct route_writer *w = (*bulk)->writer;
    struct route_set *set = (*bulk)->set;

    hash_array_free_now(w->tables, &set->hash.ref, free_record, w);
    tables_free_now(w->tables, set->depths, ROUTE_DEPTHS_BYTES);
    tables_root_abort(w->tables, (*bulk)->root);
    tables_retire_unreserve(w->tables, RETIRED_PLACES);
    route_set_fini(set);
    free(set);
    free(*bulk);
    *bulk = NULL;
}
