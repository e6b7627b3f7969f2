/* Which addresses and countries the rules block: cases, and a million rules against a naive matcher. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "firewall_fixture.h"

#if defined(MCPROXY_SANITIZED) || !defined(NDEBUG) /* sanitizers, coverage */
#define RULES   60000u
#define LOOKUPS 1000000u
#else
#define RULES   1000000u
#define LOOKUPS 20000000u
#endif

/* ---- cases ---- */

struct verdict_case {
    const char *addr;
    enum firewall_verdict verdict;
};

static void expect(const struct fw_fixture *f, const struct verdict_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum firewall_verdict got = fw_verdict(f, cases[i].addr);
        if (got != cases[i].verdict)
            fail_msg("%s: verdict %d, expected %d", cases[i].addr, got, cases[i].verdict);
    }
}
#define EXPECT(f, cases) expect(f, cases, sizeof(cases) / sizeof(cases)[0])

static void rules_block_what_they_cover(void **state)
{
    static const char *const rules[] = {"192.0.2.7",      "198.51.100.0/24",   "10.0.0.0/8",      "10.1.2.3",
                                        "203.0.113.8/29", "2001:db8::7",       "2001:db8:1::/48", "fe80::/10",
                                        "100.64.0.0/10",  "2001:db8:2::1/128", "192.0.2.9/32"};
    static const struct verdict_case cases[] = {
        {"192.0.2.7", FIREWALL_BLOCKED_IP},
        {"192.0.2.6", FIREWALL_PASS},
        {"192.0.2.8", FIREWALL_PASS},
        {"192.0.2.9", FIREWALL_BLOCKED_CIDR},
        {"198.51.100.0", FIREWALL_BLOCKED_CIDR},
        {"198.51.100.255", FIREWALL_BLOCKED_CIDR},
        {"198.51.99.255", FIREWALL_PASS},
        {"198.51.101.0", FIREWALL_PASS},
        {"10.1.2.3", FIREWALL_BLOCKED_IP}, /* the longer one is named */
        {"10.1.2.4", FIREWALL_BLOCKED_CIDR},
        {"203.0.113.7", FIREWALL_PASS},
        {"203.0.113.8", FIREWALL_BLOCKED_CIDR},
        {"203.0.113.15", FIREWALL_BLOCKED_CIDR},
        {"203.0.113.16", FIREWALL_PASS},
        {"100.63.255.255", FIREWALL_PASS},
        {"100.127.255.255", FIREWALL_BLOCKED_CIDR},
        {"100.128.0.0", FIREWALL_PASS},
        {"2001:db8::7", FIREWALL_BLOCKED_IP},
        {"2001:db8::8", FIREWALL_PASS},
        {"2001:db8:1:ffff::1", FIREWALL_BLOCKED_CIDR},
        {"2001:db8:2::1", FIREWALL_BLOCKED_CIDR},
        {"2001:db8:2::2", FIREWALL_PASS},
        {"fe80::1", FIREWALL_BLOCKED_CIDR},
        {"febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", FIREWALL_BLOCKED_CIDR},
        {"fec0::", FIREWALL_PASS},
        {"::ffff:192.0.2.7", FIREWALL_BLOCKED_IP}, /* IPv4-mapped is IPv4 */
        {"::ffff:10.9.9.9", FIREWALL_BLOCKED_CIDR},
        {"::192.0.2.7", FIREWALL_PASS}, /* IPv4-compatible is not */
        {"c000:207::", FIREWALL_PASS},  /* the same leading bytes in the other family */
    };
    struct fw_fixture f;
    (void)state;

    fw_init(&f, 64 << 20, 0);
    assert_int_equal(fw_verdict(&f, "192.0.2.7"), FIREWALL_PASS);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        assert_int_equal(fw_add(&f, rules[i]), 0);
    EXPECT(&f, cases);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        assert_int_equal(fw_remove(&f, rules[i]), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(fw_verdict(&f, cases[i].addr), FIREWALL_PASS);
    fw_fini(&f);
}

static void the_rule_that_blocks_is_found(void **state)
{
    static const char *const rules[] = {"192.0.2.7", "192.0.2.0/24", "192.0.0.0/16", "2001:db8::/32",
                                        "2001:db8::1/128"};
    static const struct {
        const char *addr, *rule;
    } cases[] = {{"192.0.2.7", "192.0.2.7/32"},    {"192.0.2.8", "192.0.2.0/24"},      {"192.0.3.1", "192.0.0.0/16"},
                 {"2001:db8::2", "2001:db8::/32"}, {"2001:db8::1", "2001:db8::1/128"}, {"193.0.0.1", NULL}};
    struct fw_fixture f;
    (void)state;

    fw_init(&f, 64 << 20, 0);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        assert_int_equal(fw_add(&f, rules[i]), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[ADDRESS_TEXT_MAX];
        struct strbuf found = STRBUF_OF(text);
        struct ip_cidr rule = {.prefix_len = 99};
        struct ip_addr addr;
        assert_int_equal(ip_addr_parse(bytes_of_str(cases[i].addr), &addr, &found), 0);
        enum firewall_verdict verdict =
            firewall_find(f.tables->shm, table_pin(&f.tables->view), &addr, NULL, NULL, &rule);
        table_release(&f.tables->view);
        assert_int_equal(verdict, firewall_match_addr(f.tables->shm, table_pin(&f.tables->view), &addr));
        table_release(&f.tables->view);
        if (cases[i].rule == NULL) {
            assert_int_equal(rule.prefix_len, 99);
            continue;
        }
        ip_cidr_format(&rule, &found);
        assert_string_equal(text, cases[i].rule);
    }
    fw_fini(&f);
}

static void a_family_can_be_blocked_whole(void **state)
{
    static const struct verdict_case only4[] = {{"0.0.0.0", FIREWALL_BLOCKED_CIDR},
                                                {"255.255.255.255", FIREWALL_BLOCKED_CIDR},
                                                {"::ffff:192.0.2.1", FIREWALL_BLOCKED_CIDR},
                                                {"::", FIREWALL_PASS},
                                                {"2001:db8::1", FIREWALL_PASS}};
    static const struct verdict_case only6[] = {{"192.0.2.1", FIREWALL_PASS},
                                                {"::ffff:192.0.2.1", FIREWALL_PASS},
                                                {"::", FIREWALL_BLOCKED_CIDR},
                                                {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", FIREWALL_BLOCKED_CIDR}};
    struct fw_fixture f;
    (void)state;

    fw_init(&f, 64 << 20, 0);
    assert_int_equal(fw_add(&f, "0.0.0.0/0"), 0);
    EXPECT(&f, only4);
    assert_int_equal(fw_remove(&f, "0.0.0.0/0"), 0);
    assert_int_equal(fw_add(&f, "::/0"), 0);
    EXPECT(&f, only6);
    fw_fini(&f);
}

static void an_address_of_every_length_is_found(void **state)
{
    struct fw_fixture f;
    struct ip_addr ones[2] = {{.family = 4}, {.family = 6}};
    (void)state;

    fw_init(&f, 64 << 20, 0);
    memset(ones[0].bytes, 0xff, 4);
    memset(ones[1].bytes, 0xff, 16);
    for (unsigned family = 0; family < 2; family++) {
        for (unsigned len = 0; len <= (family == 0 ? 32 : 128); len++) {
            struct firewall_rule rule = {.kind = FIREWALL_RULE_CIDR,
                                         .prefix = {firewall_mask_addr(&ones[family], len), (uint8_t)len}};
            struct ip_addr inside = rule.prefix.addr;
            struct ip_addr outside = rule.prefix.addr;
            assert_int_equal(firewall_add(f.writer, &rule), 0);
            assert_int_equal(view_verdict(&f.tables->view, &ones[family], NULL), FIREWALL_BLOCKED_CIDR);
            assert_int_equal(view_verdict(&f.tables->view, &inside, NULL), FIREWALL_BLOCKED_CIDR);
            if (len > 0) {
                outside.bytes[(len - 1) / 8] ^= (uint8_t)(0x80 >> (len - 1) % 8);
                assert_int_equal(view_verdict(&f.tables->view, &outside, NULL), FIREWALL_PASS);
            }
            assert_int_equal(firewall_remove(f.writer, &rule), 0);
            assert_int_equal(view_verdict(&f.tables->view, &ones[family], NULL), FIREWALL_PASS);
        }
    }
    fw_fini(&f);
}

static unsigned times_asked;

static bool counting_country(void *context, const struct ip_addr *addr, char iso_code_out[2])
{
    times_asked++;
    return fixed_country(context, addr, iso_code_out);
}

static void countries_are_asked_for_only_when_a_rule_needs_it(void **state)
{
    struct fw_fixture f;
    struct ip_addr addr = addr_of("192.0.2.7");
    struct ip_addr none = {0};
    char north[] = "KP";
    char other[] = "KQ";
    const struct table_view *view;
    (void)state;

    fw_init(&f, 64 << 20, 0);
    view = &f.tables->view;
    times_asked = 0;
    assert_int_equal(firewall_match(view->tables, table_pin(view), &addr, counting_country, north), FIREWALL_PASS);
    assert_int_equal(times_asked, 0);
    assert_int_equal(fw_add(&f, "KP"), 0);
    assert_int_equal(firewall_match(view->tables, table_pin(view), &addr, counting_country, north),
                     FIREWALL_BLOCKED_COUNTRY);
    assert_int_equal(times_asked, 1);
    assert_int_equal(firewall_match(view->tables, table_pin(view), &addr, counting_country, other), FIREWALL_PASS);
    assert_int_equal(firewall_match(view->tables, table_pin(view), &addr, counting_country, NULL), FIREWALL_PASS);
    assert_int_equal(firewall_match(view->tables, table_pin(view), &addr, NULL, NULL), FIREWALL_PASS);
    assert_int_equal(firewall_match(view->tables, table_pin(view), &none, counting_country, north), FIREWALL_PASS);
    assert_int_equal(times_asked, 3);
    assert_int_equal(fw_add(&f, "192.0.2.0/24"), 0);
    assert_int_equal(firewall_match(view->tables, table_pin(view), &addr, counting_country, north),
                     FIREWALL_BLOCKED_CIDR);
    assert_int_equal(times_asked, 3);
    table_release(view);
    fw_fini(&f);
}

static void every_country_has_a_bit_of_its_own(void **state)
{
    static const char odd[][2] = {"kp", {'K', 0}, {0, 0}, {'K', '['}, {'@', 'A'}, {(char)0xff, 'A'}, {'A', (char)0x80}};
    struct fw_fixture f;
    struct ip_addr addr = addr_of("192.0.2.7");
    char iso[3] = "";
    (void)state;

    fw_init(&f, 64 << 20, 0);
    for (int bit = 0; bit < FIREWALL_COUNTRY_BITS; bit++) {
        (void)snprintf(iso, sizeof iso, "%c%c", 'A' + bit / 26, 'A' + bit % 26);
        assert_int_equal(firewall_country_bit(iso), bit);
        assert_int_equal(view_verdict(&f.tables->view, &addr, iso), FIREWALL_PASS);
        assert_int_equal(fw_add(&f, iso), 0);
        assert_int_equal(view_verdict(&f.tables->view, &addr, iso), FIREWALL_BLOCKED_COUNTRY);
    }
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        memcpy(iso, odd[i], 2);
        assert_int_equal(firewall_country_bit(odd[i]), -1);
        assert_int_equal(view_verdict(&f.tables->view, &addr, iso), FIREWALL_PASS);
    }
    assert_int_equal(firewall_writer_counts(f.writer).country, FIREWALL_COUNTRY_BITS);
    fw_fini(&f);
}

/* ---- a million rules and a naive matcher: all rules there may ever be, sorted by length, each with a flag whether it is there ---- */

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

static uint64_t rng_state = 88172645463325252u;

static uint64_t rng64(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state * 2685821657736338717u;
}

static uint32_t rng(uint32_t below)
{
    return (uint32_t)((rng64() >> 32) * below >> 32);
}

static bits128 mask_bits(unsigned len)
{
    return len == 0 ? 0 : ~(bits128)0 << (128 - len);
}

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
        cmocka_unit_test(rules_block_what_they_cover),
        cmocka_unit_test(the_rule_that_blocks_is_found),
        cmocka_unit_test(a_family_can_be_blocked_whole),
        cmocka_unit_test(an_address_of_every_length_is_found),
        cmocka_unit_test(countries_are_asked_for_only_when_a_rule_needs_it),
        cmocka_unit_test(every_country_has_a_bit_of_its_own),
        cmocka_unit_test(a_million_rules_match_the_naive_matcher),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
