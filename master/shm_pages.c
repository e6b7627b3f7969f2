/* The page level of the shared arena: runs of pages with boundary tags, binned by size. */

#include "shm_pages.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "err.h"

#define COMMIT_STEP_MIN (256u << 10)
#define COMMIT_STEP_MAX (4u << 20)

/** The table of pages is sparse like the segment itself: 20 bytes per page ever used, zero without being written. */
static struct shm_page *map_page_table(uint32_t page_count)
{
    void *table = mmap(NULL, (size_t)page_count * sizeof(struct shm_page), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return table == MAP_FAILED ? NULL : table;
}

int shm_pages_init(struct shm_pages *p, const char *name, uint64_t segment_bytes, uint64_t reserved_bytes)
{
    int rc = 0;

    CHECK(segment_bytes <= SHM_SEGMENT_BYTES_MAX);
    *p = (struct shm_pages){0};
    if ((rc = shm_segment_init(&p->segment, name, segment_bytes)) != 0)
        return rc;
    CHECK(reserved_bytes % SHM_PAGE == 0 && reserved_bytes > 0 && reserved_bytes < p->segment.bytes);
    p->page_count = (uint32_t)(p->segment.bytes / SHM_PAGE);
    p->top = p->committed_top = (uint32_t)(reserved_bytes / SHM_PAGE);
    p->pages = map_page_table(p->page_count);
    if (p->pages == NULL) {
        shm_segment_fini(&p->segment);
        return ERR_NO_MEMORY;
    }
    return 0;
}

void shm_pages_skip(struct shm_pages *p, uint64_t bytes)
{
    CHECK(p->top == p->committed_top && bytes % SHM_PAGE == 0 && bytes / SHM_PAGE < p->page_count - p->top);
    p->top = p->committed_top = p->top + (uint32_t)(bytes / SHM_PAGE);
}

void shm_pages_fini(struct shm_pages *p)
{
    if (p->pages != NULL)
        (void)munmap(p->pages, (size_t)p->page_count * sizeof *p->pages);
    p->pages = NULL;
    shm_segment_fini(&p->segment);
}

static unsigned bin_of(uint32_t run_pages)
{
    return 31u - (unsigned)__builtin_clz(run_pages);
}

static void link_run(struct shm_pages *p, uint32_t page, uint32_t count)
{
    uint32_t *bin = &p->bins[bin_of(count)];
    struct shm_page *first = &p->pages[page];
    struct shm_page *last = &p->pages[page + count - 1];

    first->kind = last->kind = SHM_PAGE_FREE;
    first->run_pages = last->run_pages = count;
    first->prev = 0;
    first->next = *bin;
    if (*bin != 0)
        p->pages[*bin].prev = page;
    *bin = page;
    p->free_pages += count;
}

static void unlink_run(struct shm_pages *p, uint32_t page)
{
    struct shm_page *first = &p->pages[page];
    uint32_t count = first->run_pages;

    CHECK(first->kind == SHM_PAGE_FREE);
    if (first->prev != 0)
        p->pages[first->prev].next = first->next;
    else
        p->bins[bin_of(count)] = first->next;
    if (first->next != 0)
        p->pages[first->next].prev = first->prev;
    first->kind = p->pages[page + count - 1].kind = SHM_PAGE_OTHER;
    p->free_pages -= count;
}

/** A free run of at least count pages, 0 if there is none: any of a larger bin fits, in its own bin one has to look. */
static uint32_t find_run(const struct shm_pages *p, uint32_t count)
{
    unsigned own = bin_of(count);

    for (uint32_t page = p->bins[own]; page != 0; page = p->pages[page].next) {
        if (p->pages[page].run_pages >= count)
            return page;
    }
    for (unsigned bin = own + 1; bin < SHM_RUN_BINS; bin++) {
        if (p->bins[bin] != 0)
            return p->bins[bin];
    }
    return 0;
}

static int reuse_run(struct shm_pages *p, uint32_t page, uint32_t count)
{
    uint32_t run_pages = p->pages[page].run_pages;

    if (shm_segment_commit(&p->segment, (uint64_t)page * SHM_PAGE, (uint64_t)count * SHM_PAGE) != 0)
        return ERR_NO_MEMORY;
    unlink_run(p, page);
    if (run_pages > count)
        link_run(p, page + count, run_pages - count);
    return 0;
}

/** Commit from committed_top so that pages up to `end` are backed, and a step more where there is enough memory. */
static int commit_up_to(struct shm_pages *p, uint32_t end)
{
    uint64_t off = (uint64_t)p->committed_top * SHM_PAGE;
    uint64_t need = (uint64_t)(end - p->committed_top) * SHM_PAGE;
    uint64_t step = p->segment.committed_bytes / 8 / SHM_PAGE * SHM_PAGE;

    step = step < COMMIT_STEP_MIN ? COMMIT_STEP_MIN : step > COMMIT_STEP_MAX ? COMMIT_STEP_MAX : step;
    if (step < need || step > p->segment.bytes - off)
        step = need;
    if (shm_segment_commit(&p->segment, off, step) != 0) {
        step = need;
        if (shm_segment_commit(&p->segment, off, step) != 0)
            return ERR_NO_MEMORY;
    }
    p->committed_top += (uint32_t)(step / SHM_PAGE);
    return 0;
}

static int take_fresh_run(struct shm_pages *p, uint32_t count, uint32_t *page_out)
{
    if (count > p->page_count - p->top)
        return ERR_NO_MEMORY;
    if (p->top + count > p->committed_top && commit_up_to(p, p->top + count) != 0)
        return ERR_NO_MEMORY;
    *page_out = p->top;
    p->top += count;
    return 0;
}

int shm_pages_alloc(struct shm_pages *p, uint32_t count, uint32_t *page_out)
{
    CHECK(count > 0);
    uint32_t page = find_run(p, count);
    if (page == 0)
        return take_fresh_run(p, count, page_out);
    if (reuse_run(p, page, count) != 0)
        return ERR_NO_MEMORY;
    *page_out = page;
    return 0;
}

void shm_pages_free(struct shm_pages *p, uint32_t page, uint32_t count)
{
    CHECK(page != 0 && count > 0 && page < p->top && count <= p->top - page);
    shm_segment_discard(&p->segment, (uint64_t)page * SHM_PAGE, (uint64_t)count * SHM_PAGE);

    uint32_t end = page + count;
    if (end < p->top && p->pages[end].kind == SHM_PAGE_FREE) {
        count += p->pages[end].run_pages;
        unlink_run(p, end);
    }
    if (p->pages[page - 1].kind == SHM_PAGE_FREE) {
        uint32_t before = p->pages[page - 1].run_pages;
        unlink_run(p, page - before);
        page -= before;
        count += before;
    }
    link_run(p, page, count);
}
