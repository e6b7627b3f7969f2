/* Changes of single firewall rules: prepared with everything that can fail, then shown by one store. */

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "firewall_writer_internal.h"

int firewall_writer_new(struct tables *tables, struct firewall_writer **out)
{
    struct firewall_writer *w = calloc(1, sizeof *w);

    if (w == NULL)
        return ERR_NO_MEMORY;
    w->tables = tables;
    w->live.masks = tables_root(tables)->fw_masks;
    *out = w;
    return 0;
}

void firewall_writer_free(struct firewall_writer **writer)
{
    free(*writer);
    *writer = NULL;
}

/* ---- arrays built anew ---- */

int firewall_writer_copy_masks(struct firewall_writer *w, shm_off *masks_out)
{
    if (tables_retire_reserve(w->tables, 1) != 0)
        return ERR_NO_MEMORY;
    if (firewall_masks_new(w->tables, masks_out) != 0) {
        tables_retire_unreserve(w->tables, 1);
        return ERR_NO_MEMORY;
    }
    /* Nobody else writes to either of them now. */
    memcpy(tables_at(w->tables, *masks_out), firewall_set_masks(&w->live, w->tables), sizeof(struct shm_fw_masks));
    return 0;
}

/**
 * Show a newly built array of the same prefixes in place of the one in force. The new root gets masks of its own: later changes do
 * not reach the old array, so they must not reach the masks of those who still read it.
 */
static int replace_array(struct firewall_writer *w, unsigned family, uint32_t more)
{
    struct hash_rebuild rebuild;
    shm_off masks = 0;
    shm_off old_masks = w->live.masks;

    if (hash_rebuild_prepare(&w->live.hash[family], w->tables, more, &rebuild) != 0)
        return ERR_NO_MEMORY;
    if (firewall_writer_copy_masks(w, &masks) != 0) {
        hash_rebuild_abort(&rebuild, w->tables);
        return ERR_NO_MEMORY;
    }
    tables_change_begin(w->tables);
    struct shm_root value = *tables_root(w->tables);
    *(family == 0 ? &value.fw4 : &value.fw6) = rebuild.fresh.ref;
    value.fw_masks = masks;
    hash_rebuild_publish(&rebuild, &w->live.hash[family], w->tables, &value);
    tables_retire(w->tables, old_masks, sizeof(struct shm_fw_masks), NULL, NULL);
    tables_change_end(w->tables);
    w->live.masks = masks;
    return 0;
}

/** A table that has lost most of its rules gets a smaller array; when there is no memory for that, the large one does as well. */
static void shrink_if_sparse(struct firewall_writer *w, unsigned family)
{
    if (hash_writer_is_sparse(&w->live.hash[family]) && replace_array(w, family, 0) != 0)
        (void)tables_reclaim(w->tables);
}

/* ---- two halves ---- */

/** Everything a new prefix may need. */
static int prepare_prefix(struct firewall_writer *w, struct firewall_change *change)
{
    unsigned family = firewall_family_of(&change->rule.prefix);
    struct hash_writer *hash = &w->live.hash[family];
    int rc = 0;

    if ((hash_writer_is_full(hash, 1) && (rc = replace_array(w, family, 1)) != 0) ||
        (rc = firewall_record_new(w->tables, &change->rule, &change->record)) != 0)
        return rc;
    hash_writer_reserve(hash);
    return 0;
}

bool firewall_writer_has(const struct firewall_writer *w, const struct firewall_rule *rule)
{
    return firewall_set_has(&w->live, w->tables, rule);
}

int firewall_change_prepare_add(struct firewall_writer *w, const struct firewall_rule *rule,
                                struct firewall_change *out)
{
    int rc = 0;

    *out = (struct firewall_change){.rule = *rule};
    (void)tables_reclaim(w->tables);
    if (firewall_set_has(&w->live, w->tables, rule))
        return ERR_EXISTS;
    if (rule->kind != FIREWALL_RULE_COUNTRY && (rc = prepare_prefix(w, out)) != 0)
        return rc;
    w->prepared++;
    out->writer = w;
    return 0;
}

int firewall_change_prepare_remove(struct firewall_writer *w, const struct firewall_rule *rule,
                                   struct firewall_change *out)
{
    int rc = 0;

