/* Names of versions, groups and alerts, as IANA has them. */

#include "tls_names.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "client_hello.h"

struct name_row {
    uint16_t number;
    const char *name;
};

static const struct name_row versions[] = {
    {0x0304, "1.3"}, {0x0303, "1.2"}, {0x0302, "1.1"}, {0x0301, "1.0"}, {0x0300, "ssl3"},
};

/* What servers choose most comes first. */
static const struct name_row groups[] = {
    {0x11ec, "x25519mlkem768"},
    {29, "x25519"},
    {23, "secp256r1"},
    {24, "secp384r1"},
    {25, "secp521r1"},
    {30, "x448"},
    {0x11eb, "secp256r1mlkem768"},
    {0x11ed, "secp384r1mlkem1024"},
    {0x11ee, "curvesm2mlkem768"},
    {0x0200, "mlkem512"},
    {0x0201, "mlkem768"},
    {0x0202, "mlkem1024"},
    {0x6399, "x25519kyber768draft00"},
    {26, "brainpoolp256r1"},
    {27, "brainpoolp384r1"},
    {28, "brainpoolp512r1"},
    {31, "brainpoolp256r1tls13"},
    {32, "brainpoolp384r1tls13"},
    {33, "brainpoolp512r1tls13"},
    {41, "curvesm2"},
    {256, "ffdhe2048"},
    {257, "ffdhe3072"},
    {258, "ffdhe4096"},
    {259, "ffdhe6144"},
    {260, "ffdhe8192"},
};

static const char *const alerts[256] = {
    [0] = "close_notify",
    [10] = "unexpected_message",
    [20] = "bad_record_mac",
    [21] = "decryption_failed",
    [22] = "record_overflow",
    [30] = "decompression_failure",
    [40] = "handshake_failure",
    [41] = "no_certificate",
    [42] = "bad_certificate",
    [43] = "unsupported_certificate",
    [44] = "certificate_revoked",
    [45] = "certificate_expired",
    [46] = "certificate_unknown",
    [47] = "illegal_parameter",
    [48] = "unknown_ca",
    [49] = "access_denied",
    [50] = "decode_error",
    [51] = "decrypt_error",
    [60] = "export_restriction",
    [70] = "protocol_version",
    [71] = "insufficient_security",
    [80] = "internal_error",
    [86] = "inappropriate_fallback",
    [90] = "user_canceled",
    [100] = "no_renegotiation",
    [109] = "missing_extension",
    [110] = "unsupported_extension",
    [111] = "certificate_unobtainable",
    [112] = "unrecognized_name",
    [113] = "bad_certificate_status_response",
    [114] = "bad_certificate_hash_value",
    [115] = "unknown_psk_identity",
    [116] = "certificate_required",
    [120] = "no_application_protocol",
    [121] = "ech_required",
};

static const struct {
    uint8_t bit;
    uint8_t len;
    char name[8]; /* in every access line: copied as one word */
} version_bits[] = {
    {HELLO_VERSION_TLS13, 3, "1.3"}, {HELLO_VERSION_TLS12, 3, "1.2"},   {HELLO_VERSION_TLS11, 3, "1.1"},
    {HELLO_VERSION_TLS10, 3, "1.0"}, {HELLO_VERSION_OTHER, 5, "other"},
};
_Static_assert(4ul * 4 + sizeof version_bits[0].name <= TLS_VERSIONS_MAX, "the last word fits");

#define OUTCOME_WORD(id, word, sentence) [id] = (word),
static const char *const outcome_words[] = {HANDSHAKE_OUTCOME_TABLE(OUTCOME_WORD)};
#undef OUTCOME_WORD

static const char *name_in(const struct name_row *rows, size_t count, uint16_t number, char buffer[TLS_NAME_MAX])
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].number == number)
            return rows[i].name;
    }
    (void)snprintf(buffer, TLS_NAME_MAX, "0x%04x", number);
    return buffer;
}

const char *tls_version_name(uint16_t version, char buffer[TLS_NAME_MAX])
{
    return name_in(versions, sizeof versions / sizeof versions[0], version, buffer);
}

const char *tls_group_name(uint16_t group, char buffer[TLS_NAME_MAX])
{
    return name_in(groups, sizeof groups / sizeof groups[0], group, buffer);
}

const char *tls_alert_name(uint8_t description, char buffer[TLS_NAME_MAX])
{
    if (alerts[description] != NULL)
        return alerts[description];
    (void)snprintf(buffer, TLS_NAME_MAX, "%u", description);
    return buffer;
}

const char *tls_versions_text(uint8_t bits, char buffer[TLS_VERSIONS_MAX])
{
    char *at = buffer;

    for (size_t i = 0; i < sizeof version_bits / sizeof version_bits[0]; i++) {
        if ((bits & version_bits[i].bit) == 0)
            continue;
        memcpy(at, version_bits[i].name, sizeof version_bits[i].name);
        at += version_bits[i].len;
        *at++ = ',';
    }
    at[at > buffer ? -1 : 0] = '\0'; /* in place of the last comma */
    return buffer;
}

const char *handshake_outcome_word(enum handshake_outcome outcome)
{
    CHECK((unsigned)outcome < HANDSHAKE_OUTCOMES);
    return outcome_words[outcome];
}
