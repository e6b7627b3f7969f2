/*
 * The backends in the shared tables. What the master knows besides takes 8 bytes per backend (entries) and an index of 4-byte
 * ids by text, open addressing with linear probing; texts are compared in the shared records themselves.
 */

#include "backend_set.h"

#include <stdlib.h>

#include "err.h"
#include "route_table.h"
#include "shm_hash.h"
#include "tables.h"

#define ENTRIES_MIN     64u
#define INDEX_MIN       128u /* a power of two */
#define WORDS_STEP_MIN  SHM_PAGE
#define WORDS_STEP_MAX  (1u << 20)
#define BACKEND_CONTEXT 0xbac0e4d0u /* sets the hash of backends apart from that of routes */

struct backend_entry {
    uint32_t refs; /* 0: free */
    uint32_t hash; /* of the text; of a free entry: the next free one, id + 1, 0 at the end */
};

struct backend_set {
    struct tables *tables;
    struct backend_hooks hooks;
    struct backend_entry *entries; /* by id */
    uint32_t entry_capacity;
    uint32_t next_id;    /* ids from here on were never used */
    uint32_t first_free; /* id + 1 */
    uint32_t count;
    uint32_t *index; /* id + 1; 0: empty */
    uint32_t index_capacity;
    uint64_t words_bytes; /* of the array of words that have memory */
};

int backend_set_new(struct tables *tables, struct backend_set **out)
{
    struct backend_set *set = calloc(1, sizeof *set);

    if (set == NULL)
        return ERR_NO_MEMORY;
    set->tables = tables;
    *out = set;
    return 0;
}

void backend_set_free(struct backend_set **set)
{
    if (*set == NULL)
        return;
    free((*set)->entries);
    free((*set)->index);
    free(*set);
    *set = NULL;
}

void backend_set_set_hooks(struct backend_set *set, struct backend_hooks hooks)
{
    set->hooks = hooks;
}

static _Atomic uint64_t *word_of(const struct backend_set *set, uint32_t id)
{
    return (_Atomic uint64_t *)tables_at(set->tables, tables_root(set->tables)->backends) + id;
}

static struct shm_backend *record_of(const struct backend_set *set, uint32_t id)
{
    return tables_at(set->tables, atomic_load_explicit(word_of(set, id), memory_order_relaxed));
}

static uint64_t record_bytes(unsigned addr_count, size_t text_len)
{
    return sizeof(struct shm_backend) + addr_count * sizeof(struct shm_backend_addr) + text_len;
}

const struct shm_backend *backend_set_get(const struct backend_set *set, uint32_t id)
{
    CHECK(id < set->next_id && set->entries[id].refs > 0);
    return record_of(set, id);
}

static uint32_t hash_text(const struct backend_set *set, struct bytes text)
{
    struct shm_hash_name h;

    shm_hash_name_init(&h, set->tables->shm->hash_seed, text);
    return shm_hash_name_suffix(&h, text.len, BACKEND_CONTEXT);
}

/* ---- the index ---- */

/** The place of the backend with this text, or the empty place where it belongs. */
static uint32_t find_place(const struct backend_set *set, uint32_t hash, struct bytes text)
{
    uint32_t mask = set->index_capacity - 1;
    uint32_t place = hash & mask;

    for (; set->index[place] != 0; place = (place + 1) & mask) {
        uint32_t id = set->index[place] - 1;
        if (set->entries[id].hash != hash)
            continue;
        struct bytes have = shm_backend_text(record_of(set, id));
        if (have.len == text.len && memcmp(have.ptr, text.ptr, text.len) == 0)
            break;
    }
    return place;
}

static void insert_id(const struct backend_set *set, uint32_t *index, uint32_t mask, uint32_t id)
{
    uint32_t place = set->entries[id].hash & mask;

    while (index[place] != 0)
        place = (place + 1) & mask;
    index[place] = id + 1;
}

