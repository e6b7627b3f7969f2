/* ClientHellos: the verdict and all it says do not depend on the pieces that the bytes arrive in, the marks of extensions are
 * taken back, and a name that was taken is canonical. */

#include <string.h>

#include "check.h"
#include "client_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct hello_scratch scratch;

static enum hello_result parse(struct hello_progress *progress, struct bytes in, struct client_hello *out)
{
    static const uint64_t clean[sizeof scratch.seen_extensions / sizeof(uint64_t)];
    enum hello_result result = client_hello_parse(progress, in, &scratch, out);

    CHECK(memcmp(scratch.seen_extensions, clean, sizeof clean) == 0);
    CHECK(result != HELLO_MORE || in.len < CLIENT_HELLO_MAX_BYTES);
    return result;
}

static void check_hello(const struct client_hello *hello)
{
    char name[HOSTNAME_MAX + 1];

    CHECK(strlen(hello->name) == hello->name_len && memchr(hello->alpn, '\0', sizeof hello->alpn) != NULL);
    if (hello->name_len > 0) {
        CHECK(hostname_normalise(bytes_of(hello->name, hello->name_len), name) == hello->name_len);
        CHECK(strcmp(name, hello->name) == 0);
    }
}

/* Pieces of 1 to 32 bytes, their sizes from the input itself (a small generator, seeded with some of its bytes). */
static enum hello_result parse_in_pieces(struct bytes in, struct client_hello *out)
{
    struct hello_progress progress = {0};
    uint32_t seed = in.len > 0 ? (uint32_t)in.len * 2654435761u + in.ptr[in.len / 2] * 40503u + in.ptr[in.len - 1] : 1;
    enum hello_result result = parse(&progress, bytes_of(in.ptr, 0), out);

    for (size_t len = 0; result == HELLO_MORE && len < in.len;) {
        seed = seed * 1664525u + 1013904223u;
        len += 1 + (seed >> 27);
        len = len < in.len ? len : in.len;
        result = parse(&progress, bytes_of(in.ptr, len), out);
    }
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hello_progress progress = {0};
    struct client_hello whole, pieced;
    enum hello_result result = parse(&progress, bytes_of(data, size), &whole);

    CHECK(parse_in_pieces(bytes_of(data, size), &pieced) == result);
    if (result == HELLO_OK) {
        check_hello(&whole);
        CHECK(strcmp(whole.name, pieced.name) == 0 && strcmp(whole.alpn, pieced.alpn) == 0);
        CHECK(whole.versions == pieced.versions && whole.has_ech == pieced.has_ech);
    } else if (result == HELLO_BAD) {
        CHECK(whole.reason != NULL && strcmp(whole.reason, pieced.reason) == 0);
        CHECK(whole.is_too_large == pieced.is_too_large);
    }
    return 0;
}
