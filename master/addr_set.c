/* A handful of distinct addresses: small enough that looking at each beats every index. */

#include "addr_set.h"

bool addr_set_has(const struct addr_set *set, const struct ip_addr *addr)
{
    for (unsigned i = 0; i < set->count; i++) {
        if (ip_addr_equal(&set->addrs[i], addr))
            return true;
    }
    return false;
}

bool addr_set_equal(const struct addr_set *a, const struct addr_set *b)
{
    if (a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++) {
        if (!addr_set_has(b, &a->addrs[i]))
            return false;
    }
    return true; /* no address is in a set twice, so equal counts and one inclusion are enough */
}

bool addr_set_add(struct addr_set *set, const struct ip_addr *addr)
{
    if (set->count == SHM_BACKEND_ADDRS_MAX || addr_set_has(set, addr))
        return false;
    set->addrs[set->count++] = *addr;
    return true;
}
