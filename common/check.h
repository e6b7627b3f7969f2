#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>

/**
 * CHECK(cond): on in every build; guards what only a bug can violate (object magic, state relations, counter sums). Prints one
 * panic line to standard error and aborts. Never a check on bytes from a peer, a config value, a full disk or a missing fd.
 */
#define CHECK(cond)                                            \
    do {                                                       \
        if (__builtin_expect(!(cond), 0))                      \
            check_failed(#cond, __FILE__, __LINE__, __func__); \
    } while (0)

/** Every object that comes back through a void pointer begins with a magic number that proves what it is. */
#define CHECK_MAGIC(object, expected) CHECK((object) != NULL && (object)->magic == (expected))

_Noreturn void check_failed(const char *condition, const char *file, int line, const char *function)
    __attribute__((cold));

/**
 * Called with the panic record's stream position after the panic line, to add what the process was doing (for example the
 * connection at hand). Must only write(2) to fd: the process is about to abort. NULL (the start value): nothing is added.
 */
typedef void (*check_dump_fn)(int fd);
void check_set_dump(check_dump_fn dump);

#define MUST_CHECK                           __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_index, first_arg) __attribute__((format(printf, format_index, first_arg)))

#endif
