/* A million rules that come and go against a naive matcher. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "firewall_fixture.h"
#include "random_numbers.h"

#if defined(MCPROXY_SANITIZED) || !defined(NDEBUG) /* sanitizers, coverage */
#define RULES   60000u
#define LOOKUPS 1000000u
#else
#define RULES   1000000u
#define LOOKUPS 20000000u
#endif

/* ---- the naive matcher: all rules there may ever be, sorted by length, each with a flag whether it is there ---- */

typedef unsigned __int128 bits128; /* an address from the top bit; IPv4 in the upper 32 */

struct shadow_rule {
    bits128 key;
    uint8_t family; /* 0, 1 */
    uint8_t len;
    uint8_t flags; /* SHM_FW_* there now */
};

struct shadow {
    struct shadow_rule *rules; /* sorted by family, length, key; each once */
    uint32_t count;
    uint32_t first[2][130]; /* where each length begins */
    uint32_t there[2][129]; /* rules there now, by length */
};

static bits128 mask_bits(unsigned len)
{
    return len == 0 ? 0 : ~(bits128)0 << (128 - len);
}

/* ---- random rules and addresses ---- */

/** Scattered, but with company in the same networks. */
static bits128 random_addr(unsigned family)
{
    if (family == 0)
        return (bits128)(rng(2) == 0 ? (uint32_t)rng64() : rng(64) << 26 | rng(1 << 22)) << 96;
    uint64_t high = 0x20010db800000000u | (uint64_t)rng(1 << 10) << 20 | rng(1 << 6);
    return (bits128)(rng(4) == 0 ? rng64() : high) << 64 | (rng(2) == 0 ? rng64() : rng(1 << 12));
}

static unsigned random_length(unsigned family, unsigned i)
{
    static const uint8_t usual[2][5] = {{8, 16, 20, 22, 24}, {20, 32, 48, 56, 64}};
    unsigned whole = family == 0 ? 32 : 128;

    if (i < 400)
        return i % (whole + 1); /* all lengths, the whole family too */
    return rng(1000) == 0 ? usual[family][rng(5)] : whole;
}

static int compare_rules(const void *a, const void *b)
{
    const struct shadow_rule *x = a;
    const struct shadow_rule *y = b;

    if (x->family != y->family)
        return x->family - y->family;
    if (x->len != y->len)
        return x->len - y->len;
    return (x->key > y->key) - (x->key < y->key);
}

static void shadow_init(struct shadow *s, uint32_t count)
{
    uint32_t kept = 0;

    s->rules = calloc(count, sizeof *s->rules);
    assert_non_null(s->rules);
    for (uint32_t i = 0; i < count; i++) {
        unsigned family = i % 2;
        unsigned len = random_length(family, i / 2);
        s->rules[i] = (struct shadow_rule){random_addr(family) & mask_bits(len), (uint8_t)family, (uint8_t)len, 0};
    }
    qsort(s->rules, count, sizeof *s->rules, compare_rules);
    for (uint32_t i = 0; i < count; i++) {
        if (kept == 0 || compare_rules(&s->rules[kept - 1], &s->rules[i]) != 0)
            s->rules[kept++] = s->rules[i];
    }
    s->count = kept;
    for (uint32_t family = 0, at = 0; family < 2; family++) {
        for (uint32_t len = 0; len <= 129; len++) {
            while (at < kept && s->rules[at].family == family && s->rules[at].len < len)
                at++;
            s->first[family][len] = at;
        }
    }
}

static void shadow_set_flags(struct shadow *s, struct shadow_rule *r, uint8_t flags)
{
    s->there[r->family][r->len] += (flags != 0) - (r->flags != 0);
    r->flags = flags;
}

