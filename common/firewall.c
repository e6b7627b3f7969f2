/* Is an address or a country blocked? Longest prefix first, one hash probe per prefix length that has a rule. */

#include "firewall.h"

#include <string.h>

#include "shm_hash.h"

#define COUNTRY_LETTERS 26

/** Nobody changes rules this often: a look-up that was overtaken this many times takes what it last saw. */
#define LOOKUP_TRIES 8

/** Prefix lengths that are asked for together. */
#define CANDIDATES 8

_Static_assert(sizeof(((struct shm_fw_masks *)NULL)->countries) * 8u >= FIREWALL_COUNTRY_BITS, "a bit per country");

/** One family's table, pinned. */
struct prefix_table {
    const struct shm_tables *tables;
    const struct shm_hash_ref *hash;
    const _Atomic uint64_t *lengths; /* the words of its mask */
    unsigned word_count;
};

static const struct shm_fw_masks *masks_of(const struct shm_tables *tables, const struct shm_root *root)
{
    return shm_at(tables, root->fw_masks);
}

struct ip_addr firewall_mask_addr(const struct ip_addr *addr, unsigned prefix_len)
{
    struct ip_addr out = {.family = addr->family};
    unsigned whole = prefix_len / 8;
    unsigned rest = prefix_len % 8;

    memcpy(out.bytes, addr->bytes, whole);
    if (rest != 0)
        out.bytes[whole] = (uint8_t)(addr->bytes[whole] & 0xff00u >> rest);
    return out;
}

uint32_t firewall_prefix_tag(const struct shm_tables *tables, const struct ip_cidr *prefix)
{
    uint64_t words[3] = {(uint64_t)prefix->addr.family << 8 | prefix->prefix_len};

    memcpy(&words[1], prefix->addr.bytes, sizeof prefix->addr.bytes);
    return shm_hash_words(tables->hash_seed, words, prefix->addr.family == 4 ? 2 : 3);
}

bool firewall_prefix_matches(const struct shm_fw_rule *rule, const struct ip_cidr *prefix)
{
    return rule->prefix_len == prefix->prefix_len &&
           memcmp(rule->addr, prefix->addr.bytes, firewall_addr_bytes(prefix->addr.family)) == 0;
}

/** A network around the address that may have a rule. */
struct candidate {
    struct ip_cidr prefix;
    uint32_t tag;
};

/** The lengths that occur, from the longest. */
struct length_walk {
    const struct prefix_table *table;
    unsigned word; /* of its mask, the one at hand */
    uint64_t left; /* lengths in it */
};

/** The next length; -1 if there is none. */
static int next_length(struct length_walk *w)
{
    while (w->left == 0) {
        if (w->word == 0)
            return -1;
        w->left = atomic_load_explicit(&w->table->lengths[--w->word], memory_order_acquire);
    }
    int bit = 63 - __builtin_clzll(w->left);
    w->left &= ~(1ull << bit);
    return 64 * (int)w->word + bit;
}

/**
 * The next lengths as candidates, and their buckets fetched early: in a large table each is a cache miss, and several at a time take
 * little longer than one. Not all at once, as a hit among the first makes the others needless.
 */
static unsigned take_candidates(struct length_walk *w, const struct ip_addr *addr, struct candidate out[CANDIDATES])
{
    const struct prefix_table *t = w->table;
    unsigned count = 0;

    for (int len; count < CANDIDATES && (len = next_length(w)) >= 0; count++) {
        out[count].prefix = (struct ip_cidr){firewall_mask_addr(addr, (unsigned)len), (uint8_t)len};
        out[count].tag = firewall_prefix_tag(t->tables, &out[count].prefix);
        shm_hash_prefetch(t->tables, t->hash, out[count].tag);
    }
    return count;
}

/** The flags of the rule of exactly this prefix; 0: there is none. */
static uint8_t find_flags(const struct prefix_table *t, const struct candidate *c)
{
    struct shm_hash_probe probe = shm_hash_probe_begin(t->tables, t->hash, c->tag);

    for (shm_off off; (off = shm_hash_probe_next(&probe)) != 0;) {
        const struct shm_fw_rule *rule = shm_at(t->tables, off);
        if (firewall_prefix_matches(rule, &c->prefix))
            return atomic_load_explicit(&rule->flags, memory_order_relaxed);
    }
    return 0;
}

