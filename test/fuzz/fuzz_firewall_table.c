/* The firewall by operations: the input is a program of rules added and removed, one by one and in batches, and of look-ups; a list that
 * is searched from end to end says what each look-up must answer. */

#include <string.h>

#include "firewall.h"
#include "firewall_writer.h"
#include "tables.h"

#define SEGMENT_BYTES (64ull << 20)
#define MODEL_MAX     256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct model {
    struct firewall_rule rules[MODEL_MAX];
    size_t count;
};

struct run {
    struct tables *tables;
    struct firewall_writer *writer;
    struct firewall_batch *batch; /* NULL: single changes */
    struct model model;           /* of the tables */
    struct model aside;           /* of the batch */
};

/** Addresses that share their first bytes, so that rules cover one another. */
static struct ip_addr take_addr(struct reader *r)
{
    uint8_t bytes[16] = {0x20, 0x01};
    uint8_t shape = reader_u8(r);

    bytes[4] = shape >> 4 & 3;
    bytes[7] = reader_u8(r) & 0x83;
    bytes[15] = reader_u8(r);
    if (shape % 2 == 0)
        return ip_addr_of_ipv6(bytes);
    return ip_addr_of_ipv4((const uint8_t[4]){10, bytes[4], bytes[7], bytes[15]});
}

static struct firewall_rule take_rule(struct reader *r)
{
    struct firewall_rule rule = {.kind = reader_u8(r) % 3};

    if (rule.kind == FIREWALL_RULE_COUNTRY) {
        rule.country[0] = (char)('A' + reader_u8(r) % 3);
        rule.country[1] = (char)('A' + reader_u8(r) % 3);
        return rule;
    }
    struct ip_addr addr = take_addr(r);
    unsigned bits = firewall_addr_bytes(addr.family) * 8;
    unsigned len = rule.kind == FIREWALL_RULE_IP ? bits : reader_u8(r) % (bits + 1);
    rule.prefix = (struct ip_cidr){.addr = firewall_mask_addr(&addr, len), .prefix_len = (uint8_t)len};
    return rule;
}

static bool rule_equal(const struct firewall_rule *a, const struct firewall_rule *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == FIREWALL_RULE_COUNTRY)
        return memcmp(a->country, b->country, sizeof a->country) == 0;
    return a->prefix.prefix_len == b->prefix.prefix_len && ip_addr_equal(&a->prefix.addr, &b->prefix.addr);
}

static struct firewall_rule *model_find(struct model *m, const struct firewall_rule *rule)
{
    for (size_t i = 0; i < m->count; i++) {
        if (rule_equal(&m->rules[i], rule))
            return &m->rules[i];
    }
    return NULL;
}

/** A country of two letters between A and C, from the address's last byte; none for every fourth. */
static bool country_of(void *context, const struct ip_addr *addr, char iso_code_out[2])
{
    uint8_t last = addr->bytes[addr->family == 4 ? 3 : 15];

    (void)context;
    iso_code_out[0] = (char)('A' + last % 3);
    iso_code_out[1] = (char)('A' + last / 3 % 3);
    return last % 4 != 0;
}

static enum firewall_verdict model_verdict(const struct model *m, const struct ip_addr *addr)
{
    enum firewall_verdict verdict = FIREWALL_PASS;
    char country[2];
    bool has_country = country_of(NULL, addr, country);

    for (size_t i = 0; i < m->count; i++) {
        const struct firewall_rule *rule = &m->rules[i];
        bool is_country = rule->kind == FIREWALL_RULE_COUNTRY;
        if (is_country ? !has_country || memcmp(rule->country, country, sizeof country) != 0
                       : !ip_cidr_covers(&rule->prefix, addr))
            continue;
        if (rule->kind == FIREWALL_RULE_IP)
            return FIREWALL_BLOCKED_IP;
        if (!is_country)
            verdict = FIREWALL_BLOCKED_CIDR;
        else if (verdict == FIREWALL_PASS)
            verdict = FIREWALL_BLOCKED_COUNTRY;
    }
    return verdict;
}

static void check_verdict(const struct run *run, const struct ip_addr *addr)
{
    const struct shm_root *root = table_pin(&run->tables->view);
    enum firewall_verdict verdict = firewall_match(run->tables->shm, root, addr, country_of, NULL);

    table_release(&run->tables->view);
    CHECK(verdict == model_verdict(&run->model, addr));
}

