/* One set of firewall rules: prefixes under their keys, the counts from which the masks follow, and countries. */

#include "firewall_set.h"

#include <string.h>

#include "err.h"
#include "firewall.h"

int firewall_masks_new(struct tables *t, shm_off *masks_out)
{
    int rc = tables_alloc(t, sizeof(struct shm_fw_masks), masks_out);

    if (rc == 0)
        memset(tables_at(t, *masks_out), 0, sizeof(struct shm_fw_masks));
    return rc;
}

static uint8_t flag_of(const struct firewall_rule *rule)
{
    return rule->kind == FIREWALL_RULE_IP ? SHM_FW_IP : SHM_FW_CIDR;
}

int firewall_record_new(struct tables *t, const struct firewall_rule *rule, shm_off *record_out)
{
    unsigned family = firewall_family_of(&rule->prefix);
    int rc = tables_alloc(t, firewall_record_bytes(family), record_out);

    if (rc != 0)
        return rc;
    struct shm_fw_rule *record = tables_at(t, *record_out);
    record->prefix_len = rule->prefix.prefix_len;
    atomic_init(&record->flags, flag_of(rule));
    memset(record->reserved, 0, sizeof record->reserved);
    memcpy(record->addr, rule->prefix.addr.bytes, firewall_addr_bytes(rule->prefix.addr.family));
    return 0;
}

/* ---- masks: a bit is there before the first record of its length, and goes after the last ---- */

static _Atomic uint64_t *length_word(const struct firewall_set *set, struct tables *t, const struct ip_cidr *prefix)
{
    struct shm_fw_masks *masks = firewall_set_masks(set, t);

    return firewall_family_of(prefix) == 0 ? &masks->lengths4 : &masks->lengths6[prefix->prefix_len / 64];
}

static void count_length_up(struct firewall_set *set, struct tables *t, const struct ip_cidr *prefix)
{
    if (set->lengths[firewall_family_of(prefix)][prefix->prefix_len]++ == 0)
        atomic_fetch_or_explicit(length_word(set, t, prefix), 1ull << prefix->prefix_len % 64, memory_order_release);
    tables_step("length_set");
}

static void count_length_down(struct firewall_set *set, struct tables *t, const struct ip_cidr *prefix)
{
    if (--set->lengths[firewall_family_of(prefix)][prefix->prefix_len] == 0)
        atomic_fetch_and_explicit(length_word(set, t, prefix), ~(1ull << prefix->prefix_len % 64),
                                  memory_order_release);
    tables_step("length_cleared");
}

static uint32_t *count_of(struct firewall_set *set, enum firewall_rule_kind kind)
{
    uint32_t *const counts[] = {
        [FIREWALL_RULE_IP] = &set->counts.ip,
        [FIREWALL_RULE_CIDR] = &set->counts.cidr,
        [FIREWALL_RULE_COUNTRY] = &set->counts.country,
    };

    return counts[kind];
}

/* ---- prefixes ---- */

/** The record of exactly this prefix, NULL if there is none; *off_out and *slot_out say where. */
static struct shm_fw_rule *find_prefix(const struct firewall_set *set, struct tables *t, const struct ip_cidr *prefix,
                                       shm_off *off_out, _Atomic uint64_t **slot_out)
{
    const struct hash_writer *hash = &set->hash[firewall_family_of(prefix)];
    struct shm_hash_probe p = shm_hash_probe_begin(t->shm, &hash->ref, firewall_prefix_tag(t->shm, prefix));

    for (shm_off off; (off = shm_hash_probe_next(&p)) != 0;) {
        struct shm_fw_rule *record = tables_at(t, off);
        if (!firewall_prefix_matches(record, prefix))
            continue;
        *off_out = off;
        *slot_out = hash_writer_slot(hash, t, &p);
        return record;
    }
    return NULL;
}

shm_off firewall_set_find(const struct firewall_set *set, struct tables *t, const struct ip_cidr *prefix,
                          _Atomic uint64_t **slot_out)
{
    shm_off off = 0;

    (void)find_prefix(set, t, prefix, &off, slot_out);
    return off;
}

static uint8_t flags_of(const struct shm_fw_rule *record)
{
    return atomic_load_explicit(&record->flags, memory_order_relaxed);
}

