/* Descriptors of .proto files, searched on the wire: what stands within what is a table. */

#include "proto_files.h"

#include <stdlib.h>

#include "err.h"
#include "proto_wire.h"

/* descriptor.proto */
#define SET_FILE        1
#define FILE_NAME       1
#define FILE_PACKAGE    2
#define FILE_DEPENDENCY 3
#define FILE_SERVICE    6
#define ANY_NAME        1 /* of a message, field, enum, value, service, method: the same number everywhere */

struct proto_file {
    struct bytes content, name, package;
    uint64_t imports; /* a bit by index; its own too */
};

struct proto_files {
    uint32_t magic;
    unsigned count;
    struct proto_file files[PROTO_FILES_MAX];
};
#define PROTO_FILES_MAGIC 0x5046494cu

/* ---- what stands within what ---- */

enum scope { SCOPE_FILE, SCOPE_MESSAGE, SCOPE_ENUM, SCOPE_SERVICE, SCOPE_LEAF };

struct declaration {
    enum scope within;
    uint32_t field; /* in which it stands there */
    enum scope scope;
    enum proto_symbol symbol;
};

/* clang-format off */
static const struct declaration declarations[] = {
    {SCOPE_FILE,    4, SCOPE_MESSAGE, PROTO_SYMBOL_MESSAGE},
    {SCOPE_FILE,    5, SCOPE_ENUM,    PROTO_SYMBOL_ENUM},
    {SCOPE_FILE,    FILE_SERVICE, SCOPE_SERVICE, PROTO_SYMBOL_SERVICE},
    {SCOPE_FILE,    7, SCOPE_LEAF,    PROTO_SYMBOL_MEMBER}, /* extension */
    {SCOPE_MESSAGE, 2, SCOPE_LEAF,    PROTO_SYMBOL_MEMBER}, /* field */
    {SCOPE_MESSAGE, 3, SCOPE_MESSAGE, PROTO_SYMBOL_MESSAGE},
    {SCOPE_MESSAGE, 4, SCOPE_ENUM,    PROTO_SYMBOL_ENUM},
    {SCOPE_MESSAGE, 6, SCOPE_LEAF,    PROTO_SYMBOL_MEMBER}, /* extension */
    {SCOPE_MESSAGE, 8, SCOPE_LEAF,    PROTO_SYMBOL_MEMBER}, /* oneof */
    {SCOPE_ENUM,    2, SCOPE_LEAF,    PROTO_SYMBOL_MEMBER}, /* value */
    {SCOPE_SERVICE, 2, SCOPE_LEAF,    PROTO_SYMBOL_MEMBER}, /* method */
};
/* clang-format on */

static const struct declaration *find_declaration(enum scope within, const struct wire_field *field)
{
    for (unsigned i = 0; i < sizeof declarations / sizeof declarations[0]; i++) {
        if (declarations[i].within == within && declarations[i].field == field->number && field->type == WIRE_LEN)
            return &declarations[i];
    }
    return NULL;
}

/** The first occurrence of a text or message in a message; empty if there is none. */
static struct bytes first_of(struct bytes message, uint32_t number)
{
    struct reader r = reader_of(message);
    struct wire_field field;

    while (wire_next(&r, &field) == 1) {
        if (field.number == number && field.type == WIRE_LEN)
            return field.bytes;
    }
    return bytes_of(NULL, 0);
}

static bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/** Take "scope." from the front of *name; false: it does not begin so. An empty scope is none. */
static bool take_scope(struct bytes *name, struct bytes scope)
{
    if (scope.len == 0)
        return true;
    if (name->len <= scope.len || memcmp(name->ptr, scope.ptr, scope.len) != 0 || name->ptr[scope.len] != '.')
        return false;
    *name = bytes_of(name->ptr + scope.len + 1, name->len - scope.len - 1);
    return true;
}

static enum proto_symbol find_within(struct bytes message, enum scope scope, struct bytes name);

static enum proto_symbol find_in_declaration(const struct declaration *d, struct bytes content, struct bytes name)
{
    struct bytes own = first_of(content, ANY_NAME);

    if (bytes_equal(own, name))
        return d->symbol;
    /* The values of an enum are named as if they stood beside it. */
    if (d->scope == SCOPE_LEAF || (d->scope != SCOPE_ENUM && !take_scope(&name, own)))
        return PROTO_SYMBOL_NONE;
    return find_within(content, d->scope, name);
}

/** Recursion ends: each turn takes a part of the name or goes from an enum to its values. */
static enum proto_symbol find_within(struct bytes message, enum scope scope, struct bytes name)
{
    struct reader r = reader_of(message);
    struct wire_field field;

