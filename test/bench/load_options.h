#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include <netinet/in.h>
#include <stdint.h>

#define LOAD_BUFFER_BYTES (256 * 1024) /* what is sent at once, so the most that an answer or a turn may have */

enum scenario { SHORT, RATE, TURNS, UPLOAD, DOWNLOAD, IDLE, BLOCKED, SCENARIO_COUNT };

/** What the load was asked to do; load.c says what each means. */
struct load_options {
    enum scenario scenario;
    uint16_t proxy, backend; /* ports */
    uint64_t count, open, hello, answer, size, rate;
    struct in_addr from; /* 0: an address of our choice */
};
extern struct load_options opt;

/** Fill opt; ends the program with 2 if the command line is wrong. */
void load_read_options(int argc, char **argv);

#endif
