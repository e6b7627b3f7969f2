#ifndef CONFIG_PROBLEM_H
#define CONFIG_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>

#include "bytes.h"
#include "check.h"
#include "config.h"
#include "config_schema.h"

/* What is wrong with a configuration, collected while it is read and handed over in the order of the file. Also the two helpers for
 * memory that all of master/config_*.c shares. */

/** Where something is written. */
struct config_site {
    unsigned line;        /* 1 and up; 0: not in the file */
    const char *variable; /* else the name of the environment's variable; NULL: nowhere */
};

/** What a problem is about. */
struct config_place {
    struct config_site site;
    enum config_section section; /* CONFIG_SECTION_COUNT: none */
    const char *listener;        /* CONFIG_LISTENER: its name; NULL: unknown */
    const char *key;             /* NULL: none */
};

struct config_problem {
    unsigned line;
    bool is_warning;
    char *text;
};

struct config_problems {
    const char *path;         /* of the file, for messages; borrowed */
    enum config_section only; /* CONFIG_SECTION_COUNT, or the one section whose problems count (and those of none) */
    struct config_problem *items;
    unsigned count;
    unsigned error_count; /* of these, and those for which there was no memory */
    bool is_out_of_memory;
};

/** Report a problem with place; format says "what is wrong; what would be right". */
void config_problem_error(struct config_problems *p, const struct config_place *place, const char *format, ...)
    PRINTF_LIKE(3, 4);
void config_problem_warn(struct config_problems *p, const struct config_place *place, const char *format, ...)
    PRINTF_LIKE(3, 4);

/** Hand the problems over, in the order of lines; those from no line come last. */
void config_problems_report(struct config_problems *p, struct config_errors *errors);

void config_problems_fini(struct config_problems *p);

/** A value in quotes for a message, unprintable bytes escaped, long ones cut. */
void config_quote(struct bytes text, struct strbuf *out);

/**
 * Make room for one more in an array that grows by doubling.
 *
 * @param array  a pointer to the array pointer, which may change
 * @param count  elements in use
 * @return 0 or ERR_NO_MEMORY: the array is as before
 */
int config_grow(void *array, unsigned count, size_t element_bytes) MUST_CHECK;

/** A new NUL-terminated copy, or NULL. */
char *config_copy(struct bytes text);

#endif
