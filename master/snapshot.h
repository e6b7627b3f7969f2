#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "check.h"
#include "strbuf.h"

struct state_snapshot; /* state_change.h: where to, and how many to keep */
struct store;

/**
 * Write a consistent copy of an open database to a new file of mode 0600, on disk when this returns 0. Without struct state, so that
 * a command can do it when no server runs. The folder `backups` beside the database is made (0700) when it is needed and missing.
 *
 * @param database_path  of the open store, absolute
 * @param path_out       gets the absolute path of the new file
 * @param why            on an error one line for people, for ERR_INVALID beginning with "output_path: "; on 0 nothing, or a warning:
 *                       an old snapshot that should have gone could not be removed
 * @return 0; ERR_INVALID: output_path cannot be a file's name; ERR_EXISTS: there is something already, it stays as it is; ERR_RANGE:
 *         outside of the folder, which was not allowed; ERR_SYSTEM: it cannot be created there; ERR_UNAVAILABLE: disk full, I/O
 *         error; ERR_CORRUPT; ERR_NO_MEMORY. Nothing is left of a file that could not be completed
 */
int snapshot_write(struct store *store, const char *database_path, const struct state_snapshot *snapshot,
                   struct strbuf *path_out, struct strbuf *why) MUST_CHECK;

#endif
