#ifndef PROTO_SCAN_H
#define PROTO_SCAN_H

#include <stddef.h>

#include "bytes.h"
#include "check.h"
#include "strbuf.h"

struct ProtobufCMessageDescriptor;

/**
 * Look at the strings of a message before protobuf-c unpacks it: there they become NUL-terminated, so that one with a NUL inside
 * would silently be cut, and nobody checks that they are UTF-8 as proto3 demands. Walks the wire by the very descriptor that is
 * unpacked with, fields that are later overruled too. Pure.
 *
 * @param type         what the message is meant to be
 * @param first_index  added to the index of an element of a list at the message's top: it continues a list begun in other messages
 * @param index_out    on ERR_INVALID: the index (with first_index) of the top's list element that is to blame; 0: none is
 * @param why          on ERR_INVALID gets the field's path and the reason: "route.hostname: contains a NUL"
 * @return 0; ERR_INVALID; ERR_PROTOCOL: no message at all
 */
int proto_scan(const struct ProtobufCMessageDescriptor *type, struct bytes message, size_t first_index,
               size_t *index_out, struct strbuf *why) MUST_CHECK;

#endif
