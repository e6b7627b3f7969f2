/* Counters by client address: a hash table of open addressing, built anew when addresses are forgotten. */

#include "client_counts.h"

#include <stdlib.h>
#include <string.h>

#include "rates.h"
#include "strbuf.h"

#define PLACES         ((size_t)2 * CLIENT_COUNTS_MAX) /* a power of two */
#define NAME_MAX_BYTES 48                              /* an IPv6 address, with NUL */
_Static_assert((PLACES & (PLACES - 1)) == 0, "a mask finds the place");

struct entry {
    char name[NAME_MAX_BYTES]; /* "": free */
    uint32_t quiet;            /* looks since its last connection */
    uint64_t values[CLIENT_VALUES];
};

struct client_counts {
    unsigned used;
    struct entry others;
    struct entry *places; /* PLACES of them, as in spare */
    struct entry *spare;  /* all free */
};

struct client_counts *client_counts_new(void)
{
    struct client_counts *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->places = calloc(PLACES, sizeof *c->places);
    c->spare = calloc(PLACES, sizeof *c->spare);
    if (c->places == NULL || c->spare == NULL)
        client_counts_free(&c);
    return c;
}

void client_counts_free(struct client_counts **counts)
{
    if (*counts == NULL)
        return;
    free((*counts)->places);
    free((*counts)->spare);
    free(*counts);
    *counts = NULL;
}

/** The address of an endpoint: no port, no brackets. */
static void add_address(const char *endpoint, struct strbuf *out)
{
    const char *colon = strrchr(endpoint, ':');
    size_t len = colon != NULL ? (size_t)(colon - endpoint) : strlen(endpoint);

    if (len >= 2 && endpoint[0] == '[' && endpoint[len - 1] == ']') {
        endpoint++;
        len -= 2;
    }
    strbuf_add_bytes(out, bytes_of(endpoint, len));
}

/** FNV-1a: who floods us can slow down nothing but this view of it. */
static uint32_t hash_of(const char *name)
{
    uint32_t hash = 2166136261u;

    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return hash;
}

/** The entry of this name, or the free one where it would be. */
static struct entry *find(struct entry *places, const char *name)
{
    size_t at = hash_of(name) & (PLACES - 1);

    while (places[at].name[0] != '\0' && strcmp(places[at].name, name) != 0)
        at = (at + 1) & (PLACES - 1);
    return &places[at];
}

static struct entry *entry_for(struct client_counts *c, const char *name)
{
    struct entry *e = find(c->places, name);

    if (e->name[0] != '\0')
        return e;
    if (c->used == CLIENT_COUNTS_MAX)
        return &c->others;
    c->used++;
    memcpy(e->name, name, strlen(name) + 1);
    return e;
}

void client_counts_add(struct client_counts *c, const char *endpoint, const uint64_t values[CLIENT_VALUES])
{
    char data[NAME_MAX_BYTES];
    struct strbuf name = STRBUF_OF(data);

    add_address(endpoint, &name);
    struct entry *e = name.len > 0 ? entry_for(c, data) : &c->others;
    e->quiet = 0;
    for (unsigned i = 0; i < CLIENT_VALUES; i++)
        e->values[i] += values[i];
}

/** Keep those that are not quiet for too long. */
static void forget(struct client_counts *c)
{
    struct entry *old = c->places;

    c->places = c->spare;
    c->used = 0;
    for (size_t i = 0; i < PLACES; i++) {
        if (old[i].name[0] == '\0' || ++old[i].quiet > CLIENT_COUNTS_QUIET)
            continue;
        *find(c->places, old[i].name) = old[i];
        c->used++;
    }
    memset(old, 0, PLACES * sizeof *old);
    c->spare = old;
}

void client_counts_look(struct client_counts *c, struct rates *rates, uint64_t now_ms)
{
    rates_begin(rates, now_ms);
    for (size_t i = 0; i < PLACES; i++) {
        if (c->places[i].name[0] != '\0')
            rates_put(rates, c->places[i].name, c->places[i].values);
    }
    if (c->others.values[CLIENT_ENDED] > 0)
        rates_put(rates, CLIENT_COUNTS_OTHERS, c->others.values);
    rates_end(rates);
    forget(c);
}
