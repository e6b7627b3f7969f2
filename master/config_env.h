#ifndef CONFIG_ENV_H
#define CONFIG_ENV_H

#include "config_builder.h"

/**
 * Apply the MCPROXY_ variables of an environment to what the file said. MCPROXY_<SECTION>_<KEY> sets a scalar key of a fixed section;
 * MCPROXY_LISTENER_<NAME>_<KEY> one of a listener of the file, its name in capitals and '_' for whatever is no letter or digit. A
 * value replaces the file's and is checked the same way. A key that does not exist or is a list is an error; a variable that
 * names no section of ours gets a warning, as it may belong to someone else.
 *
 * @param environment  NULL-terminated "NAME=value" strings, borrowed
 */
void config_env_apply(struct config_builder *b, char *const *environment);

#endif
