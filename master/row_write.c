/* Routes and rules into the formats that row_read.h describes. */

#include "row_write.h"

#include <string.h>

#include "json_out.h"

/* ---- text ---- */

static bool needs_quotes(const char *word)
{
    if (word[0] == '#' || word[0] == ';')
        return true;
    for (const char *c = word; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte <= ' ' || byte == 0x7f || byte == '"' || byte == '\\')
            return true;
    }
    return word[0] == '\0';
}

static void put_word(const char *word, FILE *to)
{
    if (!needs_quotes(word)) {
        fputs(word, to);
        return;
    }
    fputc('"', to);
    for (const char *c = word; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte == '"' || byte == '\\')
            fprintf(to, "\\%c", byte);
        else if (byte < ' ' || byte == 0x7f)
            fprintf(to, "\\x%02x", byte);
        else
            fputc(byte, to);
    }
    fputc('"', to);
}

void row_write_text(const struct row *row, FILE *to)
{
    if (row->value != NULL) {
        fprintf(to, "%s %s", row_rule_word(row->rule_kind), row->value);
        return;
    }
    fprintf(to, "%s %s ", row->listener, row->hostname);
    put_word(row->backend, to);
    if (row->send_proxy_protocol)
        fputs(" send_proxy_protocol", to);
}

/* ---- CSV ---- */

static void put_field(const char *text, FILE *to)
{
    if (strpbrk(text, ",\"\r\n") == NULL) {
        fputs(text, to);
        return;
    }
    fputc('"', to);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            fputc('"', to);
        fputc(*text, to);
    }
    fputc('"', to);
}

static void put_csv(const struct row *row, FILE *to)
{
    if (row->value != NULL) {
        fprintf(to, "%s,%s\n", row_rule_word(row->rule_kind), row->value);
        return;
    }
    fprintf(to, "%s,%s,", row->listener, row->hostname);
    put_field(row->backend, to);
    fputs(row->send_proxy_protocol ? ",true\n" : ",false\n", to);
}

/* ---- JSON ---- */

static void put_json(struct json_out *json, const struct row *row)
{
    json_out_line(json);
    json_out_open(json, '{');
    if (row->value != NULL) {
        json_out_text_of(json, "type", row_rule_word(row->rule_kind));
        json_out_text_of(json, "value", row->value);
    } else {
        json_out_text_of(json, "listener_addr", row->listener);
        json_out_text_of(json, "hostname", row->hostname);
        json_out_text_of(json, "backend", row->backend);
        json_out_bool_of(json, "send_proxy_protocol", row->send_proxy_protocol);
    }
    json_out_close(json, '}');
}

static void write_json(const struct row_list *list, FILE *to)
{
    struct json_out json = json_out_to(to);

    json_out_open(&json, '[');
    for (size_t i = 0; i < list->count; i++)
        put_json(&json, &list->rows[i]);
    if (list->count > 0)
        fputc('\n', to);
    json_out_close(&json, ']');
    fputc('\n', to);
}

/* ---- all ---- */

void row_write(const struct row_list *list, enum row_format format, FILE *to)
{
    if (format == ROW_FORMAT_JSON) {
        write_json(list, to);
        return;
    }
    if (format == ROW_FORMAT_CSV)
        fputs(list->kind == ROW_ROUTE ? "listener_addr,hostname,backend,send_proxy_protocol\n" : "type,value\n", to);
    for (size_t i = 0; i < list->count; i++) {
        if (format == ROW_FORMAT_CSV) {
            put_csv(&list->rows[i], to);
        } else {
            row_write_text(&list->rows[i], to);
            fputc('\n', to);
        }
    }
}
