#ifndef FAULTY_VFS_H
#define FAULTY_VFS_H

/*
 * A file system for SQLite that fails on demand: it passes everything on to the real one (sqlite.org/vfs.html) and counts what changes
 * files, and the Nth such call fails. Allocations of SQLite can be made to fail in the same way. An observer hears of every change that
 * was made.
 */

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The fault at hand: armed when countdown > 0; has_struck afterwards. */
struct fault {
    int countdown;
    int result;      /* of the call that fails */
    bool only_syncs; /* count nothing else */
    bool has_struck;
};

static struct fault disk_fault, memory_fault;

static inline bool fault_strikes(struct fault *fault)
{
    if (fault->countdown == 0 || --fault->countdown > 0)
        return false;
    fault->has_struck = true;
    return true;
}

enum disk_op_kind { DISK_CREATE, DISK_WRITE, DISK_TRUNCATE, DISK_SYNC, DISK_DELETE, DISK_SYNC_FOLDER };

struct disk_op {
    enum disk_op_kind kind;
    const char *name; /* the file's path; of DISK_SYNC_FOLDER: NULL */
    uint64_t at;      /* DISK_WRITE: where; DISK_TRUNCATE: the new size */
    const void *data; /* DISK_WRITE */
    size_t len;
};

static void (*disk_observer)(const struct disk_op *op); /* NULL: nobody */

static inline void disk_observe(struct disk_op op)
{
    if (disk_observer != NULL)
        disk_observer(&op);
}

struct faulty_file {
    sqlite3_file base;
    const char *name;   /* NULL: a temporary file */
    sqlite3_file *real; /* behind this struct */
};

static inline sqlite3_file *real_file(sqlite3_file *file)
{
    return ((struct faulty_file *)file)->real;
}

static inline const char *name_of(sqlite3_file *file)
{
    return ((struct faulty_file *)file)->name;
}

/* The real file system syncs a folder by itself, within a sync or a deletion; that it does so is seen by its opening the folder. */
static bool has_opened_folder;
static int (*real_open_directory)(const char *name, int *fd_out);

static inline int open_directory(const char *name, int *fd_out)
{
    has_opened_folder = true;
    return real_open_directory(name, fd_out);
}

static inline void observe_folder(void)
{
    if (has_opened_folder)
        disk_observe((struct disk_op){.kind = DISK_SYNC_FOLDER});
    has_opened_folder = false;
}

static int faulty_close(sqlite3_file *file)
{
    return real_file(file)->pMethods == NULL ? SQLITE_OK : real_file(file)->pMethods->xClose(real_file(file));
}

static int faulty_read(sqlite3_file *file, void *out, int len, sqlite3_int64 at)
{
    return real_file(file)->pMethods->xRead(real_file(file), out, len, at);
}

static int faulty_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 at)
{
    if (!disk_fault.only_syncs && fault_strikes(&disk_fault))
        return disk_fault.result;
    int rc = real_file(file)->pMethods->xWrite(real_file(file), data, len, at);
    if (rc == SQLITE_OK)
        disk_observe((struct disk_op){DISK_WRITE, name_of(file), (uint64_t)at, data, (size_t)len});
    return rc;
}

static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    if (!disk_fault.only_syncs && fault_strikes(&disk_fault))
        return disk_fault.result;
    int rc = real_file(file)->pMethods->xTruncate(real_file(file), size);
    if (rc == SQLITE_OK)
        disk_observe((struct disk_op){.kind = DISK_TRUNCATE, .name = name_of(file), .at = (uint64_t)size});
    return rc;
}

static int faulty_sync(sqlite3_file *file, int flags)
{
    if (fault_strikes(&disk_fault))
        return disk_fault.result;
    has_opened_folder = false;
    int rc = real_file(file)->pMethods->xSync(real_file(file), flags);
    if (rc == SQLITE_OK)
        disk_observe((struct disk_op){.kind = DISK_SYNC, .name = name_of(file)});
    observe_folder();
    return rc;
}

static int faulty_size(sqlite3_file *file, sqlite3_int64 *out)
{
    return real_file(file)->pMethods->xFileSize(real_file(file), out);
}

static int faulty_lock(sqlite3_file *file, int kind)
{
    return real_file(file)->pMethods->xLock(real_file(file), kind);
}

static int faulty_unlock(sqlite3_file *file, int kind)
{
    return real_file(file)->pMethods->xUnlock(real_file(file), kind);
}

static int faulty_check_reserved(sqlite3_file *file, int *out)
{
    return real_file(file)->pMethods->xCheckReservedLock(real_file(file), out);
}

static int faulty_control(sqlite3_file *file, int op, void *arg)
{
    return real_file(file)->pMethods->xFileControl(real_file(file), op, arg);
}

