/* Parses a ClientHello of 64 KiB that arrives in pieces, for counting instructions: `hello_pieces BYTES PIECE RECORD TIMES` feeds a
 * hello of BYTES bytes on the wire, cut into records of RECORD bytes, PIECE bytes at a time, TIMES times. The difference between
 * two values of TIMES is the cost of one hello, without that of starting the program. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "client_hello.h"

#define RECORD_HEADER  5
#define MESSAGE_HEADER 4
#define FIXED_FIELDS   (2 + 32 + 1 + 4 + 2) /* version, random, no session id, one cipher suite, null compression */
#define SNI            "\0\0\0\x14\0\x12\0\0\x0fwww.example.com"

static uint8_t message[CLIENT_HELLO_MAX_BYTES];
static uint8_t wire[CLIENT_HELLO_MAX_BYTES];
static struct hello_scratch scratch;

static uint8_t *put(uint8_t *at, const void *bytes, size_t len)
{
    memcpy(at, bytes, len);
    return at + len;
}

static uint8_t *put_number(uint8_t *at, size_t value, unsigned width)
{
    while (width-- > 0)
        *at++ = (uint8_t)(value >> 8 * width);
    return at;
}

/** A hello with a server name and a padding extension (RFC 7685) that makes it len bytes long. */
static void build_message(size_t len)
{
    const size_t extensions = len - MESSAGE_HEADER - FIXED_FIELDS - 2;
    const size_t padding = extensions - (sizeof SNI - 1) - 4;
    uint8_t *at = put_number(message, 1, 1);

    at = put_number(at, len - MESSAGE_HEADER, 3);
    at = put(at, "\3\3random bytes, thirty-two of them", 34);
    at = put(at, "\0\0\2\x13\1\1\0", 7);
    at = put_number(at, extensions, 2);
    at = put(at, SNI, sizeof SNI - 1);
    at = put_number(at, 21, 2);
    at = put_number(at, padding, 2);
    CHECK(at + padding == message + len);
}

/** Returns the bytes on the wire: at most `bytes`. */
static size_t build_wire(size_t bytes, size_t record)
{
    size_t records = (bytes + record + RECORD_HEADER - 1) / (record + RECORD_HEADER);
    size_t len = bytes - records * RECORD_HEADER;
    uint8_t *to = wire;

    build_message(len);
    for (size_t at = 0; at < len; at += record) {
        size_t n = len - at < record ? len - at : record;
        to = put_number(put(to, "\x16\3\1", 3), n, 2);
        to = put(to, message + at, n);
    }
    return (size_t)(to - wire);
}

static void feed(size_t bytes, size_t piece)
{
    struct hello_progress progress = {0};
    struct client_hello hello;
    enum hello_result result = HELLO_MORE;

    for (size_t len = 0; len < bytes && result == HELLO_MORE;) {
        len = bytes - len < piece ? bytes : len + piece;
        result = client_hello_parse(&progress, bytes_of(wire, len), &scratch, &hello);
    }
    CHECK(result == HELLO_OK && strcmp(hello.name, "www.example.com") == 0);
}

static size_t number(const char *text, size_t min, size_t max)
{
    unsigned long value = strtoul(text, NULL, 10);

    if (value < min || value > max) {
        fprintf(stderr, "hello_pieces: %s is not within %zu..%zu\n", text, min, max);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: hello_pieces BYTES PIECE RECORD TIMES\n");
        return 2;
    }
    size_t piece = number(argv[2], 1, CLIENT_HELLO_MAX_BYTES);
    size_t bytes = build_wire(number(argv[1], 1000, CLIENT_HELLO_MAX_BYTES), number(argv[3], 1, 16384));
    for (size_t times = number(argv[4], 0, 1000000); times > 0; times--)
        feed(bytes, piece);
    return 0;
}
