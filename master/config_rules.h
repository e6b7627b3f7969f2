#ifndef CONFIG_RULES_H
#define CONFIG_RULES_H

#include "config_builder.h"

/** Check what no single value shows: required keys, duplicates, addresses that exclude each other, keys that need each other.
 *  Called once, after file and environment are read. */
void config_rules_check(struct config_builder *b);

#endif
