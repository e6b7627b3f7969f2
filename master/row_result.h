#ifndef ROW_RESULT_H
#define ROW_RESULT_H

#include <stdbool.h>
#include <stdio.h>

struct row_applied;

/** "3 added, 0 replaced, 1 removed, 9 unchanged", or the same as JSON with a key dry_run. */
void row_result_print(const struct row_applied *applied, bool is_dry_run, bool is_json, FILE *to);

#endif