static int make_index_room(struct backend_set *set)
{
    if ((uint64_t)set->count + 1 <= (uint64_t)set->index_capacity / 4 * 3)
        return 0;
    uint32_t capacity = set->index_capacity > 0 ? set->index_capacity * 2 : INDEX_MIN;
    uint32_t *index = calloc(capacity, sizeof *index);
    if (index == NULL)
        return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < set->index_capacity; i++) {
        if (set->index[i] != 0)
            insert_id(set, index, capacity - 1, set->index[i] - 1);
    }
    free(set->index);
    set->index = index;
    set->index_capacity = capacity;
    return 0;
}

/** Take an id out: those behind it that would not be found any more move up, so that there are no tombstones. */
static void remove_from_index(struct backend_set *set, uint32_t hole)
{
    uint32_t mask = set->index_capacity - 1;

    for (uint32_t i = (hole + 1) & mask; set->index[i] != 0; i = (i + 1) & mask) {
        uint32_t home = set->entries[set->index[i] - 1].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            set->index[hole] = set->index[i];
            hole = i;
        }
    }
    set->index[hole] = 0;
}

/* ---- ids and words ---- */

static int make_entry_room(struct backend_set *set)
{
    if (set->first_free != 0 || set->next_id < set->entry_capacity)
        return 0;
    uint32_t capacity = set->entry_capacity > 0 ? set->entry_capacity + set->entry_capacity / 2 : ENTRIES_MIN;
    struct backend_entry *entries = realloc(set->entries, capacity * sizeof *entries);
    if (entries == NULL)
        return ERR_NO_MEMORY;
    set->entries = entries;
    set->entry_capacity = capacity;
    return 0;
}

/** Back the word of the next new id with memory. */
static int make_word_room(struct backend_set *set)
{
    const struct shm_root *root = tables_root(set->tables);
    struct shm_segment *segment = &set->tables->arena.pages.segment;
    uint64_t left = (uint64_t)root->backend_capacity * sizeof(uint64_t) - set->words_bytes;

    if (set->first_free != 0 || (set->next_id + 1) * sizeof(uint64_t) <= set->words_bytes)
        return 0;
    uint64_t step = set->words_bytes / 4 / SHM_PAGE * SHM_PAGE;
    step = step < WORDS_STEP_MIN ? WORDS_STEP_MIN : step > WORDS_STEP_MAX ? WORDS_STEP_MAX : step;
    if (step > left)
        step = left;
    if (step == 0 || shm_segment_commit(segment, root->backends + set->words_bytes, step) != 0)
        return ERR_NO_MEMORY;
    set->words_bytes += step;
    return 0;
}

static uint32_t take_id(struct backend_set *set)
{
    if (set->first_free == 0)
        return set->next_id++;
    uint32_t id = set->first_free - 1;
    set->first_free = set->entries[id].hash;
    return id;
}

static void fill_record(struct shm_backend *record, enum backend_kind kind, const struct shm_backend_addr *addrs,
                        unsigned count, struct bytes text)
{
    *record = (struct shm_backend){
        .kind = (uint8_t)kind,
        .addr_count = (uint8_t)count,
        .text_len = (uint16_t)text.len,
    };
    if (count > 0)
        memcpy(record->addrs, addrs, count * sizeof *addrs);
    memcpy(&record->addrs[count], text.ptr, text.len);
}

static struct shm_backend_addr shared_addr(const struct ip_addr *addr, uint16_t port)
{
    return (struct shm_backend_addr){.addr = *addr, .port = port};
}

/* ---- verbs ---- */

static int add_backend(struct backend_set *set, const struct backend_addr *addr, struct bytes text, uint32_t hash,
                       uint32_t *id_out)
{
    const struct shm_backend_addr known = shared_addr(&addr->addr, addr->port);
    unsigned addr_count = addr->kind == BACKEND_IP ? 1 : 0;
    shm_off off = 0;
    int rc = 0;

    if ((rc = make_index_room(set)) != 0 || (rc = make_entry_room(set)) != 0 || (rc = make_word_room(set)) != 0 ||
        (rc = tables_alloc(set->tables, record_bytes(addr_count, text.len), &off)) != 0)
        return rc;
    fill_record(tables_at(set->tables, off), addr->kind, &known, addr_count, text);

    uint32_t id = take_id(set);
    set->entries[id] = (struct backend_entry){.refs = 1, .hash = hash};
    set->count++;
    insert_id(set, set->index, set->index_capacity - 1, id);
    tables_step("backend_written");
    atomic_store_explicit(word_of(set, id), off, memory_order_release);
    tables_step("backend_visible");
    *id_out = id;
    if (addr->kind == BACKEND_NAME && set->hooks.on_name_added != NULL)
        set->hooks.on_name_added(set->hooks.context, id, shm_backend_text(record_of(set, id)));
    return 0;
}