static const struct shadow_rule *shadow_find(const struct shadow *s, unsigned family, unsigned len, bits128 key)
{
    uint32_t low = s->first[family][len];
    uint32_t high = s->first[family][len + 1];

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (s->rules[middle].key == key)
            return &s->rules[middle];
        if (s->rules[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static enum firewall_verdict shadow_match(const struct shadow *s, unsigned family, bits128 addr)
{
    for (unsigned len = family == 0 ? 33 : 129; len-- > 0;) {
        if (s->there[family][len] == 0)
            continue;
        const struct shadow_rule *r = shadow_find(s, family, len, addr & mask_bits(len));
        if (r != NULL && r->flags != 0)
            return (r->flags & SHM_FW_IP) != 0 ? FIREWALL_BLOCKED_IP : FIREWALL_BLOCKED_CIDR;
    }
    return FIREWALL_PASS;
}

static struct ip_addr addr_of_bits(unsigned family, bits128 bits)
{
    struct ip_addr addr = {.family = family == 0 ? 4 : 6};

    for (unsigned i = 0; i < (family == 0 ? 4 : 16); i++)
        addr.bytes[i] = (uint8_t)(bits >> (120 - 8 * i));
    return addr;
}

/** An address somewhere; or in, at or beside a rule. */
static bits128 address_to_ask(const struct shadow *s, unsigned family)
{
    const struct shadow_rule *r = &s->rules[rng(s->count)];
    unsigned whole = family == 0 ? 32 : 128;

    if (rng(3) == 0 || r->family != family)
        return random_addr(family) & mask_bits(whole);
    bits128 addr = (r->key | (random_addr(family) & ~mask_bits(r->len))) & mask_bits(whole);
    return rng(2) == 0 ? addr ^ (bits128)1 << (128 - whole + rng(whole)) : addr;
}

static void compare_look_ups(const struct fw_fixture *f, const struct shadow *s, uint32_t count)
{
    const struct table_view *view = &f->tables->view;
    const struct shm_root *root = table_pin(view);

    for (uint32_t i = 0; i < count; i++) {
        unsigned family = i % 2;
        bits128 bits = address_to_ask(s, family);
        struct ip_addr addr = addr_of_bits(family, bits);
        enum firewall_verdict want = shadow_match(s, family, bits);
        enum firewall_verdict got = firewall_match_addr(view->tables, root, &addr);
        if (got != want) {
            char text[ADDRESS_TEXT_MAX];
            struct strbuf out = STRBUF_OF(text);
            ip_addr_format(&addr, &out);
            fail_msg("%s: verdict %d, expected %d", text, got, want);
        }
    }
    table_release(view);
}

static void check_masks(const struct fw_fixture *f, const struct shadow *s)
{
    const struct shm_fw_masks *masks = tables_at(f->tables, tables_root(f->tables)->fw_masks);
    uint64_t want[4] = {0}; /* IPv4, then the words of IPv6 */
    struct firewall_counts counts = {0};

    for (uint32_t i = 0; i < s->count; i++) {
        const struct shadow_rule *r = &s->rules[i];
        if (r->flags != 0)
            want[r->family == 0 ? 0 : 1 + r->len / 64] |= 1ull << r->len % 64;
        counts.ip += (r->flags & SHM_FW_IP) != 0;
        counts.cidr += (r->flags & SHM_FW_CIDR) != 0;
    }
    assert_int_equal(atomic_load(&masks->lengths4), want[0]);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(atomic_load(&masks->lengths6[i]), want[1 + i]);
    assert_int_equal(firewall_writer_counts(f->writer).ip, counts.ip);
    assert_int_equal(firewall_writer_counts(f->writer).cidr, counts.cidr);
}

static struct firewall_rule rule_of_shadow(const struct shadow_rule *r, uint8_t flag)
{
    return (struct firewall_rule){
        .kind = flag == SHM_FW_IP ? FIREWALL_RULE_IP : FIREWALL_RULE_CIDR,
        .prefix = {.addr = addr_of_bits(r->family, r->key), .prefix_len = r->len},
    };
}

/** A single address may be written either way, a network one way only. */
static uint8_t random_flag(const struct shadow_rule *r)
{
    return r->len == (r->family == 0 ? 32 : 128) && rng(4) != 0 ? SHM_FW_IP : SHM_FW_CIDR;
}

static void change_one(struct fw_fixture *f, struct shadow *s, bool to_add)
{
    struct shadow_rule *r = &s->rules[rng(s->count)];
    uint8_t flag = random_flag(r);
    struct firewall_rule rule = rule_of_shadow(r, flag);
    bool is_there = (r->flags & flag) != 0;
    struct firewall_change change;

    if (!to_add) {
        assert_int_equal(firewall_change_prepare_remove(f->writer, &rule, &change), is_there ? 0 : ERR_NOT_FOUND);
        if (!is_there)
            return;
    } else {
        assert_int_equal(firewall_change_prepare_add(f->writer, &rule, &change), is_there ? ERR_EXISTS : 0);
        if (is_there)
            return;
    }
    if (rng(16) == 0) {
        firewall_change_abort(&change);
        return;
    }
    assert_true(firewall_change_publish(&change));
    shadow_set_flags(s, r, r->flags ^ flag);
}

static void load_all(struct fw_fixture *f, struct shadow *s)
{
    struct firewall_bulk *bulk = NULL;

    assert_int_equal(firewall_bulk_begin(f->writer, 0, s->count / 2, &bulk), 0);
    for (uint32_t i = 0; i < s->count; i++) {
        struct shadow_rule *r = &s->rules[i];
        if (rng(8) == 0 && r->len > 3)
            continue;
        uint8_t flag = random_flag(r);
        struct firewall_rule rule = rule_of_shadow(r, flag);
        assert_int_equal(firewall_bulk_add(bulk, &rule), 0);
        shadow_set_flags(s, r, r->flags | flag);
    }
    firewall_bulk_publish(&bulk);
}

/** Take out or put back the networks of length 0..max_len, which cover much or all. */
static void change_wide_ones(struct fw_fixture *f, struct shadow *s, unsigned max_len, bool to_add)
{
    for (uint32_t i = 0; i < s->count; i++) {
        struct firewall_rule rule = rule_of_shadow(&s->rules[i], SHM_FW_CIDR);
        if (s->rules[i].len > max_len || (s->rules[i].flags != 0) == to_add)
            continue;
        assert_int_equal(to_add ? firewall_add(f->writer, &rule) : firewall_remove(f->writer, &rule), 0);
        shadow_set_flags(s, &s->rules[i], to_add ? SHM_FW_CIDR : 0);
    }
}

static void churn(struct fw_fixture *f, struct shadow *s, uint32_t changes, uint32_t adds_of_ten)
{
    for (uint32_t i = 0; i < changes; i++) {
        change_one(f, s, rng(10) < adds_of_ten);
        if (i % 64 == 0)
            compare_look_ups(f, s, 16);
    }
}

/** Leave only the usual lengths, as block lists have them; the many look-ups are then as fast as in practice. */
static void take_out_odd_lengths(struct fw_fixture *f, struct shadow *s)
{
    static const uint8_t usual[2][6] = {{8, 16, 20, 22, 24, 32}, {20, 32, 48, 56, 64, 128}};

    for (uint32_t i = 0; i < s->count; i++) {
        struct shadow_rule *r = &s->rules[i];
        if (r->flags == 0 || memchr(usual[r->family], r->len, 6) != NULL)
            continue;
        struct firewall_rule rule = rule_of_shadow(r, SHM_FW_CIDR);
        assert_int_equal(firewall_remove(f->writer, &rule), 0);
        shadow_set_flags(s, r, 0);
    }
}

static void a_million_rules_match_the_naive_matcher(void **state)
{
    struct fw_fixture f;
    static struct shadow s;
    (void)state;

    fw_init(&f, 0, 0);
    shadow_init(&s, RULES + RULES / 8);
    load_all(&f, &s);
    check_masks(&f, &s);
    compare_look_ups(&f, &s, LOOKUPS / 100); /* with 0.0.0.0/0 and ::/0 */
    change_wide_ones(&f, &s, 12, false);
    compare_look_ups(&f, &s, LOOKUPS / 100);
    change_wide_ones(&f, &s, 0, true);
    churn(&f, &s, RULES / 4, 5);
    change_wide_ones(&f, &s, 12, false);
    check_masks(&f, &s);
    compare_look_ups(&f, &s, LOOKUPS / 100);
    take_out_odd_lengths(&f, &s);
    check_masks(&f, &s);
    compare_look_ups(&f, &s, LOOKUPS);
    churn(&f, &s, 2 * RULES, 0); /* most go, the arrays shrink */
    check_masks(&f, &s);
    compare_look_ups(&f, &s, LOOKUPS / 100);
    churn(&f, &s, RULES, 10); /* and grow, one by one */
    check_masks(&f, &s);
    compare_look_ups(&f, &s, LOOKUPS / 100);
    free(s.rules);
    fw_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_million_rules_match_the_naive_matcher),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
