#ifndef SNAPSHOT_NAMES_H
#define SNAPSHOT_NAMES_H

#include <stdbool.h>
#include <time.h>

#include "strbuf.h"

/* Names of snapshots of our own making, "mc-proxy-20261122T183000Z.db" or "mc-proxy-20261122T183000Z-2.db", and what has such a name. */

#define SNAPSHOT_NAME_MAX 48

/** @param number  1: the first within that second */
void snapshot_name_format(time_t when, unsigned number, char out[SNAPSHOT_NAME_MAX]);

/** What a name says, so that newer ones compare greater. False: it is no name of ours. */
struct snapshot_name {
    char when[17]; /* "20261122T183000Z" */
    unsigned number;
};
bool snapshot_name_parse(const char *name, struct snapshot_name *out);

/** The highest number that a name of that second has in a folder; 0: there is none, or no folder. */
unsigned snapshot_names_last(const char *folder, time_t when);

/**
 * Remove all but the newest `keep` files of such names in a folder.
 *
 * @param spared  the path of a file that stays and counts as the newest if it has such a name, whatever the clock did
 * @param why     gets a line about each that could not be removed
 */
void snapshot_prune(const char *folder, unsigned keep, const char *spared, struct strbuf *why);

#endif
