/* Hostnames and route patterns: one grammar for names from the configuration, the admin API and the wire, so that they compare
 * by bytes. The scan that the workers run also finds the fault that the master explains. */

#include "hostname.h"

#include <string.h>

#include "err.h"

#define LABEL_MAX 63 /* RFC 1035 2.3.4 */

/* What a byte of a label becomes; 0: no label has it. A table because tolower() asks the locale. */
/* clang-format off: rows of what belongs together */
static const char label_byte[256] = {
    ['-'] = '-', ['_'] = '_', ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5',
    ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd',
    ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l',
    ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p', ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't',
    ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y', ['z'] = 'z', ['A'] = 'a', ['B'] = 'b',
    ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j',
    ['K'] = 'k', ['L'] = 'l', ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r',
    ['S'] = 's', ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
};
/* clang-format on */

enum fault_kind { FAULT_NONE, FAULT_EMPTY, FAULT_TOO_LONG, FAULT_EMPTY_LABEL, FAULT_LONG_LABEL, FAULT_BAD_BYTE };

/* The first thing wrong with a name. */
struct fault {
    enum fault_kind kind;
    uint8_t byte; /* FAULT_BAD_BYTE: the one */
};

/* Normalises in into out (max + 1 bytes); *len_out is set when nothing is wrong. */
static struct fault scan_name(struct bytes in, size_t max, char *out, size_t *len_out)
{
    size_t len = in.len > 0 && in.ptr[in.len - 1] == '.' ? in.len - 1 : in.len;
    size_t label = 0; /* where the label at hand begins */

    if (len == 0)
        return (struct fault){.kind = FAULT_EMPTY};
    if (len > max)
        return (struct fault){.kind = FAULT_TOO_LONG};
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = in.ptr[i];

        out[i] = byte == '.' ? '.' : label_byte[byte];
        if (out[i] == '\0')
            return (struct fault){.kind = FAULT_BAD_BYTE, .byte = byte};
        if (byte == '.' && i == label)
            return (struct fault){.kind = FAULT_EMPTY_LABEL};
        if (byte == '.')
            label = i + 1;
        else if (i - label == LABEL_MAX)
            return (struct fault){.kind = FAULT_LONG_LABEL};
    }
    if (label == len)
        return (struct fault){.kind = FAULT_EMPTY_LABEL};
    out[len] = '\0';
    *len_out = len;
    return (struct fault){.kind = FAULT_NONE};
}

size_t hostname_normalise(struct bytes in, char out[HOSTNAME_MAX + 1])
{
    size_t len = 0;

    return scan_name(in, HOSTNAME_MAX, out, &len).kind == FAULT_NONE ? len : 0;
}

static void explain_byte(uint8_t byte, struct strbuf *why)
{
    if (byte == '*')
        strbuf_add(why, "a wildcard may only be the whole first label, as in \"*.example.com\"");
    else if (byte >= 0x80)
        strbuf_addf(why, "bad character \\x%02x; write an international name in its \"xn--\" form", byte);
    else if (byte > ' ' && byte < 0x7f)
        strbuf_addf(why, "bad character '%c'; only letters, digits, '-', '_' and '.' are allowed", byte);
    else
        strbuf_addf(why, "bad character \\x%02x; only letters, digits, '-', '_' and '.' are allowed", byte);
}

static void explain_fault(struct fault fault, bool is_wildcard, struct strbuf *why)
{
    switch (fault.kind) { /* GCOVR_EXCL_BR_LINE: asked about faults only, so FAULT_NONE is there for the compiler */
    case FAULT_EMPTY: strbuf_add(why, is_wildcard ? "a hostname must stand behind \"*.\"" : "must not be empty"); break;
    case FAULT_TOO_LONG: strbuf_addf(why, "must not be longer than %d bytes", HOSTNAME_MAX); break;
    case FAULT_EMPTY_LABEL: strbuf_add(why, "must not have an empty label (two dots in a row, or one in front)"); break;
    case FAULT_LONG_LABEL: strbuf_addf(why, "a label must not be longer than %d bytes", LABEL_MAX); break;
    case FAULT_BAD_BYTE: explain_byte(fault.byte, why); break;
    case FAULT_NONE: break;
    }
}

int host_pattern_parse(struct bytes text, struct host_pattern *out, struct strbuf *why)
{
    if (bytes_equal_str(text, "*")) {
        *out = (struct host_pattern){.kind = HOST_PATTERN_ANY};
        return 0;
    }
    bool is_wildcard = text.len >= 2 && memcmp(text.ptr, "*.", 2) == 0;
    size_t skipped = is_wildcard ? 2 : 0;
    struct bytes name = bytes_of(text.len > 0 ? text.ptr + skipped : NULL, text.len - skipped);
    struct host_pattern pattern = {.kind = is_wildcard ? HOST_PATTERN_WILDCARD : HOST_PATTERN_EXACT};
    size_t len = 0;
    struct fault fault = scan_name(name, HOSTNAME_MAX - skipped, pattern.name, &len);

    if (fault.kind != FAULT_NONE) {
        explain_fault(fault, is_wildcard, why);
        return ERR_INVALID;
    }
    pattern.len = (uint8_t)len;
    *out = pattern;
    return 0;
}

void host_pattern_format(const struct host_pattern *pattern, struct strbuf *out)
{
    static const char *const prefixes[] = {
        [HOST_PATTERN_EXACT] = "", [HOST_PATTERN_WILDCARD] = "*.", [HOST_PATTERN_ANY] = "*"};

    CHECK((unsigned)pattern->kind < sizeof prefixes / sizeof prefixes[0]);
    strbuf_add(out, prefixes[pattern->kind]);
    strbuf_add_bytes(out, bytes_of(pattern->name, pattern->len));
}
