#ifndef ERR_H
#define ERR_H

/** What a caller can do about an error: drop the peer, show the operator, try later, look at errno, fix the program. */
enum err_kind {
    ERR_KIND_NONE,
    ERR_KIND_PEER,     /* bytes from outside were wrong */
    ERR_KIND_CONFIG,   /* an operator's value or file is wrong */
    ERR_KIND_RESOURCE, /* memory, descriptors, disk, ports: may work later */
    ERR_KIND_SYSTEM,   /* a system call failed; errno was kept */
    ERR_KIND_BUG,
};

/*      code               value kind               text */
#define ERR_TABLE(X)                                              \
    X(ERR_INVALID, -1, ERR_KIND_CONFIG, "invalid value")          \
    X(ERR_RANGE, -2, ERR_KIND_CONFIG, "value out of range")       \
    X(ERR_EXISTS, -3, ERR_KIND_CONFIG, "already exists")          \
    X(ERR_NOT_FOUND, -4, ERR_KIND_CONFIG, "not found")            \
    X(ERR_TOO_LARGE, -5, ERR_KIND_CONFIG, "too large")            \
    X(ERR_PROTOCOL, -6, ERR_KIND_PEER, "protocol violated")       \
    X(ERR_CLOSED, -7, ERR_KIND_PEER, "closed by the other side")  \
    X(ERR_NO_MEMORY, -8, ERR_KIND_RESOURCE, "out of memory")      \
    X(ERR_NO_SPACE, -9, ERR_KIND_RESOURCE, "no space left")       \
    X(ERR_FULL, -10, ERR_KIND_RESOURCE, "full")                   \
    X(ERR_TIMEOUT, -11, ERR_KIND_RESOURCE, "timed out")           \
    X(ERR_UNAVAILABLE, -12, ERR_KIND_RESOURCE, "unavailable")     \
    X(ERR_IN_USE, -13, ERR_KIND_RESOURCE, "in use")               \
    X(ERR_CORRUPT, -14, ERR_KIND_SYSTEM, "corrupt")               \
    X(ERR_FOREIGN, -15, ERR_KIND_SYSTEM, "not ours")              \
    X(ERR_NEWER, -16, ERR_KIND_SYSTEM, "made by a newer version") \
    X(ERR_SYSTEM, -17, ERR_KIND_SYSTEM, "system call failed")     \
    X(ERR_BUG, -18, ERR_KIND_BUG, "internal error")               \
    X(ERR_PRECONDITION, -19, ERR_KIND_CONFIG, "something else must be done first")

#define ERR_ENUM(code, value, kind, text) code = (value),
/* Fallible functions return 0 or one of these, all negative. Output parameters are set only on 0 unless their header says so. */
enum err { ERR_TABLE(ERR_ENUM) };
#undef ERR_ENUM

/** The kind of a code; ERR_KIND_NONE for 0, ERR_KIND_BUG for a number that is no code. */
enum err_kind err_kind_of(int code);

/** A short text for people, static, never NULL. */
const char *err_text(int code);

#endif
