/* The records of many changes that become visible together: which were made, which go, and when they may be freed. */

#include "table_batch.h"

#include <stdlib.h>

#include "err.h"
#include "tables.h"

#define CAPACITY_MIN 64

void table_batch_init(struct table_batch *b, struct tables *tables)
{
    *b = (struct table_batch){.tables = tables};
}

static int list_make_room(struct record_list *list)
{
    size_t capacity = list->capacity > 0 ? list->capacity * 2 : CAPACITY_MIN;

    if (list->count < list->capacity)
        return 0;
    shm_off *items = realloc(list->items, capacity * sizeof *items);
    if (items == NULL)
        return ERR_NO_MEMORY;
    list->items = items;
    list->capacity = capacity;
    return 0;
}

static void list_add(struct record_list *list, shm_off record)
{
    CHECK(list->count < list->capacity);
    list->items[list->count++] = record;
}

static int reserve_place(struct table_batch *b)
{
    if (b->places > b->retired.count)
        return 0;
    if (tables_retire_reserve(b->tables, 1) != 0)
        return ERR_NO_MEMORY;
    b->places++;
    return 0;
}

int table_batch_make_room(struct table_batch *b)
{
    if (list_make_room(&b->made) != 0 || list_make_room(&b->unseen) != 0 || list_make_room(&b->retired) != 0)
        return ERR_NO_MEMORY;
    return reserve_place(b);
}

void table_batch_note_made(struct table_batch *b, shm_off record)
{
    list_add(&b->made, record);
}

void table_batch_note_gone(struct table_batch *b, shm_off record, bool is_live)
{
    CHECK(!is_live || b->places > b->retired.count);
    list_add(is_live ? &b->retired : &b->unseen, record);
}

static void free_records(const struct record_list *list, const struct table_batch_kind *kind, void *owner)
{
    for (size_t i = 0; i < list->count; i++)
        kind->free_now(owner, list->items[i]);
}

static void fini(struct table_batch *b)
{
    tables_retire_unreserve(b->tables, b->places);
    free(b->made.items);
    free(b->unseen.items);
    free(b->retired.items);
    *b = (struct table_batch){0};
}

void table_batch_publish(struct table_batch *b, const struct table_batch_kind *kind, void *owner)
{
    for (size_t i = 0; i < b->retired.count; i++) {
        shm_off record = b->retired.items[i];
        tables_retire(b->tables, record, kind->record_bytes(tables_at(b->tables, record)), kind->free_retired, owner);
    }
    b->places -= b->retired.count;
    free_records(&b->unseen, kind, owner);
    fini(b);
}

void table_batch_abort(struct table_batch *b, const struct table_batch_kind *kind, void *owner)
{
    free_records(&b->made, kind, owner);
    fini(b);
}
