/* Log records as entries of systemd's journal, and the socket that takes them. */

#include "journal.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "address.h"
#include "err.h"
#include "log_event.h"

#define IDENTIFIER "mc-proxy"
#define PREFIX     "MCPROXY_"

/* syslog(3)'s numbers. */
static const unsigned priorities[] = {[LOG_DEBUG] = 7, [LOG_INFO] = 6, [LOG_WARN] = 4, [LOG_ERROR] = 3};

/* ---- is it there? ---- */

bool journal_is_at(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM"); /* "device:inode", systemd.exec(5) */
    struct stat st;
    char *end;

    if (stream == NULL || *stream < '0' || *stream > '9' || fstat(fd, &st) != 0)
        return false;
    uintmax_t device = strtoumax(stream, &end, 10);
    if (*end != ':' || end[1] < '0' || end[1] > '9')
        return false;
    uintmax_t inode = strtoumax(end + 1, &end, 10);
    return *end == '\0' && device == st.st_dev && inode == st.st_ino;
}

int journal_open(struct journal *out)
{
    out->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return out->fd >= 0 ? 0 : ERR_SYSTEM;
}

void journal_close(struct journal *journal)
{
    if (journal->fd >= 0)
        close(journal->fd);
    journal->fd = -1;
}

/* ---- an entry ---- */

/** Behind the field's name: a value with a line end in it has its length in front (little endian) instead of '='. */
static void add_value(struct bytes value, struct strbuf *out)
{
    if (value.len == 0 || memchr(value.ptr, '\n', value.len) == NULL) {
        strbuf_add_char(out, '=');
    } else {
        uint64_t len = htole64(value.len);
        strbuf_add_char(out, '\n');
        strbuf_add_bytes(out, bytes_of(&len, sizeof len));
    }
    strbuf_add_bytes(out, value);
    strbuf_add_char(out, '\n');
}

static void add_field(const char *name, struct bytes value, struct strbuf *out)
{
    strbuf_add(out, name);
    add_value(value, out);
}

static void format_value(const struct log_field *field, struct strbuf *out)
{
    switch (field->type) {
    case LOG_VALUE_STR: strbuf_add_bytes(out, field->str); break;
    case LOG_VALUE_U64: strbuf_addf(out, "%" PRIu64, field->u64); break;
    case LOG_VALUE_I64: strbuf_addf(out, "%" PRId64, (int64_t)field->u64); break;
    case LOG_VALUE_BOOL: strbuf_add(out, field->u64 != 0 ? "true" : "false"); break;
    case LOG_VALUE_ENDPOINT: ip_endpoint_format(&field->endpoint, out); break;
    }
}

/** "MCPROXY_BYTES_IN", and its value. */
static void add_log_field(const struct log_field *field, struct strbuf *out)
{
    char data[LOG_STRING_MAX + 1];
    struct strbuf value = STRBUF_OF(data);

    strbuf_add(out, PREFIX);
    for (const char *c = log_key_word(field->key); *c != '\0'; c++)
        strbuf_add_char(out, (char)toupper((unsigned char)*c));
    format_value(field, &value);
    add_value(bytes_of(data, value.len), out);
}

static void add_fields(struct log_record_reader *r, struct strbuf *out)
{
    bool seen[LOG_KEY_END] = {false};
    struct log_field field;

    while (log_record_next(r, &field) == 1) {
        if (!seen[field.key])
            add_log_field(&field, out);
        seen[field.key] = true;
    }
}

void journal_format(struct bytes record, struct bytes line, struct strbuf *out)
{
    struct log_record_reader r;
    bool is_record = log_record_open(&r, record) == 0;
    char priority[] = {(char)('0' + priorities[is_record ? r.level : LOG_WARN]), '\0'};

    add_field("MESSAGE", line, out);
    add_field("PRIORITY", bytes_of_str(priority), out);
    add_field("SYSLOG_IDENTIFIER", bytes_of_str(IDENTIFIER), out);
    if (!is_record)
        return;
    add_field(PREFIX "MESSAGE", r.message, out);
    add_fields(&r, out);
}

/* ---- sending ---- */

int journal_send(const struct journal *journal, struct bytes entry)
{
    /* Named in each call, not connected to: a journal that was restarted has a new socket of the same name. */
    static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};
    ssize_t n;

    do
        n = sendto(journal->fd, entry.ptr, entry.len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&address,
                   sizeof address);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return 0;
    return errno == EAGAIN || errno == ENOBUFS ? ERR_FULL : ERR_UNAVAILABLE;
}
