#ifndef ROW_DIFF_H
#define ROW_DIFF_H

#include <stddef.h>
#include <stdio.h>

#include "check.h"
#include "row_list.h"

/* What would change if a server had the rows of a file. */

struct row_replaced {
    const struct row *before;
    const struct row *after;
};

struct row_diff {
    const struct row **added;
    size_t added_count;
    const struct row **removed; /* what the server has and the file has not */
    size_t removed_count;
    struct row_replaced *replaced; /* another backend or flag */
    size_t replaced_count;
};

/**
 * @param out      row_diff_fini() it in every case; points to the rows of both
 * @param wanted   of row_list_sort()
 * @param current  what the server has
 * @return 0 or ERR_NO_MEMORY
 */
int row_diff_make(struct row_diff *out, const struct row **wanted, size_t wanted_count,
                  struct row_list *current) MUST_CHECK;
void row_diff_fini(struct row_diff *diff);

/** A line for each: "+ ROW", "~ ROW (was BACKEND)", and if with_removals "- ROW". */
void row_diff_print(const struct row_diff *diff, bool with_removals, FILE *to);

#endif
