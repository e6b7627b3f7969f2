#ifndef ROW_LIST_H
#define ROW_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "bytes.h"
#include "check.h"
#include "firewall_rule.h"

/* Routes or firewall rules as the command line imports and exports them: checked by the code that the server checks with, and in
 * canonical form, so that two spellings of one thing are one. */

enum row_kind { ROW_ROUTE, ROW_RULE };

struct row {
    unsigned line; /* of the file, from 1; 0: not from a file */
    bool send_proxy_protocol;
    enum firewall_rule_kind rule_kind;
    const char *listener; /* of a route, as are hostname and backend; all texts live as long as the list */
    const char *hostname;
    const char *backend;
    const char *value; /* of a rule */
};

/** A row as it is written, before it is checked; what is missing is empty. */
struct row_fields {
    struct bytes listener;
    struct bytes hostname;
    struct bytes backend;
    bool send_proxy_protocol;
    struct bytes type; /* "ip", "cidr" or "country"; empty: as the value looks */
    struct bytes value;
};

/** Something is wrong with a line; text is a sentence without full stop, borrowed. */
typedef void (*row_problem_fn)(void *context, unsigned line, const char *text);

struct row_pool; /* where texts live */

struct row_list {
    enum row_kind kind;
    struct row *rows;
    size_t count;
    size_t capacity;
    struct row_pool *pool;
    const char *default_listener; /* canonical; NULL: each route must name its own */
    row_problem_fn on_problem;
    void *context;
    size_t problem_count;
    bool is_out_of_memory;
};

void row_list_init(struct row_list *list, enum row_kind kind, row_problem_fn on_problem, void *context);
void row_list_fini(struct row_list *list);

/** For routes that name none. @return 0; ERR_INVALID with `why`; ERR_NO_MEMORY */
int row_list_set_listener(struct row_list *list, const char *addr, struct strbuf *why) MUST_CHECK;

/** Check and add; what is wrong is told by on_problem, and the row is left out. */
void row_list_add(struct row_list *list, unsigned line, const struct row_fields *fields);

/** Tell a problem; bytes that are not printable may be in text. */
void row_list_problem(struct row_list *list, unsigned line, const char *format, ...) PRINTF_LIKE(3, 4);

/**
 * By listener, hostname (or kind of rule, value), then line: what compares equal but for the line is one thing.
 */
int row_compare(const struct row *a, const struct row *b);
/** The same thing with the same backend and flag. For rows that compare equal. */
bool row_is_same(const struct row *a, const struct row *b);

/**
 * Pointers to the rows in the order of row_compare(). Routes that a file has twice are a problem if they differ; only the first of
 * equal rows is among the pointers.
 *
 * @param out  caller frees; NULL if there are none or memory ran out
 * @return how many
 */
size_t row_list_sort(struct row_list *list, const struct row ***out);

/** "ip", "cidr", "country". */
const char *row_rule_word(enum firewall_rule_kind kind);

#endif
