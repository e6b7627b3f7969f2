/* The end of a process that found itself in an impossible state: say where, add what it was doing, abort. */

#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static check_dump_fn dump_state;

void check_set_dump(check_dump_fn dump)
{
    dump_state = dump;
}

_Noreturn void check_failed(const char *condition, const char *file, int line, const char *function)
{
    char text[512];
    int len = snprintf(text, sizeof text, "panic: pid=%d check=\"%s\" at=%s:%d function=%s\n", (int)getpid(), condition,
                       file, line, function);

    if (len > (int)sizeof text - 1)
        len = (int)sizeof text - 1;
    /* A lost panic line changes nothing any more. */
    if (len > 0 && write(STDERR_FILENO, text, (size_t)len) >= 0 && dump_state != NULL) {
        check_dump_fn dump = dump_state;
        dump_state = NULL; /* a CHECK that fails inside the dump must not come back here */
        dump(STDERR_FILENO);
    }
    abort();
}
