/* What the server keeps of root's privileges. Each that is kept has its reason, and its proof in test/integration/test_privileges.py. */

#include "server_privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "err.h"

#define BIT(capability) (UINT64_C(1) << (capability))

static const uint64_t kept =
    BIT(CAP_NET_BIND_SERVICE)           /* listeners below 1024 */
    | BIT(CAP_SETUID) | BIT(CAP_SETGID) /* workers become [server] user */
    | BIT(CAP_SETPCAP)                  /* ... and empty their bounding set */
    | BIT(CAP_KILL)                     /* who is another user then, but has to be killed when it hangs */
    | BIT(CAP_DAC_OVERRIDE)             /* database, keys and their folders may belong to another user */
    | BIT(CAP_CHOWN)                    /* SQLite gives the files beside the database to its owner */
    | BIT(CAP_NET_ADMIN);               /* some kernels (6.18.44) want it for the filter on a listener that closes */

static int fail(struct strbuf *why, const char *what)
{
    strbuf_addf(why, "cannot %s: %s", what, strerror(errno));
    return ERR_SYSTEM;
}

/** The bounding set first, while we may. Without CAP_SETPCAP it stays; no_new_privs makes it worth nothing. */
static void shrink_bounding_set(void)
{
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
        if (capability >= 64 || (kept & BIT(capability)) == 0)
            (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    }
}

static int get_sets(struct __user_cap_data_struct *data)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

    return (int)syscall(SYS_capget, &header, data);
}

/** A set that holds nothing else is left alone: a service manager's filter may keep capset(2) away. */
static int shrink_sets(void)
{
    bool is_more = false;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    if (get_sets(data) != 0)
        return -1;
    for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        uint32_t mask = (uint32_t)(kept >> (32 * i));
        is_more |= ((data[i].effective | data[i].permitted | data[i].inheritable) & ~mask) != 0;
        data[i].effective &= mask;
        data[i].permitted &= mask;
        data[i].inheritable &= mask; /* what is ambient has to be inheritable, and goes with it */
    }
    return is_more ? (int)syscall(SYS_capset, &header, data) : 0;
}

/** Sanitizers look for leaks by tracing their own process, which has to be dumpable for that. */
static int hide_memory(void)
{
#ifdef MCPROXY_SANITIZED
    return 0;
#else
    static const struct rlimit none = {0, 0};

    return setrlimit(RLIMIT_CORE, &none) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : -1;
#endif
}

int server_give_up_privileges(struct strbuf *why)
{
    shrink_bounding_set();
    if (shrink_sets() != 0)
        return fail(why, "give up capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fail(why, "refuse new privileges");
    if (hide_memory() != 0)
        return fail(why, "keep other users from our memory");
    return 0;
}

int server_can_become_user(const char *name, struct strbuf *why)
{
    static const uint64_t wanted = BIT(CAP_SETUID) | BIT(CAP_SETGID);
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    if (get_sets(data) != 0)
        return fail(why, "read our capabilities");
    if ((data[0].effective & wanted) == wanted)
        return 0;
    strbuf_addf(why,
                "they cannot become the user %s, as CAP_SETUID and CAP_SETGID have been taken from root; "
                "give both, or start the server as that user",
                name);
    return ERR_SYSTEM;
}
