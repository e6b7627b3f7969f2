#ifndef ADDR_SET_H
#define ADDR_SET_H

#include <stdbool.h>

#include "address.h"
#include "shm_layout.h"

/** The addresses of a backend's name, in the order in which they are to be tried, each once. Zeroed is empty. All functions are pure. */
struct addr_set {
    unsigned count;
    struct ip_addr addrs[SHM_BACKEND_ADDRS_MAX];
};

/** Is addr in the set? */
bool addr_set_has(const struct addr_set *set, const struct ip_addr *addr);

/** Do both hold the same addresses, in whatever order? */
bool addr_set_equal(const struct addr_set *a, const struct addr_set *b);

/**
 * Add addr at the end.
 *
 * @return false if it was there already or the set is full
 */
bool addr_set_add(struct addr_set *set, const struct ip_addr *addr);

#endif
