#ifndef JSON_OUT_H
#define JSON_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bytes.h"

/**
 * Writes one JSON document (RFC 8259) to a stream, commas and escapes included. Calls come in the order of the document; a key before
 * each value inside of an object. Text that is no UTF-8 gets U+FFFD for each wrong byte, so that the document is always valid.
 */
struct json_out {
    FILE *to;       /* borrowed; its errors are the caller's to look for */
    bool has_value; /* a comma is due before the next value */
};

static inline struct json_out json_out_to(FILE *to)
{
    return (struct json_out){.to = to};
}

void json_out_open(struct json_out *json, char bracket);  /* '{' or '[' */
void json_out_close(struct json_out *json, char bracket); /* '}' or ']' */
/** In an array of objects: each begins on a line of its own. */
void json_out_line(struct json_out *json);
void json_out_key(struct json_out *json, const char *key);

void json_out_text(struct json_out *json, struct bytes text);
void json_out_number(struct json_out *json, uint64_t number);
void json_out_bool(struct json_out *json, bool value);

/* A key and its value. */
void json_out_text_of(struct json_out *json, const char *key, const char *text);
void json_out_number_of(struct json_out *json, const char *key, uint64_t number);
void json_out_bool_of(struct json_out *json, const char *key, bool value);

#endif
