/* Log records as messages of the admin API: one row for each key that a connection has. */

#include "connection_message.h"

#include <stddef.h>

#include "client_text.h"
#include "err.h"
#include "strbuf.h"

enum kind { KIND_TEXT, KIND_U64, KIND_U32, KIND_BOOL };

struct row {
    uint8_t key; /* enum log_key */
    uint8_t kind;
    uint16_t offset; /* in McProxy__V1__Connection */
};

#define AT(field) offsetof(McProxy__V1__Connection, field)

/* clang-format off */
static const struct row rows[] = {
    {LOG_KEY_CONN,          KIND_U64,  AT(conn)},
    {LOG_KEY_LISTENER,      KIND_TEXT, AT(listener_addr)},
    {LOG_KEY_CLIENT,        KIND_TEXT, AT(client)},
    {LOG_KEY_PEER,          KIND_TEXT, AT(peer)},
    {LOG_KEY_SNI,           KIND_TEXT, AT(sni)},
    {LOG_KEY_ALPN,          KIND_TEXT, AT(alpn)},
    {LOG_KEY_TLS,           KIND_TEXT, AT(tls)},
    {LOG_KEY_ECH,           KIND_BOOL, AT(ech)},
    {LOG_KEY_ROUTE,         KIND_TEXT, AT(route)},
    {LOG_KEY_BACKEND,       KIND_TEXT, AT(backend)},
    {LOG_KEY_BACKEND_ADDR,  KIND_TEXT, AT(backend_addr)},
    {LOG_KEY_COUNTRY,       KIND_TEXT, AT(country)},
    {LOG_KEY_BYTES_IN,      KIND_U64,  AT(bytes_in)},
    {LOG_KEY_BYTES_OUT,     KIND_U64,  AT(bytes_out)},
    {LOG_KEY_HELLO_US,      KIND_U64,  AT(hello_us)},
    {LOG_KEY_CONNECT_US,    KIND_U64,  AT(connect_us)},
    {LOG_KEY_FIRST_BYTE_US, KIND_U64,  AT(first_byte_us)},
    {LOG_KEY_DURATION_MS,   KIND_U64,  AT(duration_ms)},
    {LOG_KEY_WORKER,        KIND_U32,  AT(worker)},
    {LOG_KEY_HANDSHAKE,     KIND_TEXT, AT(handshake)},
    {LOG_KEY_TLS_VERSION,   KIND_TEXT, AT(tls_version)},
    {LOG_KEY_TLS_GROUP,     KIND_TEXT, AT(tls_group)},
    {LOG_KEY_ALERT,         KIND_TEXT, AT(alert)},
    {LOG_KEY_REASON,        KIND_TEXT, AT(reason)},
    {LOG_KEY_ENDED_BY,      KIND_TEXT, AT(ended_by)},
    {LOG_KEY_DETAIL,        KIND_TEXT, AT(detail)},
    {LOG_KEY_STATE,         KIND_TEXT, AT(state)},
    {LOG_KEY_IDLE_MS,       KIND_U64,  AT(idle_ms)},
};
/* clang-format on */

static const struct row *find_row(uint8_t key)
{
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].key == key)
            return &rows[i];
    }
    return NULL;
}

/** The next text of the message; false: the value is of another type. */
static bool add_text(const struct log_field *field, struct strbuf *texts)
{
    if (field->type == LOG_VALUE_STR)
        client_text_add_printable(field->str, texts);
    else if (field->type == LOG_VALUE_ENDPOINT)
        ip_endpoint_format(&field->endpoint, texts);
    else
        return false;
    return true;
}

static void set_text(char **at, const struct log_field *field, struct strbuf *texts)
{
    char *begin = texts->data + texts->len;

    if (!add_text(field, texts))
        return;
    strbuf_add_bytes(texts, bytes_of("", 1)); /* its end; the next one begins behind it */
    *at = begin;
}

static void set_field(McProxy__V1__Connection *m, const struct row *row, const struct log_field *field,
                      struct strbuf *texts)
{
    void *at = (char *)m + row->offset;
    bool is_number = field->type == LOG_VALUE_U64;

    if (row->kind == KIND_TEXT)
        set_text(at, field, texts);
    else if (row->kind == KIND_U64 && is_number)
        *(uint64_t *)at = field->u64;
    else if (row->kind == KIND_U32 && is_number)
        *(uint32_t *)at = (uint32_t)field->u64;
    else if (row->kind == KIND_BOOL && field->type == LOG_VALUE_BOOL)
        *(protobuf_c_boolean *)at = field->u64 != 0;
}

int connection_message_of(struct bytes record, struct connection_message *out)
{
    struct strbuf texts = STRBUF_OF(out->text);
    struct log_record_reader reader;
    struct log_field field;
    int rc;

    mc_proxy__v1__connection__init(&out->proto);
    if ((rc = log_record_open(&reader, record)) != 0)
        return rc;
    out->proto.time_ms = reader.time_ms;
    while ((rc = log_record_next(&reader, &field)) == 1) {
        const struct row *row = find_row(field.key);
        if (row != NULL)
            set_field(&out->proto, row, &field, &texts);
    }
    return rc != 0 || texts.overflowed ? ERR_PROTOCOL : 0;
}
