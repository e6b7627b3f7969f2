#ifndef RUN_UNTIL_H
#define RUN_UNTIL_H

#include <ev.h>

#include "clock.h"

/** Turn b->loop until a condition holds, at most 30 s; include behind cmocka.h. */
#define RUN_UNTIL(b, condition)                             \
    do {                                                    \
        uint64_t end_ms = clock_monotonic_ms() + 30000;     \
        while (!(condition)) {                              \
            if (clock_monotonic_ms() > end_ms)              \
                fail_msg("never happened: %s", #condition); \
            ev_run((b)->loop, EVRUN_ONCE);                  \
        }                                                   \
    } while (0)

#endif
