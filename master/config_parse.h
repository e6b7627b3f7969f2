#ifndef CONFIG_PARSE_H
#define CONFIG_PARSE_H

#include "bytes.h"
#include "config.h"

/**
 * What config_load() does once it has the file's bytes: for tests and the fuzzer, which need no file.
 *
 * @param path  names the file in messages; its folder is where relative paths begin
 * @return as config_load()
 */
int config_parse_text(struct bytes text, const char *path, char *const *environment, struct config **out,
                      struct config_errors *errors) MUST_CHECK;

#endif
