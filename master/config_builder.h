#ifndef CONFIG_BUILDER_H
#define CONFIG_BUILDER_H

#include <stdbool.h>

#include "bytes.h"
#include "check.h"
#include "config.h"
#include "config_problem.h"
#include "config_schema.h"

/*
 * A configuration while it is being put together: the half-built struct config, where each key was written, and the problems
 * found so far. Private to master/config_*.c. Problems never stop the work, so that one run finds them all; only an exhausted
 * memory does.
 */

/** The keys of a listener that were set, and where. The fixed sections have theirs in config->origin. */
struct config_scope {
    unsigned section_line; /* of "[listener NAME]" */
    struct config_site
        sites[CONFIG_KEYS_MAX]; /* by config_schema_index(); the first one for keys that may be repeated */
};

/** An entry of a list, to find duplicates at the end. */
struct config_entry {
    unsigned scope; /* 0: fixed sections; else 1 + the listener's index */
    const struct config_key *key;
    unsigned line;
    char *text; /* canonical */
};

struct config_builder {
    char *folder;                                 /* absolute, "" for the root; where relative paths begin */
    struct config *config;                        /* config_builder_take() */
    unsigned section_lines[CONFIG_SECTION_COUNT]; /* where a fixed section first begins; 0: nowhere */
    struct config_scope *listeners;               /* as many as config->listeners */
    struct config_place place;                    /* of the value at hand */
    unsigned scope;                               /* the same as in struct config_entry */
    bool is_skipping;                             /* in a section that was reported as a whole */
    struct config_problems problems;
    struct config_entry *entries;
    unsigned entry_count;
    bool is_out_of_memory;
};

/**
 * @param path  of the configuration file, borrowed as long as b lives
 * @return 0 or ERR_NO_MEMORY, also when the working directory is needed and cannot be told; fini is right on both
 */
int config_builder_init(struct config_builder *b, const char *path, enum config_section only) MUST_CHECK;
void config_builder_fini(struct config_builder *b);

/** Read the file's text: sections, keys and values. */
void config_builder_read(struct config_builder *b, struct bytes text);

/**
 * Set one key from one text: split lists, store, report what is wrong. b->place and b->scope say where.
 *
 * @param object  struct config or struct config_listener, as key wants it
 */
void config_builder_set(struct config_builder *b, const struct config_key *key, void *object, const char *value);

/** Note an entry of the list at hand for the search for duplicates; 0 or ERR_NO_MEMORY. */
int config_builder_note(struct config_builder *b, const struct config_key *key, const char *canonical) MUST_CHECK;

/** Where the key at hand, of b->scope, was first set; all zero: it was not. */
struct config_site *config_builder_site(struct config_builder *b, const struct config_key *key);

/** Where a key of a fixed section (listener: CONFIG_LISTENER and its index) was set; site all zero: it was not. */
struct config_place config_builder_find(const struct config_builder *b, enum config_section section, unsigned listener,
                                        const char *key);

#endif
