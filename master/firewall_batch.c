/*
 * Many changes of firewall rules as one: made in copies of the hash arrays in force, shown by one store of the root. The copies share
 * the records, so a record in force is never changed here: one whose spellings change gets a copy of its own first.
 */

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "firewall.h"
#include "firewall_writer_internal.h"
#include "table_batch.h"

struct firewall_batch {
    struct firewall_writer *writer;
    struct firewall_set set;
    shm_off root; /* memory for the new root */
    struct table_batch records[FIREWALL_FAMILIES];
};

#define RETIRED_PLACES \
    FIREWALL_FAMILIES /* the old arrays; the old masks have theirs from firewall_writer_copy_masks() */

static uint64_t record_bytes4(const void *record)
{
    (void)record;
    return firewall_record_bytes(0);
}

static uint64_t record_bytes6(const void *record)
{
    (void)record;
    return firewall_record_bytes(1);
}

static void free_record4(void *tables, shm_off record)
{
    tables_free_now(tables, record, firewall_record_bytes(0));
}

static void free_record6(void *tables, shm_off record)
{
    tables_free_now(tables, record, firewall_record_bytes(1));
}

static const struct table_batch_kind kinds[FIREWALL_FAMILIES] = {
    {record_bytes4, free_record4, NULL},
    {record_bytes6, free_record6, NULL},
};

/* ---- the copy ---- */

static int copy_arrays(struct firewall_writer *w, struct firewall_set *set)
{
    int rc = hash_writer_rebuild(&w->live.hash[0], w->tables, 1, &set->hash[0]);

    if (rc == 0 && (rc = hash_writer_rebuild(&w->live.hash[1], w->tables, 1, &set->hash[1])) != 0)
        hash_writer_free_now(&set->hash[0], w->tables);
    return rc;
}

static void free_arrays(struct tables *t, struct firewall_set *set)
{
    for (unsigned family = 0; family < FIREWALL_FAMILIES; family++)
        hash_writer_free_now(&set->hash[family], t);
}

static int copy_set(struct firewall_writer *w, struct firewall_batch *batch)
{
    struct firewall_set *set = &batch->set;
    int rc = 0;

    *set = w->live;
    if ((rc = firewall_writer_copy_masks(w, &set->masks)) != 0)
        return rc;
    if ((rc = copy_arrays(w, set)) != 0)
        goto free_masks;
    if ((rc = tables_retire_reserve(w->tables, RETIRED_PLACES)) != 0)
        goto free_arrays;
    if ((rc = tables_root_prepare(w->tables, &batch->root)) == 0)
        return 0;

    tables_retire_unreserve(w->tables, RETIRED_PLACES);
free_arrays:
    free_arrays(w->tables, set);
free_masks:
    tables_free_now(w->tables, set->masks, sizeof(struct shm_fw_masks));
    tables_retire_unreserve(w->tables, 1);
    return rc;
}

int firewall_batch_begin(struct firewall_writer *w, struct firewall_batch **out)
{
    struct firewall_batch *batch = calloc(1, sizeof *batch);
    int rc = ERR_NO_MEMORY;

    CHECK(w->prepared == 0);
    (void)tables_reclaim(w->tables);
    if (batch == NULL || (rc = copy_set(w, batch)) != 0) {
        free(batch);
        return rc;
    }
    batch->writer = w;
    for (unsigned family = 0; family < FIREWALL_FAMILIES; family++)
        table_batch_init(&batch->records[family], w->tables);
    *out = batch;
    return 0;
}

/* ---- the changes ---- */

/** Is this the record that the tables in force show for its prefix? */
static bool is_live(const struct firewall_batch *batch, const struct ip_cidr *prefix, shm_off record)
{
    _Atomic uint64_t *slot = NULL;

    return firewall_set_find(&batch->writer->live, batch->writer->tables, prefix, &slot) == record;
}

static int new_record(struct firewall_batch *batch, const struct firewall_rule *rule, shm_off *record_out)
{
    int rc = firewall_record_new(batch->writer->tables, rule, record_out);

    if (rc == 0)
        table_batch_note_made(&batch->records[firewall_family_of(&rule->prefix)], *record_out);
    return rc;
}

/**
 * Make ready to change what is shown for a rule's prefix: a record in force gives way to a copy.
 *
 * @param is_there_out  the batch shows a record for the prefix, one of its own now
 */
