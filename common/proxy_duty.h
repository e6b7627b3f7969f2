#ifndef PROXY_DUTY_H
#define PROXY_DUTY_H

#include "address.h"
#include "ctl_msg.h"

/** What a listener expects first of whoever connects. */
enum proxy_duty {
    PROXY_DUTY_NONE,    /* no PROXY header: the peer is the client */
    PROXY_DUTY_HEADER,  /* a PROXY header, which names the client */
    PROXY_DUTY_REFUSED, /* nothing: only trusted peers may connect, and this is none */
};

/** For a mode other than PROXY_MODE_OFF. Pure. */
enum proxy_duty proxy_duty_of_peer(enum proxy_mode mode, const struct ip_cidr *trusted, unsigned trusted_count,
                                   const struct ip_addr *peer);

static inline enum proxy_duty proxy_duty(enum proxy_mode mode, const struct ip_cidr *trusted, unsigned trusted_count,
                                         const struct ip_addr *peer)
{
    return mode == PROXY_MODE_OFF ? PROXY_DUTY_NONE : proxy_duty_of_peer(mode, trusted, trusted_count, peer);
}

#endif
