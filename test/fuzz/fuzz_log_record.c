/* Any bytes as a log record: two lines that are printable, whole, and fit. */

#include <stdint.h>
#include <string.h>

#include "log_event.h"
#include "log_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[LOG_LINE_MAX_BYTES + 1];

    for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
        struct strbuf line = STRBUF_OF(text);

        log_format_record(bytes_of(data, size), (enum log_format)format, &line);
        CHECK(line.len > 0 && !line.overflowed && strlen(text) == line.len);
        for (size_t i = 0; i < line.len; i++)
            CHECK(text[i] >= 0x20 && text[i] < 0x7f);
        CHECK(strstr(text, format == LOG_FORMAT_JSON ? "\"level\":\"" : " level=") != NULL);
    }
    return 0;
}