    *out = (struct firewall_change){.is_removal = true, .rule = *rule};
    (void)tables_reclaim(w->tables);
    if (!firewall_set_has(&w->live, w->tables, rule))
        return ERR_NOT_FOUND;
    if (rule->kind != FIREWALL_RULE_COUNTRY)
        shrink_if_sparse(w, firewall_family_of(&rule->prefix));
    if ((rc = tables_retire_reserve(w->tables, 1)) != 0)
        return rc;
    w->prepared++;
    out->writer = w;
    return 0;
}

/** The writer of a prepared change, which is over with this. */
static struct firewall_writer *finish_change(struct firewall_change *change)
{
    struct firewall_writer *w = change->writer;

    CHECK(w != NULL && w->prepared > 0);
    w->prepared--;
    if (!change->is_removal && change->rule.kind != FIREWALL_RULE_COUNTRY)
        hash_writer_unreserve(&w->live.hash[firewall_family_of(&change->rule.prefix)]);
    change->writer = NULL;
    return w;
}

static void free_unused_record(struct firewall_writer *w, struct firewall_change *change)
{
    if (change->record == 0)
        return;
    tables_free_now(w->tables, change->record, firewall_record_bytes(firewall_family_of(&change->rule.prefix)));
    change->record = 0;
}

static bool publish_removal(struct firewall_writer *w, const struct firewall_rule *rule)
{
    shm_off old = 0;
    bool was_there = firewall_set_remove(&w->live, w->tables, rule, &old);

    if (old != 0)
        tables_retire(w->tables, old, firewall_record_bytes(firewall_family_of(&rule->prefix)), NULL, NULL);
    else
        tables_retire_unreserve(w->tables, 1);
    return was_there;
}

bool firewall_change_publish(struct firewall_change *change)
{
    struct firewall_writer *w = finish_change(change);

    tables_change_begin(w->tables);
    bool did = change->is_removal ? publish_removal(w, &change->rule)
                                  : firewall_set_add(&w->live, w->tables, &change->rule, &change->record);
    tables_change_end(w->tables);
    free_unused_record(w, change);
    return did;
}

void firewall_change_abort(struct firewall_change *change)
{
    if (change->writer == NULL)
        return;
    struct firewall_writer *w = finish_change(change);
    if (change->is_removal)
        tables_retire_unreserve(w->tables, 1);
    free_unused_record(w, change);
}

int firewall_add(struct firewall_writer *w, const struct firewall_rule *rule)
{
    struct firewall_change change;
    int rc = firewall_change_prepare_add(w, rule, &change);

    if (rc == 0)
        (void)firewall_change_publish(&change);
    return rc;
}

int firewall_remove(struct firewall_writer *w, const struct firewall_rule *rule)
{
    struct firewall_change change;
    int rc = firewall_change_prepare_remove(w, rule, &change);

    if (rc == 0)
        (void)firewall_change_publish(&change);
    return rc;
}

struct firewall_counts firewall_writer_counts(const struct firewall_writer *w)
{
    return w->live.counts;
}

void firewall_writer_set_rate(struct firewall_writer *w, struct rate_rule rule, struct rate_table *counted,
                              uint64_t now_ns)
{
    rate_rules_set(&w->tables->shm->rate, rule, counted, now_ns);
}

static unsigned long long slots_of(const struct hash_writer *hash)
{
    return (unsigned long long)hash->ref.bucket_count * SHM_HASH_BUCKET_SLOTS;
}

void firewall_writer_dump(const struct firewall_writer *w, struct strbuf *out)
{
    const struct firewall_set *s = &w->live;
    struct rate_rule rate = rate_rules_current(&w->tables->shm->rate);

    strbuf_addf(out, "ip_rules=%u cidr_rules=%u country_rules=%u prefixes4=%u slots4=%llu prefixes6=%u slots6=%llu ",
                s->counts.ip, s->counts.cidr, s->counts.country, s->hash[0].used, slots_of(&s->hash[0]),
                s->hash[1].used, slots_of(&s->hash[1]));
    strbuf_addf(out, "rate_limit=%u rate_window_ms=%u prepared=%u", rate.limit, rate.window_ms, w->prepared);
}
