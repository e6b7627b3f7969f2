/* The strings of a message, looked at on the wire. Nothing is counted on the way; only when a string is wrong, its place is found out. */

#include "proto_scan.h"

#include <protobuf-c/protobuf-c.h>
#include <string.h>

#include "err.h"
#include "proto_wire.h"
#include "utf8.h"

#define DEPTH_MAX 16 /* more than any message of ours: a type that contains itself ends here */

/** Where we are: a field within a message, within a field, ... */
struct scan_place {
    const struct scan_place *up; /* NULL: the message at the top */
    struct bytes message;        /* in which the field stands */
    const ProtobufCFieldDescriptor *field;
    const uint8_t *content; /* of this occurrence */
    unsigned depth;
};

struct scan {
    size_t first_index;
    size_t *index_out;
    struct strbuf *why;
};

/** How many occurrences of the field stand before this one. */
static size_t place_index(const struct scan_place *place)
{
    struct reader r = reader_of(place->message);
    struct wire_field field;
    size_t index = 0;

    while (wire_next(&r, &field) == 1 && field.bytes.ptr != place->content) /* GCOVR_EXCL_BR_LINE: it is in there */
        index += field.number == place->field->id;
    return index;
}

/** "changes[3].put_route.route.hostname" */
static void add_path(const struct scan *scan, const struct scan_place *place)
{
    if (place->up != NULL) {
        add_path(scan, place->up);
        strbuf_add_char(scan->why, '.');
    }
    strbuf_add(scan->why, place->field->name);
    if (place->field->label != PROTOBUF_C_LABEL_REPEATED)
        return;
    size_t index = place_index(place);
    if (place->up == NULL) { /* GCOVR_EXCL_BR_LINE: no message of ours has a list within a list's message */
        index += scan->first_index;
        *scan->index_out = index;
    }
    strbuf_addf(scan->why, "[%zu]", index);
}

static int scan_string(const struct scan *scan, const struct scan_place *place, struct bytes text)
{
    const char *reason = text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL ? "contains a NUL"
                         : utf8_valid_prefix(text) != text.len                    ? "is not UTF-8"
                                                                                  : NULL;

    if (reason == NULL)
        return 0;
    add_path(scan, place);
    strbuf_addf(scan->why, ": %s", reason);
    return ERR_INVALID;
}

static int scan_message(const struct scan *scan, const ProtobufCMessageDescriptor *type, struct bytes message,
                        const struct scan_place *up);

static int scan_field(const struct scan *scan, const struct scan_place *place, struct bytes content)
{
    if (place->field->type == PROTOBUF_C_TYPE_STRING)
        return scan_string(scan, place, content);
    if (place->field->type == PROTOBUF_C_TYPE_MESSAGE)
        return scan_message(scan, place->field->descriptor, content, place);
    return 0;
}

static int scan_message(const struct scan *scan, const ProtobufCMessageDescriptor *type, struct bytes message,
                        const struct scan_place *up)
{
    struct scan_place place = {.up = up, .message = message, .depth = up == NULL ? 0 : up->depth + 1};
    struct reader r = reader_of(message);
    struct wire_field wire;
    int rc;

    if (place.depth >= DEPTH_MAX) /* GCOVR_EXCL_BR_LINE: no message of ours holds itself */
        return ERR_PROTOCOL;
    while ((rc = wire_next(&r, &wire)) == 1) {
        place.field = protobuf_c_message_descriptor_get_field(type, wire.number);
        place.content = wire.bytes.ptr;
        if (place.field != NULL && wire.type == WIRE_LEN && (rc = scan_field(scan, &place, wire.bytes)) != 0)
            return rc;
    }
    return rc;
}

int proto_scan(const struct ProtobufCMessageDescriptor *type, struct bytes message, size_t first_index,
               size_t *index_out, struct strbuf *why)
{
    struct scan scan = {.first_index = first_index, .index_out = index_out, .why = why};

    *index_out = 0;
    return scan_message(&scan, type, message, NULL);
}
