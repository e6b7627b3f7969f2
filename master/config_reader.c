/* The home of inih: walks a configuration text line by line, hands inih only lines that it cannot misunderstand, and reports the
 * others. inih asks for a line, then calls back for the pair on it; so a line that brought no call when the next one is asked for
 * was no pair. */

#include "config_reader.h"

#include <ini.h>
#include <stdio.h>

#include "strbuf.h"

#define CONFIG_READER_PROBLEM_MAX 256

struct config_reader {
    struct reader text;
    const struct config_reader_events *events;
    void *context;
    unsigned line;     /* of the last line taken */
    bool is_unclaimed; /* that line must be a pair, and inih has not called back for it yet */
};

static void report(const struct config_reader *r, const char *format, ...) PRINTF_LIKE(2, 3);
static void report(const struct config_reader *r, const char *format, ...)
{
    char data[CONFIG_READER_PROBLEM_MAX];
    struct strbuf text = STRBUF_OF(data);
    va_list args;

    va_start(args, format);
    strbuf_addv(&text, format, args);
    va_end(args);
    r->events->on_problem(r->context, r->line, data);
}

/** The next line without its line end (LF or CRLF); false at the end of the text. */
static bool take_line(struct config_reader *r, struct bytes *out)
{
    if (r->text.left == 0)
        return false;
    const uint8_t *end = memchr(r->text.at, '\n', r->text.left);
    size_t len = end != NULL ? (size_t)(end - r->text.at) : r->text.left;

    *out = reader_slice(&r->text, len);
    if (end != NULL)
        (void)reader_u8(&r->text);
    if (out->len > 0 && out->ptr[out->len - 1] == '\r')
        out->len--;
    r->line++;
    return true;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static bool has_control_byte(struct bytes line, unsigned *value_out)
{
    for (size_t i = 0; i < line.len; i++) {
        if ((line.ptr[i] < 0x20 && line.ptr[i] != '\t') || line.ptr[i] == 0x7f) {
            *value_out = line.ptr[i];
            return true;
        }
    }
    return false;
}

/** What every line must keep to, comments too. */
static bool line_is_sane(const struct config_reader *r, struct bytes line, size_t max_bytes)
{
    unsigned value;

    if (has_control_byte(line, &value)) {
        report(r, "the line holds a control byte (0x%02x); a configuration is plain text", value);
        return false;
    }
    if (line.len > max_bytes) {
        report(r, "the line has %zu bytes; at most %zu are possible, lists can go on by repeating the key", line.len,
               max_bytes);
        return false;
    }
    return true;
}

static struct bytes without_leading_blanks(struct bytes line)
{
    while (line.len > 0 && is_blank(line.ptr[0])) {
        line.ptr++;
        line.len--;
    }
    return line;
}

/** The name in a line that begins with '['; false if the line is no proper section line (reported). */
static bool parse_section(const struct config_reader *r, struct bytes line, char name[CONFIG_READER_NAME_MAX + 1])
{
    const uint8_t *close = memchr(line.ptr, ']', line.len);

    if (close == NULL) {
        report(r, "the section line has no ']'; right would be [section] or [listener NAME]");
        return false;
    }
    struct bytes inner = bytes_of(line.ptr + 1, (size_t)(close - line.ptr) - 1);
    struct bytes rest = without_leading_blanks(bytes_of(close + 1, line.len - inner.len - 2));
    if (rest.len > 0 && rest.ptr[0] != ';' && rest.ptr[0] != '#') {
        report(r, "there is text behind the section's ']'; a key needs a line of its own");
        return false;
    }
    if (inner.len > CONFIG_READER_NAME_MAX) {
        report(r, "the section name has %zu bytes; at most %d are possible", inner.len, CONFIG_READER_NAME_MAX);
        return false;
    }
    struct strbuf out = strbuf_init(name, CONFIG_READER_NAME_MAX + 1);
    strbuf_add_bytes(&out, inner);
    return true;
}

static void begin_section(const struct config_reader *r, struct bytes line)
{
    char name[CONFIG_READER_NAME_MAX + 1];

    if (parse_section(r, line, name))
        r->events->on_section(r->context, r->line, name);
}

static void report_unclaimed(struct config_reader *r)
{
    if (r->is_unclaimed)
        report(r, "the line is neither a [section] nor a key = value");
    r->is_unclaimed = false;
}

/** inih's reader: the next line for it in out, which holds num bytes. Refused lines become empty ones. */
static char *next_line(char *out, int num, void *stream)
{
    struct config_reader *r = stream;
    struct bytes line;

    report_unclaimed(r);
    if (!take_line(r, &line))
        return NULL;

    struct strbuf text = strbuf_init(out, (size_t)num);
    struct bytes content = without_leading_blanks(line);
    uint8_t first = content.len > 0 ? content.ptr[0] : ';';
    if (first == '[') /* whatever is wrong with this line, the section before it has ended */
        r->events->on_section(r->context, r->line, NULL);
    if (!line_is_sane(r, line, (size_t)num - 1))
        return out;
    if (first == '[') {
        begin_section(r, content);
    } else if (first != ';' && first != '#') {
        r->is_unclaimed = true;
        strbuf_add_bytes(&text, content);
    }
    return out;
}

/** Where a comment seems to begin that inih takes for a part of the value. */
static bool has_hash_comment(const char *value)
{
    for (const char *p = value; (p = strchr(p, '#')) != NULL; p++) {
        if (p == value || is_blank((uint8_t)p[-1]))
            return true;
    }
    return false;
}

static int on_pair(void *context, const char *section, const char *key, const char *value)
{
    struct config_reader *r = context;

    (void)section; /* begin_section() told it already, also for sections without pairs */
    r->is_unclaimed = false;
    if (key[0] == '\0')
        report(r, "there is no key before the '='");
    else if (strlen(key) > CONFIG_READER_NAME_MAX)
        report(r, "the key has %zu bytes; at most %d are possible", strlen(key), CONFIG_READER_NAME_MAX);
    else if (has_hash_comment(value))
        report(r, "the value of %s holds a '#'; a comment behind a value begins with ';'", key);
    else if (value[0] == ';')
        report(r, "the value of %s begins with ';'; a comment needs a blank before it", key);
    else
        r->events->on_pair(r->context, r->line, key, value);
    return 1;
}

void config_reader_run(struct bytes text, const struct config_reader_events *events, void *context)
{
    struct config_reader r = {.text = reader_of(text), .events = events, .context = context};

    if (text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0)
        (void)reader_slice(&r.text, 3); /* a UTF-8 byte order mark */
    /* Its result is the number of the first line it did not like, and those are reported already. */
    (void)ini_parse_stream(next_line, &r, on_pair, &r);
    report_unclaimed(&r);
}
