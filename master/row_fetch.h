#ifndef ROW_FETCH_H
#define ROW_FETCH_H

#include "check.h"
#include "row_list.h"

struct admin_client;

/* What a running server has, page by page, in its order. Every failure is told on standard error. Each returns an exit status. */

/** @param listener  NULL: of all listeners */
int row_fetch_routes(struct admin_client *client, const char *listener, struct row_list *list) MUST_CHECK;
int row_fetch_rules(struct admin_client *client, struct row_list *list) MUST_CHECK;

/** A row_problem_fn for these lists; its context is the struct cli_command. */
void row_fetch_problem(void *context, unsigned line, const char *text);

#endif
