#ifndef POWER_DISK_H
#define POWER_DISK_H

/*
 * A disk that loses power: what was written to it is recorded as it happens (by the observer of faulty_vfs.h), and played back up to a
 * moment at which the power goes. What had been synced by then is there. Of the rest, chance decides:
 *
 *     data      each sector holds what it held at some moment since the last sync, or in a new part of the file nothing or garbage;
 *               so writes are lost, reordered and torn
 *     size      of a file: as it was at some moment since its last sync
 *     names     new and removed ones are there or not, unless the folder was synced
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "check.h"
#include "faulty_vfs.h"

/* ---- the recording ---- */

enum mark { MARK_NONE, MARK_BEGIN, MARK_DONE };

struct record {
    struct disk_op op; /* data: our copy */
    void *copy;        /* to be freed */
    enum mark mark;    /* no operation, but a mutation that begins or was acknowledged */
    unsigned name;     /* index in power_suffixes */
};

static const char *const power_suffixes[] = {"", "-wal", "-journal"};
#define POWER_NAMES 3

struct recording {
    struct record *items;
    size_t count;
    size_t capacity;
    size_t path_len; /* of the database: what is behind it is the suffix */
};

static struct recording *power_recording;

static inline struct record *recording_add(struct recording *r)
{
    if (r->count == r->capacity) {
        r->capacity = r->capacity > 0 ? r->capacity * 2 : 1024;
        r->items = realloc(r->items, r->capacity * sizeof *r->items);
        CHECK(r->items != NULL);
    }
    r->items[r->count] = (struct record){0};
    return &r->items[r->count++];
}

static inline void power_observe(const struct disk_op *op)
{
    struct record *record = recording_add(power_recording);

    record->op = *op;
    if (op->name != NULL) {
        CHECK(strlen(op->name) >= power_recording->path_len);
        for (unsigned i = 0; i < POWER_NAMES; i++) {
            if (strcmp(op->name + power_recording->path_len, power_suffixes[i]) == 0)
                record->name = i;
        }
        CHECK(strcmp(op->name + power_recording->path_len, power_suffixes[record->name]) == 0);
    }
    if (op->len > 0) {
        record->op.data = record->copy = malloc(op->len);
        CHECK(record->copy != NULL);
        memcpy(record->copy, op->data, op->len);
    }
}

static inline void power_mark(enum mark mark)
{
    recording_add(power_recording)->mark = mark;
}

static inline void recording_fini(struct recording *r)
{
    for (size_t i = 0; i < r->count; i++)
        free(r->items[i].copy);
    free(r->items);
    *r = (struct recording){0};
}

/* ---- the disk, played back ---- */

#define POWER_FILES_MAX 16 /* files over the time of a recording, -journal again and again */

struct power_file {
    uint8_t *data; /* what is durable */
    size_t size;
    size_t capacity;
    const struct record **pending; /* since the last sync, in order */
    size_t pending_count;
    size_t pending_capacity;
};

/** A name of the folder: durable file, and what it became since the folder was synced; -1: none. */
struct power_name {
    int now;
    int versions[POWER_FILES_MAX * 2];
    unsigned version_count; /* versions[0] is durable */
};

struct power_disk {
    struct power_file files[POWER_FILES_MAX];
    int file_count;
    struct power_name names[POWER_NAMES];
    uint64_t random;
};

static inline void power_disk_init(struct power_disk *d, uint64_t seed)
{
    *d = (struct power_disk){.random = seed};
    for (unsigned i = 0; i < POWER_NAMES; i++)
        d->names[i] = (struct power_name){.now = -1, .versions = {-1}, .version_count = 1};
}

static inline void power_disk_fini(struct power_disk *d)
{
    for (int i = 0; i < d->file_count; i++) {
        free(d->files[i].data);
        free(d->files[i].pending);
    }
}

static inline uint32_t power_random(struct power_disk *d, uint32_t below)
{
    d->random ^= d->random << 13;
    d->random ^= d->random >> 7;
    d->random ^= d->random << 17;
    return (uint32_t)((d->random >> 32) * below >> 32);
}

static inline void file_grow(struct power_file *file, size_t size)
{
    if (size > file->capacity) {
        file->capacity = size * 2;
        file->data = realloc(file->data, file->capacity);
        CHECK(file->data != NULL);
    }
    if (size > file->size)
        memset(file->data + file->size, 0, size - file->size);
    file->size = size;
}

static inline void file_apply(struct power_file *file, const struct disk_op *op)
{
    if (op->kind == DISK_TRUNCATE) {
        file_grow(file, op->at);
        return;
    }
    if (op->at + op->len > file->size)
        file_grow(file, op->at + op->len);
    memcpy(file->data + op->at, op->data, op->len);
}

static inline void file_sync(struct power_file *file)
{
    for (size_t i = 0; i < file->pending_count; i++)
        file_apply(file, &file->pending[i]->op);
    file->pending_count = 0;
}

static inline void file_note(struct power_file *file, const struct record *record)
{
    if (file->pending_count == file->pending_capacity) {
        file->pending_capacity = file->pending_capacity > 0 ? file->pending_capacity * 2 : 64;
        file->pending = realloc(file->pending, file->pending_capacity * sizeof *file->pending);
        CHECK(file->pending != NULL);
    }
    file->pending[file->pending_count++] = record;
}

