#ifndef LOAD_ENDS_H
#define LOAD_ENDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The sockets of the load and what is said over them first: where backends listen, where clients come from, whom they ask for. */

/** Print what failed and errno's text, and end the program. */
_Noreturn void load_die(const char *what);

/** Now, on the monotonic clock. */
uint64_t load_now_ns(void);

/**
 * Listen on the backend's port, on 127.0.0.1 or another address of this host.
 *
 * @param number  0: 127.0.0.1; 1..: 127.0.2.number
 * @return a non-blocking socket; ends the program if there is none
 */
int load_listen(unsigned number);

/**
 * Connect to the proxy from the address that the number-th client has, and send the hello, unless is_silent.
 *
 * @param sent_out  has all of the hello been taken?
 * @return a non-blocking socket; ends the program if there is none
 */
int load_connect(uint64_t number, bool is_silent, bool *sent_out);

/** Make the hello that opt asks for. */
void load_make_hello(void);

/** Let this process have as many descriptors as it may. */
void load_raise_descriptor_limit(void);

#endif
