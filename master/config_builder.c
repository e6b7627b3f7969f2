/* Puts a configuration together from what the reader finds, and keeps the list of what is wrong with it. */

#include "config_builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_memory.h"
#include "config_reader.h"
#include "err.h"
#include "shm_layout.h"

/* ---- values ---- */

int config_builder_note(struct config_builder *b, const struct config_key *key, const char *canonical)
{
    char *copy = strdup(canonical);

    if (copy == NULL || config_grow(&b->entries, b->entry_count, sizeof *b->entries) != 0) {
        free(copy);
        return ERR_NO_MEMORY;
    }
    b->entries[b->entry_count++] =
        (struct config_entry){.scope = b->scope, .key = key, .line = b->place.site.line, .text = copy};
    return 0;
}

static void report_value(struct config_builder *b, const struct config_key *key, struct bytes text, const char *why)
{
    char data[512];
    struct strbuf message = STRBUF_OF(data);

    config_quote(text, &message);
    if (why[0] != '\0')
        strbuf_addf(&message, ": %s", why);
    else
        strbuf_add(&message, " is not possible");
    strbuf_add(&message, "; expected ");
    config_schema_expect(key, &message);
    config_problem_error(&b->problems, &b->place, "%s", data);
}

static void set_one(struct config_builder *b, const struct config_key *key, void *object, struct bytes text)
{
    char data[256];
    struct strbuf why = STRBUF_OF(data);
    int rc = text.len > 0 ? key->store(b, key, object, text, &why) : ERR_INVALID;

    if (rc == ERR_NO_MEMORY)
        b->is_out_of_memory = true;
    else if (rc != 0)
        report_value(b, key, text, text.len > 0 ? data : "the value is empty");
}

