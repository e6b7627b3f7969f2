#ifndef CONFIG_TEXT_H
#define CONFIG_TEXT_H

/* What the tests of the configuration share: texts in, configuration or error lines out. */

#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "config_parse.h"

#define CONFIG_TEXT_TAIL \
    "\n[database]\npath = /tail.db\n[listener tail]\naddr = 127.9.9.9:9\n" /* makes any text complete */
#define CONFIG_TEXT_PATH "/etc/mc/c.ini"

#define CONFIG_TEXT_ENVIRONMENT_MAX 8

/** Parse a text as if it stood in CONFIG_TEXT_PATH; environment may be NULL, else it ends with NULL or its eighth string. */
static inline int config_text_parse(struct bytes text, const char *const *environment, struct config **out,
                                    struct config_errors *errors)
{
    char *env[CONFIG_TEXT_ENVIRONMENT_MAX + 1] = {0};
    int rc;

    for (unsigned i = 0; i < CONFIG_TEXT_ENVIRONMENT_MAX && environment != NULL && environment[i] != NULL; i++)
        env[i] = strdup(environment[i]);
    rc = config_parse_text(text, CONFIG_TEXT_PATH, env, out, errors);
    for (unsigned i = 0; i < CONFIG_TEXT_ENVIRONMENT_MAX; i++)
        free(env[i]);
    return rc;
}

#endif