static void add(struct run *run, const struct firewall_rule *rule)
{
    struct model *m = run->batch != NULL ? &run->aside : &run->model;

    if (m->count == MODEL_MAX)
        return;
    bool is_new = model_find(m, rule) == NULL;
    if (is_new)
        m->rules[m->count++] = *rule;
    int rc = run->batch != NULL ? firewall_batch_add(run->batch, rule) : firewall_add(run->writer, rule);
    CHECK((rc == 0) == is_new);
}

/** Networks of many lengths around one address, as more lengths than a look-up asks for at once are rare otherwise. */
static void add_lengths(struct run *run, struct reader *r)
{
    struct ip_addr addr = take_addr(r);
    unsigned bits = firewall_addr_bytes(addr.family) * 8;
    unsigned step = 1 + reader_u8(r) % 8;

    for (unsigned len = reader_u8(r) % 16; len <= bits; len += step) {
        struct firewall_rule rule = {.kind = FIREWALL_RULE_CIDR};
        rule.prefix = (struct ip_cidr){.addr = firewall_mask_addr(&addr, len), .prefix_len = (uint8_t)len};
        add(run, &rule);
    }
}

static void remove_one(struct run *run, const struct firewall_rule *rule)
{
    struct model *m = run->batch != NULL ? &run->aside : &run->model;
    struct firewall_rule *found = model_find(m, rule);

    if (found != NULL)
        *found = m->rules[--m->count];
    int rc = run->batch != NULL ? firewall_batch_remove(run->batch, rule) : firewall_remove(run->writer, rule);
    CHECK((rc == 0) == (found != NULL));
}

static void begin_or_end_batch(struct run *run, bool publish)
{
    if (run->batch == NULL) {
        run->aside = run->model;
        CHECK(firewall_batch_begin(run->writer, &run->batch) == 0);
    } else if (publish) {
        firewall_batch_publish(&run->batch);
        run->model = run->aside;
    } else {
        firewall_batch_abort(&run->batch);
    }
}

/** All rules anew, without the countries. */
static void bulk(struct run *run)
{
    struct model kept = {0};
    struct firewall_bulk *b;

    if (run->batch != NULL)
        return;
    CHECK(firewall_bulk_begin(run->writer, 0, run->model.count, &b) == 0);
    for (size_t i = 0; i < run->model.count; i++) {
        if (run->model.rules[i].kind == FIREWALL_RULE_COUNTRY)
            continue;
        kept.rules[kept.count++] = run->model.rules[i];
        CHECK(firewall_bulk_add(b, &run->model.rules[i]) == 0);
    }
    firewall_bulk_publish(&b);
    run->model = kept;
}

static void step(struct run *run, struct reader *r)
{
    uint8_t operation = reader_u8(r);
    struct firewall_rule rule;
    struct ip_addr addr;

    switch (operation % 8) {
    case 0:
    case 1:
    case 2:
        rule = take_rule(r);
        add(run, &rule);
        break;
    case 3:
        rule = take_rule(r);
        remove_one(run, &rule);
        break;
    case 4: begin_or_end_batch(run, operation >= 64); break;
    case 5:
        if (operation >= 128)
            bulk(run);
        else
            add_lengths(run, r);
        break;
    case 6: (void)tables_reclaim(run->tables); break;
    default:
        addr = take_addr(r);
        check_verdict(run, &addr);
        break;
    }
}

static void check_all(const struct run *run)
{
    uint32_t counted = 0;
    struct firewall_counts counts = firewall_writer_counts(run->writer);

    for (size_t i = 0; i < run->model.count; i++) {
        struct ip_addr addr = run->model.rules[i].prefix.addr;
        CHECK(firewall_writer_has(run->writer, &run->model.rules[i]));
        if (run->model.rules[i].kind == FIREWALL_RULE_COUNTRY)
            continue;
        check_verdict(run, &addr);
        addr.bytes[firewall_addr_bytes(addr.family) - 1] ^= 1;
        check_verdict(run, &addr);
        counted++;
    }
    CHECK(counts.ip + counts.cidr == counted && counts.country == run->model.count - counted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run run;
    struct tables_options options = {.segment_bytes = SEGMENT_BYTES};
    struct reader r = reader_of(bytes_of(data, size));

    run = (struct run){0};
    CHECK(tables_new(&options, &run.tables) == 0 && firewall_writer_new(run.tables, &run.writer) == 0);
    while (r.left > 0)
        step(&run, &r);
    if (run.batch != NULL)
        firewall_batch_abort(&run.batch);
    check_all(&run);
    firewall_writer_free(&run.writer);
    tables_free(&run.tables);
    return 0;
}
