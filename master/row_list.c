/* Lists of routes and rules: a checked, canonical row for each line of a file. A million rows are an array and a few hundred blocks
 * of text. */

#include "row_list.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "client_text.h"
#include "err.h"
#include "hostname.h"

#define POOL_BLOCK_BYTES (64u << 10)
#define PROBLEM_TEXT_MAX 512

/* ---- texts ---- */

struct row_pool {
    struct row_pool *next;
    size_t used;
    char data[POOL_BLOCK_BYTES];
};

static const char *keep_text(struct row_list *list, const struct strbuf *text)
{
    size_t size = text->len + 1;

    CHECK(!text->overflowed && size <= POOL_BLOCK_BYTES);
    if (list->pool == NULL || list->pool->used + size > POOL_BLOCK_BYTES) {
        struct row_pool *block = malloc(sizeof *block);
        if (block == NULL) {
            list->is_out_of_memory = true;
            return NULL;
        }
        block->next = list->pool;
        block->used = 0;
        list->pool = block;
    }
    char *kept = list->pool->data + list->pool->used;
    memcpy(kept, text->data, size);
    list->pool->used += size;
    return kept;
}

void row_list_init(struct row_list *list, enum row_kind kind, row_problem_fn on_problem, void *context)
{
    *list = (struct row_list){.kind = kind, .on_problem = on_problem, .context = context};
}

void row_list_fini(struct row_list *list)
{
    while (list->pool != NULL) {
        struct row_pool *next = list->pool->next;
        free(list->pool);
        list->pool = next;
    }
    free(list->rows);
    *list = (struct row_list){0};
}

/* ---- problems ---- */

void row_list_problem(struct row_list *list, unsigned line, const char *format, ...)
{
    char raw_data[PROBLEM_TEXT_MAX], shown_data[PROBLEM_TEXT_MAX];
    struct strbuf raw = STRBUF_OF(raw_data), shown = STRBUF_OF(shown_data);
    va_list args;

    va_start(args, format);
    strbuf_addv(&raw, format, args);
    va_end(args);
    client_text_add_printable(bytes_of(raw.data, raw.len), &shown);
    list->problem_count++;
    list->on_problem(list->context, line, shown_data);
}

/* ---- rows ---- */

static int canonical_listener(struct bytes text, struct strbuf *out, struct strbuf *why)
{
    struct listen_addr addr;
    int rc = listen_addr_parse(text, &addr, why);

    if (rc == 0)
        listen_addr_format(&addr, out);
    return rc;
}

static int canonical_hostname(struct bytes text, struct strbuf *out, struct strbuf *why)
{
    struct host_pattern pattern;
    int rc = host_pattern_parse(text, &pattern, why);

    if (rc == 0)
        host_pattern_format(&pattern, out);
    return rc;
}

static int canonical_backend(struct bytes text, struct strbuf *out, struct strbuf *why)
{
    struct backend_addr addr;
    int rc = backend_addr_parse(text, &addr, why);

    if (rc == 0)
        backend_addr_format(&addr, out);
    return rc;
}

typedef int (*canonical_fn)(struct bytes text, struct strbuf *out, struct strbuf *why);

/** The kept canonical text of a field; NULL with the problem told, or without memory. */
static const char *take_field(struct row_list *list, unsigned line, const char *name, struct bytes text,
                              canonical_fn canonical)
{
    char data[HOSTNAME_MAX + BACKEND_TEXT_MAX], why_data[256];
    struct strbuf out = STRBUF_OF(data), why = STRBUF_OF(why_data);

    if (text.len == 0)
        row_list_problem(list, line, "%s is missing", name);
    else if (canonical(text, &out, &why) != 0)
        row_list_problem(list, line, "%s %.*s: %s", name, (int)(text.len < 200 ? text.len : 200),
                         (const char *)text.ptr, why_data);
    else
        return keep_text(list, &out);
    return NULL;
}

/** Routes of one listener usually follow each other: its text is kept once. */
static const char *take_listener(struct row_list *list, unsigned line, struct bytes text)
{
    const char *before = list->count > 0 ? list->rows[list->count - 1].listener : NULL;

    if (text.len == 0 && list->default_listener != NULL)
        return list->default_listener;
    if (before != NULL && bytes_equal_str(text, before))
        return before;
    return take_field(list, line, "listener", text, canonical_listener);
}

static void append(struct row_list *list, const struct row *row)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? 2 * list->capacity : 256;
        struct row *larger = realloc(list->rows, capacity * sizeof *larger);
        if (larger == NULL) {
            list->is_out_of_memory = true;
            return;
        }
        list->rows = larger;
        list->capacity = capacity;
    }
    list->rows[list->count++] = *row;
}

static void add_route(struct row_list *list, unsigned line, const struct row_fields *f)
{
    struct row row = {.line = line, .send_proxy_protocol = f->send_proxy_protocol};

    if ((row.listener = take_listener(list, line, f->listener)) != NULL &&
        (row.hostname = take_field(list, line, "hostname", f->hostname, canonical_hostname)) != NULL &&
        (row.backend = take_field(list, line, "backend", f->backend, canonical_backend)) != NULL)
        append(list, &row);
}