static inline void name_set(struct power_name *name, int file)
{
    CHECK(name->version_count < POWER_FILES_MAX * 2);
    name->now = file;
    name->versions[name->version_count++] = file;
}

static inline void power_disk_play(struct power_disk *d, const struct record *record)
{
    struct power_name *name = &d->names[record->name];

    switch (record->op.kind) {
    case DISK_CREATE:
        CHECK(d->file_count < POWER_FILES_MAX);
        name_set(name, d->file_count++);
        break;
    case DISK_DELETE: name_set(name, -1); break;
    case DISK_SYNC_FOLDER:
        for (unsigned i = 0; i < POWER_NAMES; i++) {
            d->names[i].versions[0] = d->names[i].now;
            d->names[i].version_count = 1;
        }
        break;
    case DISK_SYNC: file_sync(&d->files[name->now]); break;
    default: file_note(&d->files[name->now], record); break;
    }
}

/* ---- what is left after the cut ---- */

enum power_luck { POWER_LOSES_ALL, POWER_KEEPS_ALL, POWER_SECTORS_512, POWER_SECTORS_4096, POWER_GARBAGE };

/** The number of pending operations that one sector, or the size, has seen. */
static inline size_t choose_seen(struct power_disk *d, const struct power_file *file, enum power_luck luck)
{
    if (luck == POWER_LOSES_ALL)
        return 0;
    if (luck == POWER_KEEPS_ALL)
        return file->pending_count;
    return power_random(d, (uint32_t)file->pending_count + 1);
}

static inline void apply_to_sector(uint8_t *sector, uint64_t begin, size_t len, const struct disk_op *op)
{
    if (op->kind == DISK_TRUNCATE) {
        if (op->at < begin + len) {
            size_t from = op->at > begin ? (size_t)(op->at - begin) : 0;
            memset(sector + from, 0, len - from);
        }
        return;
    }
    uint64_t from = op->at > begin ? op->at : begin;
    uint64_t to = op->at + op->len < begin + len ? op->at + op->len : begin + len;
    if (from < to)
        memcpy(sector + (from - begin), (const uint8_t *)op->data + (from - op->at), (size_t)(to - from));
}

static inline bool touches(const struct disk_op *op, uint64_t begin, size_t len)
{
    return op->kind == DISK_TRUNCATE ? op->at < begin + len : op->at < begin + len && op->at + op->len > begin;
}

/** One sector of what is left: data has what is durable, zeros beyond. */
static inline void settle_sector(struct power_disk *d, const struct power_file *file, enum power_luck luck,
                                 uint8_t *sector, uint64_t begin, size_t len)
{
    bool is_touched = false;

    for (size_t i = 0; i < file->pending_count && !is_touched; i++)
        is_touched = touches(&file->pending[i]->op, begin, len);
    if (!is_touched)
        return;
    size_t seen = choose_seen(d, file, luck);
    if (luck == POWER_GARBAGE && seen == 0 && begin >= file->size) {
        for (size_t i = 0; i < len; i++)
            sector[i] = (uint8_t)power_random(d, 256);
    }
    for (size_t i = 0; i < seen; i++)
        apply_to_sector(sector, begin, len, &file->pending[i]->op);
}

static inline size_t choose_size(struct power_disk *d, const struct power_file *file, enum power_luck luck)
{
    size_t size = file->size, seen = choose_seen(d, file, luck);

    for (size_t i = 0; i < seen; i++) {
        const struct disk_op *op = &file->pending[i]->op;
        if (op->kind == DISK_TRUNCATE)
            size = (size_t)op->at;
        else if (op->at + op->len > size)
            size = (size_t)(op->at + op->len);
    }
    return size;
}

static inline void write_whole(const char *path, const uint8_t *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    close(fd);
}

static inline void leave_file(struct power_disk *d, const struct power_file *file, enum power_luck luck,
                              const char *path)
{
    size_t sector = luck == POWER_SECTORS_4096 ? 4096 : 512;
    size_t size = choose_size(d, file, luck);
    uint8_t *data = calloc(1, size + sector);

    CHECK(data != NULL);
    if (file->size > 0)
        memcpy(data, file->data, size < file->size ? size : file->size);
    for (uint64_t begin = 0; file->pending_count > 0 && begin < size; begin += sector)
        settle_sector(d, file, luck, data + begin, begin, sector);
    write_whole(path, data, size);
    free(data);
}

/** The power goes now: leave in the files of `path` what may be found afterwards. The disk can be played on. */
static inline void power_disk_cut(struct power_disk *d, enum power_luck luck, const char *path)
{
    for (unsigned i = 0; i < POWER_NAMES; i++) {
        const struct power_name *name = &d->names[i];
        char file_path[256];
        unsigned version = luck == POWER_LOSES_ALL   ? 0
                           : luck == POWER_KEEPS_ALL ? name->version_count - 1
                                                     : power_random(d, name->version_count);
        snprintf(file_path, sizeof file_path, "%s%s", path, power_suffixes[i]);
        (void)unlink(file_path);
        if (name->versions[version] >= 0)
            leave_file(d, &d->files[name->versions[version]], luck, file_path);
    }
}

#endif