static int faulty_sector_size(sqlite3_file *file)
{
    return real_file(file)->pMethods->xSectorSize(real_file(file));
}

static int faulty_characteristics(sqlite3_file *file)
{
    return real_file(file)->pMethods->xDeviceCharacteristics(real_file(file));
}

static int faulty_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    if (!disk_fault.only_syncs && fault_strikes(&disk_fault))
        return disk_fault.result;
    return real_file(file)->pMethods->xShmMap(real_file(file), page, size, extend, out);
}

static int faulty_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return real_file(file)->pMethods->xShmLock(real_file(file), offset, n, flags);
}

static void faulty_shm_barrier(sqlite3_file *file)
{
    real_file(file)->pMethods->xShmBarrier(real_file(file));
}

static int faulty_shm_unmap(sqlite3_file *file, int remove)
{
    return real_file(file)->pMethods->xShmUnmap(real_file(file), remove);
}

static const sqlite3_io_methods faulty_methods = {
    .iVersion = 2,
    .xClose = faulty_close,
    .xRead = faulty_read,
    .xWrite = faulty_write,
    .xTruncate = faulty_truncate,
    .xSync = faulty_sync,
    .xFileSize = faulty_size,
    .xLock = faulty_lock,
    .xUnlock = faulty_unlock,
    .xCheckReservedLock = faulty_check_reserved,
    .xFileControl = faulty_control,
    .xSectorSize = faulty_sector_size,
    .xDeviceCharacteristics = faulty_characteristics,
    .xShmMap = faulty_shm_map,
    .xShmLock = faulty_shm_lock,
    .xShmBarrier = faulty_shm_barrier,
    .xShmUnmap = faulty_shm_unmap,
};

static sqlite3_vfs *real_vfs, faulty_vfs;

static int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    struct faulty_file *faulty = (struct faulty_file *)file;

    (void)vfs;
    faulty->real = (sqlite3_file *)(faulty + 1);
    faulty->real->pMethods = NULL;
    faulty->name = name;
    int exists = 0;
    if (name != NULL)
        (void)real_vfs->xAccess(real_vfs, name, SQLITE_ACCESS_EXISTS, &exists);
    int rc = real_vfs->xOpen(real_vfs, name, faulty->real, flags, out_flags);
    faulty->base.pMethods = rc == SQLITE_OK ? &faulty_methods : NULL;
    if (rc == SQLITE_OK && name != NULL && !exists)
        disk_observe((struct disk_op){.kind = DISK_CREATE, .name = name});
    return rc;
}

static int faulty_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    (void)vfs;
    if (!disk_fault.only_syncs && fault_strikes(&disk_fault))
        return disk_fault.result;
    has_opened_folder = false;
    int rc = real_vfs->xDelete(real_vfs, name, sync_folder);
    if (rc == SQLITE_OK)
        disk_observe((struct disk_op){.kind = DISK_DELETE, .name = name});
    observe_folder();
    return rc;
}

/* The rest of the vfs (access, time, random) is the real one's, whose functions look at nothing of ours. */
static inline int faulty_vfs_install(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    faulty_vfs = *real_vfs;
    faulty_vfs.zName = "faulty";
    faulty_vfs.szOsFile = (int)sizeof(struct faulty_file) + real_vfs->szOsFile;
    faulty_vfs.xOpen = faulty_open;
    faulty_vfs.xDelete = faulty_delete;
    real_open_directory = (int (*)(const char *, int *))real_vfs->xGetSystemCall(real_vfs, "openDirectory");
    if (real_open_directory == NULL ||
        real_vfs->xSetSystemCall(real_vfs, "openDirectory", (sqlite3_syscall_ptr)open_directory) != SQLITE_OK)
        return SQLITE_ERROR;
    return sqlite3_vfs_register(&faulty_vfs, 1);
}

static sqlite3_mem_methods real_memory;

static void *faulty_malloc(int size)
{
    return fault_strikes(&memory_fault) ? NULL : real_memory.xMalloc(size);
}

static void *faulty_realloc(void *old, int size)
{
    return fault_strikes(&memory_fault) ? NULL : real_memory.xRealloc(old, size);
}

/* Before anything else of SQLite. Without lookaside, so that every allocation counts. */
static inline int faulty_memory_install(void)
{
    sqlite3_mem_methods faulty;

    if (sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) != SQLITE_OK ||
        sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory) != SQLITE_OK)
        return SQLITE_ERROR;
    faulty = real_memory;
    faulty.xMalloc = faulty_malloc;
    faulty.xRealloc = faulty_realloc;
    return sqlite3_config(SQLITE_CONFIG_MALLOC, &faulty);
}

#endif