static const char *const rule_words[] = {
    [FIREWALL_RULE_IP] = "ip",
    [FIREWALL_RULE_CIDR] = "cidr",
    [FIREWALL_RULE_COUNTRY] = "country",
};

const char *row_rule_word(enum firewall_rule_kind kind)
{
    return rule_words[kind];
}

static bool has_char(struct bytes text, char c)
{
    return text.len > 0 && memchr(text.ptr, c, text.len) != NULL;
}

static bool find_rule_kind(const struct row_fields *f, enum firewall_rule_kind *out)
{
    if (f->type.len == 0) {
        *out = has_char(f->value, '/')                              ? FIREWALL_RULE_CIDR
               : has_char(f->value, '.') || has_char(f->value, ':') ? FIREWALL_RULE_IP
                                                                    : FIREWALL_RULE_COUNTRY;
        return true;
    }
    for (unsigned i = 0; i < sizeof rule_words / sizeof rule_words[0]; i++) {
        if (bytes_equal_str(f->type, rule_words[i])) {
            *out = (enum firewall_rule_kind)i;
            return true;
        }
    }
    return false;
}

static void add_rule(struct row_list *list, unsigned line, const struct row_fields *f)
{
    char data[FIREWALL_RULE_TEXT_MAX], why_data[256];
    struct strbuf text = STRBUF_OF(data), why = STRBUF_OF(why_data);
    struct row row = {.line = line};
    struct firewall_rule rule;

    if (f->value.len == 0) {
        row_list_problem(list, line, "value is missing");
    } else if (!find_rule_kind(f, &row.rule_kind)) {
        row_list_problem(list, line, "type %.*s: expected ip, cidr or country",
                         (int)(f->type.len < 200 ? f->type.len : 200), (const char *)f->type.ptr);
    } else if (firewall_rule_parse(row.rule_kind, f->value, &rule, &why) != 0) {
        row_list_problem(list, line, "%s %.*s: %s", rule_words[row.rule_kind],
                         (int)(f->value.len < 200 ? f->value.len : 200), (const char *)f->value.ptr, why_data);
    } else {
        firewall_rule_format(&rule, &text);
        if ((row.value = keep_text(list, &text)) != NULL)
            append(list, &row);
    }
}

void row_list_add(struct row_list *list, unsigned line, const struct row_fields *fields)
{
    if (list->kind == ROW_ROUTE)
        add_route(list, line, fields);
    else
        add_rule(list, line, fields);
}

int row_list_set_listener(struct row_list *list, const char *addr, struct strbuf *why)
{
    char data[ADDRESS_TEXT_MAX];
    struct strbuf text = STRBUF_OF(data);
    int rc = canonical_listener(bytes_of_str(addr), &text, why);

    if (rc != 0)
        return ERR_INVALID;
    list->default_listener = keep_text(list, &text);
    return list->default_listener != NULL ? 0 : ERR_NO_MEMORY;
}

/* ---- order ---- */

int row_compare(const struct row *a, const struct row *b)
{
    int order;

    if (a->value != NULL)
        return a->rule_kind != b->rule_kind ? (a->rule_kind < b->rule_kind ? -1 : 1) : strcmp(a->value, b->value);
    order = a->listener == b->listener ? 0 : strcmp(a->listener, b->listener);
    return order != 0 ? order : strcmp(a->hostname, b->hostname);
}

bool row_is_same(const struct row *a, const struct row *b)
{
    return a->value != NULL ||
           (a->send_proxy_protocol == b->send_proxy_protocol && strcmp(a->backend, b->backend) == 0);
}

static int compare_pointers(const void *left, const void *right)
{
    const struct row *a = *(const struct row *const *)left, *b = *(const struct row *const *)right;
    int order = row_compare(a, b);

    return order != 0 ? order : a->line < b->line ? -1 : a->line > b->line;
}

size_t row_list_sort(struct row_list *list, const struct row ***out)
{
    const struct row **sorted = list->count > 0 ? malloc(list->count * sizeof(const struct row *)) : NULL;
    size_t kept = 0;

    *out = sorted;
    if (sorted == NULL) {
        list->is_out_of_memory = list->is_out_of_memory || list->count > 0;
        return 0;
    }
    for (size_t i = 0; i < list->count; i++)
        sorted[i] = &list->rows[i];
    qsort(sorted, list->count, sizeof(const struct row *), compare_pointers);
    for (size_t i = 0; i < list->count; i++) {
        if (kept == 0 || row_compare(sorted[kept - 1], sorted[i]) != 0)
            sorted[kept++] = sorted[i];
        else if (!row_is_same(sorted[kept - 1], sorted[i]))
            row_list_problem(list, sorted[i]->line, "%s of %s has another backend in line %u already",
                             sorted[i]->hostname, sorted[i]->listener, sorted[kept - 1]->line);
    }
    return kept;
}
