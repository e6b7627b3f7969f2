#ifndef PROTO_FILES_H
#define PROTO_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "check.h"

/*
 * The .proto files of a serialized google.protobuf.FileDescriptorSet (descriptor.proto has the numbers of the fields), found by name
 * and by what they declare. Nothing is unpacked: the files are handed on as they are, and few are looked for.
 */
struct proto_files;

#define PROTO_FILES_MAX 64 /* a set of them fits into a word */

enum proto_symbol {
    PROTO_SYMBOL_NONE,
    PROTO_SYMBOL_MESSAGE,
    PROTO_SYMBOL_SERVICE,
    PROTO_SYMBOL_ENUM,
    PROTO_SYMBOL_MEMBER, /* a field, oneof, enum value, method or extension */
};

/** @param set  borrowed, stays. 0; ERR_NO_MEMORY; ERR_PROTOCOL: not such a set, an import that is not in it, or more than the maximum */
int proto_files_new(struct bytes set, struct proto_files **out) MUST_CHECK;

/** Accepts NULL; clears the caller's pointer. */
void proto_files_free(struct proto_files **files);

/** The file of this name: 0 and its index, or ERR_NOT_FOUND. */
int proto_files_find(const struct proto_files *files, struct bytes name, unsigned *index_out) MUST_CHECK;

/** The file that declares a full name ("mc_proxy.v1.Route.hostname"), and what it is: 0, or ERR_NOT_FOUND. */
int proto_files_find_symbol(const struct proto_files *files, struct bytes full_name, unsigned *index_out,
                            enum proto_symbol *symbol_out) MUST_CHECK;

/** A file as a serialized google.protobuf.FileDescriptorProto. */
struct bytes proto_files_content(const struct proto_files *files, unsigned index);

/** A file and all that it imports, directly or not: bit i for the file of index i. */
uint64_t proto_files_with_imports(const struct proto_files *files, unsigned index);

/** Call fn with the package and the name of each service. */
typedef void (*proto_service_fn)(struct bytes package, struct bytes name, void *context);
void proto_files_each_service(const struct proto_files *files, proto_service_fn fn, void *context);

#endif
