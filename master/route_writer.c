/* Changes of single routes: prepared with everything that can fail, then shown by one store. */

#include "route_writer.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "route_writer_internal.h"

int route_writer_new(struct tables *tables, struct backend_set *backends, struct route_writer **out)
{
    struct route_writer *w = calloc(1, sizeof *w);
    struct route_set *live = calloc(1, sizeof *live);

    if (w == NULL || live == NULL || route_series_new(tables, &w->series) != 0) {
        free(w);
        free(live);
        return ERR_NO_MEMORY;
    }
    live->depths = tables_root(tables)->route_depths;
    w->tables = tables;
    w->backends = backends;
    w->live = live;
    *out = w;
    return 0;
}

void route_writer_free(struct route_writer **writer)
{
    struct route_writer *w = *writer;

    if (w == NULL)
        return;
    *writer = NULL;
    route_set_fini(w->live);
    free(w->live);
    route_series_free(&w->series);
    free(w);
}

void route_record_free(struct route_writer *w, shm_off record)
{
    const struct shm_route *route = tables_at(w->tables, record);
    uint32_t backend = route->backend, series = route->series;

    tables_free_now(w->tables, record, route_record_bytes(route));
    backend_set_release(w->backends, backend);
    route_series_release(w->series, series);
}

bool route_record_free_retired(struct retired *item)
{
    route_record_free(item->owner, item->off);
    return true;
}

int route_writer_copy_depths(struct route_writer *w, shm_off *depths_out)
{
    if (tables_retire_reserve(w->tables, 1) != 0)
        return ERR_NO_MEMORY;
    if (tables_alloc(w->tables, ROUTE_DEPTHS_BYTES, depths_out) != 0) {
        tables_retire_unreserve(w->tables, 1);
        return ERR_NO_MEMORY;
    }
    /* Nobody else writes to either of them now. */
    memcpy(tables_at(w->tables, *depths_out), tables_at(w->tables, w->live->depths), ROUTE_DEPTHS_BYTES);
    return 0;
}

/**
 * Show a newly built array of the same routes in place of the one in force. The new root gets depths of its own: later changes do not
 * reach the old array, so they must not reach the depths of those who still read it.
 */
static int replace_array(struct route_writer *w, uint32_t more)
{
    struct hash_rebuild rebuild;
    shm_off old_depths = w->live->depths;
    shm_off depths = 0;

    if (hash_rebuild_prepare(&w->live->hash, w->tables, more, &rebuild) != 0)
        return ERR_NO_MEMORY;
    if (route_writer_copy_depths(w, &depths) != 0) {
        hash_rebuild_abort(&rebuild, w->tables);
        return ERR_NO_MEMORY;
    }
    tables_change_begin(w->tables);
    struct shm_root value = *tables_root(w->tables);
    value.routes = rebuild.fresh.ref;
    value.route_depths = depths;
    hash_rebuild_publish(&rebuild, &w->live->hash, w->tables, &value);
    tables_retire(w->tables, old_depths, ROUTE_DEPTHS_BYTES, NULL, NULL);
    tables_change_end(w->tables);
    w->live->depths = depths;
    return 0;
}

static int make_room(struct route_writer *w)
{
    return hash_writer_is_full(&w->live->hash, 1) ? replace_array(w, 1) : 0;
}

/** A table that has lost most of its routes gets a smaller array; when there is no memory for that, the large one does as well. */
static void shrink_if_sparse(struct route_writer *w)
{
    if (hash_writer_is_sparse(&w->live->hash) && replace_array(w, 0) != 0)
        (void)tables_reclaim(w->tables);
}

int route_writer_new_record(struct route_writer *w, const struct route_key *key, const struct backend_addr *backend,
                            bool send_proxy_protocol, shm_off *record_out)
{
    uint32_t id = 0;
    int rc = backend_set_acquire(w->backends, backend, &id);

    if (rc != 0)
        return rc;
    if ((rc = route_record_new(w->tables, key, id, send_proxy_protocol, record_out)) != 0) {
        backend_set_release(w->backends, id);
        return rc;
    }
    struct shm_route *route = tables_at(w->tables, *record_out);
    route->series = route_series_acquire(w->series, key);
    return 0;
}

int route_writer_prepare_unseen(struct route_writer *w, struct route_set *set, const struct route_key *key,
                                const struct backend_addr *backend, bool send_proxy_protocol, shm_off *record_out)
{
    int rc;

    if ((rc = hash_writer_make_room_unseen(&set->hash, w->tables)) != 0 ||
        (rc = route_set_prepare_count(set, key)) != 0)
        return rc;
    return route_writer_new_record(w, key, backend, send_proxy_protocol, record_out);
}

