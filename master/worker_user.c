/* The user that workers drop to. Asked once, at the start, while the master may still read the user database. */

#include "worker_user.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "err.h"

static const char *const defaults[] = {"mc-proxy", "nobody"};

/** 0 with *out NULL if there is no such user; an errno if that cannot be told: the next best user would be a guess. */
static int look_up(const char *name, const struct passwd **out)
{
    errno = 0;
    *out = getpwnam(name);
    if (*out != NULL)
        return 0;
    switch (errno) { /* getpwnam(3): other values also stand for a user who is not there, and vary with the source */
    case EINTR:
    case EIO:
    case EMFILE:
    case ENFILE:
    case ENOMEM: return errno;
    default: return 0;
    }
}

static int find(const char *configured, const struct passwd **out)
{
    int error = 0;

    *out = NULL;
    if (configured != NULL)
        return look_up(configured, out);
    for (unsigned i = 0; i < sizeof defaults / sizeof defaults[0] && error == 0 && *out == NULL; i++)
        error = look_up(defaults[i], out);
    return error;
}

int worker_user_find(const char *configured, struct worker_user *out, struct strbuf *why)
{
    const struct passwd *user = NULL;

    *out = (struct worker_user){.uid = UINT32_MAX, .gid = UINT32_MAX};
    if (geteuid() != 0)
        return 0;
    int error = find(configured, &user);
    if (error != 0) {
        strbuf_addf(why, "[server] user: cannot look up %s: %s", configured != NULL ? configured : defaults[0],
                    strerror(error));
        return ERR_SYSTEM;
    }
    if (user == NULL) {
        strbuf_addf(why, "[server] user: there is no user %s on this host; create it or name another",
                    configured != NULL ? configured : "mc-proxy, and no user nobody,");
        return ERR_NOT_FOUND;
    }
    if (user->pw_uid == 0) {
        strbuf_add(why, "[server] user: workers do not run as root; name an unprivileged user");
        return ERR_INVALID;
    }
    out->uid = user->pw_uid;
    out->gid = user->pw_gid;
    snprintf(out->name, sizeof out->name, "%s", user->pw_name);
    return 0;
}
