#ifndef CONFIG_VALUES_H
#define CONFIG_VALUES_H

#include "config_schema.h"

/* How each type of scalar value is read and stored; rows of the schema point here. */

config_store_fn config_store_workers;        /* "auto" or a number within the row's range */
config_store_fn config_store_pending_hellos; /* "auto" or a number within the row's range */
config_store_fn config_store_number;         /* uint32_t within the row's range */
config_store_fn config_store_duration;       /* uint32_t milliseconds within the row's range */
config_store_fn config_store_choice;         /* an enum: the index of the word */
config_store_fn config_store_either;         /* a bool: false for the first word, true for the second */
config_store_fn config_store_text;           /* a copy of the text */
config_store_fn config_store_path;         /* absolute; a relative one begins at the folder of the configuration file */
config_store_fn config_store_metrics_addr; /* [metrics] addr */
config_store_fn config_store_listener_addr; /* [listener NAME] addr */

#endif
