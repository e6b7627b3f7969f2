/* Keeps where each key of the fixed sections was written. */

#include "config_origin.h"

#include <stdlib.h>
#include <string.h>

#include "config_memory.h"

struct config_origin *config_origin_new(const char *path)
{
    struct config_origin *origin = calloc(1, sizeof *origin);

    if (origin != NULL && (origin->path = strdup(path)) == NULL) {
        free(origin);
        return NULL;
    }
    return origin;
}

void config_origin_free(struct config_origin **origin)
{
    struct config_origin *o = *origin;

    if (o == NULL)
        return;
    for (unsigned i = 0; i < o->name_count; i++)
        free(o->names[i]);
    free(o->names);
    free(o->path);
    free(o);
    *origin = NULL;
}

const char *config_origin_keep_name(struct config_origin *origin, struct bytes name)
{
    char *copy = config_copy(name);

    if (copy == NULL || config_grow(&origin->names, origin->name_count, sizeof *origin->names) != 0) {
        free(copy);
        return NULL;
    }
    origin->names[origin->name_count++] = copy;
    return copy;
}

void config_origin_describe(const struct config_origin *origin, enum config_section section, const char *key,
                            struct strbuf *out)
{
    const struct config_key *row = config_schema_find(section, key);

    CHECK(row != NULL);
    const struct config_site *site = &origin->fixed[config_schema_index(row)];
    if (site->variable != NULL)
        strbuf_addf(out, "%s: ", site->variable);
    else if (site->line != 0)
        strbuf_addf(out, "%s:%u: ", origin->path, site->line);
    else
        strbuf_addf(out, "%s: ", origin->path);
    strbuf_addf(out, "[%s] %s: ", config_section_name(section), key);
}

void config_origin_describe_line(const struct config_origin *origin, unsigned line, enum config_section section,
                                 const char *key, struct strbuf *out)
{
    strbuf_addf(out, "%s:%u: [%s] %s: ", origin->path, line, config_section_name(section), key);
}
