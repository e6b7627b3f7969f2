#ifndef RANDOM_NUMBERS_H
#define RANDOM_NUMBERS_H

/* The same random numbers in every run (xorshift64*): what fails once fails again. */

#include <stdint.h>

static uint64_t rng_state = 88172645463325252u;

static inline uint64_t rng64(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state * 2685821657736338717u;
}

/** 0 .. below - 1 */
static inline uint32_t rng(uint32_t below)
{
    return (uint32_t)((rng64() >> 32) * below >> 32);
}

#endif
