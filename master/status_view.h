#ifndef STATUS_VIEW_H
#define STATUS_VIEW_H

#include <stdio.h>

#include "check.h"

struct McProxy__V1__GetStatusResponse; /* mc_proxy/v1/admin.pb-c.h */

/* What GetStatus answers, for people and programs. Errors of `to` are the caller's. */

/** @return 0 or ERR_NO_MEMORY */
int status_view_print(const struct McProxy__V1__GetStatusResponse *status, FILE *to) MUST_CHECK;
void status_view_print_json(const struct McProxy__V1__GetStatusResponse *status, FILE *to);

/* Only the listeners: a table, an array. */
int status_view_print_listeners(const struct McProxy__V1__GetStatusResponse *status, FILE *to) MUST_CHECK;
void status_view_print_listeners_json(const struct McProxy__V1__GetStatusResponse *status, FILE *to);

#endif