static bool add_prefix(struct firewall_set *set, struct tables *t, const struct firewall_rule *rule, shm_off *record)
{
    shm_off off = 0;
    _Atomic uint64_t *slot = NULL;
    struct shm_fw_rule *present = find_prefix(set, t, &rule->prefix, &off, &slot);

    if (present != NULL) {
        uint8_t flags = flags_of(present);
        atomic_store_explicit(&present->flags, flags | flag_of(rule), memory_order_release);
        return (flags & flag_of(rule)) == 0;
    }
    CHECK(*record != 0);
    count_length_up(set, t, &rule->prefix);
    hash_writer_insert(&set->hash[firewall_family_of(&rule->prefix)], t, firewall_prefix_tag(t->shm, &rule->prefix),
                       *record);
    *record = 0;
    return true;
}

static bool remove_prefix(struct firewall_set *set, struct tables *t, const struct firewall_rule *rule,
                          shm_off *record_out)
{
    shm_off off = 0;
    _Atomic uint64_t *slot = NULL;
    struct shm_fw_rule *present = find_prefix(set, t, &rule->prefix, &off, &slot);
    uint8_t flags = present != NULL ? flags_of(present) : 0;

    if ((flags & flag_of(rule)) == 0)
        return false;
    if (flags != flag_of(rule)) { /* the other spelling stays: the address is blocked before, during and after */
        atomic_store_explicit(&present->flags, flags & ~flag_of(rule), memory_order_release);
        return true;
    }
    hash_writer_erase(&set->hash[firewall_family_of(&rule->prefix)], t, slot);
    tables_step("prefix_erased");
    count_length_down(set, t, &rule->prefix);
    *record_out = off;
    return true;
}

/* ---- countries ---- */

static _Atomic uint64_t *country_word(const struct firewall_set *set, struct tables *t,
                                      const struct firewall_rule *rule, uint64_t *bit_out)
{
    int bit = firewall_country_bit(rule->country);

    CHECK(bit >= 0);
    *bit_out = 1ull << bit % 64;
    return &firewall_set_masks(set, t)->countries[bit / 64];
}

static bool country_is_there(const struct firewall_set *set, struct tables *t, const struct firewall_rule *rule)
{
    uint64_t bit = 0;
    _Atomic uint64_t *word = country_word(set, t, rule, &bit);

    return (atomic_load_explicit(word, memory_order_relaxed) & bit) != 0;
}

static bool set_country(struct firewall_set *set, struct tables *t, const struct firewall_rule *rule, bool is_blocked)
{
    uint64_t bit = 0;
    _Atomic uint64_t *word = country_word(set, t, rule, &bit);
    uint64_t before = is_blocked ? atomic_fetch_or_explicit(word, bit, memory_order_release)
                                 : atomic_fetch_and_explicit(word, ~bit, memory_order_release);

    return ((before & bit) != 0) != is_blocked;
}

/* ---- rules ---- */

bool firewall_set_has(const struct firewall_set *set, struct tables *t, const struct firewall_rule *rule)
{
    shm_off off = 0;
    _Atomic uint64_t *slot = NULL;

    if (rule->kind == FIREWALL_RULE_COUNTRY)
        return country_is_there(set, t, rule);
    const struct shm_fw_rule *record = find_prefix(set, t, &rule->prefix, &off, &slot);
    return record != NULL && (flags_of(record) & flag_of(rule)) != 0;
}

bool firewall_set_add(struct firewall_set *set, struct tables *t, const struct firewall_rule *rule, shm_off *record)
{
    bool is_new =
        rule->kind == FIREWALL_RULE_COUNTRY ? set_country(set, t, rule, true) : add_prefix(set, t, rule, record);

    *count_of(set, rule->kind) += is_new;
    tables_step("rule_visible");
    return is_new;
}

bool firewall_set_remove(struct firewall_set *set, struct tables *t, const struct firewall_rule *rule,
                         shm_off *record_out)
{
    *record_out = 0;
    bool was_there = rule->kind == FIREWALL_RULE_COUNTRY ? set_country(set, t, rule, false)
                                                         : remove_prefix(set, t, rule, record_out);

    *count_of(set, rule->kind) -= was_there;
    tables_step("rule_gone");
    return was_there;
}
