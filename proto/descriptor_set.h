#ifndef DESCRIPTOR_SET_H
#define DESCRIPTOR_SET_H

#include <stddef.h>
#include <stdint.h>

/** A serialized google.protobuf.FileDescriptorSet of all our .proto files and what they import, with their comments; for reflection. */
extern const uint8_t proto_descriptor_set[];
extern const size_t proto_descriptor_set_len;

#endif
