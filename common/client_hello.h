#ifndef CLIENT_HELLO_H
#define CLIENT_HELLO_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "hostname.h"

#define CLIENT_HELLO_MAX_BYTES 65536 /* records on the wire that a ClientHello may take, headers included */

enum hello_result {
    HELLO_MORE, /* nothing wrong so far, more bytes could complete it */
    HELLO_OK,   /* complete and valid */
    HELLO_BAD,  /* no further byte could make it valid; out->reason says why */
};

/** What a valid ClientHello says. */
struct client_hello {
    uint8_t name_len;            /* 0: no server_name extension */
    char name[HOSTNAME_MAX + 1]; /* normalised, NUL-terminated */
    bool has_ech;     /* an encrypted_client_hello extension is there; name is then the outer one (RFC 9849) */
    uint8_t versions; /* HELLO_VERSION_* bits: offered in supported_versions, or what legacy_version says */
    char alpn
        [64]; /* offered protocols, comma-separated, cut at whole names; bytes outside 0x21..0x7e, ',' and '"' as '?' */
    const char *reason; /* on HELLO_BAD: static, a few words, never NULL */
    bool is_too_large;  /* on HELLO_BAD: refused for its size alone */
};

#define HELLO_VERSION_TLS10 0x01
#define HELLO_VERSION_TLS11 0x02
#define HELLO_VERSION_TLS12 0x04
#define HELLO_VERSION_TLS13 0x08
#define HELLO_VERSION_OTHER 0x10 /* any other, GREASE (RFC 8701) not counted */

/**
 * How far the records of one connection have been scanned. Small and embedded in the connection, so that a hello that comes in
 * single bytes is scanned once and not from the start each time. Zero it before the first call.
 */
struct hello_progress {
    uint32_t scanned;       /* bytes of `in` before the header of the record at hand, the first that is not complete */
    uint32_t message_bytes; /* handshake bytes in the records before it */
    uint32_t message_len;   /* length of the whole message with its header; 0 until its 4 header bytes are there */
};

/** Work space for a hello that spans records and for finding duplicate extensions; one per process is enough. */
struct hello_scratch {
    uint8_t message[CLIENT_HELLO_MAX_BYTES];
    uint64_t seen_extensions[65536 / 64]; /* all zero between calls */
};

/**
 * Find the server name in the first bytes of a TLS connection (RFC 8446 4.1.2, 4.2 and 5.1; RFC 6066 3). Pure and without
 * allocation; strict as a TLS server is (OpenSSL 3 is the model): lengths that lie, duplicate extensions, two names, an empty
 * record, other record or message types, or bytes behind the message in its last record are HELLO_BAD. Bytes behind that record
 * (early data) are the backend's business and not looked at.
 *
 * @param progress  zeroed before the first call; updated; meaningless after HELLO_OK and HELLO_BAD
 * @param in        all bytes received so far, the same ones as before plus new ones at the end; borrowed
 * @param scratch   borrowed for the call
 * @param out       complete on HELLO_OK; reason and is_too_large set on HELLO_BAD; undefined on HELLO_MORE
 */
enum hello_result client_hello_parse(struct hello_progress *progress, struct bytes in, struct hello_scratch *scratch,
                                     struct client_hello *out);

/**
 * How many bytes have to come before the verdict can be another one than HELLO_MORE: a reader may wait for them all at once. At least 1,
 * at most what is missing of one record.
 *
 * @param progress  as client_hello_parse() left it
 * @param in        the bytes that it called HELLO_MORE
 */
size_t client_hello_missing(const struct hello_progress *progress, struct bytes in);

#endif
