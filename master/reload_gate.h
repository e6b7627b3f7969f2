#ifndef RELOAD_GATE_H
#define RELOAD_GATE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * When may a reload that was asked for begin? At once, and 10 ms after the one before; but who asks faster than reloads are done gets
 * one for many: while several signals come per reload, the pause doubles, up to 200 ms. None is lost: the reload that answers a signal
 * reads the file after it. Pure; times are of the monotonic clock, in milliseconds.
 */

#define RELOAD_PAUSE_MIN_MS 10
#define RELOAD_PAUSE_MAX_MS 200

/** Zeroed: nobody has asked. */
struct reload_gate {
    unsigned asked; /* since the last reload began */
    uint64_t open_ms;
    uint32_t pause_ms;
};

#define RELOAD_GATE_CLOSED UINT64_MAX

void reload_gate_ask(struct reload_gate *g);

/** Milliseconds until the next reload may begin; 0: now; RELOAD_GATE_CLOSED: nobody has asked. */
uint64_t reload_gate_wait_ms(const struct reload_gate *g, uint64_t now_ms);

/** A reload begins; what was asked so far is answered by it. */
void reload_gate_begin(struct reload_gate *g);

void reload_gate_end(struct reload_gate *g, uint64_t now_ms);

#endif
