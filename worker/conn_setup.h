#ifndef CONN_SETUP_H
#define CONN_SETUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "client_hello.h"
#include "hello_budget.h"
#include "shm_layout.h"

struct conn;

/** What is needed only until bytes flow both ways; freed then. */
struct conn_setup {
    /* What was read so far and not sent yet: worker_io() within a callback, own_bytes across callbacks. */
    uint8_t *bytes;
    uint32_t len;
    uint32_t own_capacity;
    bool needs_more; /* what was read is the beginning of a header or hello */
    /* NULL until a hello comes in pieces or a connect has to wait; CONN_HEADROOM bytes lie before it. */
    uint8_t *own_bytes;
    uint32_t accept_tick;
    struct hello_progress progress;
    uint32_t low_water; /* bytes besides the first that must have come before the client's socket reports them */
    uint8_t pieces;     /* reads that did not complete the hello; counted up to HELLO_PIECES_FEW */

    const char *detail;      /* static words for the log line: why something was refused or a connect failed; or NULL */
    struct ip_endpoint peer; /* its address, where a PROXY header has replaced it; family 0: none has */
    char country[2];         /* of the client, once it was asked for; country[0] is '\0': not known */
    bool is_country_asked;

    bool is_heard;          /* its socket was looked at before it would have been evicted */
    struct hello_wait wait; /* while it waits for its PROXY header or hello */
    struct conn *owner;     /* of this, while it waits */

    bool is_local;                  /* a LOCAL header came in */
    struct ip_endpoint destination; /* from the PROXY header; family 0: none came */

    bool has_proxy_header_out;
    bool is_unix;
    bool retry_on_tick; /* a Unix backend's queue was full */
    uint8_t addr_count;
    uint8_t next_addr;         /* addresses before it were tried */
    uint32_t connect_deadline; /* tick: of all attempts */
    struct shm_backend_addr addrs[SHM_BACKEND_ADDRS_MAX];
};

/** Room before own_bytes, as before worker_io(): a PROXY header is written in front of the hello and both go out in one send. */
#define CONN_HEADROOM 64

/** The connection has its backend: drop what only the set-up needed. */
void conn_setup_free(struct conn *c);

/** Move the bytes that were read into memory of the connection's own, so that they survive this callback. False: no memory. */
bool conn_setup_keep(struct conn_setup *s);

/** Room behind bytes that are kept: returns how many more fit at bytes + len, at least one; 0: no memory. May move the bytes. */
size_t conn_setup_grow(struct conn_setup *s);

/** Take n bytes off the front of what was read. */
void conn_setup_consume(struct conn_setup *s, uint32_t n);

#endif
