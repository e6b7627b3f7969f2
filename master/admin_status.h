#ifndef ADMIN_STATUS_H
#define ADMIN_STATUS_H

#include "admin_internal.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "shm_layout.h"

/* The part of GetStatus about routes. */

#define STATUS_ROUTES_DEFAULT 1000u

struct status_routes;

/** How many routes a request asks for. 0, or ERR_INVALID with the reason. */
int status_routes_limit(const McProxy__V1__GetStatusRequest *request, unsigned *out, struct strbuf *why) MUST_CHECK;

/**
 * Add the busiest routes to an answer.
 *
 * @param addrs  by id: how the configuration writes the listener; NULL: it has none of this id
 * @param out    status_routes_free() it in every case, when the answer is packed
 * @return 0 or ERR_NO_MEMORY
 */
int status_routes_fill(const struct admin *a, const char *const addrs[SHM_LISTENERS_MAX], unsigned limit,
                       struct status_routes **out, McProxy__V1__GetStatusResponse *m) MUST_CHECK;

/** Accepts NULL; clears the caller's pointer. */
void status_routes_free(struct status_routes **routes);

#endif
