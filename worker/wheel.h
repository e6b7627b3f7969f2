#ifndef WHEEL_H
#define WHEEL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A coarse timer wheel for connection timeouts: one tick is 100 ms, one timer of the loop drives it. Activity never moves a node:
 * the owner stores when something last happened, and when the node's slot comes up it looks again and adds the node anew. So a
 * busy connection costs the wheel one visit per timeout and not one per byte.
 *
 *     slot of tick t:  t % WHEEL_SLOTS      a node due further away than the wheel reaches is visited early and added again
 */
#define WHEEL_TICK_MS 100
#define WHEEL_SLOTS   512

/*
 * More ticks than this at once and the process was stopped, or its machine was. That time counts as one tick: what came meanwhile
 * lies in the sockets, and nobody is to be called late before it was looked at.
 */
#define WHEEL_LEAP_TICKS 5

/** Embedded in its owner; all zero when it is in no wheel. */
struct wheel_node {
    struct wheel_node *next;
    struct wheel_node **link; /* what points at this node; NULL: in no wheel */
};

struct wheel {
    struct wheel_node *slots[WHEEL_SLOTS];
    uint64_t start_ms; /* monotonic time of tick 0, later by every time that did not count */
    uint32_t now;      /* current tick; 13 years */
};

/** Called for a node whose slot came up, after it was taken out; may add it again, and may add or remove any other node. */
typedef void (*wheel_fn)(struct wheel_node *node, void *context);

void wheel_init(struct wheel *wheel, uint64_t now_ms);

/**
 * The tick that a monotonic time lies in, of now or a moment ago: while a turn takes long, time goes on and the wheel does not. At most
 * WHEEL_LEAP_TICKS ahead of it, as more will not count.
 */
uint32_t wheel_tick_at(const struct wheel *wheel, uint64_t now_ms);

/** The first tick that lies at least `ms` milliseconds after the tick `from`: a timeout never fires early. */
uint32_t wheel_tick_after(uint32_t from, uint32_t ms);

/** Put a node in for a tick (a past one comes up at the next advance). The node must be in no wheel. */
void wheel_add(struct wheel *wheel, struct wheel_node *node, uint32_t tick);

/** Take a node out; nothing happens if it is in no wheel. */
void wheel_remove(struct wheel_node *node);

/** Move to the given monotonic time and visit every slot passed, each node once. */
void wheel_advance(struct wheel *wheel, uint64_t now_ms, wheel_fn visit, void *context);

/** Take every node out and visit it: the way to reach all owners. visit may add nodes again. */
void wheel_visit_all(struct wheel *wheel, wheel_fn visit, void *context);

#endif