int route_change_prepare_put(struct route_writer *w, uint16_t listener, const struct host_pattern *pattern,
                             const struct backend_addr *backend, bool send_proxy_protocol, struct route_change *out)
{
    CHECK(listener < SHM_LISTENERS_MAX);
    *out = (struct route_change){.listener = listener, .pattern = *pattern};
    struct route_key key = route_key_of(w->tables, listener, &out->pattern);
    int rc = 0;

    (void)tables_reclaim(w->tables);
    if ((rc = route_set_prepare_count(w->live, &key)) != 0 || (rc = make_room(w)) != 0 ||
        (rc = tables_retire_reserve(w->tables, 1)) != 0)
        return rc;
    if ((rc = route_writer_new_record(w, &key, backend, send_proxy_protocol, &out->record)) != 0) {
        tables_retire_unreserve(w->tables, 1);
        return rc;
    }
    hash_writer_reserve(&w->live->hash);
    w->prepared++;
    out->writer = w;
    return 0;
}

int route_change_prepare_remove(struct route_writer *w, uint16_t listener, const struct host_pattern *pattern,
                                struct route_change *out)
{
    CHECK(listener < SHM_LISTENERS_MAX);
    *out = (struct route_change){.is_removal = true, .listener = listener, .pattern = *pattern};
    struct route_key key = route_key_of(w->tables, listener, &out->pattern);
    int rc = 0;

    (void)tables_reclaim(w->tables);
    if (route_set_find(w->live, w->tables, &key, NULL) == 0)
        return ERR_NOT_FOUND;
    shrink_if_sparse(w);
    if ((rc = tables_retire_reserve(w->tables, 1)) != 0)
        return rc;
    w->prepared++;
    out->writer = w;
    return 0;
}

/** The writer of a prepared change, which is over with this. */
static struct route_writer *finish_change(struct route_change *change)
{
    struct route_writer *w = change->writer;

    CHECK(w != NULL && w->prepared > 0);
    w->prepared--;
    if (!change->is_removal)
        hash_writer_unreserve(&w->live->hash);
    change->writer = NULL;
    return w;
}

bool route_change_publish(struct route_change *change)
{
    struct route_writer *w = finish_change(change);
    struct route_key key = route_key_of(w->tables, change->listener, &change->pattern);
    shm_off old = 0;

    tables_change_begin(w->tables);
    if (change->is_removal)
        old = route_set_remove(w->live, w->tables, &key);
    else
        old = route_set_put(w->live, w->tables, &key, change->record);
    if (old != 0)
        tables_retire(w->tables, old, route_record_bytes(tables_at(w->tables, old)), route_record_free_retired, w);
    else
        tables_retire_unreserve(w->tables, 1);
    tables_change_end(w->tables);
    return change->is_removal ? old != 0 : old == 0;
}

void route_change_abort(struct route_change *change)
{
    if (change->writer == NULL)
        return;
    struct route_writer *w = finish_change(change);
    tables_retire_unreserve(w->tables, 1);
    if (change->record != 0)
        route_record_free(w, change->record);
}

int route_put(struct route_writer *w, uint16_t listener, const struct host_pattern *pattern,
              const struct backend_addr *backend, bool send_proxy_protocol, bool *created_out)
{
    struct route_change change;
    int rc = route_change_prepare_put(w, listener, pattern, backend, send_proxy_protocol, &change);

    if (rc != 0)
        return rc;
    bool created = route_change_publish(&change);
    if (created_out != NULL)
        *created_out = created;
    return 0;
}

int route_remove(struct route_writer *w, uint16_t listener, const struct host_pattern *pattern)
{
    struct route_change change;
    int rc = route_change_prepare_remove(w, listener, pattern, &change);

    if (rc == 0)
        (void)route_change_publish(&change);
    return rc;
}

uint32_t route_writer_count(const struct route_writer *w, uint16_t listener)
{
    CHECK(listener < SHM_LISTENERS_MAX);
    return w->live->route_counts[listener];
}

const struct route_series *route_writer_series(const struct route_writer *w)
{
    return w->series;
}

uint32_t route_writer_total(const struct route_writer *w)
{
    return w->live->hash.used;
}

void route_writer_dump(const struct route_writer *w, struct strbuf *out)
{
    const struct hash_writer *hash = &w->live->hash;

    strbuf_addf(out, "routes=%u tombstones=%u slots=%llu prepared=%u", hash->used, hash->tombstones,
                (unsigned long long)hash->ref.bucket_count * SHM_HASH_BUCKET_SLOTS, w->prepared);
}
