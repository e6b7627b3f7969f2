/* Routes and rules out of JSON (RFC 8259): an array of flat objects, or such objects one after another (JSON lines). */

#include "row_read.h"

#include <string.h>

#include "json_in.h"

#define STRINGS_MAX_BYTES 4096 /* of one object, decoded */

struct reading {
    struct row_list *list;
    struct json_in in;
    uint8_t strings[STRINGS_MAX_BYTES];
    size_t strings_len;
};

static void complain(struct reading *r, const char *expected)
{
    row_list_problem(r->list, r->in.line, "%s%s", r->in.problem != NULL ? "" : "expected ",
                     r->in.problem != NULL ? r->in.problem : expected);
}

/** Keep a string while its object is read. */
static bool keep(struct reading *r, struct bytes text, struct bytes *out)
{
    if (text.len > STRINGS_MAX_BYTES - r->strings_len) /* GCOVR_EXCL_BR_LINE: three strings of JSON_STRING_MAX fit */
        return false;
    memcpy(r->strings + r->strings_len, text.ptr, text.len);
    *out = bytes_of(r->strings + r->strings_len, text.len);
    r->strings_len += text.len;
    return true;
}

static bool take_value(struct reading *r, const struct row_column *column, struct row_fields *fields)
{
    enum json_token token = json_in_next(&r->in);
    struct bytes text = {0};

    if (column->is_flag && (token == JSON_TRUE || token == JSON_FALSE))
        return row_column_set(column, bytes_of_str(token == JSON_TRUE ? "true" : "false"), fields);
    /* GCOVR_EXCL_BR_START: keep() has room for every string that an object can have */
    if (!column->is_flag && token == JSON_STRING && keep(r, r->in.text, &text))
        return row_column_set(column, text, fields);
    row_list_problem(r->list, r->in.line, "%s: %s", column->name,
                     r->in.problem != NULL                      ? r->in.problem
                     : token == JSON_STRING && !column->is_flag ? "the object is too long"
                     : column->is_flag                          ? "expected true or false"
                                                                : "expected a string");
    /* GCOVR_EXCL_BR_STOP */
    return false;
}

/** `"key": value`, the key being read already. */
static bool take_pair(struct reading *r, const struct row_column **seen, unsigned count, struct row_fields *fields)
{
    const struct row_column *column = row_column_find(r->list->kind, r->in.text);

    for (unsigned i = 0; i < count && column != NULL; i++) {
        if (seen[i] == column) {
            row_list_problem(r->list, r->in.line, "%s is there twice", column->name);
            return false;
        }
    }
    if (column == NULL) {
        row_list_problem(r->list, r->in.line, "there is a key %.*s; expected %s",
                         (int)(r->in.text.len < 100 ? r->in.text.len : 100), (const char *)r->in.text.ptr,
                         r->list->kind == ROW_ROUTE ? "listener_addr, hostname, backend, send_proxy_protocol"
                                                    : "type, value");
        return false;
    }
    seen[count] = column;
    if (json_in_next(&r->in) != JSON_COLON) {
        complain(r, "':'");
        return false;
    }
    return take_value(r, column, fields);
}

/** The object whose '{' was read. False: what follows makes no sense any more. */
static bool take_object(struct reading *r)
{
    const struct row_column *seen[8];
    struct row_fields fields = {0};
    unsigned line = r->in.line, count = 0;
    enum json_token token = json_in_next(&r->in);

    r->strings_len = 0;
    while (token == JSON_STRING) {
        if (!take_pair(r, seen, count++, &fields))
            return false;
        if ((token = json_in_next(&r->in)) == JSON_COMMA)
            token = json_in_next(&r->in) == JSON_STRING ? JSON_STRING : JSON_BAD;
        else if (token != JSON_CLOSE_OBJECT)
            token = JSON_BAD;
    }
    if (token != JSON_CLOSE_OBJECT) {
        complain(r, "a key and its value, ',' or '}'");
        return false;
    }
    row_list_add(r->list, line, &fields);
    return true;
}

static void read_array(struct reading *r)
{
    enum json_token token = json_in_next(&r->in);

    while (token == JSON_OPEN_OBJECT) {
        if (!take_object(r))
            return;
        if ((token = json_in_next(&r->in)) == JSON_COMMA)
            token = json_in_next(&r->in) == JSON_OPEN_OBJECT ? JSON_OPEN_OBJECT : JSON_BAD;
        else if (token != JSON_CLOSE_ARRAY)
            token = JSON_BAD;
    }
    if (token != JSON_CLOSE_ARRAY)
        complain(r, "an object, ',' or ']'");
    else if (json_in_next(&r->in) != JSON_END)
        complain(r, "nothing behind the array");
}

static void read_objects(struct reading *r)
{
    enum json_token token = JSON_OPEN_OBJECT;

    while (token == JSON_OPEN_OBJECT) {
        if (!take_object(r))
            return;
        token = json_in_next(&r->in);
    }
    if (token != JSON_END)
        complain(r, "another object or the end");
}

void row_read_json(struct row_list *list, struct bytes text)
{
    struct reading r = {.list = list};

    json_in_init(&r.in, text);
    switch (json_in_next(&r.in)) {
    case JSON_OPEN_ARRAY: read_array(&r); break;
    case JSON_OPEN_OBJECT: read_objects(&r); break;
    case JSON_END: break;
    default: complain(&r, "an array of objects"); break;
    }
}
