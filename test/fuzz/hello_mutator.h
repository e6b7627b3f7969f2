#ifndef HELLO_MUTATOR_H
#define HELLO_MUTATOR_H

/* Mutates ClientHellos field by field: takes one apart into its head and its extensions, changes something, and puts it together with
 * lengths that are right, in records cut anew. What cannot be taken apart is left to libFuzzer. */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "bytes.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t capacity);

#define MUTATOR_MESSAGE_MAX    20000
#define MUTATOR_EXTENSIONS_MAX 48
#define MUTATOR_BODY_MAX       2048
#define MUTATOR_HEAD_MAX       512 /* version, random, session id, suites, compression */

struct mutator_extension {
    uint16_t type;
    uint16_t len;
    uint8_t body[MUTATOR_BODY_MAX];
};

struct mutator {
    uint32_t random;
    uint8_t head[MUTATOR_HEAD_MAX];
    size_t head_len;
    bool has_extensions;
    size_t count;
    struct mutator_extension extensions[MUTATOR_EXTENSIONS_MAX];
};

/** 0..below-1; libFuzzer wants the same result for the same seed. */
static inline size_t mutator_random(struct mutator *m, size_t below)
{
    m->random = m->random * 1664525u + 1013904223u;
    return below > 0 ? (size_t)((uint64_t)m->random * below >> 32) : 0;
}

/** The handshake bytes of all records, 0 if this is no sequence of them. */
static inline size_t mutator_gather(struct bytes wire, uint8_t *message)
{
    struct reader r = reader_of(wire);
    size_t len = 0;

    while (r.left > 0) {
        bool is_handshake = reader_u8(&r) == 22;
        reader_u16(&r);
        struct bytes body = reader_vector16(&r);
        if (r.failed || !is_handshake || body.len > MUTATOR_MESSAGE_MAX - len)
            return 0;
        if (body.len > 0)
            memcpy(message + len, body.ptr, body.len);
        len += body.len;
    }
    return len;
}

static inline bool mutator_take_extensions(struct mutator *m, struct bytes all)
{
    struct reader r = reader_of(all);

    for (m->count = 0; r.left > 0 && m->count < MUTATOR_EXTENSIONS_MAX; m->count++) {
        struct mutator_extension *e = &m->extensions[m->count];
        e->type = reader_u16(&r);
        struct bytes body = reader_vector16(&r);
        if (r.failed || body.len > sizeof e->body)
            return false;
        e->len = (uint16_t)body.len;
        if (body.len > 0)
            memcpy(e->body, body.ptr, body.len);
    }
    return r.left == 0;
}

static inline bool mutator_take_apart(struct mutator *m, struct bytes message)
{
    struct reader r = reader_of(message);

    reader_slice(&r, 4);
    const uint8_t *head = r.at;
    reader_slice(&r, 34);
    reader_vector8(&r);
    reader_vector16(&r);
    reader_vector8(&r);
    if (r.failed || (size_t)(r.at - head) > sizeof m->head)
        return false;
    m->head_len = (size_t)(r.at - head);
    memcpy(m->head, head, m->head_len);
    m->has_extensions = r.left > 0;
    return !m->has_extensions || mutator_take_extensions(m, reader_vector16(&r));
}

static inline uint8_t *mutator_put16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
    return at + 2;
}

/** @return its length; 0: too long */
static inline size_t mutator_put_together(const struct mutator *m, uint8_t *message)
{
    uint8_t *at = message + 4;
    size_t total = 4 + m->head_len + 2;

    for (size_t i = 0; i < m->count; i++)
        total += 4u + m->extensions[i].len;
    if (total > MUTATOR_MESSAGE_MAX)
        return 0;
    memcpy(at, m->head, m->head_len);
    at += m->head_len;
    if (m->has_extensions) {
        uint8_t *length = at;
        at += 2;
        for (size_t i = 0; i < m->count; i++) {
            at = mutator_put16(mutator_put16(at, m->extensions[i].type), m->extensions[i].len);
            memcpy(at, m->extensions[i].body, m->extensions[i].len);
            at += m->extensions[i].len;
        }
        mutator_put16(length, (size_t)(at - length) - 2);
    }
    size_t len = (size_t)(at - message);
    message[0] = 1;
    message[1] = 0;
    mutator_put16(message + 2, len - 4);
    return len;
}

