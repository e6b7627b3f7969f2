#ifndef CONFIG_SCHEMA_H
#define CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "strbuf.h"

/* Every section and key of the configuration, in one table: what it is called, what it may hold, what it is without being set,
 * where it is stored. Reading, checking, the environment and the tests of the example file all walk this table. */

struct config_builder;
struct config_key;

enum config_section {
    CONFIG_SERVER,
    CONFIG_DATABASE,
    CONFIG_LOG,
    CONFIG_PROXY,
    CONFIG_GRPC,
    CONFIG_METRICS,
    CONFIG_FIREWALL,
    CONFIG_LISTENER,      /* [listener NAME], any number of them */
    CONFIG_SECTION_COUNT, /* also: no section at all */
};

#define CONFIG_KEYS_MAX 40 /* rows of the table, at most */

/**
 * Store one value. text is never empty, except for what the environment says.
 *
 * @param object  struct config, or struct config_listener for CONFIG_LISTENER
 * @param why     on ERR_INVALID and ERR_RANGE gets a reason fit to stand behind "value: ", or stays empty: then what the row
 *                expects says it all
 * @return 0, ERR_INVALID, ERR_RANGE or ERR_NO_MEMORY; on error object is as before
 */
typedef int config_store_fn(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                            struct strbuf *why);

enum config_key_kind {
    CONFIG_SCALAR,     /* once per section */
    CONFIG_REPEATED,   /* a line for each entry */
    CONFIG_COMMA_LIST, /* entries separated by commas, and the key may be repeated; an empty value is an empty list */
};

struct config_key {
    enum config_section section;
    const char *name;
    enum config_key_kind kind;
    bool is_reloadable; /* SIGHUP puts a new value in force */
    bool is_required;
    bool is_duration; /* min, max and the value are milliseconds */
    config_store_fn *store;
    size_t offset;             /* of the field in object */
    uint32_t min, max;         /* for numbers and durations; both 0: no range */
    const char *const *words;  /* for a choice: NULL-terminated; the index is the value */
    const char *default_value; /* as the file would write it; NULL: unset */
    const char *expected;      /* "a path", for messages; NULL: told from range or words */
};

/** The rows, sections together and in the order of the documentation. */
const struct config_key *config_schema_keys(unsigned *count_out);

/** The place of a row in the table, 0..CONFIG_KEYS_MAX-1. */
unsigned config_schema_index(const struct config_key *key);

/** The row of a key, or NULL. */
const struct config_key *config_schema_find(enum config_section section, const char *name);

/** "server", "listener", ... */
const char *config_section_name(enum config_section section);

/** The section of a name of the fixed sections, or CONFIG_SECTION_COUNT. */
enum config_section config_section_find(struct bytes name);

/** Say what a key takes: "a duration from 10ms to 7d, such as 10s". */
void config_schema_expect(const struct config_key *key, struct strbuf *out);

/** For a key that section does not have: add "did you mean ...", or the keys there are. */
void config_schema_suggest_key(enum config_section section, const char *name, struct strbuf *out);

/** The same for sections. */
void config_schema_suggest_section(const char *name, struct strbuf *out);

#endif
