#ifndef BACKEND_NAMES_H
#define BACKEND_NAMES_H

#include <stdbool.h>

#include "check.h"

/*
 * Between the backends in the tables and the resolver: a backend given by name is watched as long as it is in use, and its addresses
 * go into the tables when the resolver has new ones.
 */
struct backend_names;
struct backend_set;
struct ev_loop;
struct resolver_options;
struct strbuf;

/**
 * Begin; takes the hooks of the set. The set is borrowed and must outlive this.
 *
 * @param options  as resolver_new()
 * @return 0, ERR_NO_MEMORY, or ERR_INVALID if the host's resolv.conf cannot be used
 */
int backend_names_new(struct ev_loop *loop, struct backend_set *backends, const struct resolver_options *options,
                      struct backend_names **out) MUST_CHECK;

/** Accepts NULL; clears the caller's pointer. */
void backend_names_free(struct backend_names **names);

/** Ask again now for names that could not be resolved. */
void backend_names_retry(struct backend_names *names);

/** What resolver_dump() says. */
void backend_names_dump(const struct backend_names *names, struct strbuf *out);

/** Has every name been asked for once, with or without success? Before that a connection may meet a backend without address. */
bool backend_names_are_settled(const struct backend_names *names);

#endif
