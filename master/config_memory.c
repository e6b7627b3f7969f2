/* Arrays of a configuration grow by doubling; how much room there is follows from how much is used. */

#include "config_memory.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"

#define GROW_FIRST 8u

int config_grow(void *array, unsigned count, size_t element_bytes)
{
    void *now, *grown;

    if (count != 0 && (count < GROW_FIRST || (count & (count - 1)) != 0))
        return 0;
    memcpy(&now, array, sizeof now);
    grown = reallocarray(now, count == 0 ? GROW_FIRST : (size_t)count * 2, element_bytes);
    if (grown == NULL)
        return ERR_NO_MEMORY;
    memcpy(array, &grown, sizeof grown);
    return 0;
}

char *config_copy(struct bytes text)
{
    char *copy = malloc(text.len + 1);

    if (copy != NULL) {
        if (text.len > 0)
            memcpy(copy, text.ptr, text.len);
        copy[text.len] = '\0';
    }
    return copy;
}
