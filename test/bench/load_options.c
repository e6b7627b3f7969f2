/* The command line of the load. */

#include "load_options.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const scenario_names[] = {"short", "rate", "turns", "upload", "download", "idle", "blocked"};

struct load_options opt = {.count = 1000,
                           .open = 16,
                           .hello = 517,
                           .answer = 1024,
                           .size = 256,
                           .rate = 1000,
                           .sources = 64,
                           .name = "www.example.com"};

/** The text behind `key=` if the word is one of this key, else NULL. */
static const char *value_of(const char *word, const char *key)
{
    size_t len = strlen(key);

    return strncmp(word, key, len) == 0 && word[len] == '=' ? word + len + 1 : NULL;
}

static bool read_number(const char *word)
{
    static const struct {
        const char *key;
        uint64_t *value;
    } numbers[] = {{"count", &opt.count},     {"open", &opt.open},        {"warm", &opt.warm}, {"hello", &opt.hello},
                   {"answer", &opt.answer},   {"size", &opt.size},        {"rate", &opt.rate}, {"names", &opt.names},
                   {"sources", &opt.sources}, {"backends", &opt.backends}};
    const char *text;

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if ((text = value_of(word, numbers[i].key)) != NULL) {
            *numbers[i].value = strtoull(text, NULL, 10);
            return *numbers[i].value > 0;
        }
    }
    return false;
}

static bool read_option(const char *word)
{
    const char *text;

    if ((text = value_of(word, "proxy")) != NULL)
        return (opt.proxy = (uint16_t)atoi(text)) != 0;
    if ((text = value_of(word, "backend")) != NULL)
        return (opt.backend = (uint16_t)atoi(text)) != 0;
    if ((text = value_of(word, "name")) != NULL)
        return (opt.name = text)[0] != '\0';
    if ((text = value_of(word, "from")) != NULL)
        return inet_aton(text, &opt.from) != 0;
    return read_number(word);
}

static bool is_possible(void)
{
    return opt.scenario != SCENARIO_COUNT && opt.proxy != 0 && opt.backend != 0 && opt.size <= LOAD_BUFFER_BYTES &&
           opt.answer <= LOAD_BUFFER_BYTES && opt.backends <= LOAD_BACKENDS_MAX && opt.names <= 10000000;
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
    if (!is_fine || !is_possible()) {
        fprintf(stderr,
                "usage: load short|rate|turns|upload|download|idle|blocked proxy=PORT backend=PORT [key=value ...]\n");
        exit(2);
    }
}
