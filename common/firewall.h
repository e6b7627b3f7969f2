#ifndef FIREWALL_H
#define FIREWALL_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "shm_layout.h"

/*
 * The reading side of the firewall: pure functions over a pinned root. The writing side is master/firewall_writer.h.
 *
 * A prefix is a key of its own length in one hash table per family, and a mask says which lengths occur: a look-up asks once per
 * length that has a rule, longest first. A million rules that are mostly /32 and /128 cost as many probes as ten.
 *
 * The question is asked once per connection for address and country together, under one pin: a client that the rules before and after
 * a change or a replacement of all rules both block is blocked during it, whichever kind of rule it is in each.
 */

enum firewall_verdict {
    FIREWALL_PASS,
    FIREWALL_BLOCKED_IP,
    FIREWALL_BLOCKED_CIDR,
    FIREWALL_BLOCKED_COUNTRY,
};

/** The country of an address, two letters; false if it is not known. */
typedef bool (*firewall_country_fn)(void *context, const struct ip_addr *addr, char iso_code_out[2]);

/**
 * Is an address blocked? An IP rule is named before a network, a longer network before a shorter one, and any before the country.
 *
 * @param root        from table_pin()
 * @param addr        family 0 (no address, a Unix peer) passes; IPv4-mapped ones are IPv4 already (address.h)
 * @param country_fn  asked at most once, and only if any country has a rule; NULL: no country is known
 */
enum firewall_verdict firewall_match(const struct shm_tables *tables, const struct shm_root *root,
                                     const struct ip_addr *addr, firewall_country_fn country_fn, void *context);

/**
 * The same, and which rule it was: *rule_out is the prefix of the IP or CIDR rule that blocks, and as it was for any other verdict.
 * For those who explain; NULL is allowed.
 */
enum firewall_verdict firewall_find(const struct shm_tables *tables, const struct shm_root *root,
                                    const struct ip_addr *addr, firewall_country_fn country_fn, void *context,
                                    struct ip_cidr *rule_out);

/** The same for IP and CIDR rules alone. */
enum firewall_verdict firewall_match_addr(const struct shm_tables *tables, const struct shm_root *root,
                                          const struct ip_addr *addr);

/* ---- what both sides share ---- */

#define FIREWALL_COUNTRY_BITS 676 /* 26 * 26 */

/** The bit of a country in shm_fw_masks.countries, 0..675; -1 if it is no pair of upper-case letters. */
int firewall_country_bit(const char iso_code[2]);

/** The hash tag of a prefix. Bits behind prefix_len must be zero. */
uint32_t firewall_prefix_tag(const struct shm_tables *tables, const struct ip_cidr *prefix);

/** Is a record of the right family's table this prefix? */
bool firewall_prefix_matches(const struct shm_fw_rule *rule, const struct ip_cidr *prefix);

/** The bytes of an address of a family: 4 or 16. */
static inline unsigned firewall_addr_bytes(unsigned family)
{
    return family == 4 ? 4 : 16;
}

/** addr with all bits behind prefix_len (0..32 or 0..128) cleared. */
struct ip_addr firewall_mask_addr(const struct ip_addr *addr, unsigned prefix_len);

#endif
