#ifndef DNS_CLIENT_H
#define DNS_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "check.h"

/*
 * Look-ups of host names with c-ares in a libev loop: A and AAAA together, /etc/hosts before the DNS. Nothing is remembered here:
 * when to ask, and what an answer is good for, is the resolver's business (resolver.h).
 */
struct dns_client;
struct ev_loop;

#define DNS_ANSWER_MAX 64 /* addresses of one answer that are looked at; the ones behind are left out */

struct dns_answer {
    const char *error;                    /* NULL: there is at least one address; otherwise why not, static */
    bool is_from_hosts;                   /* not from the DNS, so there is no TTL */
    uint32_t ttl_s;                       /* the shortest in the answer, aliases on the way included */
    unsigned count;                       /* 0..DNS_ANSWER_MAX; an address may be there twice */
    struct ip_addr addrs[DNS_ANSWER_MAX]; /* the best first (RFC 6724) */
};

/**
 * How a look-up ends: called exactly once for each, also when the client is freed under it (then with an error). answer is
 * borrowed for the call. May begin look-ups, but not free the client.
 */
typedef void (*dns_answer_fn)(const struct dns_answer *answer, void *context);

/** How to ask. Texts are borrowed as long as the client lives. */
struct dns_client_options {
    const char *servers;     /* "192.0.2.1:53,[2001:db8::1]:53"; NULL: those of resolv.conf */
    const char *resolv_conf; /* NULL: /etc/resolv.conf */
    uint16_t port;           /* of the servers that it names; 0: 53 */
    uint32_t timeout_ms;     /* of the first try at one server, doubled for the next ones */
    uint32_t tries;          /* per server */
};

/**
 * Without servers, resolv.conf is read here, and again by the first look-up after it has changed; look-ups under way are then
 * begun anew with the new servers. One that cannot be read, or that c-ares does not take, leaves the servers as they are.
 *
 * @param out  on 0: dns_client_free() it before the loop is destroyed
 * @return 0, ERR_NO_MEMORY, or ERR_INVALID for servers or a resolv.conf that c-ares does not take
 */
int dns_client_new(struct ev_loop *loop, const struct dns_client_options *options, struct dns_client **out) MUST_CHECK;

/** Ends all look-ups, with an error. Accepts NULL; clears the caller's pointer. */
void dns_client_free(struct dns_client **client);

/**
 * Look a name up. on_answer may run within this call (a name in /etc/hosts). c-ares cannot end one look-up of many, so there is no
 * way to take it back: context stays until on_answer ran.
 */
void dns_client_ask(struct dns_client *client, const char *name, dns_answer_fn on_answer, void *context);

/** Look-ups that have not ended; the one whose on_answer is running has. */
unsigned dns_client_in_flight(const struct dns_client *client);

/** The library at work, for example "c-ares 1.18.1"; static. */
const char *dns_client_version_text(void);

#endif
