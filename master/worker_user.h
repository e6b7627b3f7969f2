#ifndef WORKER_USER_H
#define WORKER_USER_H

#include <stdint.h>

#include "check.h"
#include "strbuf.h"

/** Who workers become. */
struct worker_user {
    uint32_t uid; /* UINT32_MAX: they stay who the master is, as the master is not root */
    uint32_t gid;
    char name[64];
};

/**
 * Find the user that workers drop to: the configured one; without one mc-proxy if there is such a user, else nobody.
 *
 * @param configured  [server] user, or NULL
 * @param why         on error gets one line for people
 * @return 0; ERR_NOT_FOUND if there is no such user; ERR_INVALID if it is root; ERR_SYSTEM if that could not
 *         be looked up (another try may find it)
 */
int worker_user_find(const char *configured, struct worker_user *out, struct strbuf *why) MUST_CHECK;

#endif
