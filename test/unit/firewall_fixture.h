#ifndef FIREWALL_FIXTURE_H
#define FIREWALL_FIXTURE_H

/* Tables with a firewall for its tests; include behind cmocka.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr_of.h"
#include "err.h"
#include "firewall.h"
#include "firewall_writer.h"
#include "tables.h"
#include "tables_with_stats.h"

struct fw_fixture {
    struct tables *tables;
    struct firewall_writer *writer;
    struct shm_stats *stats; /* shared with children */
};

static inline void fw_init(struct fw_fixture *f, uint64_t segment_bytes, unsigned worker_slots)
{
    f->tables = tables_with_stats(segment_bytes, worker_slots, &f->stats);
    assert_int_equal(firewall_writer_new(f->tables, &f->writer), 0);
}

static inline void fw_fini(struct fw_fixture *f)
{
    firewall_writer_free(&f->writer);
    tables_free(&f->tables);
    munmap(f->stats, sizeof *f->stats);
}

/** "192.0.2.7" is an IP rule, "192.0.2.0/24" a network, "KP" a country. */
static inline struct firewall_rule rule_of(const char *text)
{
    char why_text[128];
    struct strbuf why = STRBUF_OF(why_text);
    enum firewall_rule_kind kind = strchr(text, '/') != NULL ? FIREWALL_RULE_CIDR
                                   : strlen(text) == 2       ? FIREWALL_RULE_COUNTRY
                                                             : FIREWALL_RULE_IP;
    struct firewall_rule rule;

    if (firewall_rule_parse(kind, bytes_of_str(text), &rule, &why) != 0)
        fail_msg("'%s': %s", text, why_text);
    return rule;
}

/** A single IPv4 address, a.b.c.d from n. */
static inline struct firewall_rule rule_number(uint32_t n)
{
    struct firewall_rule rule = {.kind = FIREWALL_RULE_IP, .prefix = {.addr = {.family = 4}, .prefix_len = 32}};

    for (unsigned i = 0; i < 4; i++)
        rule.prefix.addr.bytes[i] = (uint8_t)(n >> (24 - 8 * i));
    return rule;
}

static inline int fw_add(struct fw_fixture *f, const char *text)
{
    struct firewall_rule rule = rule_of(text);
    return firewall_add(f->writer, &rule);
}

static inline int fw_remove(struct fw_fixture *f, const char *text)
{
    struct firewall_rule rule = rule_of(text);
    return firewall_remove(f->writer, &rule);
}

/** Replace all rules by these; NULL-terminated. */
static inline void fw_load(struct fw_fixture *f, const char *const *rules)
{
    struct firewall_bulk *bulk = NULL;

    assert_int_equal(firewall_bulk_begin(f->writer, 0, 0, &bulk), 0);
    for (; *rules != NULL; rules++) {
        struct firewall_rule rule = rule_of(*rules);
        assert_int_equal(firewall_bulk_add(bulk, &rule), 0);
    }
    firewall_bulk_publish(&bulk);
    assert_null(bulk);
}

/** A country_fn: context is the two letters, or NULL for unknown. */
static inline bool fixed_country(void *context, const struct ip_addr *addr, char iso_code_out[2])
{
    (void)addr;
    if (context != NULL)
        memcpy(iso_code_out, context, 2);
    return context != NULL;
}

static inline enum firewall_verdict view_verdict(const struct table_view *view, const struct ip_addr *addr,
                                                 char *country)
{
    enum firewall_verdict v = firewall_match(view->tables, table_pin(view), addr, fixed_country, country);

    table_release(view);
    return v;
}

static inline enum firewall_verdict fw_verdict(const struct fw_fixture *f, const char *text)
{
    struct ip_addr addr = addr_of(text);
    return view_verdict(&f->tables->view, &addr, NULL);
}

static inline uint64_t fw_used_bytes(const struct fw_fixture *f)
{
    return shm_arena_stats(&f->tables->arena).used_bytes;
}

#endif
