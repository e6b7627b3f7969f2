/* SQLite's results in our codes and in words that say what to do. */

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "err.h"
#include "store_internal.h"

struct error_row {
    int sqlite; /* primary or extended result code; the first row that fits wins */
    int code;
    const char *text;
};

static const struct error_row rows[] = {
    {SQLITE_NOMEM, ERR_NO_MEMORY, "out of memory"},
    {SQLITE_IOERR_NOMEM, ERR_NO_MEMORY, "out of memory"},
    {SQLITE_FULL, ERR_UNAVAILABLE, "the disk is full; free some space"},
    {SQLITE_IOERR, ERR_UNAVAILABLE, "I/O error; look at the disk and the kernel's log"},
    {SQLITE_BUSY, ERR_IN_USE, "another program has it locked; close that one"},
    {SQLITE_LOCKED, ERR_IN_USE, "another program has it locked; close that one"},
    {SQLITE_READONLY, ERR_SYSTEM, "it cannot be written; look at modes and mounts"},
    {SQLITE_PERM, ERR_SYSTEM, "it cannot be written; look at modes and mounts"},
    {SQLITE_CANTOPEN, ERR_SYSTEM, "it or a file beside it (-wal, -shm) cannot be opened"},
    {SQLITE_CORRUPT, ERR_CORRUPT, "the file is damaged; restore a snapshot"},
    {SQLITE_NOTADB, ERR_CORRUPT, "the file is damaged; restore a snapshot"},
    {SQLITE_FORMAT, ERR_CORRUPT, "the file is damaged; restore a snapshot"},
    {SQLITE_ERROR, ERR_CORRUPT, "the tables are not what this version made; restore a snapshot"},
    {SQLITE_CONSTRAINT, ERR_INVALID, "a text is empty or too long"},
    {SQLITE_TOOBIG, ERR_INVALID, "a text is empty or too long"},
};

/* Where SQLite makes room ahead of the data, as for the -shm at a start, a full disk is an I/O error to it. */
static int result_of(sqlite3 *db, int system_errno)
{
    int result = sqlite3_extended_errcode(db);
    bool is_full = system_errno == ENOSPC || system_errno == EDQUOT;

    return (result & 0xff) == SQLITE_IOERR && result != SQLITE_IOERR_NOMEM && is_full ? SQLITE_FULL : result;
}

int store_sql_error(sqlite3 *db, const char *path, const char *doing, struct strbuf *why)
{
    int system_errno = sqlite3_system_errno(db);
    int result = result_of(db, system_errno);

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].sqlite != result && rows[i].sqlite != (result & 0xff))
            continue;
        strbuf_addf(why, "database %s: %s: %s", path, doing, rows[i].text);
        if (rows[i].code == ERR_CORRUPT || rows[i].code == ERR_INVALID)
            strbuf_addf(why, " (%s)", sqlite3_errmsg(db));
        else if ((rows[i].code == ERR_UNAVAILABLE || rows[i].code == ERR_SYSTEM) && system_errno != 0)
            strbuf_addf(why, " (%s)", strerror(system_errno));
        return rows[i].code;
    }
    strbuf_addf(why, "database %s: %s: %s (%d)", path, doing, sqlite3_errmsg(db), result);
    return ERR_BUG;
}
