#ifndef CONN_CAP_H
#define CONN_CAP_H

#include <stdint.h>

/**
 * How many connections one worker can hold at a time: each needs two descriptors, what is left over by its listeners and by what it
 * needs besides. The worker keeps to it, and the master tells it at the start.
 *
 * @param descriptor_limit  RLIMIT_NOFILE of the worker
 * @param listeners         that it has open
 * @return at least 1
 */
uint32_t conn_cap(uint64_t descriptor_limit, unsigned listeners);

#endif
