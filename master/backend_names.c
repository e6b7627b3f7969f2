/* Backends by name: one entry for each, so that one host with several ports is resolved once and updates them all. */

#include "backend_names.h"

#include <ev.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backend_set.h"
#include "err.h"
#include "log_event.h"
#include "resolver.h"

#define NAMES_MAGIC 0x424e414du

struct entry {
    uint32_t id; /* in the backend set */
    uint16_t port;
    bool is_watched; /* false if memory was short when it came */
    bool is_stale;   /* the tables lack what the resolver knows */
    char *host;
};

struct backend_names {
    uint32_t magic;
    struct ev_loop *loop;
    struct backend_set *backends;
    struct resolver *resolver;
    ev_timer stale_timer; /* "soon": the hooks of the set must not call back into the tables */
    struct entry *entries;
    unsigned count;
    unsigned capacity;
    uint32_t
        *places; /* by id: index in entries + 1, 0: none; a list of changes may drop a hundred thousand names at once */
    uint32_t place_count;
};

static void log_lost(const char *host)
{
    struct log_event e;

    log_event_begin(&e, LOG_ERROR, "out of memory: a backend keeps the addresses it had");
    log_event_cstr(&e, LOG_KEY_BACKEND, host);
    log_event_end(&e);
}

static void update_entry(struct backend_names *names, struct entry *entry, const struct addr_set *addrs)
{
    struct ip_endpoint endpoints[SHM_BACKEND_ADDRS_MAX];

    for (unsigned i = 0; i < addrs->count; i++)
        endpoints[i] = (struct ip_endpoint){.addr = addrs->addrs[i], .port = entry->port};
    if (backend_set_update(names->backends, entry->id, endpoints, addrs->count) != 0)
        log_lost(entry->host);
    entry->is_stale = false;
}

static void on_answer(const char *host, const struct addr_set *addrs, void *context)
{
    struct backend_names *names = context;

    CHECK_MAGIC(names, NAMES_MAGIC);
    for (unsigned i = 0; i < names->count; i++) {
        if (strcmp(names->entries[i].host, host) == 0)
            update_entry(names, &names->entries[i], addrs);
    }
}

/** A further port of a host that is resolved already: there will be no answer until the addresses change. */
static void on_stale(EV_P_ ev_timer *timer, int revents)
{
    struct backend_names *names = timer->data;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(names, NAMES_MAGIC);
    for (unsigned i = 0; i < names->count; i++) {
        struct entry *entry = &names->entries[i];
        if (entry->is_stale) {
            struct addr_set addrs = resolver_addresses(names->resolver, entry->host);
            update_entry(names, entry, &addrs);
        }
    }
}

static bool grow(struct backend_names *names)
{
    unsigned capacity = names->capacity > 0 ? names->capacity * 2 : 16;
    struct entry *entries = realloc(names->entries, capacity * sizeof *entries);

    if (entries == NULL)
        return false;
    names->entries = entries;
    names->capacity = capacity;
    return true;
}

static bool make_place(struct backend_names *names, uint32_t id)
{
    uint32_t count = names->place_count > 0 ? names->place_count : 64;

    while (count <= id)
        count *= 2;
    if (count == names->place_count)
        return true;
    uint32_t *places = realloc(names->places, count * sizeof *places);
    if (places == NULL)
        return false;
    memset(places + names->place_count, 0, (count - names->place_count) * sizeof *places);
    names->places = places;
    names->place_count = count;
    return true;
}

static void on_name_added(void *context, uint32_t id, struct bytes text)
{
    struct backend_names *names = context;
    struct backend_addr addr;
    char reason[128];
    struct strbuf why = STRBUF_OF(reason);

    CHECK_MAGIC(names, NAMES_MAGIC);
    CHECK(backend_addr_parse(text, &addr, &why) == 0 &&
          addr.kind == BACKEND_NAME); /* canonical text of a set's member */
    char *host = strdup(addr.host);
    if (host == NULL || !make_place(names, id) || (names->count == names->capacity && !grow(names))) {
        free(host);
        log_lost(addr.host);
        return;
    }
    struct entry *entry = &names->entries[names->count++];
    names->places[id] = names->count;
    *entry = (struct entry){.id = id, .port = addr.port, .host = host};
    entry->is_watched = resolver_watch(names->resolver, host) == 0;
    if (!entry->is_watched)
        log_lost(host);
    entry->is_stale = resolver_addresses(names->resolver, host).count > 0;
    if (entry->is_stale && !ev_is_active(&names->stale_timer)) {
        ev_timer_set(&names->stale_timer, 0., 0.);
        ev_timer_start(names->loop, &names->stale_timer);
    }
}

static void entry_fini(struct backend_names *names, struct entry *entry)
{
    if (entry->is_watched)
        resolver_unwatch(names->resolver, entry->host);
    free(entry->host);
}

static void on_name_removed(void *context, uint32_t id)
{
    struct backend_names *names = context;

    CHECK_MAGIC(names, NAMES_MAGIC);
    if (id >= names->place_count || names->places[id] == 0)
        return; /* memory was short when it came */
    struct entry *entry = &names->entries[names->places[id] - 1];
    CHECK(names->places[id] <= names->count && entry->id == id);
    entry_fini(names, entry);
    *entry = names->entries[--names->count];
    names->places[entry->id] = names->places[id]; /* of the last one, which has moved; perhaps itself */
    names->places[id] = 0;
}

int backend_names_new(struct ev_loop *loop, struct backend_set *backends, const struct resolver_options *options,
                      struct backend_names **out)
{
    struct backend_names *names = calloc(1, sizeof *names);

    if (names == NULL)
        return ERR_NO_MEMORY;
    names->magic = NAMES_MAGIC;
    names->loop = loop;
    names->backends = backends;
    int rc = resolver_new(loop, options, on_answer, names, &names->resolver);
    if (rc != 0) {
        free(names);
        return rc;
    }
    ev_timer_init(&names->stale_timer, on_stale, 0., 0.);
    names->stale_timer.data = names;
    backend_set_set_hooks(backends, (struct backend_hooks){on_name_added, on_name_removed, names});
    *out = names;
    return 0;
}

void backend_names_free(struct backend_names **names)
{
    struct backend_names *n = *names;

    if (n == NULL)
        return;
    CHECK_MAGIC(n, NAMES_MAGIC);
    backend_set_set_hooks(n->backends, (struct backend_hooks){0});
    ev_timer_stop(n->loop, &n->stale_timer);
    for (unsigned i = 0; i < n->count; i++)
        entry_fini(n, &n->entries[i]);
    resolver_free(&n->resolver);
    free(n->entries);
    free(n->places);
    n->magic = 0;
    free(n);
    *names = NULL;
}

bool backend_names_are_settled(const struct backend_names *names)
{
    return resolver_unsettled_count(names->resolver) == 0;
}

void backend_names_retry(struct backend_names *names)
{
    CHECK_MAGIC(names, NAMES_MAGIC);
    resolver_retry(names->resolver);
}

void backend_names_dump(const struct backend_names *names, struct strbuf *out)
{
    CHECK_MAGIC(names, NAMES_MAGIC);
    resolver_dump(names->resolver, out);
}