static struct bytes trim_blanks(struct bytes text)
{
    while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
        text = bytes_of(text.ptr + 1, text.len - 1);
    while (text.len > 0 && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
        text.len--;
    return text;
}

static void set_each(struct config_builder *b, const struct config_key *key, void *object, struct bytes list)
{
    if (trim_blanks(list).len == 0)
        return;
    for (;;) {
        const uint8_t *comma = memchr(list.ptr, ',', list.len);
        size_t len = comma != NULL ? (size_t)(comma - list.ptr) : list.len;
        set_one(b, key, object, trim_blanks(bytes_of(list.ptr, len)));
        if (comma == NULL)
            return;
        list = bytes_of(comma + 1, list.len - len - 1);
    }
}

void config_builder_set(struct config_builder *b, const struct config_key *key, void *object, const char *value)
{
    if (key->kind == CONFIG_COMMA_LIST)
        set_each(b, key, object, bytes_of_str(value));
    else
        set_one(b, key, object, bytes_of_str(value));
}

/* ---- what the reader finds ---- */

static void set_defaults(struct config_builder *b, void *object, bool is_listener)
{
    unsigned count;
    const struct config_key *keys = config_schema_keys(&count);

    for (unsigned i = 0; i < count; i++) {
        if ((keys[i].section == CONFIG_LISTENER) == is_listener && keys[i].default_value != NULL)
            config_builder_set(b, &keys[i], object, keys[i].default_value);
    }
}

static bool listener_name_is_good(const char *name)
{
    size_t len = strlen(name);
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

    return len >= 1 && len <= CONFIG_NAME_MAX && strspn(name, allowed) == len;
}

static int add_listener(struct config_builder *b, const char *name, unsigned line)
{
    struct config *c = b->config;

    if (config_grow(&c->listeners, c->listener_count, sizeof *c->listeners) != 0 ||
        config_grow(&b->listeners, c->listener_count, sizeof *b->listeners) != 0)
        return ERR_NO_MEMORY;
    struct config_listener *l = &c->listeners[c->listener_count];
    *l = (struct config_listener){0};
    b->listeners[c->listener_count] = (struct config_scope){.section_line = line};
    struct strbuf text = STRBUF_OF(l->name);
    strbuf_add(&text, name);
    b->scope = ++c->listener_count;
    b->place.listener = l->name;
    set_defaults(b, l, true);
    return 0;
}

static void begin_listener(struct config_builder *b, const char *name)
{
    if (!listener_name_is_good(name)) {
        config_problem_error(&b->problems, &b->place,
                             "[listener %s] has no proper name; expected 1 to %d letters, digits, '-', '_' or '.'",
                             name, CONFIG_NAME_MAX);
        b->is_skipping = true;
        return;
    }
    if (b->config->listener_count == SHM_LISTENERS_MAX) {
        config_problem_error(&b->problems, &b->place, "[listener %s] is one too many; at most %d are possible", name,
                             SHM_LISTENERS_MAX);
        b->is_skipping = true;
        return;
    }
    b->place.section = CONFIG_LISTENER;
    if (add_listener(b, name, b->place.site.line) != 0)
        b->is_out_of_memory = true;
}

static void on_section(void *context, unsigned line, const char *name)
{
    struct config_builder *b = context;
    static const char listener[] = "listener";

    b->place = (struct config_place){.site.line = line, .section = CONFIG_SECTION_COUNT};
    b->scope = 0;
    b->is_skipping = name == NULL;
    if (name == NULL)
        return;
    if (strncmp(name, listener, sizeof listener - 1) == 0 &&
        (name[sizeof listener - 1] == ' ' || name[sizeof listener - 1] == '\0')) {
        begin_listener(b, name + sizeof listener - 1 + strspn(name + sizeof listener - 1, " "));
        return;
    }
    b->place.section = config_section_find(bytes_of_str(name));
    if (b->place.section != CONFIG_SECTION_COUNT) {
        if (b->section_lines[b->place.section] == 0)
            b->section_lines[b->place.section] = line;
        return;
    }
    char data[256];
    struct strbuf hint = STRBUF_OF(data);
    config_schema_suggest_section(name, &hint);
    config_problem_error(&b->problems, &b->place, "[%s] is no section; %s", name, data);
    b->is_skipping = true;
}

static void report_unknown_key(struct config_builder *b, const char *key)
{
    char data[512];
    struct strbuf hint = STRBUF_OF(data);

    config_schema_suggest_key(b->place.section, key, &hint);
    config_problem_error(&b->problems, &b->place, "no such key; %s", data);
}

static void on_pair(void *context, unsigned line, const char *name, const char *value)
{
    struct config_builder *b = context;

    if (b->is_skipping || b->is_out_of_memory)
        return;
    b->place.site.line = line;
    b->place.key = name;
    if (b->place.section == CONFIG_SECTION_COUNT) {
        config_problem_error(&b->problems, &b->place,
                             "%s stands before the first section; expected a [section] line above it", name);
        return;
    }
    const struct config_key *key = config_schema_find(b->place.section, name);
    if (key == NULL) {
        report_unknown_key(b, name);
        return;
    }
    struct config_site *first = config_builder_site(b, key);
    if (key->kind == CONFIG_SCALAR && first->line != 0)
        config_problem_error(&b->problems, &b->place, "set twice, in line %u already; remove one of them", first->line);
    else if (first->line == 0)
        first->line = line;
    config_builder_set(b, key, b->scope == 0 ? (void *)b->config : &b->config->listeners[b->scope - 1], value);
}

static void on_problem(void *context, unsigned line, const char *text)
{
    struct config_builder *b = context;
    struct config_place place = b->place;

    place.site.line = line;
    place.key = NULL;
    config_problem_error(&b->problems, &place, "%s", text);
}

void config_builder_read(struct config_builder *b, struct bytes text)
{
    static const struct config_reader_events events = {on_section, on_pair, on_problem};

    b->place = (struct config_place){.section = CONFIG_SECTION_COUNT};
    config_reader_run(text, &events, b);
}

struct config_site *config_builder_site(struct config_builder *b, const struct config_key *key)
{
    struct config_site *sites = b->scope == 0 ? b->config->origin->fixed : b->listeners[b->scope - 1].sites;
    return &sites[config_schema_index(key)];
}

struct config_place config_builder_find(const struct config_builder *b, enum config_section section, unsigned listener,
                                        const char *key)
{
    const struct config_key *row = config_schema_find(section, key);
    bool is_listener = section == CONFIG_LISTENER;

    CHECK(row != NULL);
    const struct config_site *sites = is_listener ? b->listeners[listener].sites : b->config->origin->fixed;
    return (struct config_place){.site = sites[config_schema_index(row)],
                                 .section = section,
                                 .listener = is_listener ? b->config->listeners[listener].name : NULL,
                                 .key = key};
}

/* ---- life ---- */

/** The folder of path, absolute. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    struct bytes folder = bytes_of(path, slash != NULL ? (size_t)(slash - path) : 0);
    char *cwd, *joined = NULL;

    if (path[0] == '/')
        return config_copy(folder);
    cwd = getcwd(NULL, 0);
    if (cwd != NULL && asprintf(&joined, "%s%s%.*s", strcmp(cwd, "/") == 0 ? "" : cwd, folder.len > 0 ? "/" : "",
                                (int)folder.len, path) < 0)
        joined = NULL;
    free(cwd);
    return joined;
}

int config_builder_init(struct config_builder *b, const char *path, enum config_section only)
{
    *b = (struct config_builder){.problems = {.path = path, .only = only}};
    b->folder = folder_of(path);
    b->config = calloc(1, sizeof *b->config);
    if (b->folder == NULL || b->config == NULL || (b->config->origin = config_origin_new(path)) == NULL)
        return ERR_NO_MEMORY;
    set_defaults(b, b->config, false);
    return 0;
}

void config_builder_fini(struct config_builder *b)
{
    config_free(&b->config);
    config_problems_fini(&b->problems);
    for (unsigned i = 0; i < b->entry_count; i++)
        free(b->entries[i].text);
    free(b->entries);
    free(b->listeners);
    free(b->folder);
}