/** The flags of the longest prefix that has a rule, and the prefix unless nobody asks; 0: there is none. */
static uint8_t match_longest(const struct prefix_table *t, const struct ip_addr *addr, struct ip_cidr *prefix_out)
{
    struct length_walk walk = {.table = t, .word = t->word_count};
    struct candidate candidates[CANDIDATES];

    for (unsigned count; (count = take_candidates(&walk, addr, candidates)) > 0;) {
        for (unsigned i = 0; i < count; i++) {
            uint8_t flags = find_flags(t, &candidates[i]);
            if (flags == 0)
                continue;
            if (prefix_out != NULL)
                *prefix_out = candidates[i].prefix;
            return flags;
        }
    }
    return 0;
}

static struct prefix_table table_of(const struct shm_tables *tables, const struct shm_root *root, unsigned family)
{
    const struct shm_fw_masks *masks = masks_of(tables, root);

    if (family == 4)
        return (struct prefix_table){tables, &root->fw4, &masks->lengths4, 1};
    return (struct prefix_table){tables, &root->fw6, masks->lengths6, 3};
}

int firewall_country_bit(const char iso_code[2])
{
    if (iso_code[0] < 'A' || iso_code[0] > 'Z' || iso_code[1] < 'A' || iso_code[1] > 'Z')
        return -1;
    return (iso_code[0] - 'A') * COUNTRY_LETTERS + (iso_code[1] - 'A');
}

static bool has_countries(const struct shm_fw_masks *masks)
{
    uint64_t any = 0;

    for (unsigned i = 0; i < sizeof masks->countries / sizeof masks->countries[0]; i++)
        any |= atomic_load_explicit(&masks->countries[i], memory_order_acquire);
    return any != 0;
}

/** A connection's country: looked up when it is first asked for, and once. */
struct country_query {
    firewall_country_fn fn;
    void *context;
    bool was_asked;
    int bit; /* -1: unknown */
};

static bool country_is_blocked(const struct shm_fw_masks *masks, const struct ip_addr *addr, struct country_query *q)
{
    char iso_code[2];

    if (q->fn == NULL || !has_countries(masks))
        return false;
    if (!q->was_asked) {
        q->was_asked = true;
        q->bit = q->fn(q->context, addr, iso_code) ? firewall_country_bit(iso_code) : -1;
    }
    return q->bit >= 0 &&
           (atomic_load_explicit(&masks->countries[q->bit / 64], memory_order_acquire) >> q->bit % 64 & 1) != 0;
}

/*
 * A blocked verdict stands: the rule was there. For a pass, one change during the look-up is harmless, but two are not: when a /32 is
 * added behind our back and then the /24 around it removed before we ask for that, we would see neither, though the address was
 * blocked all the time. The epoch goes up when a change begins, so an unchanged one says that at most the change already under way
 * overlapped (as in route_table.c). Trying again is bounded, and a writer that died leaves the epoch as it is.
 */
enum firewall_verdict firewall_find(const struct shm_tables *tables, const struct shm_root *root,
                                    const struct ip_addr *addr, firewall_country_fn country_fn, void *context,
                                    struct ip_cidr *rule_out)
{
    if (addr->family != 4 && addr->family != 6)
        return FIREWALL_PASS;
    const struct prefix_table table = table_of(tables, root, addr->family);
    struct country_query country = {.fn = country_fn, .context = context};
    uint64_t before = atomic_load_explicit(&tables->epoch, memory_order_acquire);

    for (unsigned tries = 0; tries < LOOKUP_TRIES; tries++) {
        uint8_t flags = match_longest(&table, addr, rule_out);
        if (flags != 0)
            return (flags & SHM_FW_IP) != 0 ? FIREWALL_BLOCKED_IP : FIREWALL_BLOCKED_CIDR;
        if (country_is_blocked(masks_of(tables, root), addr, &country))
            return FIREWALL_BLOCKED_COUNTRY;
        uint64_t after = atomic_load_explicit(&tables->epoch, memory_order_acquire);
        if (after == before)
            break;
        before = after;
    }
    return FIREWALL_PASS;
}

enum firewall_verdict firewall_match(const struct shm_tables *tables, const struct shm_root *root,
                                     const struct ip_addr *addr, firewall_country_fn country_fn, void *context)
{
    return firewall_find(tables, root, addr, country_fn, context, NULL);
}

enum firewall_verdict firewall_match_addr(const struct shm_tables *tables, const struct shm_root *root,
                                          const struct ip_addr *addr)
{
    return firewall_match(tables, root, addr, NULL, NULL);
}
