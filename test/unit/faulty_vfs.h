#ifndef FAULTY_VFS_H
#define FAULTY_VFS_H

/*
 * A file system for SQLite that fails on demand: it passes everything on to the real one (sqlite.org/vfs.html) and counts what changes
 * files, and the Nth such call fails. Allocations of SQLite can be made to fail in the same way.
 */

#include <sqlite3.h>
#include <stdbool.h>
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

struct faulty_file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct */
};

static inline sqlite3_file *real_file(sqlite3_file *file)
{
    return ((struct faulty_file *)file)->real;
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
    return real_file(file)->pMethods->xWrite(real_file(file), data, len, at);
}

static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    if (!disk_fault.only_syncs && fault_strikes(&disk_fault))
        return disk_fault.result;
    return real_file(file)->pMethods->xTruncate(real_file(file), size);
}

static int faulty_sync(sqlite3_file *file, int flags)
{
    if (fault_strikes(&disk_fault))
        return disk_fault.result;
    return real_file(file)->pMethods->xSync(real_file(file), flags);
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
    int rc = real_vfs->xOpen(real_vfs, name, faulty->real, flags, out_flags);
    faulty->base.pMethods = rc == SQLITE_OK ? &faulty_methods : NULL;
    return rc;
}

static int faulty_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    (void)vfs;
    if (!disk_fault.only_syncs && fault_strikes(&disk_fault))
        return disk_fault.result;
    return real_vfs->xDelete(real_vfs, name, sync_folder);
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
