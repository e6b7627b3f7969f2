#ifndef CONFIG_MEMORY_H
#define CONFIG_MEMORY_H

#include <stddef.h>

#include "bytes.h"
#include "check.h"

/* Memory of a configuration: arrays that grow and texts that are kept. */

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
