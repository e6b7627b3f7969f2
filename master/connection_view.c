/* Connections as lines: for people with what one looks for first, for programs with everything. */

#include "connection_view.h"

#include <inttypes.h>
#include <stdbool.h>
#include <time.h>

#include "client_text.h"
#include "json_out.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "strbuf.h"

#define TEXT_MAX 1280

void connection_view_add_time(uint64_t ms, struct strbuf *out)
{
    uint64_t s = ms / 1000;

    if (ms < 1000)
        strbuf_addf(out, "%" PRIu64 "ms", ms);
    else if (s < 60)
        strbuf_addf(out, "%" PRIu64 ".%" PRIu64 "s", s, ms % 1000 / 100);
    else if (s < 3600)
        strbuf_addf(out, "%" PRIu64 "m %" PRIu64 "s", s / 60, s % 60);
    else if (s < 86400)
        strbuf_addf(out, "%" PRIu64 "h %" PRIu64 "m", s / 3600, s % 3600 / 60);
    else
        strbuf_addf(out, "%" PRIu64 "d %" PRIu64 "h", s / 86400, s % 86400 / 3600);
}

static void add_clock(uint64_t time_ms, struct strbuf *out)
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm tm;

    if (gmtime_r(&seconds, &tm) != NULL)
        strbuf_addf(out, "%02d:%02d:%02d.%03uZ", tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(time_ms % 1000));
}

static void add_text(const char *text, struct strbuf *out)
{
    if (text[0] != '\0')
        client_text_add_printable(bytes_of_str(text), out);
    else
        strbuf_add_char(out, '-');
}

/** " word=text", if there is one. */
static void add_field(const char *word, const char *text, struct strbuf *out)
{
    if (text[0] == '\0')
        return;
    strbuf_addf(out, " %s=", word);
    client_text_add_printable(bytes_of_str(text), out);
}

/** What is not as it mostly is. */
static void add_remarks(const McProxy__V1__Connection *c, struct strbuf *out)
{
    bool is_usual = c->handshake[0] == '\0' || bytes_equal_str(bytes_of_str(c->handshake), "server_hello");

    add_field("handshake", is_usual ? "" : c->handshake, out);
    add_field("alert", c->alert, out);
    add_field("detail", c->detail, out);
}

void connection_view_print_ended(const McProxy__V1__Connection *c, FILE *to)
{
    char data[4 * TEXT_MAX];
    struct strbuf line = STRBUF_OF(data);

    add_clock(c->time_ms, &line);
    strbuf_add_char(&line, ' ');
    add_text(c->reason, &line);
    strbuf_add_char(&line, ' ');
    add_text(c->client, &line);
    strbuf_add_char(&line, ' ');
    add_text(c->sni, &line);
    strbuf_add(&line, " -> ");
    add_text(c->backend, &line);
    strbuf_add(&line, " in=");
    client_text_add_amount(c->bytes_in, &line);
    strbuf_add(&line, " out=");
    client_text_add_amount(c->bytes_out, &line);
    strbuf_addf(&line, " ms=%" PRIu64, c->duration_ms);
    add_remarks(c, &line);
    fprintf(to, "%s\n", data);
}

/* ---- open ones ---- */

#define ROW "%13s  %-7s  %6s  %6s  %6s  %6s  %-21s  %s\n"

void connection_view_print_header(FILE *to)
{
    fprintf(to, ROW, "ID", "STATE", "AGE", "IDLE", "IN", "OUT", "CLIENT", "NAME -> BACKEND");
}

void connection_view_print_open(const McProxy__V1__Connection *c, FILE *to)
{
    char number[24], age[24], idle[24], in[24], out[24], client[TEXT_MAX], state[64], rest[2 * TEXT_MAX];
    struct strbuf number_text = STRBUF_OF(number), age_text = STRBUF_OF(age), idle_text = STRBUF_OF(idle);
    struct strbuf in_text = STRBUF_OF(in), out_text = STRBUF_OF(out), client_text = STRBUF_OF(client);
    struct strbuf state_text = STRBUF_OF(state), rest_text = STRBUF_OF(rest);

    strbuf_addf(&number_text, "%" PRIu64, c->conn);
    connection_view_add_time(c->duration_ms, &age_text);
    connection_view_add_time(c->idle_ms, &idle_text);
    client_text_add_amount(c->bytes_in, &in_text);
    client_text_add_amount(c->bytes_out, &out_text);
    add_text(c->client, &client_text);
    add_text(c->state, &state_text);
    add_text(c->sni, &rest_text);
    strbuf_add(&rest_text, " -> ");
    add_text(c->backend, &rest_text);
    fprintf(to, ROW, number, state, age, idle, in, out, client, rest);
}

/* ---- for programs ---- */

/** Of protobuf-c's descriptor, so that no field is forgotten: those of a Connection are of these types. */
static void print_field(struct json_out *json, const ProtobufCFieldDescriptor *field, const void *at)
{
    const char *text = field->type == PROTOBUF_C_TYPE_STRING ? *(char *const *)at : "";

    if (field->type == PROTOBUF_C_TYPE_UINT64)
        json_out_number_of(json, field->name, *(const uint64_t *)at);
    else if (field->type == PROTOBUF_C_TYPE_UINT32)
        json_out_number_of(json, field->name, *(const uint32_t *)at);
    else if (field->type == PROTOBUF_C_TYPE_BOOL && *(const protobuf_c_boolean *)at)
        json_out_bool_of(json, field->name, true);
    else if (text[0] != '\0')
        json_out_text_of(json, field->name, text);
}

void connection_view_print_json(const McProxy__V1__Connection *c, FILE *to)
{
    const ProtobufCMessageDescriptor *type = &mc_proxy__v1__connection__descriptor;
    struct json_out json = json_out_to(to);

    json_out_open(&json, '{');
    for (unsigned i = 0; i < type->n_fields; i++)
        print_field(&json, &type->fields[i], (const char *)c + type->fields[i].offset);
    json_out_close(&json, '}');
}
