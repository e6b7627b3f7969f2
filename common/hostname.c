/* Hostnames as operators write them and as they come from the wire: one grammar, one canonical form. */

#include "hostname.h"

#include <stdbool.h>
#include <string.h>

#include "err.h"

#define LABEL_MAX 63 /* RFC 1035 2.3.4 */

/* What a byte of a label becomes: itself, its lower case, or 0 if it may not be there. A table, as every name from the wire passes. */
static const char canonical[256] = {
    ['-'] = '-', ['_'] = '_', ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5',
    ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd',
    ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l',
    ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p', ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't',
    ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y', ['z'] = 'z', ['A'] = 'a', ['B'] = 'b',
    ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j',
    ['K'] = 'k', ['L'] = 'l', ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r',
    ['S'] = 's', ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
};

size_t hostname_normalise(struct bytes in, char out[HOSTNAME_MAX + 1])
{
    size_t len = in.len, label = 0;

    if (len > 1 && in.ptr[len - 1] == '.')
        len--;
    if (len == 0 || len > HOSTNAME_MAX)
        return 0;
    for (size_t i = 0; i < len; i++) {
        if (in.ptr[i] == '.') {
            if (label == 0)
                return 0;
            label = 0;
            out[i] = '.';
            continue;
        }
        out[i] = canonical[in.ptr[i]];
        if (out[i] == '\0' || ++label > LABEL_MAX)
            return 0;
    }
    if (label == 0)
        return 0;
    out[len] = '\0';
    return len;
}

/** Say why a text is no hostname. */
static void explain(struct bytes text, struct strbuf *why)
{
    size_t label = 0;

    if (text.len == 0) {
        strbuf_add(why, "is empty");
        return;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        if (byte == '.' && label == 0) {
            strbuf_add(why, "has an empty label (two dots, or one at the front)");
            return;
        }
        label = byte == '.' ? 0 : label + 1;
        if (label > LABEL_MAX) {
            strbuf_addf(why, "has a label of more than %d bytes", LABEL_MAX);
            return;
        }
        if (byte != '.' && canonical[byte] == '\0') {
            if (byte == '*')
                strbuf_add(why, "'*' may only stand alone or as the whole first label (*.example.com)");
            else if (byte > 0x20 && byte < 0x7f)
                strbuf_addf(why, "may not contain '%c': letters, digits, '-' and '_' only", byte);
            else
                strbuf_addf(
                    why,
                    "may not contain byte 0x%02x: letters, digits, '-' and '_' only (write an international name as A-label, xn--...)",
                    byte);
            return;
        }
    }
    strbuf_addf(why, "is longer than %d bytes", HOSTNAME_MAX);
}

int host_pattern_parse(struct bytes text, struct host_pattern *out, struct strbuf *why)
{
    struct bytes name = text;

    if (bytes_equal_str(text, "*")) {
        *out = (struct host_pattern){.kind = HOST_PATTERN_ANY};
        return 0;
    }
    out->kind = HOST_PATTERN_EXACT;
    if (text.len >= 2 && text.ptr[0] == '*' && text.ptr[1] == '.') {
        out->kind = HOST_PATTERN_WILDCARD;
        name = bytes_of(text.ptr + 2, text.len - 2);
    }
    size_t len = hostname_normalise(name, out->name);
    if (len == 0) {
        explain(name, why);
        return ERR_INVALID;
    }
    if (out->kind == HOST_PATTERN_WILDCARD && len + 2 > HOSTNAME_MAX) {
        strbuf_addf(why, "is longer than %d bytes", HOSTNAME_MAX);
        return ERR_INVALID;
    }
    out->len = (uint8_t)len;
    return 0;
}

void host_pattern_format(const struct host_pattern *pattern, struct strbuf *out)
{
    if (pattern->kind == HOST_PATTERN_ANY) {
        strbuf_add(out, "*");
        return;
    }
    if (pattern->kind == HOST_PATTERN_WILDCARD)
        strbuf_add(out, "*.");
    strbuf_add_bytes(out, bytes_of(pattern->name, pattern->len));
}
