#ifndef RESOLVER_H
#define RESOLVER_H

#include <stdint.h>

#include "addr_set.h"
#include "check.h"
#include "strbuf.h"

/*
 * Names of backends become addresses here, in the master, and are looked up again as their TTL runs out; workers see addresses
 * only. A and AAAA are asked together; /etc/hosts comes before the DNS, search domains and servers are those of resolv.conf,
 * which is read again when it has changed.
 *
 * A name keeps its last good answer whatever the servers say later, also when they say that it does not exist: a server that is
 * down or wrong for a minute must not take a backend away that answers. A failed look-up is tried again after 1 s, 2 s, 4 s, ...
 * 60 s, each with up to a quarter more by chance. At most 64 names are asked for at one time; the rest wait their turn.
 *
 * Log events: "backend name resolved", "... has new addresses", "... cannot be resolved", "... resolved again"; one per
 * transition, never one per look-up.
 */
struct resolver;
struct ev_loop;

/**
 * A watched name has addresses for the first time, or others than before. An answer that only comes in another order is no change.
 * Runs in the loop, never within a resolver_ call; may call resolver_watch() and resolver_unwatch(), not resolver_free().
 *
 * @param name   as watched; borrowed for the call
 * @param addrs  1..SHM_BACKEND_ADDRS_MAX, the best first (RFC 6724); borrowed for the call
 */
typedef void (*resolver_answer_fn)(const char *name, const struct addr_set *addrs, void *context);

/** How to resolve; a zero means the value in brackets. All in one place so that tests need not wait for a minute. */
struct resolver_options {
    const char *servers;       /* "192.0.2.1:53,[2001:db8::1]:53" [those of resolv.conf]; borrowed, as the next */
    const char *resolv_conf;   /* [/etc/resolv.conf] */
    uint16_t port;             /* of the servers that it names [53] */
    uint32_t query_timeout_ms; /* of the first try at one server, doubled for the next ones [2000] */
    uint32_t query_tries;      /* per server [3] */
    uint32_t ttl_min_ms;       /* a shorter TTL counts as this [1000] */
    uint32_t ttl_max_ms;       /* a longer TTL counts as this [3600000] */
    uint32_t hosts_ttl_ms;     /* an answer from /etc/hosts, which has no TTL, is good for this long [60000] */
    uint32_t retry_min_ms;     /* after the first failure [1000] */
    uint32_t retry_max_ms;     /* after many [60000] */
};

/**
 * Make a resolver that watches nothing yet.
 *
 * @param options  NULL: all defaults
 * @param out      on 0: resolver_free() it before the loop is destroyed
 * @return 0, ERR_NO_MEMORY, or ERR_INVALID for options->servers or a resolv.conf that c-ares does not take
 */
int resolver_new(struct ev_loop *loop, const struct resolver_options *options, resolver_answer_fn on_answer,
                 void *context, struct resolver **out) MUST_CHECK;

/** Ends all look-ups without calling back. Accepts NULL; clears the caller's pointer. */
void resolver_free(struct resolver **resolver);

/**
 * Watch a name; the first answer arrives by callback. Counted: a name watched twice needs two resolver_unwatch(). A further watch
 * brings no callback for what is known already: resolver_addresses() tells.
 *
 * @param name  normalised as hostname_normalise() does; copied
 * @return 0 or ERR_NO_MEMORY
 */
int resolver_watch(struct resolver *resolver, const char *name) MUST_CHECK;

/** Take one watch back; with the last one the name and its addresses are forgotten. No effect for a name nobody watches. */
void resolver_unwatch(struct resolver *resolver, const char *name);

/** Names whose last look-up failed are asked for again now, and not when their time comes: something may have changed. */
void resolver_retry(struct resolver *resolver);

/** The last good answer for a name; empty if there never was one or nobody watches the name. */
struct addr_set resolver_addresses(const struct resolver *resolver, const char *name);

/** Names that have been asked for neither with success nor without: their first look-up is still under way. */
unsigned resolver_unsettled_count(const struct resolver *resolver);

/** Totals in one line, then a line per name: its addresses, failures in a row, what it waits for. */
void resolver_dump(const struct resolver *resolver, struct strbuf *out);

#endif
