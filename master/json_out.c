/* JSON for programs that read what the command line prints. */

#include "json_out.h"

#include <inttypes.h>

#include "utf8.h"

static void put(struct json_out *json, const char *text)
{
    fputs(text, json->to);
}

static void begin_value(struct json_out *json)
{
    if (json->has_value)
        fputc(',', json->to);
    json->has_value = true;
}

/** One character of text; returns how many bytes it took. RFC 8259 7 says what must be escaped. */
static size_t put_character(struct json_out *json, struct bytes text)
{
    size_t len = utf8_char_len(text);
    uint8_t c = text.ptr[0];

    if (c == '"' || c == '\\')
        fprintf(json->to, "\\%c", c);
    else if (len > 0)
        fwrite(text.ptr, 1, len, json->to);
    else if (c < 0x80)
        fprintf(json->to, "\\u%04x", c);
    else
        put(json, "\\ufffd");
    return len > 0 ? len : 1;
}

static void put_string(struct json_out *json, struct bytes text)
{
    fputc('"', json->to);
    while (text.len > 0) {
        size_t taken = put_character(json, text);
        text = bytes_of(text.ptr + taken, text.len - taken);
    }
    fputc('"', json->to);
}

void json_out_open(struct json_out *json, char bracket)
{
    begin_value(json);
    fputc(bracket, json->to);
    json->has_value = false;
}

void json_out_close(struct json_out *json, char bracket)
{
    fputc(bracket, json->to);
    json->has_value = true;
}

void json_out_line(struct json_out *json)
{
    if (json->has_value)
        fputc(',', json->to);
    fputc('\n', json->to);
    json->has_value = false;
}

void json_out_key(struct json_out *json, const char *key)
{
    begin_value(json);
    put_string(json, bytes_of_str(key));
    fputc(':', json->to);
    json->has_value = false;
}

void json_out_text(struct json_out *json, struct bytes text)
{
    begin_value(json);
    put_string(json, text);
}

void json_out_number(struct json_out *json, uint64_t number)
{
    begin_value(json);
    fprintf(json->to, "%" PRIu64, number);
}

void json_out_bool(struct json_out *json, bool value)
{
    begin_value(json);
    put(json, value ? "true" : "false");
}

void json_out_text_of(struct json_out *json, const char *key, const char *text)
{
    json_out_key(json, key);
    json_out_text(json, bytes_of_str(text));
}

void json_out_number_of(struct json_out *json, const char *key, uint64_t number)
{
    json_out_key(json, key);
    json_out_number(json, number);
}

void json_out_bool_of(struct json_out *json, const char *key, bool value)
{
    json_out_key(json, key);
    json_out_bool(json, value);
}
