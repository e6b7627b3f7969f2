/* The user that workers drop to. Asked once, at the start, while the master may still read the user database. */

#include "worker_user.h"

#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include "err.h"

static const char *const defaults[] = {"mc-proxy", "nobody"};

static const struct passwd *find_default(void)
{
    for (unsigned i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        const struct passwd *user = getpwnam(defaults[i]);
        if (user != NULL)
            return user;
    }
    return NULL;
}

int worker_user_find(const char *configured, struct worker_user *out, struct strbuf *why)
{
    *out = (struct worker_user){.uid = UINT32_MAX, .gid = UINT32_MAX};
    if (geteuid() != 0)
        return 0;
    const struct passwd *user = configured != NULL ? getpwnam(configured) : find_default();
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