int backend_set_acquire(struct backend_set *set, const struct backend_addr *addr, uint32_t *id_out)
{
    char data[BACKEND_TEXT_MAX];
    struct strbuf canonical = STRBUF_OF(data);

    backend_addr_format(addr, &canonical);
    CHECK(!canonical.overflowed && canonical.len > 0);
    struct bytes text = bytes_of(canonical.data, canonical.len);
    uint32_t hash = hash_text(set, text);
    if (set->count > 0) {
        uint32_t place = find_place(set, hash, text);
        if (set->index[place] != 0) {
            *id_out = set->index[place] - 1;
            set->entries[*id_out].refs++;
            return 0;
        }
    }
    return add_backend(set, addr, text, hash, id_out);
}

void backend_set_release(struct backend_set *set, uint32_t id)
{
    CHECK(id < set->next_id && set->entries[id].refs > 0);
    if (--set->entries[id].refs > 0)
        return;

    const struct shm_backend *record = record_of(set, id);
    if (record->kind == BACKEND_NAME && set->hooks.on_name_removed != NULL)
        set->hooks.on_name_removed(set->hooks.context, id);
    remove_from_index(set, find_place(set, set->entries[id].hash, shm_backend_text(record)));
    shm_off off = atomic_load_explicit(word_of(set, id), memory_order_relaxed);
    atomic_store_explicit(word_of(set, id), 0, memory_order_release);
    tables_free_now(set->tables, off, record_bytes(record->addr_count, record->text_len));
    set->entries[id].hash = set->first_free;
    set->first_free = id + 1;
    set->count--;
}

static bool has_addrs(const struct shm_backend *record, const struct shm_backend_addr *addrs, unsigned count)
{
    return record->addr_count == count && (count == 0 || memcmp(record->addrs, addrs, count * sizeof *addrs) == 0);
}

int backend_set_update(struct backend_set *set, uint32_t id, const struct ip_endpoint *addrs, unsigned count)
{
    struct shm_backend_addr shared[SHM_BACKEND_ADDRS_MAX];
    const struct shm_backend *old = backend_set_get(set, id);
    struct tables *t = set->tables;
    struct bytes text = shm_backend_text(old);
    shm_off off = 0;
    int rc = 0;

    CHECK(old->kind == BACKEND_NAME);
    if (count > SHM_BACKEND_ADDRS_MAX)
        count = SHM_BACKEND_ADDRS_MAX;
    for (unsigned i = 0; i < count; i++)
        shared[i] = shared_addr(&addrs[i].addr, addrs[i].port);
    if (has_addrs(old, shared, count))
        return 0;
    if ((rc = tables_retire_reserve(t, 1)) != 0)
        return rc;
    if ((rc = tables_alloc_only(t, record_bytes(count, text.len), &off)) != 0) {
        tables_retire_unreserve(t, 1);
        return rc;
    }
    fill_record(tables_at(t, off), BACKEND_NAME, shared, count, text);
    tables_change_begin(t);
    shm_off old_off = atomic_exchange_explicit(word_of(set, id), off, memory_order_acq_rel);
    tables_step("backend_replaced");
    tables_retire(t, old_off, record_bytes(old->addr_count, old->text_len), NULL, NULL);
    tables_change_end(t);
    return 0;
}

uint32_t backend_set_count(const struct backend_set *set)
{
    return set->count;
}

void backend_set_dump(const struct backend_set *set, struct strbuf *out)
{
    strbuf_addf(out, "backends=%u ids=%u index_slots=%u", set->count, set->next_id, set->index_capacity);
}
