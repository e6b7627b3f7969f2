#ifndef TLS_NAMES_H
#define TLS_NAMES_H

#include <stdint.h>

#include "handshake_outcome.h"

/* Numbers of TLS by the names that people know them by. All functions are pure; what has no name is given as a number. */

#define TLS_NAME_MAX     8  /* "0xfafa", "255" */
#define TLS_VERSIONS_MAX 32 /* "1.3,1.2,1.1,1.0,other" */

/** "1.3" for 0x0304; "0x7f1c" without a name. Static, or in buffer. */
const char *tls_version_name(uint16_t version, char buffer[TLS_NAME_MAX]);

/** "x25519mlkem768", "secp256r1" (IANA's TLS Supported Groups, in lower case); "0xfafa". Static, or in buffer. */
const char *tls_group_name(uint16_t group, char buffer[TLS_NAME_MAX]);

/** "handshake_failure" (RFC 8446 6, and older ones); "255". Static, or in buffer. */
const char *tls_alert_name(uint8_t description, char buffer[TLS_NAME_MAX]);

/** HELLO_VERSION_* bits, the newest first: "1.3,1.2"; "" for none. Returns buffer. */
const char *tls_versions_text(uint8_t bits, char buffer[TLS_VERSIONS_MAX]);

/** The log word of an outcome, static. */
const char *handshake_outcome_word(enum handshake_outcome outcome);

#endif
