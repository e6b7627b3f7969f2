#ifndef JSON_IN_H
#define JSON_IN_H

#include <stdint.h>

#include "bytes.h"

/* The words of a JSON text (RFC 8259), one after another; what may follow what is the caller's to know. Pure, without allocation. */

#define JSON_STRING_MAX 1024 /* of a decoded string; what the command line reads is shorter */

enum json_token {
    JSON_END,
    JSON_BAD, /* see problem */
    JSON_OPEN_OBJECT,
    JSON_CLOSE_OBJECT,
    JSON_OPEN_ARRAY,
    JSON_CLOSE_ARRAY,
    JSON_COLON,
    JSON_COMMA,
    JSON_STRING, /* see text */
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
};

struct json_in {
    struct bytes rest;   /* borrowed */
    unsigned line;       /* of the last token, from 1 */
    struct bytes text;   /* of the last JSON_STRING, decoded, valid until the next token; points into decoded */
    const char *problem; /* once JSON_BAD was returned, a sentence; else NULL */
    uint8_t decoded[JSON_STRING_MAX];
};

void json_in_init(struct json_in *in, struct bytes text);

/** The next token; after JSON_BAD and JSON_END always the same again. */
enum json_token json_in_next(struct json_in *in);

#endif
