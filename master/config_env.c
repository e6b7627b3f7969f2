/* Overrides from the environment: finds the key that a variable means and sets it like the file does. */

#include "config_env.h"

#include <ctype.h>
#include <string.h>

#define PREFIX       "MCPROXY_"
#define VARIABLE_MAX 256 /* bytes of a name that could be ours: prefix, listener name and key are far shorter */

/** What a variable stands for. */
struct target {
    enum config_section section;  /* CONFIG_SECTION_COUNT: none of ours */
    unsigned listener;            /* CONFIG_LISTENER: its index */
    const char *key_name;         /* what follows the section, in capitals */
    const struct config_key *key; /* NULL: the section has no such key */
    bool is_ambiguous;            /* another listener's key is spelled the same */
};

/** Is what stands behind PREFIX the section's name in capitals and '_'? Returns what follows, or NULL. */
static const char *skip_name(const char *text, const char *name)
{
    for (; *name != '\0'; name++, text++) {
        int wanted = isalnum((unsigned char)*name) ? toupper((unsigned char)*name) : '_';
        if (*text != wanted)
            return NULL;
    }
    return *text == '_' ? text + 1 : NULL;
}

static const struct config_key *find_key(enum config_section section, const char *capitals)
{
    char name[VARIABLE_MAX];
    struct strbuf lower = STRBUF_OF(name);

    for (; *capitals != '\0'; capitals++) {
        if (islower((unsigned char)*capitals))
            return NULL;
        strbuf_add_char(&lower, (char)tolower((unsigned char)*capitals));
    }
    return config_schema_find(section, name);
}

/** The listener a variable means: one whose key exists before one whose key does not. */
static void find_listener(const struct config_builder *b, const char *text, struct target *out)
{
    for (unsigned i = 0; i < b->config->listener_count; i++) {
        const char *rest = skip_name(text, b->config->listeners[i].name);
        if (rest == NULL)
            continue;
        const struct config_key *key = find_key(CONFIG_LISTENER, rest);
        if (key != NULL && out->key != NULL) {
            out->is_ambiguous = true;
        } else if (key != NULL || out->section == CONFIG_SECTION_COUNT) {
            *out = (struct target){.section = CONFIG_LISTENER, .listener = i, .key_name = rest, .key = key};
        }
    }
}

static struct target find_target(const struct config_builder *b, const char *text)
{
    struct target target = {.section = CONFIG_SECTION_COUNT};
    const char *rest;

    for (unsigned s = 0; s < CONFIG_LISTENER; s++) {
        rest = skip_name(text, config_section_name((enum config_section)s));
        if (rest != NULL) {
            return (struct target){
                .section = (enum config_section)s, .key_name = rest, .key = find_key((enum config_section)s, rest)};
        }
    }
    if ((rest = skip_name(text, config_section_name(CONFIG_LISTENER))) != NULL)
        find_listener(b, rest, &target);
    return target;
}

static void report_unknown_key(struct config_builder *b, const struct target *target)
{
    char lower_data[VARIABLE_MAX], hint_data[512];
    struct strbuf lower = STRBUF_OF(lower_data), hint = STRBUF_OF(hint_data);

    for (const char *p = target->key_name; *p != '\0'; p++)
        strbuf_add_char(&lower, (char)tolower((unsigned char)*p));
    config_schema_suggest_key(target->section, lower_data, &hint);
    config_problem_error(&b->problems, &b->place, "no key %s; %s", lower_data, hint_data);
}

static void set_key(struct config_builder *b, const struct target *target, const char *value)
{
    bool is_listener = target->section == CONFIG_LISTENER;

    b->place.key = target->key->name;
    if (target->key->kind != CONFIG_SCALAR) {
        config_problem_error(&b->problems, &b->place,
                             "is a list, which only the file can set; expected this variable to be unset");
        return;
    }
    b->scope = is_listener ? target->listener + 1 : 0;
    *config_builder_site(b, target->key) = b->place.site;
    config_builder_set(b, target->key, is_listener ? (void *)&b->config->listeners[target->listener] : b->config,
                       value);
}

static void apply_variable(struct config_builder *b, const char *name, const char *value)
{
    struct target target = find_target(b, name + sizeof PREFIX - 1);

    b->place = (struct config_place){.site.variable = name, .section = target.section};
    if (target.section == CONFIG_LISTENER)
        b->place.listener = b->config->listeners[target.listener].name;
    if (target.section == CONFIG_SECTION_COUNT)
        config_problem_warn(&b->problems, &b->place,
                            "this variable names no section of the configuration and has no effect");
    else if (target.is_ambiguous)
        config_problem_error(&b->problems, &b->place, "this variable fits more than one listener; rename one of them");
    else if (target.key == NULL)
        report_unknown_key(b, &target);
    else
        set_key(b, &target, value);
}

void config_env_apply(struct config_builder *b, char *const *environment)
{
    for (; *environment != NULL; environment++) {
        const char *equals = strchr(*environment, '=');
        size_t len = equals != NULL ? (size_t)(equals - *environment) : 0;

        if (len <= sizeof PREFIX - 1 || strncmp(*environment, PREFIX, sizeof PREFIX - 1) != 0)
            continue;
        const char *name = config_origin_keep_name(b->config->origin, bytes_of(*environment, len));
        if (name == NULL) {
            b->is_out_of_memory = true;
            return;
        }
        apply_variable(b, name, equals + 1);
    }
}