static int own_record(struct firewall_batch *batch, const struct firewall_rule *rule, bool *is_there_out)
{
    struct tables *t = batch->writer->tables;
    _Atomic uint64_t *slot = NULL;
    shm_off off = firewall_set_find(&batch->set, t, &rule->prefix, &slot), copy = 0;

    *is_there_out = off != 0;
    if (off == 0 || !is_live(batch, &rule->prefix, off))
        return 0;
    int rc = new_record(batch, rule, &copy);
    if (rc != 0)
        return rc;
    const struct shm_fw_rule *from = tables_at(t, off);
    struct shm_fw_rule *to = tables_at(t, copy);
    atomic_store_explicit(&to->flags, atomic_load_explicit(&from->flags, memory_order_relaxed), memory_order_relaxed);
    hash_writer_replace(slot, firewall_prefix_tag(t->shm, &rule->prefix), copy);
    table_batch_note_gone(&batch->records[firewall_family_of(&rule->prefix)], off, true);
    return 0;
}

static int prepare_prefix(struct firewall_batch *batch, const struct firewall_rule *rule, shm_off *record_out)
{
    unsigned family = firewall_family_of(&rule->prefix);
    bool is_there = false;
    int rc = 0;

    if ((rc = table_batch_make_room(&batch->records[family])) != 0 ||
        (rc = hash_writer_make_room_unseen(&batch->set.hash[family], batch->writer->tables)) != 0 ||
        (rc = own_record(batch, rule, &is_there)) != 0)
        return rc;
    return is_there ? 0 : new_record(batch, rule, record_out);
}

int firewall_batch_add(struct firewall_batch *batch, const struct firewall_rule *rule)
{
    struct tables *t = batch->writer->tables;
    shm_off record = 0;
    int rc = 0;

    if (firewall_set_has(&batch->set, t, rule))
        return ERR_EXISTS;
    if (rule->kind != FIREWALL_RULE_COUNTRY && (rc = prepare_prefix(batch, rule, &record)) != 0)
        return rc;
    bool is_new = firewall_set_add(&batch->set, t, rule, &record);
    CHECK(is_new && record == 0);
    return 0;
}

int firewall_batch_remove(struct firewall_batch *batch, const struct firewall_rule *rule)
{
    struct tables *t = batch->writer->tables;
    shm_off gone = 0, unused = 0;
    int rc = 0;

    if (!firewall_set_has(&batch->set, t, rule))
        return ERR_NOT_FOUND;
    if (rule->kind != FIREWALL_RULE_COUNTRY && (rc = prepare_prefix(batch, rule, &unused)) != 0)
        return rc;
    bool was_there = firewall_set_remove(&batch->set, t, rule, &gone);
    CHECK(was_there && unused == 0);
    if (gone != 0)
        table_batch_note_gone(&batch->records[firewall_family_of(&rule->prefix)], gone, false);
    return 0;
}

/* ---- the end ---- */

static void retire_array(struct tables *t, const struct shm_hash_ref *ref)
{
    if (ref->bucket_count != 0)
        tables_retire(t, ref->buckets, hash_writer_bytes(ref), NULL, NULL);
    else
        tables_retire_unreserve(t, 1);
}

void firewall_batch_publish(struct firewall_batch **batch)
{
    struct firewall_batch *b = *batch;
    struct firewall_writer *w = b->writer;
    struct tables *t = w->tables;

    CHECK(w->prepared == 0);
    tables_change_begin(t);
    struct shm_root value = *tables_root(t);
    value.fw4 = b->set.hash[0].ref;
    value.fw6 = b->set.hash[1].ref;
    value.fw_masks = b->set.masks;
    tables_root_publish(t, b->root, &value);
    for (unsigned family = 0; family < FIREWALL_FAMILIES; family++) {
        retire_array(t, &w->live.hash[family].ref);
        table_batch_publish(&b->records[family], &kinds[family], t);
    }
    tables_retire(t, w->live.masks, sizeof(struct shm_fw_masks), NULL, NULL);
    tables_change_end(t);
    w->live = b->set;
    free(b);
    *batch = NULL;
}

void firewall_batch_abort(struct firewall_batch **batch)
{
    struct firewall_batch *b = *batch;

    if (b == NULL)
        return;
    struct tables *t = b->writer->tables;
    for (unsigned family = 0; family < FIREWALL_FAMILIES; family++)
        table_batch_abort(&b->records[family], &kinds[family], t);
    free_arrays(t, &b->set);
    tables_free_now(t, b->set.masks, sizeof(struct shm_fw_masks));
    tables_root_abort(t, b->root);
    tables_retire_unreserve(t, RETIRED_PLACES + 1);
    free(b);
    *batch = NULL;
}
