/* Sockets from before our time: taken over from the environment, told apart by what they are, given to the listeners they fit. */

#include "inherited_sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "listen_sockets.h"
#include "shm_layout.h"

#define FIRST_FD  3 /* SD_LISTEN_FDS_START */
#define COUNT_MAX (SHM_WORKERS_MAX * SHM_LISTENERS_MAX + 1)

#define SLOT_PREFIX   "listener-"
#define SHARED_PREFIX "shared-"

static const char *const variables[] = {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID"};

/* ---- names ---- */

static void add_address(const struct listen_addr *addr, struct strbuf *out)
{
    char text[ADDRESS_TEXT_MAX];
    struct strbuf plain = STRBUF_OF(text);

    listen_addr_format(addr, &plain);
    for (const char *c = text; *c != '\0'; c++)
        strbuf_add_char(out, *c == ':' ? '_' : *c); /* ':' separates names in $LISTEN_FDNAMES */
}

void inherited_socket_name(const struct listen_addr *addr, unsigned slot, struct strbuf *out)
{
    strbuf_addf(out, SLOT_PREFIX "%u-", slot);
    add_address(addr, out);
}

void inherited_shared_name(const struct listen_addr *addr, struct strbuf *out)
{
    strbuf_add(out, SHARED_PREFIX);
    add_address(addr, out);
}

/** "listener-<slot>", whatever follows behind a dash; -1 for other names. */
static int slot_of_name(const char *name)
{
    unsigned slot = 0;
    size_t len = sizeof SLOT_PREFIX - 1;

    if (strncmp(name, SLOT_PREFIX, len) != 0 || name[len] < '0' || name[len] > '9')
        return -1;
    for (; name[len] >= '0' && name[len] <= '9'; len++) {
        slot = slot * 10 + (unsigned)(name[len] - '0');
        if (slot >= SHM_WORKERS_MAX)
            return -1;
    }
    return name[len] == '\0' || name[len] == '-' ? (int)slot : -1;
}

/* ---- taking ---- */

static uint64_t inode_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/** One that came before under another name; the better one of the two is kept: that which says what slot it had. */
static bool is_duplicate(const struct inherited_sockets *set, const struct inherited_socket *socket)
{
    for (unsigned i = 0; i < set->count; i++) {
        struct inherited_socket *other = &set->items[i];
        if (other->inode != socket->inode)
            continue;
        if (other->slot < 0) {
            memcpy(other->name, socket->name, sizeof other->name);
            other->slot = socket->slot;
        }
        return true;
    }
    return false;
}

static void take_one(struct inherited_sockets *set, int fd, struct bytes name)
{
    struct inherited_socket socket = {.fd = fd, .inode = inode_of(fd)};
    size_t len = name.len <= INHERITED_NAME_MAX ? name.len : INHERITED_NAME_MAX;

    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return; /* it is not open: whoever counted has miscounted */
    memcpy(socket.name, name.ptr, len);
    if (set->upgrade_fd < 0 && strcmp(socket.name, INHERITED_UPGRADE_NAME) == 0) {
        set->upgrade_fd = fd;
        return;
    }
    socket.is_listener = listen_sockets_describe(fd, &socket.addr, &socket.has_reuse_port) == 0;
    socket.slot = socket.is_listener && socket.has_reuse_port ? slot_of_name(socket.name) : -1;
    if (is_duplicate(set, &socket))
        close(fd);
    else
        set->items[set->count++] = socket;
}

/** The name in front of the next ':'; an empty one when there are no more. */
static struct bytes next_name(const char **names)
{
    size_t len = strcspn(*names, ":");
    struct bytes name = bytes_of(*names, len);

    *names += len + ((*names)[len] == ':');
    return name;
}

static int take_all(struct inherited_sockets *set, unsigned count, const char *names)
{
    set->items = calloc(count + 1, sizeof *set->items); /* one more: calloc(0) may be NULL */
    if (set->items == NULL)
        return ERR_NO_MEMORY;
    for (unsigned i = 0; i < count; i++)
        take_one(set, FIRST_FD + (int)i, next_name(&names));
    return 0;
}

/** 1 and up; 0 for what is no such number. */
static unsigned long number_of(const char *text)
{
    char *end;

    if (text == NULL || text[0] < '0' || text[0] > '9')
        return 0;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    return errno == 0 && *end == '\0' ? value : 0;
}

static int take_from_environment(struct inherited_sockets *set, struct strbuf *why)
{
    const char *number = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");

    if (number == NULL || number_of(getenv("LISTEN_PID")) != (unsigned long)getpid())
        return 0; /* nothing, or for a process that started us without clearing its environment */
    unsigned long count = number_of(number);
    if (count > COUNT_MAX || (count == 0 && strcmp(number, "0") != 0)) {
        strbuf_addf(why, "$LISTEN_FDS must be a number of at most %d", COUNT_MAX);
        return ERR_INVALID;
    }
    return take_all(set, (unsigned)count, names != NULL ? names : "");
}

int inherited_sockets_init(struct inherited_sockets *set, struct strbuf *why)
{
    *set = (struct inherited_sockets){.upgrade_fd = -1};
    int rc = take_from_environment(set, why);

    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
    return rc;
}

void inherited_sockets_fini(struct inherited_sockets *set)
{
    for (unsigned i = 0; i < set->count; i++)
        close(set->items[i].fd);
    free(set->items);
    if (set->upgrade_fd >= 0)
        close(set->upgrade_fd);
    *set = (struct inherited_sockets){.upgrade_fd = -1};
}

/* ---- choosing ---- */

/** On a host without IPv6, ":443" of ours is a socket of 0.0.0.0: there the name tells. */
static bool is_same_by_name(const struct inherited_socket *socket, const struct listen_addr *addr)
{
    static const uint8_t any[16];
    char text[INHERITED_NAME_MAX + 1];
    struct strbuf name = STRBUF_OF(text);

    if (socket->slot < 0 || !addr->is_dual_stack || socket->addr.addr.family != 4 ||
        memcmp(socket->addr.addr.bytes, any, sizeof any) != 0 || socket->addr.port != addr->port)
        return false;
    inherited_socket_name(addr, (unsigned)socket->slot, &name);
    return strcmp(text, socket->name) == 0;
}

static bool is_for(const struct inherited_socket *socket, const struct listen_addr *addr)
{
    return socket->is_listener && !socket->is_taken &&
           (listen_addr_equal(&socket->addr, addr) || is_same_by_name(socket, addr));
}

/** The one for this address with the smallest slot; NULL if all are taken. Somebody else's (-1) come last. */
static struct inherited_socket *take_next(struct inherited_sockets *set, const struct listen_addr *addr)
{
    struct inherited_socket *best = NULL;

    for (unsigned i = 0; i < set->count; i++) {
        struct inherited_socket *socket = &set->items[i];
        if (is_for(socket, addr) && (best == NULL || (unsigned)socket->slot < (unsigned)best->slot))
            best = socket;
    }
    if (best != NULL)
        best->is_taken = true;
    return best;
}

int inherited_sockets_choose(struct inherited_sockets *set, const struct listen_addr *addr,
                             struct inherited_choice *out, struct strbuf *why)
{
    struct inherited_choice choice = {.shared_fd = -1, .fds = calloc(set->count + 1, sizeof choice.fds[0])};
    const struct inherited_socket *socket;
    unsigned foreign = 0;

    if (choice.fds == NULL)
        return ERR_NO_MEMORY;
    while ((socket = take_next(set, addr)) != NULL) {
        choice.fds[choice.count++] = socket->fd;
        foreign += socket->slot < 0;
        if (!socket->has_reuse_port)
            choice.shared_fd = socket->fd;
    }
    if (foreign > 1) {
        strbuf_addf(why, "%u sockets were passed for this address; a socket unit must list it once", foreign);
        free(choice.fds);
        return ERR_INVALID;
    }
    if (choice.shared_fd >= 0)
        choice.count = 0;
    choice.is_foreign = foreign == 1 && choice.count == 1;
    *out = choice;
    return 0;
}

unsigned inherited_sockets_slots(const struct inherited_sockets *set, const struct listen_addr *addr)
{
    unsigned slots = 0, foreign = 0;

    for (unsigned i = 0; i < set->count; i++) {
        if (!is_for(&set->items[i], addr) || !set->items[i].has_reuse_port)
            continue;
        slots += set->items[i].slot >= 0;
        foreign += set->items[i].slot < 0;
    }
    return slots > 0 ? slots + foreign : 0;
}
