#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include <netinet/in.h>
#include <stdint.h>

#define LOAD_BUFFER_BYTES (256 * 1024) /* what is sent at once, so the most that an answer or a turn may have */
#define LOAD_BACKENDS_MAX 200

enum scenario { SHORT, RATE, TURNS, UPLOAD, DOWNLOAD, IDLE, BLOCKED, SCENARIO_COUNT };

/** What the load was asked to do; load.c says what each scenario means. */
struct load_options {
    enum scenario scenario;
    uint16_t proxy, backend; /* ports; the same: without a proxy */
    uint64_t count, open, warm, hello, answer, size, rate;
    uint64_t names; /* 0: `name`; else each hello asks for one of so many names, by chance, all of the form LOAD_NAME */
    uint64_t sources;    /* addresses that clients come from, unless `from` is given */
    uint64_t backends;   /* addresses 127.0.2.1 and on that the backend listens on besides 127.0.0.1 */
    const char *name;    /* borrowed from the command line */
    struct in_addr from; /* 0: an address of our choice */
};
extern struct load_options opt;

#define LOAD_NAME     "sv%07u.z%02u.example.com" /* the number, and the number modulo 100 */
#define LOAD_NAME_LEN 25

/** Fill opt; ends the program with 2 if the command line is wrong. */
void load_read_options(int argc, char **argv);

#endif
