#ifndef SERVER_HELLO_H
#define SERVER_HELLO_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "handshake_outcome.h"

/**
 * What a backend answers to a ClientHello, read along from the bytes that pass by: nothing is decrypted, kept or held up. Small and
 * embedded; zero it before the first byte. The verdict does not depend on how the bytes are cut.
 */
struct server_hello {
    uint8_t outcome;  /* enum handshake_outcome; HANDSHAKE_NONE until the verdict */
    uint8_t alert;    /* HANDSHAKE_ALERT: its description (RFC 8446 6) */
    uint16_t version; /* HANDSHAKE_SERVER_HELLO, HANDSHAKE_RETRY: the chosen one, 0x0303 is TLS 1.2 */
    uint16_t group;   /* the same: of key_share (RFC 8446 4.2.8); 0: none, as before TLS 1.3 */

    /* how far it was read; private */
    uint8_t step;
    uint8_t have; /* bytes of the step's field */
    bool is_retry : 1;
    bool has_selected_version : 1;
    uint8_t header_have : 3; /* bytes of a record's header */
    uint8_t len_high;        /* of the record whose header comes */
    uint16_t record_left;    /* bytes of the record at hand; 0: a header comes */
    uint16_t message_left;   /* bytes of the message behind the step's field, in this record or later ones */
    uint16_t skip;           /* bytes to pass over before the step's field */
    uint32_t last4;          /* the last four bytes of fields */
};
_Static_assert(sizeof(struct server_hello) == 20, "one in every connection");

/**
 * Take the next bytes from the backend (RFC 8446 4.1.3, 5.1 and 6; RFC 5246 7.4.1.3; a HelloRetryRequest by its random). Pure. The
 * verdict falls as soon as everything is known; lengths that lie, other records and other messages are HANDSHAKE_OTHER.
 *
 * @param in  borrowed; what comes behind the verdict is not looked at
 * @return true: there is a verdict, and further calls change nothing
 */
bool server_hello_feed(struct server_hello *hello, struct bytes in);

/** No more bytes come. The verdict, if there is none yet: HANDSHAKE_NONE without a byte, else HANDSHAKE_OTHER. */
void server_hello_end(struct server_hello *hello);

/** Is there a verdict? */
bool server_hello_is_done(const struct server_hello *hello);

#endif
