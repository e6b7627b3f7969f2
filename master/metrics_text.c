/* The exposition format. A scrape may have a hundred thousand lines, so numbers are written by hand and nothing is formatted twice. */

#include "metrics_text.h"

#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 16384
#define DIGITS_MAX   20 /* of a uint64_t */

void metrics_text_fini(struct metrics_text *t)
{
    free(t->data);
    *t = (struct metrics_text){0};
}

/** Room for so many more bytes; false: none, and there will be none. */
static bool reserve(struct metrics_text *t, size_t more)
{
    size_t capacity = t->capacity > 0 ? t->capacity : CAPACITY_MIN;

    if (t->failed)
        return false;
    if (t->len + more <= t->capacity)
        return true;
    while (capacity < t->len + more)
        capacity *= 2;
    char *data = realloc(t->data, capacity);
    if (data == NULL) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->capacity = capacity;
    return true;
}

static void add_bytes(struct metrics_text *t, const char *bytes, size_t len)
{
    if (!reserve(t, len))
        return;
    memcpy(t->data + t->len, bytes, len);
    t->len += len;
}

void metrics_text_add(struct metrics_text *t, const char *text)
{
    add_bytes(t, text, strlen(text));
}

/** Digits from the right; returns where they begin. */
static char *write_digits(char *end, uint64_t value)
{
    do
        *--end = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    return end;
}

static void add_u64(struct metrics_text *t, uint64_t value)
{
    char digits[DIGITS_MAX];
    char *begin = write_digits(digits + sizeof digits, value);

    add_bytes(t, begin, (size_t)(digits + sizeof digits - begin));
}

void metrics_format_seconds(uint64_t us, char out[METRICS_SECONDS_MAX])
{
    char digits[DIGITS_MAX];
    char *begin = write_digits(digits + sizeof digits, us / 1000000);
    size_t len = (size_t)(digits + sizeof digits - begin);
    uint32_t rest = (uint32_t)(us % 1000000);

    memcpy(out, begin, len);
    if (rest > 0)
        out[len++] = '.';
    for (; rest > 0; rest %= 1000000) {
        rest *= 10;
        out[len++] = (char)('0' + rest / 1000000);
    }
    out[len] = '\0';
}

/** A value is short, and a call of strcspn() with three characters takes longer than this. */
static size_t plain_len(const char *value)
{
    size_t len = 0;

    while (value[len] != '\0' && value[len] != '\\' && value[len] != '"' && value[len] != '\n')
        len++;
    return len;
}

static void add_escaped(struct metrics_text *t, const char *value)
{
    while (*value != '\0') {
        size_t plain = plain_len(value);
        add_bytes(t, value, plain);
        value += plain;
        if (*value == '\0')
            return;
        metrics_text_add(t, *value == '\n' ? "\\n" : *value == '"' ? "\\\"" : "\\\\");
        value++;
    }
}

void metrics_text_family(struct metrics_text *t, enum metric metric)
{
    const struct metric_row *row = metric_row(metric);
    const char *const parts[] = {
        "# HELP ", row->name, " ", row->help, "\n", "# TYPE ", row->name, " ", metric_type_word(row->type), "\n"};

    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++)
        metrics_text_add(t, parts[i]);
}

static void begin_sample(struct metrics_text *t, enum metric metric, const char *suffix,
                         const struct metrics_label *labels, unsigned count)
{
    CHECK(count <= METRICS_LABELS_MAX);
    metrics_text_add(t, metric_row(metric)->name);
    metrics_text_add(t, suffix);
    for (unsigned i = 0; i < count; i++) {
        add_bytes(t, i == 0 ? "{" : ",", 1);
        metrics_text_add(t, labels[i].name);
        add_bytes(t, "=\"", 2);
        add_escaped(t, labels[i].value);
        add_bytes(t, "\"", 1);
    }
    metrics_text_add(t, count > 0 ? "} " : " ");
}

void metrics_text_sample(struct metrics_text *t, enum metric metric, const char *suffix,
                         const struct metrics_label *labels, unsigned count, uint64_t value)
{
    begin_sample(t, metric, suffix, labels, count);
    add_u64(t, value);
    metrics_text_add(t, "\n");
}

void metrics_text_sample_us(struct metrics_text *t, enum metric metric, const char *suffix,
                            const struct metrics_label *labels, unsigned count, uint64_t value_us)
{
    char seconds[METRICS_SECONDS_MAX];

    begin_sample(t, metric, suffix, labels, count);
    metrics_format_seconds(value_us, seconds);
    metrics_text_add(t, seconds);
    metrics_text_add(t, "\n");
}
