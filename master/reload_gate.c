/* The pace of reloads. */

#include "reload_gate.h"

void reload_gate_ask(struct reload_gate *g)
{
    g->asked++;
}

uint64_t reload_gate_wait_ms(const struct reload_gate *g, uint64_t now_ms)
{
    if (g->asked == 0)
        return RELOAD_GATE_CLOSED;
    return now_ms >= g->open_ms ? 0 : g->open_ms - now_ms;
}

void reload_gate_begin(struct reload_gate *g)
{
    if (g->asked <= 1)
        g->pause_ms = RELOAD_PAUSE_MIN_MS;
    else if (g->pause_ms < RELOAD_PAUSE_MAX_MS)
        g->pause_ms = g->pause_ms == 0 ? RELOAD_PAUSE_MIN_MS : g->pause_ms * 2;
    if (g->pause_ms > RELOAD_PAUSE_MAX_MS)
        g->pause_ms = RELOAD_PAUSE_MAX_MS;
    g->asked = 0;
}

void reload_gate_end(struct reload_gate *g, uint64_t now_ms)
{
    g->open_ms = now_ms + g->pause_ms;
}