    while (wire_next(&r, &field) == 1) {
        const struct declaration *d = find_declaration(scope, &field);
        enum proto_symbol symbol = d != NULL ? find_in_declaration(d, field.bytes, name) : PROTO_SYMBOL_NONE;
        if (symbol != PROTO_SYMBOL_NONE)
            return symbol;
    }
    return PROTO_SYMBOL_NONE;
}

/* ---- the set ---- */

static int find_imports(struct proto_files *files, struct proto_file *file)
{
    struct reader r = reader_of(file->content);
    struct wire_field field;
    unsigned index;
    int rc;

    while ((rc = wire_next(&r, &field)) == 1) {
        if (field.number != FILE_DEPENDENCY || field.type != WIRE_LEN)
            continue;
        if (proto_files_find(files, field.bytes, &index) != 0)
            return ERR_PROTOCOL;
        file->imports |= files->files[index].imports; /* imports come before what imports them */
    }
    return rc;
}

static int add_file(struct proto_files *files, struct bytes content)
{
    if (files->count == PROTO_FILES_MAX)
        return ERR_PROTOCOL;
    struct proto_file *file = &files->files[files->count];
    *file = (struct proto_file){
        .content = content, .name = first_of(content, FILE_NAME), .package = first_of(content, FILE_PACKAGE)};
    file->imports = 1ull << files->count;
    int rc = find_imports(files, file);
    files->count++;
    return rc;
}

static int read_set(struct proto_files *files, struct bytes set)
{
    struct reader r = reader_of(set);
    struct wire_field field;
    int rc;

    while ((rc = wire_next(&r, &field)) == 1) {
        if (field.number != SET_FILE || field.type != WIRE_LEN)
            return ERR_PROTOCOL;
        if ((rc = add_file(files, field.bytes)) != 0)
            return rc;
    }
    return rc;
}

int proto_files_new(struct bytes set, struct proto_files **out)
{
    struct proto_files *files = calloc(1, sizeof *files);
    int rc;

    if (files == NULL)
        return ERR_NO_MEMORY;
    files->magic = PROTO_FILES_MAGIC;
    if ((rc = read_set(files, set)) != 0) {
        proto_files_free(&files);
        return rc;
    }
    *out = files;
    return 0;
}

void proto_files_free(struct proto_files **files)
{
    if (*files == NULL)
        return;
    CHECK_MAGIC(*files, PROTO_FILES_MAGIC);
    (*files)->magic = 0;
    free(*files);
    *files = NULL;
}

int proto_files_find(const struct proto_files *files, struct bytes name, unsigned *index_out)
{
    CHECK_MAGIC(files, PROTO_FILES_MAGIC);
    for (unsigned i = 0; i < files->count; i++) {
        if (bytes_equal(files->files[i].name, name)) {
            *index_out = i;
            return 0;
        }
    }
    return ERR_NOT_FOUND;
}

int proto_files_find_symbol(const struct proto_files *files, struct bytes full_name, unsigned *index_out,
                            enum proto_symbol *symbol_out)
{
    CHECK_MAGIC(files, PROTO_FILES_MAGIC);
    for (unsigned i = 0; i < files->count; i++) {
        struct bytes name = full_name;
        if (!take_scope(&name, files->files[i].package))
            continue;
        *symbol_out = find_within(files->files[i].content, SCOPE_FILE, name);
        *index_out = i;
        if (*symbol_out != PROTO_SYMBOL_NONE)
            return 0;
    }
    return ERR_NOT_FOUND;
}

struct bytes proto_files_content(const struct proto_files *files, unsigned index)
{
    CHECK_MAGIC(files, PROTO_FILES_MAGIC);
    CHECK(index < files->count);
    return files->files[index].content;
}

uint64_t proto_files_with_imports(const struct proto_files *files, unsigned index)
{
    CHECK_MAGIC(files, PROTO_FILES_MAGIC);
    CHECK(index < files->count);
    return files->files[index].imports;
}

void proto_files_each_service(const struct proto_files *files, proto_service_fn fn, void *context)
{
    CHECK_MAGIC(files, PROTO_FILES_MAGIC);
    for (unsigned i = 0; i < files->count; i++) {
        struct reader r = reader_of(files->files[i].content);
        struct wire_field field;
        while (wire_next(&r, &field) == 1) {
            if (field.number == FILE_SERVICE && field.type == WIRE_LEN)
                fn(files->files[i].package, first_of(field.bytes, ANY_NAME), context);
        }
    }
}
