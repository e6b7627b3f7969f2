/* Who has to begin with a PROXY header, by the listener's proxy_protocol and proxy_trusted. */

#include "proxy_duty.h"

#include "check.h"

static bool is_trusted(const struct ip_cidr *trusted, unsigned count, const struct ip_addr *peer)
{
    for (unsigned i = 0; i < count; i++) {
        if (ip_cidr_covers(&trusted[i], peer))
            return true;
    }
    return false;
}

enum proxy_duty proxy_duty_of_peer(enum proxy_mode mode, const struct ip_cidr *trusted, unsigned trusted_count,
                                   const struct ip_addr *peer)
{
    CHECK(mode == PROXY_MODE_REQUIRED || mode == PROXY_MODE_MIXED);
    if (is_trusted(trusted, trusted_count, peer))
        return PROXY_DUTY_HEADER;
    if (mode == PROXY_MODE_MIXED)
        return PROXY_DUTY_NONE;
    return trusted_count == 0 ? PROXY_DUTY_HEADER : PROXY_DUTY_REFUSED; /* without a list: anyone may send one */
}
