/*
 * The bytes of a connection that has no backend yet. Within one callback they lie in the process's buffer; whoever has to wait moves
 * them to memory of the connection's own. Before them there is always room for a PROXY header:
 *
 *     own_bytes - CONN_HEADROOM    own_bytes                       own_bytes + own_capacity
 *     |  (header that goes out)    |  hello, early data  |  room   |
 *                ^ bytes                                 ^ bytes + len
 */

#include "conn_setup.h"

#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "worker.h"

#define OWN_BYTES_MIN 2048

/** Do the bytes lie in memory of the connection's own already (perhaps with a PROXY header in the headroom)? */
static bool is_kept(const struct conn_setup *s)
{
    uintptr_t at = (uintptr_t)s->bytes, own = (uintptr_t)s->own_bytes;

    return s->own_bytes != NULL && at >= own - CONN_HEADROOM && at <= own + s->own_capacity;
}

/** Make own_bytes at least this large; what is in it stays. False: no memory, and nothing has changed. */
static bool reserve(struct conn_setup *s, size_t wanted)
{
    uint32_t capacity = s->own_capacity > 0 ? s->own_capacity : OWN_BYTES_MIN;
    bool was_kept = is_kept(s);
    ptrdiff_t offset = was_kept ? s->bytes - s->own_bytes : 0;

    while (capacity < wanted)
        capacity *= 2;
    if (capacity == s->own_capacity)
        return true;
    uint8_t *memory = realloc(s->own_bytes != NULL ? s->own_bytes - CONN_HEADROOM : NULL, CONN_HEADROOM + capacity);
    if (memory == NULL)
        return false;
    s->own_bytes = memory + CONN_HEADROOM;
    s->own_capacity = capacity;
    if (was_kept)
        s->bytes = s->own_bytes + offset;
    return true;
}

bool conn_setup_keep(struct conn_setup *s)
{
    if (s->len == 0 || is_kept(s))
        return true;
    if (!reserve(s, s->len))
        return false;
    memcpy(s->own_bytes, s->bytes, s->len);
    s->bytes = s->own_bytes;
    return true;
}

size_t conn_setup_grow(struct conn_setup *s)
{
    CHECK(is_kept(s));
    size_t used = (size_t)(s->bytes + s->len - s->own_bytes);

    return reserve(s, used + 1) ? s->own_capacity - used : 0;
}

void conn_setup_consume(struct conn_setup *s, uint32_t n)
{
    CHECK(n <= s->len);
    s->len -= n;
    if (is_kept(s))
        memmove(s->bytes, s->bytes + n, s->len); /* once per connection, and the headroom stays where it is */
    else
        s->bytes += n;
}

void conn_setup_free(struct conn *c)
{
    if (c->setup == NULL)
        return;
    hello_budget_remove(&conn_worker(c)->hellos, &c->setup->wait);
    if (c->setup->own_bytes != NULL)
        free(c->setup->own_bytes - CONN_HEADROOM);
    pool_free(&conn_worker(c)->setups, c->setup);
    c->setup = NULL;
}
