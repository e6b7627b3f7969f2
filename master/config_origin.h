#ifndef CONFIG_ORIGIN_H
#define CONFIG_ORIGIN_H

#include "config_schema.h"

/* Where the keys of a configuration were written: for messages, also for those that come long after loading. */

/** Where something is written. */
struct config_site {
    unsigned line;        /* 1 and up; 0: not in the file */
    const char *variable; /* else the name of the environment's variable; NULL: nowhere */
};

struct config_origin {
    char *path; /* of the file */
    struct config_site
        fixed[CONFIG_KEYS_MAX]; /* keys of the fixed sections, by config_schema_index(); the first one of lists */
    char **names;               /* of variables, which sites point to */
    unsigned name_count;
};

/** NULL without memory. */
struct config_origin *config_origin_new(const char *path);
void config_origin_free(struct config_origin **origin);

/** A copy of a variable's name that lives as long as origin; NULL without memory. */
const char *config_origin_keep_name(struct config_origin *origin, struct bytes name);

/** Add "FILE:LINE: [section] key: " for a key of a fixed section. */
void config_origin_describe(const struct config_origin *origin, enum config_section section, const char *key,
                            struct strbuf *out);

/** The same for an item of a list, which has a line of its own. */
void config_origin_describe_line(const struct config_origin *origin, unsigned line, enum config_section section,
                                 const char *key, struct strbuf *out);

#endif
