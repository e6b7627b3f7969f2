/* The list of problems of a configuration. */

#include "config_problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_memory.h"

#define PROBLEM_TEXT_MAX 8192 /* two paths and a sentence */
#define QUOTE_MAX        120  /* bytes of a value that a message repeats */

void config_quote(struct bytes text, struct strbuf *out)
{
    size_t shown = text.len < QUOTE_MAX ? text.len : QUOTE_MAX;

    strbuf_add_char(out, '"');
    for (size_t i = 0; i < shown; i++) {
        uint8_t c = text.ptr[i];
        if (c < 0x20 || c == 0x7f)
            strbuf_addf(out, "\\x%02x", (unsigned)c);
        else
            strbuf_add_char(out, (char)c);
    }
    strbuf_add(out, shown < text.len ? "...\"" : "\"");
}

static void describe_place(const struct config_problems *p, const struct config_place *place, struct strbuf *out)
{
    if (place->site.variable != NULL)
        strbuf_addf(out, "%s: ", place->site.variable);
    else if (place->site.line != 0)
        strbuf_addf(out, "%s:%u: ", p->path, place->site.line);
    else
        strbuf_addf(out, "%s: ", p->path);
    if (place->section == CONFIG_SECTION_COUNT)
        return;
    strbuf_addf(out, "[%s", config_section_name(place->section));
    if (place->listener != NULL)
        strbuf_addf(out, " %s", place->listener);
    strbuf_add_char(out, ']');
    if (place->key != NULL)
        strbuf_addf(out, " %s", place->key);
    strbuf_add(out, ": ");
}

static void add_problem(struct config_problems *p, const struct config_place *place, bool is_warning,
                        const char *format, va_list args) PRINTF_LIKE(4, 0);
static void add_problem(struct config_problems *p, const struct config_place *place, bool is_warning,
                        const char *format, va_list args)
{
    char data[PROBLEM_TEXT_MAX];
    struct strbuf text = STRBUF_OF(data);

    if (p->only != CONFIG_SECTION_COUNT && place->section != CONFIG_SECTION_COUNT && place->section != p->only)
        return;
    describe_place(p, place, &text);
    strbuf_addv(&text, format, args);
    if (!is_warning)
        p->error_count++;
    if (config_grow(&p->items, p->count, sizeof *p->items) != 0) {
        p->is_out_of_memory = true;
        return;
    }
    struct config_problem *problem = &p->items[p->count];
    *problem = (struct config_problem){.line = place->site.line, .is_warning = is_warning, .text = strdup(data)};
    if (problem->text != NULL)
        p->count++;
    else
        p->is_out_of_memory = true;
}

void config_problem_error(struct config_problems *p, const struct config_place *place, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_problem(p, place, false, format, args);
    va_end(args);
}

void config_problem_warn(struct config_problems *p, const struct config_place *place, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_problem(p, place, true, format, args);
    va_end(args);
}

static int compare_problems(const void *left, const void *right)
{
    const struct config_problem *a = left, *b = right;
    unsigned a_line = a->line - 1, b_line = b->line - 1; /* no line (0) becomes the largest: last */

    if (a_line != b_line)
        return a_line < b_line ? -1 : 1;
    return strcmp(a->text, b->text);
}

void config_problems_report(struct config_problems *p, struct config_errors *errors)
{
    if (p->count > 0)
        qsort(p->items, p->count, sizeof *p->items, compare_problems);
    for (unsigned i = 0; i < p->count; i++) {
        if (p->items[i].is_warning)
            config_errors_warn(errors, "%s", p->items[i].text);
        else
            config_errors_add(errors, "%s", p->items[i].text);
    }
}

void config_problems_fini(struct config_problems *p)
{
    for (unsigned i = 0; i < p->count; i++)
        free(p->items[i].text);
    free(p->items);
}
