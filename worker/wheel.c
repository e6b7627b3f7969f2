/* The timer wheel: doubly linked lists in an array of slots. A node knows what points at it, so it leaves in one step. */

#include "wheel.h"

#include <string.h>

#include "check.h"

void wheel_init(struct wheel *wheel, uint64_t now_ms)
{
    memset(wheel, 0, sizeof *wheel);
    wheel->start_ms = now_ms;
}

uint32_t wheel_tick_after(uint32_t from, uint32_t ms)
{
    /* One more than the quotient: `from` may be almost over already. */
    return from + ms / WHEEL_TICK_MS + (ms % WHEEL_TICK_MS != 0) + 1;
}

uint32_t wheel_tick_at(const struct wheel *wheel, uint64_t now_ms)
{
    uint32_t ahead = (uint32_t)((now_ms - wheel->start_ms) / WHEEL_TICK_MS) - wheel->now;

    return wheel->now + (ahead < WHEEL_LEAP_TICKS ? ahead : WHEEL_LEAP_TICKS);
}

static void push(struct wheel_node **head, struct wheel_node *node)
{
    node->next = *head;
    node->link = head;
    if (node->next != NULL)
        node->next->link = &node->next;
    *head = node;
}

void wheel_add(struct wheel *wheel, struct wheel_node *node, uint32_t tick)
{
    CHECK(node->link == NULL);
    int32_t ahead = (int32_t)(tick - wheel->now);

    if (ahead < 1)
        ahead = 1; /* the current slot was visited already */
    if (ahead > WHEEL_SLOTS - 1)
        ahead = WHEEL_SLOTS - 1;
    push(&wheel->slots[(wheel->now + (uint32_t)ahead) % WHEEL_SLOTS], node);
}

void wheel_remove(struct wheel_node *node)
{
    if (node->link == NULL)
        return;
    *node->link = node->next;
    if (node->next != NULL)
        node->next->link = node->link;
    node->next = NULL;
    node->link = NULL;
}

static void visit_list(struct wheel_node *list, wheel_fn visit, void *context)
{
    if (list != NULL)
        list->link = &list;
    while (list != NULL) {
        struct wheel_node *node = list;
        wheel_remove(node);
        visit(node, context);
    }
}

static void visit_slot(struct wheel_node **slot, wheel_fn visit, void *context)
{
    /* Detached first: a node that is added again for a whole turn later must not be met twice. */
    struct wheel_node *list = *slot;

    *slot = NULL;
    visit_list(list, visit, context);
}

void wheel_advance(struct wheel *wheel, uint64_t now_ms, wheel_fn visit, void *context)
{
    uint32_t target = (uint32_t)((now_ms - wheel->start_ms) / WHEEL_TICK_MS);
    uint32_t passed = target - wheel->now;

    if (passed > WHEEL_LEAP_TICKS) {
        wheel->start_ms += (uint64_t)(passed - 1) * WHEEL_TICK_MS;
        passed = 1;
    }
    for (uint32_t i = 0; i < passed; i++) {
        wheel->now++;
        visit_slot(&wheel->slots[wheel->now % WHEEL_SLOTS], visit, context);
    }
}

void wheel_visit_all(struct wheel *wheel, wheel_fn visit, void *context)
{
    struct wheel_node *all = NULL;

    for (unsigned i = 0; i < WHEEL_SLOTS; i++) {
        while (wheel->slots[i] != NULL) {
            struct wheel_node *node = wheel->slots[i];
            wheel_remove(node);
            push(&all, node);
        }
    }
    visit_list(all, visit, context);
}
