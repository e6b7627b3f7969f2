/* Replacing all firewall rules at once: put together aside, shown by one store of the root. */

#include <stdlib.h>

#include "err.h"
#include "firewall_writer_internal.h"

struct firewall_bulk {
    struct firewall_writer *writer;
    struct firewall_set set;
    shm_off root; /* memory for the new root */
};

#define RETIRED_PLACES 3 /* two old arrays with their records, the old masks */

static void free_record4(void *tables, shm_off record)
{
    tables_free_now(tables, record, firewall_record_bytes(0));
}

static void free_record6(void *tables, shm_off record)
{
    tables_free_now(tables, record, firewall_record_bytes(1));
}

static const hash_record_free_fn free_record[FIREWALL_FAMILIES] = {free_record4, free_record6};

static bool free_retired_table4(struct retired *item)
{
    return hash_array_free_slice(item->owner, item, free_record4);
}

static bool free_retired_table6(struct retired *item)
{
    return hash_array_free_slice(item->owner, item, free_record6);
}

static const retired_free_fn free_retired_table[FIREWALL_FAMILIES] = {free_retired_table4, free_retired_table6};

static int allocate(struct tables *t, uint64_t expected4, uint64_t expected6, struct firewall_bulk *bulk)
{
    struct firewall_set *set = &bulk->set;
    int rc = 0;

    if ((rc = firewall_masks_new(t, &set->masks)) != 0)
        return rc;
    if ((rc = hash_writer_init(&set->hash[0], t, expected4)) != 0)
        goto free_masks;
    if ((rc = hash_writer_init(&set->hash[1], t, expected6)) != 0)
        goto free_array4;
    if ((rc = tables_retire_reserve(t, RETIRED_PLACES)) != 0)
        goto free_array6;
    if ((rc = tables_root_prepare(t, &bulk->root)) == 0)
        return 0;

    tables_retire_unreserve(t, RETIRED_PLACES);
free_array6:
    hash_writer_free_now(&set->hash[1], t);
free_array4:
    hash_writer_free_now(&set->hash[0], t);
free_masks:
    tables_free_now(t, set->masks, sizeof(struct shm_fw_masks));
    return rc;
}

int firewall_bulk_begin(struct firewall_writer *w, uint64_t expected4, uint64_t expected6, struct firewall_bulk **out)
{
    struct firewall_bulk *bulk = calloc(1, sizeof *bulk);
    int rc = ERR_NO_MEMORY;

    (void)tables_reclaim(w->tables);
    if (bulk == NULL || (rc = allocate(w->tables, expected4, expected6, bulk)) != 0) {
        free(bulk);
        return rc;
    }
    bulk->writer = w;
    *out = bulk;
    return 0;
}

int firewall_bulk_add(struct firewall_bulk *bulk, const struct firewall_rule *rule)
{
    struct tables *t = bulk->writer->tables;
    shm_off record = 0;
    int rc = 0;

    if (rule->kind != FIREWALL_RULE_COUNTRY) {
        unsigned family = firewall_family_of(&rule->prefix);
        if ((rc = hash_writer_make_room_unseen(&bulk->set.hash[family], t)) != 0 ||
            (rc = firewall_record_new(t, rule, &record)) != 0)
            return rc;
    }
    (void)firewall_set_add(&bulk->set, t, rule, &record);
    if (record != 0)
        tables_free_now(t, record, firewall_record_bytes(firewall_family_of(&rule->prefix)));
    return 0;
}

static void retire_table(struct tables *t, const struct firewall_set *old, unsigned family)
{
    const struct shm_hash_ref *ref = &old->hash[family].ref;

    if (ref->bucket_count != 0)
        tables_retire(t, ref->buckets, hash_writer_bytes(ref), free_retired_table[family], t);
    else
        tables_retire_unreserve(t, 1);
}

void firewall_bulk_publish(struct firewall_bulk **bulk)
{
    struct firewall_writer *w = (*bulk)->writer;
    const struct firewall_set *fresh = &(*bulk)->set;
    const struct firewall_set *old = &w->live;
    struct tables *t = w->tables;

    CHECK(w->prepared == 0);
    tables_change_begin(t);
    struct shm_root value = *tables_root(t);
    value.fw4 = fresh->hash[0].ref;
    value.fw6 = fresh->hash[1].ref;
    value.fw_masks = fresh->masks;
    tables_root_publish(t, (*bulk)->root, &value);
    retire_table(t, old, 0);
    retire_table(t, old, 1);
    tables_retire(t, old->masks, sizeof(struct shm_fw_masks), NULL, NULL);
    tables_change_end(t);

    w->live = *fresh;
    free(*bulk);
    *bulk = NULL;
}

void firewall_bulk_abort(struct firewall_bulk **bulk)
{
    if (*bulk == NULL)
        return;
    struct tables *t = (*bulk)->writer->tables;
    struct firewall_set *set = &(*bulk)->set;

    for (unsigned family = 0; family < FIREWALL_FAMILIES; family++)
        hash_array_free_now(t, &set->hash[family].ref, free_record[family], t);
    tables_free_now(t, set->masks, sizeof(struct shm_fw_masks));
    tables_root_abort(t, (*bulk)->root);
    tables_retire_unreserve(t, RETIRED_PLACES);
    free(*bulk);
    *bulk = NULL;
}
