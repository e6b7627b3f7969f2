/* A queue from which nothing can be taken: told from a peer that is gone, and said to the operator, but not with every try. */

#include "accept_shortage.h"

#include <errno.h>

#include "clock.h"
#include "log_event.h"

#define TELL_INTERVAL_MS 10000

bool accept_lacks(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

void accept_shortage_tell(uint64_t *told_ms, const char *message)
{
    uint64_t now = clock_monotonic_ms();

    if (*told_ms != 0 && now - *told_ms < TELL_INTERVAL_MS)
        return;
    *told_ms = now;
    log_text(LOG_WARN, message);
}
