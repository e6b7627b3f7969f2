/* Memory for nghttp2 that does not fail at once. */

#include "h2_memory.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "loop_memory.h"

static void *resize(void *old, size_t size, void *context)
{
    (void)context;
    /* Of no bytes there is one, so that it is told from a failure. */
    return size <= LONG_MAX ? loop_memory_realloc(old, size > 0 ? (long)size : 1) : NULL;
}

static void *get(size_t size, void *context)
{
    return resize(NULL, size, context);
}

static void *get_zeroed(size_t count, size_t size, void *context)
{
    size_t bytes;
    void *p = __builtin_mul_overflow(count, size, &bytes) ? NULL : get(bytes, context);

    if (p != NULL)
        memset(p, 0, bytes);
    return p;
}

static void release(void *p, void *context)
{
    (void)context;
    free(p);
}

nghttp2_mem *h2_memory(void)
{
    static nghttp2_mem memory = {.malloc = get, .free = release, .calloc = get_zeroed, .realloc = resize};

    return &memory;
}
