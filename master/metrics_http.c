/* HTTP/1.1 requests (RFC 9112, RFC 9110) as far as a scraper needs them; everything else gets the status that says so. */

#include "metrics_http.h"

#include <string.h>
#include <strings.h>

#include "check.h"

#define METRICS_PATH "/metrics"

/** What the header fields say. */
struct fields {
    unsigned host_count;
    bool has_body;
    bool says_close;
    bool says_keep_alive;
};

struct request_line {
    struct bytes method;
    struct bytes target;
    unsigned major;
    unsigned minor;
};

/* ---- characters ---- */

/* RFC 9110 5.6.2 */
static bool is_token(struct bytes b)
{
    for (size_t i = 0; i < b.len; i++) {
        uint8_t c = b.ptr[i];
        bool is_alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        /* GCOVR_EXCL_BR_START: is_text_so_far() has refused a NUL already, but strchr() would find it */
        if (c == '\0' || (!is_alnum && strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return false;
        /* GCOVR_EXCL_BR_STOP */
    }
    return b.len > 0;
}

static bool is_visible(struct bytes b)
{
    for (size_t i = 0; i < b.len; i++) {
        if (b.ptr[i] <= ' ' || b.ptr[i] >= 0x7f)
            return false;
    }
    return b.len > 0;
}

/* Control characters belong into no request, and line ends only come in pairs; what speaks another protocol is told at once. */
static bool is_text_so_far(struct bytes b)
{
    for (size_t i = 0; i < b.len; i++) {
        uint8_t c = b.ptr[i];
        if ((c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
            return false;
        if (c == '\n' && (i == 0 || b.ptr[i - 1] != '\r'))
            return false;
        if (c == '\r' && i + 1 < b.len && b.ptr[i + 1] != '\n')
            return false;
    }
    return true;
}

static struct bytes trim(struct bytes b)
{
    while (b.len > 0 && (b.ptr[0] == ' ' || b.ptr[0] == '\t'))
        b = bytes_of(b.ptr + 1, b.len - 1);
    while (b.len > 0 && (b.ptr[b.len - 1] == ' ' || b.ptr[b.len - 1] == '\t'))
        b.len--;
    return b;
}

static bool equals_nocase(struct bytes b, const char *text)
{
    return b.len == strlen(text) && strncasecmp((const char *)b.ptr, text, b.len) == 0;
}

/** Take what is before the next `separator` off the front, and the separator; all of it if there is none. */
static struct bytes take_until(struct bytes *rest, char separator)
{
    const uint8_t *at = rest->len > 0 ? memchr(rest->ptr, separator, rest->len) : NULL;
    struct bytes head = at != NULL ? bytes_of(rest->ptr, (size_t)(at - rest->ptr)) : *rest;
    size_t used = head.len + (at != NULL);

    *rest = bytes_of(rest->len > 0 ? rest->ptr + used : NULL, rest->len - used);
    return head;
}

/** The next line without its CR LF; there is one, as the header section is complete. */
static struct bytes take_line(struct bytes *rest)
{
    struct bytes line = take_until(rest, '\n');

    CHECK(line.len > 0 && line.ptr[line.len - 1] == '\r'); /* is_text_so_far() */
    line.len--;
    return line;
}

/* ---- request line, RFC 9112 3 ---- */

static bool parse_request_line(struct bytes line, struct request_line *out)
{
    out->method = take_until(&line, ' ');
    out->target = take_until(&line, ' ');
    if (!is_token(out->method) || !is_visible(out->target) || line.len != 8 || memcmp(line.ptr, "HTTP/", 5) != 0 ||
        line.ptr[6] != '.')
        return false;
    out->major = (unsigned)(line.ptr[5] - '0');
    out->minor = (unsigned)(line.ptr[7] - '0');
    return out->major <= 9 && out->minor <= 9;
}

/** The path: of "/metrics?x=1", and of "http://host/metrics" too, which every server must take (RFC 9112 3.2.2). */
static struct bytes path_of(struct bytes target)
{
    if (target.len >= 7 && strncasecmp((const char *)target.ptr, "http://", 7) == 0) {
        struct bytes rest = bytes_of(target.ptr + 7, target.len - 7);
        const uint8_t *slash = rest.len > 0 ? memchr(rest.ptr, '/', rest.len) : NULL;
        target = slash != NULL ? bytes_of(slash, (size_t)(target.ptr + target.len - slash)) : bytes_of_str("/");
    }
    return take_until(&target, '?');
}

/* ---- fields, RFC 9112 5 ---- */

static void note_connection(struct bytes value, struct fields *out)
{
    while (value.len > 0) {
        struct bytes option = trim(take_until(&value, ','));
        out->says_close |= equals_nocase(option, "close");
        out->says_keep_alive |= equals_nocase(option, "keep-alive");
    }
}

static bool note_content_length(struct bytes value, struct fields *out)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return false;
        out->has_body |= value.ptr[i] != '0';
    }
    return value.len > 0;
}

static bool parse_field(struct bytes line, struct fields *out)
{
    struct bytes value = line;
    struct bytes name = take_until(&value, ':');

    if (name.len == line.len || !is_token(name)) /* no colon; a continued line begins with a blank, which is no token */
        return false;
    value = trim(value);
    if (equals_nocase(name, "host"))
        out->host_count++;
    else if (equals_nocase(name, "connection"))
        note_connection(value, out);
    else if (equals_nocase(name, "transfer-encoding"))
        out->has_body = true;
    else if (equals_nocase(name, "content-length"))
        return note_content_length(value, out);
    return true;
}

/** All lines up to the empty one. */
static bool parse_fields(struct bytes *rest, struct fields *out)
{
    for (;;) {
        struct bytes line = take_line(rest);
        if (line.len == 0)
            return true;
        if (!parse_field(line, out))
            return false;
    }
}

/* ---- the verdict ---- */

static unsigned judge(const struct request_line *line, const struct fields *fields)
{
    bool is_get = bytes_equal_str(line->method, "GET") || bytes_equal_str(line->method, "HEAD");

    if (line->major != 1)
        return 505;
    if (fields->host_count > 1 || (line->minor >= 1 && fields->host_count == 0)) /* RFC 9112 3.2 */
        return 400;
    if (!bytes_equal_str(path_of(line->target), METRICS_PATH))
        return 404;
    if (!is_get)
        return 405;
    return fields->has_body ? 413 : 200;
}

static enum metrics_http_result refuse(unsigned status, struct bytes in, struct metrics_http_request *out)
{
    *out = (struct metrics_http_request){.status = status, .len = in.len};
    return METRICS_HTTP_DONE;
}

/** Bytes up to and with the empty line; 0: it has not come. */
static size_t header_section_len(struct bytes in)
{
    const uint8_t *end = memmem(in.ptr, in.len, "\r\n\r\n", 4);

    return end != NULL ? (size_t)(end + 4 - in.ptr) : 0;
}

enum metrics_http_result metrics_http_parse(struct bytes in, struct metrics_http_request *out)
{
    struct request_line line;
    struct fields fields = {0};
    struct bytes request = in;

    CHECK(in.len <= METRICS_HTTP_MAX_BYTES);
    while (request.len >= 2 && memcmp(request.ptr, "\r\n", 2) == 0) /* RFC 9112 2.2: empty lines in front */
        request = bytes_of(request.ptr + 2, request.len - 2);
    size_t skipped = in.len - request.len;
    size_t len = request.len > 0 ? header_section_len(request) : 0;

    if (!is_text_so_far(bytes_of(in.ptr, len > 0 ? skipped + len : in.len)))
        return refuse(400, in, out);
    if (len == 0)
        return in.len < METRICS_HTTP_MAX_BYTES ? METRICS_HTTP_MORE : refuse(431, in, out);
    request.len = len;
    if (!parse_request_line(take_line(&request), &line) || !parse_fields(&request, &fields))
        return refuse(400, in, out);
    *out = (struct metrics_http_request){
        .status = judge(&line, &fields),
        .is_head = bytes_equal_str(line.method, "HEAD"),
        .len = skipped + len,
    };
    /* Behind a body that we do not read nothing can be understood. */
    out->may_stay = out->status < 500 && out->status != 400 && !fields.has_body && !fields.says_close &&
                    (line.minor >= 1 || fields.says_keep_alive);
    return METRICS_HTTP_DONE;
}

/* ---- statuses ---- */

struct reason_row {
    unsigned status;
    const char *reason; /* RFC 9110 15 */
};

static const struct reason_row reasons[] = {
    {200, "OK"},
    {400, "Bad Request"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {413, "Content Too Large"},
    {431, "Request Header Fields Too Large"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

const char *metrics_http_reason(unsigned status)
{
    for (unsigned i = 0; i < sizeof reasons / sizeof reasons[0]; i++) { /* GCOVR_EXCL_BR_LINE: ends by finding it */
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    CHECK(false); /* a status that we do not send */
    return NULL;
}
