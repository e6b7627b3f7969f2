#ifndef ROW_APPLY_H
#define ROW_APPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "row_list.h"
#include "strbuf.h"

struct admin_client;

/** Many changes for one ApplyChanges call: first the removals, then the rows to have, in their order. */
struct row_changes {
    const struct row **removed; /* borrowed, as the next */
    size_t removed_count;
    const struct row *wanted;
    size_t wanted_count;
    bool validate_only;
};

struct row_applied {
    uint64_t added;
    uint64_t replaced;
    uint64_t removed;
    uint64_t unchanged;
};

/**
 * Make all of them or none. What is there already, or gone already, is no error.
 *
 * @param failed_out  on an error: the row that is to blame, or NULL
 * @param why         on an error gets one line, without the path of a field in front
 * @return 0 or an error of admin_client_call()
 */
int row_apply(struct admin_client *client, const struct row_changes *changes, struct row_applied *out,
              const struct row **failed_out, struct strbuf *why) MUST_CHECK;

/**
 * Cut "changes[N].put_route.route.hostname: too long" into N and "hostname: too long". False: the message does not begin so.
 * Pure.
 */
bool row_apply_split_message(const char *message, size_t *index_out, const char **rest_out);

#endif
