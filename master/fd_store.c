/* The service manager's descriptor store, kept equal to a list by telling differences. */

#include "fd_store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"
#include "notify.h"

struct fd_store_entry {
    char name[FD_STORE_NAME_MAX + 1];
    uint64_t inode; /* 0: unknown, from an earlier run */
};

void fd_store_init(struct fd_store *store, struct notify *notify)
{
    *store = (struct fd_store){.notify = notify};
}

void fd_store_fini(struct fd_store *store)
{
    free(store->entries);
    fd_store_init(store, store->notify);
}

static int reserve(struct fd_store *store, unsigned more)
{
    struct fd_store_entry *entries = realloc(store->entries, (store->count + more) * sizeof *entries);

    if (entries == NULL)
        return ERR_NO_MEMORY;
    store->entries = entries;
    return 0;
}

static void add(struct fd_store *store, const char *name, uint64_t inode)
{
    struct fd_store_entry *entry = &store->entries[store->count++];

    memcpy(entry->name, name, strlen(name) + 1);
    entry->inode = inode;
}

int fd_store_expect(struct fd_store *store, const char *name)
{
    CHECK(strlen(name) <= FD_STORE_NAME_MAX);
    int rc = reserve(store, 1);
    if (rc == 0)
        add(store, name, 0);
    return rc;
}

static bool is_same(const struct fd_store_entry *entry, const struct fd_store_item *item)
{
    return entry->inode == item->inode && strcmp(entry->name, item->name) == 0;
}

static bool is_wanted(const struct fd_store_entry *entry, const struct fd_store_item *wanted, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (is_same(entry, &wanted[i]))
            return true;
    }
    return false;
}

static bool is_stored(const struct fd_store *store, const struct fd_store_item *item)
{
    for (unsigned i = 0; i < store->count; i++) {
        if (is_same(&store->entries[i], item))
            return true;
    }
    return false;
}

/** Everything that goes, before anything that comes: a name may do both. */
static int remove_unwanted(struct fd_store *store, const struct fd_store_item *wanted, unsigned count)
{
    for (unsigned i = 0; i < store->count;) {
        if (is_wanted(&store->entries[i], wanted, count)) {
            i++;
            continue;
        }
        if (!notify_sendf(store->notify, "FDSTOREREMOVE=1\nFDNAME=%s", store->entries[i].name))
            return ERR_UNAVAILABLE;
        store->entries[i] = store->entries[--store->count];
    }
    return 0;
}

/** FDPOLL=0: systemd would watch the socket for errors, and throw it out for one. */
static bool send_item(struct fd_store *store, const struct fd_store_item *item)
{
    char text[FD_STORE_NAME_MAX + 64];
    struct strbuf state = STRBUF_OF(text);

    strbuf_addf(&state, "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", item->name);
    return notify_send_fds(store->notify, text, &item->fd, 1);
}

static int add_wanted(struct fd_store *store, const struct fd_store_item *wanted, unsigned count)
{
    int rc = reserve(store, count + 1);

    for (unsigned i = 0; i < count && rc == 0; i++) {
        if (is_stored(store, &wanted[i]))
            continue;
        if (send_item(store, &wanted[i]))
            add(store, wanted[i].name, wanted[i].inode);
        else
            rc = ERR_UNAVAILABLE;
    }
    return rc;
}

int fd_store_sync(struct fd_store *store, struct fd_store_item *wanted, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct stat st;
        wanted[i].inode = fstat(wanted[i].fd, &st) == 0 ? (uint64_t)st.st_ino : 0;
    }
    int rc = remove_unwanted(store, wanted, count);
    return rc != 0 ? rc : add_wanted(store, wanted, count);
}
