#ifndef STATUS_VIEW_H
#define STATUS_VIEW_H

#include <stdio.h>

#include "check.h"
#include "mc_proxy/v1/admin.pb-c.h"

/* What GetStatus answers, for people and programs. Errors of `to` are the caller's. */

/** @return 0 or ERR_NO_MEMORY */
int status_view_print(const McProxy__V1__GetStatusResponse *status, FILE *to) MUST_CHECK;
void status_view_print_json(const McProxy__V1__GetStatusResponse *status, FILE *to);

/* Only the listeners: a table, an array. */
int status_view_print_listeners(const McProxy__V1__GetStatusResponse *status, FILE *to) MUST_CHECK;
void status_view_print_listeners_json(const McProxy__V1__GetStatusResponse *status, FILE *to);

#endif
