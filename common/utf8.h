#ifndef UTF8_H
#define UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "bytes.h"

/**
 * The length of the printable character at the front of text, 1 to 4; 0 if there is none (a control character, U+0000 to U+001F or
 * U+007F; what is no UTF-8 of RFC 3629; nothing). Pure.
 */
size_t utf8_char_len(struct bytes text);

/**
 * Can this be shown to people and sent as a string of protobuf: UTF-8 (RFC 3629: no surrogates, no longer form than needed) without
 * control characters (U+0000 to U+001F, U+007F)? Pure.
 */
bool utf8_is_printable(struct bytes text);

/** How many bytes from the front are UTF-8, control characters too; text.len: all. A character cut at the end does not count. Pure. */
size_t utf8_valid_prefix(struct bytes text);

#endif
