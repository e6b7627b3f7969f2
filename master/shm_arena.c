/*
 * The shared arena: slabs of small records over runs of pages.
 *
 * Freed records are linked through their own first two bytes. They are free only after every reader has gone (retire_queue.h), so
 * nobody reads them, and freeing needs no memory and cannot fail.
 */

#include "shm_arena.h"

#include <inttypes.h>

#include "err.h"

#define SLAB_PAGES 8u
#define SLAB_BYTES ((uint64_t)SLAB_PAGES * SHM_PAGE)
#define SLAB_NONE  UINT16_MAX

_Static_assert(SLAB_BYTES / 8 < SLAB_NONE, "places in a slab fit 16 bits");

/* Where a step of sizes ends, and the class its first size has. */
#define FINE_MAX     64u
#define MEDIUM_MAX   256u
#define MEDIUM_FIRST 8u
#define COARSE_FIRST 20u

static unsigned class_of(uint64_t size)
{
    unsigned n = (unsigned)size;

    if (n <= FINE_MAX)
        return (n + 7) / 8 - 1;
    if (n <= MEDIUM_MAX)
        return MEDIUM_FIRST + (n - FINE_MAX + 15) / 16 - 1;
    return COARSE_FIRST + (n - MEDIUM_MAX + 31) / 32 - 1;
}

static unsigned class_bytes(unsigned size_class)
{
    if (size_class < MEDIUM_FIRST)
        return (size_class + 1) * 8;
    if (size_class < COARSE_FIRST)
        return FINE_MAX + (size_class - MEDIUM_FIRST + 1) * 16;
    return MEDIUM_MAX + (size_class - COARSE_FIRST + 1) * 32;
}

int shm_arena_init(struct shm_arena *a, uint64_t segment_bytes, uint64_t reserved_bytes)
{
    *a = (struct shm_arena){0};
    return shm_pages_init(&a->pages, "mc-proxy-tables", segment_bytes, reserved_bytes);
}

void shm_arena_fini(struct shm_arena *a)
{
    shm_pages_fini(&a->pages);
}

static void push_partial(struct shm_arena *a, uint32_t page)
{
    struct shm_page *slab = &a->pages.pages[page];
    uint32_t *head = &a->partial[slab->size_class];

    slab->prev = 0;
    slab->next = *head;
    if (*head != 0)
        a->pages.pages[*head].prev = page;
    *head = page;
}

static void remove_partial(struct shm_arena *a, uint32_t page)
{
    struct shm_page *slab = &a->pages.pages[page];

    if (slab->prev != 0)
        a->pages.pages[slab->prev].next = slab->next;
    else
        a->partial[slab->size_class] = slab->next;
    if (slab->next != 0)
        a->pages.pages[slab->next].prev = slab->prev;
}

static int new_slab(struct shm_arena *a, unsigned size_class)
{
    uint32_t page = 0;

    if (shm_pages_alloc(&a->pages, SLAB_PAGES, &page) != 0)
        return ERR_NO_MEMORY;
    struct shm_page *slab = &a->pages.pages[page];
    *slab = (struct shm_page){.kind = SHM_PAGE_SLAB, .size_class = (uint8_t)size_class, .free_head = SLAB_NONE};
    for (unsigned i = 1; i < SLAB_PAGES; i++)
        slab[i] = (struct shm_page){.kind = SHM_PAGE_SLAB_REST, .size_class = (uint8_t)i};
    push_partial(a, page);
    a->slab_count++;
    return 0;
}

static void free_slab(struct shm_arena *a, uint32_t page)
{
    struct shm_page *slab = &a->pages.pages[page];

    remove_partial(a, page);
    for (unsigned i = 0; i < SLAB_PAGES; i++)
        slab[i].kind = SHM_PAGE_OTHER;
    shm_pages_free(&a->pages, page, SLAB_PAGES);
    a->slab_count--;
}

static bool slab_is_full(const struct shm_page *slab)
{
    return slab->free_head == SLAB_NONE && slab->fresh * 8u + class_bytes(slab->size_class) > SLAB_BYTES;
}

