/* The command line of the load. */

#include "load_options.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const scenario_names[] = {"short", "rate", "turns", "upload", "download", "idle", "blocked"};

struct load_options opt = {.count = 1000, .open = 16, .hello = 517, .answer = 1024, .size = 256, .rate = 1000};

static bool read_option(const char *word)
{
    static const struct {
        const char *name;
        uint64_t *value;
    } numbers[] = {{"count=", &opt.count},   {"open=", &opt.open}, {"hello=", &opt.hello},
                   {"answer=", &opt.answer}, {"size=", &opt.size}, {"rate=", &opt.rate}};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strncmp(word, numbers[i].name, strlen(numbers[i].name)) == 0) {
            *numbers[i].value = strtoull(word + strlen(numbers[i].name), NULL, 10);
            return *numbers[i].value > 0;
        }
    }
    if (strncmp(word, "proxy=", 6) == 0)
        return (opt.proxy = (uint16_t)atoi(word + 6)) != 0;
    if (strncmp(word, "backend=", 8) == 0)
        return (opt.backend = (uint16_t)atoi(word + 8)) != 0;
    return strncmp(word, "from=", 5) == 0 && inet_aton(word + 5, &opt.from) != 0;
}

void load_read_options(int argc, char **argv)
{
    bool is_fine = argc > 1;

    opt.scenario = SCENARIO_COUNT;
    for (unsigned i = 0; is_fine && i < SCENARIO_COUNT; i++) {
        if (strcmp(argv[1], scenario_names[i]) == 0)
            opt.scenario = (enum scenario)i;
    }
    for (int i = 2; i < argc; i++)
        is_fine &= read_option(argv[i]);
    if (!is_fine || opt.scenario == SCENARIO_COUNT || opt.proxy == 0 || opt.backend == 0 ||
        opt.size > LOAD_BUFFER_BYTES || opt.answer > LOAD_BUFFER_BYTES) {
        fprintf(stderr,
                "usage: load short|rate|turns|upload|download|idle|blocked proxy=PORT backend=PORT [key=number ...]\n");
        exit(2);
    }
}