/** The server_name extension with one name, which may be anything. */
static inline void mutator_name(struct mutator *m, struct mutator_extension *e)
{
    static const char *const names[] = {
        "a",        "www.example.com", "WWW.Example.COM",  "www.example.com.", ".",         "..",    "a..b",
        "-a.b-",    "*.a.test",        "xn--bcher-kva.de", "a_b.test",         "192.0.2.1", "[::1]", "a b",
        "a\tb",     "localhost",       "a\x80.test",       "\xc3\xbc.test",    "a/b",       "a:443", "a.test\n",
        "%00.test", "a\\.test",        "\"a\".test"};
    const char *name = names[mutator_random(m, sizeof names / sizeof names[0])];
    size_t len = strlen(name);

    memcpy(e->body + 5, name, len);
    if (mutator_random(m, 3) == 0)
        len = LLVMFuzzerMutate(e->body + 5, len, 300);
    e->type = 0;
    e->len = (uint16_t)(len + 5);
    mutator_put16(e->body, len + 3);
    e->body[2] = 0;
    mutator_put16(e->body + 3, len);
    if (mutator_random(m, 16) == 0) /* lengths that lie */
        e->body[mutator_random(m, 5)] ^= (uint8_t)(1u << mutator_random(m, 8));
}

static inline void mutator_edit(struct mutator *m)
{
    struct mutator_extension *one = &m->extensions[mutator_random(m, m->count)];
    struct mutator_extension *other = &m->extensions[mutator_random(m, m->count)];
    bool has_room = m->count < MUTATOR_EXTENSIONS_MAX;
    static const uint16_t types[] = {0, 10, 13, 16, 21, 35, 41, 42, 43, 44, 45, 49, 50, 51, 0x0a0a, 0xfe0d, 0xff01};

    switch (mutator_random(m, has_room && m->count > 0 ? 9 : has_room ? 2 : 7)) {
    case 0: m->head_len = LLVMFuzzerMutate(m->head, m->head_len, m->head_len); break;
    case 1:
        if (has_room) {
            one = &m->extensions[m->count++];
            m->has_extensions = true;
        }
        mutator_name(m, one);
        break;
    case 2: one->len = (uint16_t)LLVMFuzzerMutate(one->body, one->len, MUTATOR_BODY_MAX / 2); break;
    case 3: one->type = types[mutator_random(m, sizeof types / sizeof types[0])]; break;
    case 4: {
        struct mutator_extension copy = *one;
        *one = *other;
        *other = copy;
        break;
    }
    case 5: *one = m->extensions[--m->count]; break;
    case 6:
        for (size_t i = 0; i < m->count; i++) {
            if (m->extensions[i].type == 0)
                mutator_name(m, &m->extensions[i]);
        }
        break;
    case 7: m->extensions[m->count++] = *one; break;
    default:
        m->extensions[m->count] =
            (struct mutator_extension){.type = types[mutator_random(m, sizeof types / sizeof types[0])]};
        m->count++;
        break;
    }
}

/** An extension given twice is refused before anything else is looked at; one hello in eight keeps them. */
static inline void mutator_drop_repeated(struct mutator *m)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->count; i++) {
        bool is_repeated = false;
        for (size_t k = 0; k < kept; k++)
            is_repeated |= m->extensions[k].type == m->extensions[i].type;
        if (!is_repeated)
            m->extensions[kept++] = m->extensions[i];
    }
    m->count = kept;
}

/** Cut the message into records; the number of bytes, 0 if they do not fit. */
static inline size_t mutator_cut(struct mutator *m, struct bytes message, uint8_t *out, size_t capacity)
{
    size_t style = mutator_random(m, 6);
    size_t at = 0, sent = 0;

    while (sent < message.len) {
        size_t left = message.len - sent;
        size_t n = style < 3 ? left : style == 3 ? 1 + mutator_random(m, 5) : 1 + mutator_random(m, left);
        n = n > 16384 ? 16384 : n > left ? left : n;
        if (capacity - at < n + 5)
            return 0;
        out[at] = 22;
        out[at + 1] = 3;
        out[at + 2] = (uint8_t)(mutator_random(m, 64) == 0 ? mutator_random(m, 6) : 1);
        mutator_put16(out + at + 3, n);
        memcpy(out + at + 5, message.ptr + sent, n);
        at += n + 5;
        sent += n;
    }
    return at;
}

/** LLVMFuzzerCustomMutator(). */
static inline size_t hello_mutate(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    static struct mutator m;
    static uint8_t message[MUTATOR_MESSAGE_MAX];
    size_t len;

    m.random = seed;
    if (mutator_random(&m, 16) == 0 || (len = mutator_gather(bytes_of(data, size), message)) == 0 ||
        !mutator_take_apart(&m, bytes_of(message, len)))
        return LLVMFuzzerMutate(data, size, capacity);
    for (size_t edits = 1 + mutator_random(&m, 2); edits > 0; edits--)
        mutator_edit(&m);
    if (mutator_random(&m, 8) != 0)
        mutator_drop_repeated(&m);
    len = mutator_put_together(&m, message);
    size_t made = len > 0 ? mutator_cut(&m, bytes_of(message, len), data, capacity) : 0;
    if (made == 0)
        return LLVMFuzzerMutate(data, size, capacity);
    return mutator_random(&m, 16) == 0 ? LLVMFuzzerMutate(data, made, capacity) : made;
}

#endif
