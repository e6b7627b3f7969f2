/* What waits in memory for slow receivers, and how much that is in all. */

#include "backlog.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

static size_t held;

static size_t size_of(const struct backlog *b)
{
    return sizeof *b + b->end;
}

struct backlog *backlog_new(struct bytes unsent)
{
    struct backlog *b = malloc(sizeof *b + unsent.len);

    if (b != NULL) {
        b->start = 0;
        b->end = (uint32_t)unsent.len;
        memcpy(b->data, unsent.ptr, unsent.len);
        held += size_of(b);
    }
    return b;
}

void backlog_free(struct backlog **backlog)
{
    struct backlog *b = *backlog;

    *backlog = NULL;
    if (b == NULL)
        return;
    CHECK(held >= size_of(b));
    held -= size_of(b);
    free(b);
}

size_t backlog_held(void)
{
    return held;
}
