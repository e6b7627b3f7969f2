#ifndef INVALID_H
#define INVALID_H

#include "err.h"
#include "strbuf.h"

/** How the parsers of configured values say no: the reason for people, and the code. Returns ERR_INVALID. */
static inline int invalid(struct strbuf *why, const char *reason)
{
    strbuf_add(why, reason);
    return ERR_INVALID;
}

#endif
