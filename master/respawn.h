#ifndef RESPAWN_H
#define RESPAWN_H

#include <stdint.h>

/*
 * When may a dead worker be replaced? At once, as a rule; but a binary that dies at every start must not keep the machine busy. So
 * the sixth death within 10 s, and those that follow, wait until a second has passed since the last replacement. One account for
 * all slots: a fault that kills every worker restarts one a second, not one a second and slot. Pure; times are of the monotonic
 * clock, in milliseconds.
 */

#define RESPAWN_BURST      5
#define RESPAWN_WINDOW_MS  10000
#define RESPAWN_SPACING_MS 1000

/** Zeroed: nobody has died yet. */
struct respawn {
    uint64_t deaths_ms[RESPAWN_BURST + 1]; /* a ring of the latest */
    uint64_t death_count;
    uint64_t last_start_ms;
    uint64_t start_count;
};

void respawn_note_death(struct respawn *r, uint64_t now_ms);

/** A replacement was started (or tried). */
void respawn_note_start(struct respawn *r, uint64_t now_ms);

/** Milliseconds to wait before the next replacement; 0: none. */
uint64_t respawn_wait_ms(const struct respawn *r, uint64_t now_ms);

#endif
