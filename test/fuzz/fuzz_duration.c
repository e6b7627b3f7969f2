/* Durations: any text ends in a verdict, and an accepted one survives being written and read again. */

#include "check.h"
#include "duration.h"
#include "err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why_text[128], text[32];
    struct strbuf why = STRBUF_OF(why_text), out = STRBUF_OF(text);
    uint32_t ms, again;
    int rc = duration_parse(bytes_of(data, size), &ms, &why);

    if (rc != 0) {
        CHECK((rc == ERR_INVALID || rc == ERR_RANGE) && why.len > 0 && !why.overflowed);
        return 0;
    }
    duration_format(ms, &out);
    CHECK(why.len == 0 && !out.overflowed);
    CHECK(duration_parse(bytes_of(text, out.len), &again, &why) == 0 && again == ms);
    return 0;
}
