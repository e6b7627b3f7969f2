/* Files of routes and rules in every format: what is accepted is canonical, and reads the same after it was written in any format. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "row_read.h"
#include "row_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_problem(void *context, unsigned line, const char *text)
{
    (void)context;
    CHECK(line > 0 && text[0] != '\0');
    for (; *text != '\0'; text++)
        CHECK((unsigned char)*text >= 0x20);
}

static char *write_text(const struct row_list *list, enum row_format format, size_t *len_out)
{
    char *text = NULL;
    FILE *to = open_memstream(&text, len_out);

    CHECK(to != NULL);
    row_write(list, format, to);
    fclose(to);
    return text;
}

static bool is_same_list(const struct row_list *a, const struct row_list *b)
{
    if (a->count != b->count || b->problem_count > 0)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (row_compare(&a->rows[i], &b->rows[i]) != 0 || !row_is_same(&a->rows[i], &b->rows[i]))
            return false;
    }
    return true;
}

/** JSON alone cannot hold bytes that are no UTF-8. */
static bool is_ascii(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] >= 0x80)
            return false;
    }
    return true;
}

static void check_round_trip(const struct row_list *list, enum row_format format)
{
    struct row_list again;
    size_t len;
    char *text = write_text(list, format, &len);

    row_list_init(&again, list->kind, on_problem, NULL);
    row_read(&again, format, bytes_of(text, len));
    CHECK(is_same_list(list, &again) || (format == ROW_FORMAT_JSON && !is_ascii(text, len)) ||
          (format == ROW_FORMAT_JSON && strstr(text, "\\ufffd") != NULL));
    row_list_fini(&again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (enum row_kind kind = ROW_ROUTE; kind <= ROW_RULE; kind++) {
        for (enum row_format format = ROW_FORMAT_TEXT; format <= ROW_FORMAT_JSON; format++) {
            struct row_list list;
            row_list_init(&list, kind, on_problem, NULL);
            row_read(&list, format, bytes_of(data, size));
            for (enum row_format other = ROW_FORMAT_TEXT; other <= ROW_FORMAT_JSON; other++)
                check_round_trip(&list, other);
            row_list_fini(&list);
        }
    }
    (void)row_format_guess("-", bytes_of(data, size));
    return 0;
}
