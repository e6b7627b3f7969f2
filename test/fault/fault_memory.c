/* Allocations, each of which may fail. dlsym() may allocate too: it gets memory that is never freed. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fault_table.h"

static _Alignas(16) char early[65536];
static size_t early_used;
static void *real_malloc, *real_calloc, *real_realloc, *real_free, *real_aligned_alloc, *real_posix_memalign;

static void *early_alloc(size_t size)
{
    size_t at = early_used;

    early_used += (size + 31) & ~(size_t)15;
    if (early_used > sizeof early)
        abort();
    memcpy(early + at, &size, sizeof size);
    return early + at + 16;
}

static bool is_early(const void *p)
{
    return (const char *)p >= early && (const char *)p < early + sizeof early;
}

void *malloc(size_t size)
{
    if (real_malloc == NULL && fault_depth > 0)
        return early_alloc(size);
    return fault_strikes(CALL_malloc) ? NULL : REAL(malloc, size);
}

void *calloc(size_t count, size_t size)
{
    if (real_calloc == NULL && fault_depth > 0)
        return early_alloc(count * size); /* static memory is zero */
    return fault_strikes(CALL_calloc) ? NULL : REAL(calloc, count, size);
}

void free(void *p)
{
    if (p == NULL || is_early(p) || (real_free == NULL && fault_depth > 0))
        return;
    REAL(free, p);
}

void *realloc(void *old, size_t size)
{
    if (is_early(old) || (real_realloc == NULL && fault_depth > 0)) {
        size_t had = 0;
        void *fresh = malloc(size);
        if (old != NULL && is_early(old))
            memcpy(&had, (char *)old - 16, sizeof had);
        if (fresh != NULL && old != NULL)
            memcpy(fresh, old, had < size ? had : size);
        return fresh;
    }
    return fault_strikes(CALL_realloc) ? NULL : REAL(realloc, old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fault_strikes(CALL_aligned_alloc) ? NULL : REAL(aligned_alloc, alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    return fault_strikes(CALL_posix_memalign) ? ENOMEM : REAL(posix_memalign, out, alignment, size);
}

#define LOOK_UP(name, ...) (void)next(&real_##name, #name);

__attribute__((constructor(101))) static void look_all_up(void)
{
    (void)next(&real_free, "free");
    FAULT_ALLOCATIONS(LOOK_UP)
}
