#ifndef CONFIG_PROBLEM_H
#define CONFIG_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>

#include "bytes.h"
#include "check.h"
#include "config.h"
#include "config_origin.h"
#include "config_schema.h"

/* What is wrong with a configuration, collected while it is read and handed over in the order of the file. */

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

#endif
