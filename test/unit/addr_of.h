#ifndef ADDR_OF_H
#define ADDR_OF_H

/* Addresses as tests write them; include behind cmocka.h. */

#include "address.h"
#include "strbuf.h"

/** "192.0.2.7" or "2001:db8::7"; the test fails of anything else. */
static inline struct ip_addr addr_of(const char *text)
{
    char why_text[128];
    struct strbuf why = STRBUF_OF(why_text);
    struct ip_addr addr = {0};

    if (ip_addr_parse(bytes_of_str(text), &addr, &why) != 0)
        fail_msg("'%s': %s", text, why_text);
    return addr;
}

#endif
