#ifndef FIREWALL_SET_H
#define FIREWALL_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "firewall_rule.h"
#include "firewall_writer.h"
#include "hash_writer.h"
#include "tables.h"

/* All rules of the firewall: those in force, or some that are being put together aside. Used by firewall_writer.c,
 * firewall_bulk.c and firewall_batch.c only. It shows records and counts them; whose they are is its user's business. */

#define FIREWALL_FAMILIES 2 /* 0: IPv4, 1: IPv6 */

struct firewall_set {
    struct hash_writer hash[FIREWALL_FAMILIES];
    shm_off masks;                            /* struct shm_fw_masks */
    uint32_t lengths[FIREWALL_FAMILIES][129]; /* prefixes by length: a length's bit is set while this is not 0 */
    struct firewall_counts counts;
};

static inline unsigned firewall_family_of(const struct ip_cidr *prefix)
{
    return prefix->addr.family == 6;
}

static inline uint64_t firewall_record_bytes(unsigned family)
{
    return sizeof(struct shm_fw_rule) + (family == 0 ? 4 : 16);
}

static inline struct shm_fw_masks *firewall_set_masks(const struct firewall_set *set, struct tables *t)
{
    return tables_at(t, set->masks);
}

/** Empty masks. 0 or ERR_NO_MEMORY. */
int firewall_masks_new(struct tables *t, shm_off *masks_out) MUST_CHECK;

/** The record that a new prefix takes, not visible yet. 0 or ERR_NO_MEMORY. */
int firewall_record_new(struct tables *t, const struct firewall_rule *rule, shm_off *record_out) MUST_CHECK;

/** The record of a prefix, for either spelling; 0: none. *slot_out, set if there is one, is where it is shown. */
shm_off firewall_set_find(const struct firewall_set *set, struct tables *t, const struct ip_cidr *prefix,
                          _Atomic uint64_t **slot_out);

bool firewall_set_has(const struct firewall_set *set, struct tables *t, const struct firewall_rule *rule);

/**
 * Show a rule. Cannot fail, given room in its family's hash and, for a prefix, a record.
 *
 * @param record  cleared if it is shown now; left alone if the rule needed none (its prefix has one in the other spelling)
 * @return the rule was not there before
 */
bool firewall_set_add(struct firewall_set *set, struct tables *t, const struct firewall_rule *rule, shm_off *record);

/**
 * Take a rule out.
 *
 * @param record_out  the record that nothing shows any more; 0: none
 * @return it was there
 */
bool firewall_set_remove(struct firewall_set *set, struct tables *t, const struct firewall_rule *rule,
                         shm_off *record_out);

#endif