static shm_off take_record(struct shm_arena *a, uint32_t page)
{
    struct shm_page *slab = &a->pages.pages[page];
    shm_off base = (shm_off)page * SHM_PAGE;
    shm_off off = 0;

    if (slab->free_head != SLAB_NONE) {
        off = base + (shm_off)slab->free_head * 8;
        slab->free_head = *(const uint16_t *)shm_arena_at(a, off);
    } else {
        off = base + (shm_off)slab->fresh * 8;
        slab->fresh = (uint16_t)(slab->fresh + class_bytes(slab->size_class) / 8);
    }
    slab->used++;
    if (slab_is_full(slab))
        remove_partial(a, page);
    return off;
}

static int alloc_small(struct shm_arena *a, uint64_t size, shm_off *off_out)
{
    unsigned size_class = class_of(size);

    if (a->partial[size_class] == 0 && new_slab(a, size_class) != 0)
        return ERR_NO_MEMORY;
    *off_out = take_record(a, a->partial[size_class]);
    a->used_bytes += class_bytes(size_class);
    return 0;
}

static void free_small(struct shm_arena *a, shm_off off, uint64_t size)
{
    uint32_t page = (uint32_t)(off / SHM_PAGE);

    if (a->pages.pages[page].kind == SHM_PAGE_SLAB_REST)
        page -= a->pages.pages[page].size_class;
    struct shm_page *slab = &a->pages.pages[page];
    CHECK(slab->kind == SHM_PAGE_SLAB && slab->used > 0 && slab->size_class == class_of(size));

    bool was_full = slab_is_full(slab);
    *(uint16_t *)shm_arena_at(a, off) = slab->free_head;
    slab->free_head = (uint16_t)((off - (shm_off)page * SHM_PAGE) / 8);
    slab->used--;
    a->used_bytes -= class_bytes(slab->size_class);
    if (was_full)
        push_partial(a, page);
    /* The last slab with room stays, so that one record coming and going does not cost a system call each time. */
    if (slab->used == 0 && (slab->next != 0 || slab->prev != 0))
        free_slab(a, page);
}

static uint64_t pages_for(uint64_t size)
{
    return (size + SHM_PAGE - 1) / SHM_PAGE;
}

static int alloc_large(struct shm_arena *a, uint64_t size, shm_off *off_out)
{
    uint32_t page = 0;

    if (size > a->pages.segment.bytes || shm_pages_alloc(&a->pages, (uint32_t)pages_for(size), &page) != 0)
        return ERR_NO_MEMORY;
    *off_out = (shm_off)page * SHM_PAGE;
    a->used_bytes += pages_for(size) * SHM_PAGE;
    return 0;
}

int shm_arena_alloc(struct shm_arena *a, uint64_t size, shm_off *off_out)
{
    CHECK(size > 0);
    return size <= SHM_SMALL_MAX ? alloc_small(a, size, off_out) : alloc_large(a, size, off_out);
}

void shm_arena_free(struct shm_arena *a, shm_off off, uint64_t size)
{
    CHECK(off % 8 == 0 && off < a->pages.segment.bytes);
    if (size <= SHM_SMALL_MAX) {
        free_small(a, off, size);
        return;
    }
    CHECK(off % SHM_PAGE == 0 && a->pages.pages[off / SHM_PAGE].kind == SHM_PAGE_OTHER);
    shm_pages_free(&a->pages, (uint32_t)(off / SHM_PAGE), (uint32_t)pages_for(size));
    a->used_bytes -= pages_for(size) * SHM_PAGE;
}

struct shm_arena_stats shm_arena_stats(const struct shm_arena *a)
{
    return (struct shm_arena_stats){
        .segment_bytes = a->pages.segment.bytes,
        .committed_bytes = a->pages.segment.committed_bytes,
        .used_bytes = a->used_bytes,
        .slab_bytes = a->slab_count * SLAB_BYTES,
        .free_run_bytes = a->pages.free_pages * SHM_PAGE,
    };
}

void shm_arena_dump(const struct shm_arena *a, struct strbuf *out)
{
    struct shm_arena_stats s = shm_arena_stats(a);

    strbuf_addf(out,
                "segment_bytes=%" PRIu64 " committed_bytes=%" PRIu64 " used_bytes=%" PRIu64 " slab_bytes=%" PRIu64
                " free_run_bytes=%" PRIu64,
                s.segment_bytes, s.committed_bytes, s.used_bytes, s.slab_bytes, s.free_run_bytes);
}
