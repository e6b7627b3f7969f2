/* Pages of long lists: a token is the position where the page begins, in decimal. */

#include <stdio.h>
#include <string.h>

#include "admin_internal.h"
#include "err.h"
#include "state_change.h"

#define PAGE_SIZE_MAX 100000

/** Only what admin_page_token() writes: digits without a leading zero, of a number that fits. */
static int parse_token(const char *token, uint64_t *out)
{
    uint64_t position = 0;

    if (*token < '1' || *token > '9')
        return ERR_INVALID;
    for (; *token != '\0'; token++) {
        uint64_t digit = (uint64_t)(*token - '0');
        if (*token < '0' || *token > '9' || position > (UINT64_MAX - digit) / 10)
            return ERR_INVALID;
        position = position * 10 + digit;
    }
    *out = position;
    return position <= INT64_MAX ? 0 : ERR_INVALID;
}

int admin_page_of(uint32_t page_size, const char *page_token, struct state_page *out, struct strbuf *why)
{
    *out = (struct state_page){.limit = page_size == 0 ? UINT32_MAX : page_size};
    if (page_size > PAGE_SIZE_MAX) {
        strbuf_addf(why, "page_size: at most %d, or 0 for everything at once", PAGE_SIZE_MAX);
        return ERR_INVALID;
    }
    if (*page_token != '\0' && parse_token(page_token, &out->position) != 0) {
        strbuf_add(why, "page_token: is not what a list gave as next_page_token");
        return ERR_INVALID;
    }
    return 0;
}

void admin_page_token(const struct state_page *page, char out[ADMIN_TOKEN_MAX])
{
    out[0] = '\0';
    if (page->position != 0)
        snprintf(out, ADMIN_TOKEN_MAX, "%llu", (unsigned long long)page->position);
}
