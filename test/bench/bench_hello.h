#ifndef BENCH_HELLO_H
#define BENCH_HELLO_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A ClientHello of exactly `total` bytes in one record (RFC 8446 4.1.2): a name, and a padding extension (RFC 7685) for the rest. */

static inline uint8_t *bench_put16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
    return at + 2;
}

static inline void bench_hello_make(uint8_t *out, size_t total, const char *name)
{
    const size_t name_len = strlen(name);
    const size_t fixed = 5 + 4 + 2 + 32 + 1 + 2 + 2 + 2 +
                         2; /* record, message, version, random, session, suites, compression, extensions */
    const size_t padding = total - fixed - (9 + name_len) - 7 - 4;
    uint8_t *p = out;

    if (total < fixed + 9 + name_len + 7 + 4 || total > 16000)
        abort();
    memset(out, 0, total);
    *p++ = 22;
    p = bench_put16(p, 0x0301);
    p = bench_put16(p, total - 5);
    *p++ = 1;
    *p++ = 0;
    p = bench_put16(p, total - 9);
    p = bench_put16(p, 0x0303);
    memset(p, 0x5a, 32);
    p += 32;
    *p++ = 0;
    p = bench_put16(bench_put16(p, 2), 0x1301);
    *p++ = 1;
    *p++ = 0;
    p = bench_put16(p, total - fixed);
    p = bench_put16(bench_put16(p, 0), name_len + 5); /* server_name */
    p = bench_put16(p, name_len + 3);
    *p++ = 0;
    p = bench_put16(p, name_len);
    memcpy(p, name, name_len);
    p += name_len;
    p = bench_put16(bench_put16(p, 43), 3); /* supported_versions */
    *p++ = 2;
    p = bench_put16(p, 0x0304);
    (void)bench_put16(bench_put16(p, 21), padding);
}

#endif
