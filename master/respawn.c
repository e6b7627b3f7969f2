/* The pace at which dead workers are replaced. */

#include "respawn.h"

#define RING (RESPAWN_BURST + 1)

void respawn_note_death(struct respawn *r, uint64_t now_ms)
{
    r->deaths_ms[r->death_count % RING] = now_ms;
    r->death_count++;
}

void respawn_note_start(struct respawn *r, uint64_t now_ms)
{
    r->last_start_ms = now_ms;
    r->start_count++;
}

uint64_t respawn_wait_ms(const struct respawn *r, uint64_t now_ms)
{
    if (r->death_count < RING || r->start_count == 0)
        return 0;
    uint64_t oldest_ms = r->deaths_ms[r->death_count % RING];
    uint64_t since_start_ms = now_ms - r->last_start_ms;

    if (now_ms - oldest_ms > RESPAWN_WINDOW_MS || since_start_ms >= RESPAWN_SPACING_MS)
        return 0;
    return RESPAWN_SPACING_MS - since_start_ms;
}
