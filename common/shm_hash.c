/*
 * The keyed hash of the shared tables: SipHash-1-3, with the words of a name taken from its right end. Keyed and strong, because
 * names come from outside: without the seed nobody can choose names that fall into one bucket.
 */

#include "shm_hash.h"

#include <endian.h>

static inline uint64_t rotl(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

static inline void sip_init(uint64_t v[4], const uint64_t seed[2])
{
    v[0] = seed[0] ^ 0x736f6d6570736575u; /* the constants of the SipHash paper, section 2.1 */
    v[1] = seed[1] ^ 0x646f72616e646f6du;
    v[2] = seed[0] ^ 0x6c7967656e657261u;
    v[3] = seed[1] ^ 0x7465646279746573u;
}

static inline void sip_absorb(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

static inline uint64_t sip_finish(uint64_t v[4])
{
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static inline uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)(hash ^ hash >> 32);
}

static inline uint64_t load_word(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return le64toh(word);
}

/** The 0..7 bytes at `at`; when eight may be read there (the suffix is long enough) one load does. */
static inline uint64_t load_partial(const uint8_t *at, size_t len, bool may_read_word)
{
    if (may_read_word)
        return load_word(at) & ((1ull << 8 * len) - 1);
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++)
        word |= (uint64_t)at[i] << 8 * i;
    return word;
}

void shm_hash_name_init(struct shm_hash_name *h, const uint64_t seed[2], struct bytes name)
{
    sip_init(h->v, seed);
    h->name = name;
    h->absorbed = 0;
}

uint32_t shm_hash_name_suffix(struct shm_hash_name *h, size_t suffix_len, uint32_t context)
{
    const struct bytes name = h->name;

    for (; suffix_len - h->absorbed >= 8; h->absorbed += 8)
        sip_absorb(h->v, load_word(name.ptr + (name.len - h->absorbed - 8)));

    uint64_t v[4] = {h->v[0], h->v[1], h->v[2], h->v[3]};
    uint64_t tail = (uint64_t)suffix_len << 56;
    if (suffix_len > 0)
        tail |= load_partial(name.ptr + (name.len - suffix_len), suffix_len % 8, suffix_len >= 8);
    sip_absorb(v, tail);
    sip_absorb(v, context);
    return tag_of(sip_finish(v));
}

uint64_t shm_hash_words64(const uint64_t seed[2], const uint64_t *words, unsigned count)
{
    uint64_t v[4];

    sip_init(v, seed);
    for (unsigned i = 0; i < count; i++)
        sip_absorb(v, words[i]);
    return sip_finish(v);
}

uint32_t shm_hash_words(const uint64_t seed[2], const uint64_t *words, unsigned count)
{
    return tag_of(shm_hash_words64(seed, words, count));
}
