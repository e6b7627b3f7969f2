/* Error codes, their kinds and their words, from one table. */

#include "err.h"

struct err_row {
    int code;
    enum err_kind kind;
    const char *text;
};

#define ERR_ROW(code, value, kind, text) {code, kind, text},
static const struct err_row rows[] = {ERR_TABLE(ERR_ROW)};
#undef ERR_ROW

static const struct err_row *find_row(int code)
{
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].code == code)
            return &rows[i];
    }
    return 0;
}

enum err_kind err_kind_of(int code)
{
    const struct err_row *row = find_row(code);
    return code == 0 ? ERR_KIND_NONE : row != 0 ? row->kind : ERR_KIND_BUG;
}

const char *err_text(int code)
{
    const struct err_row *row = find_row(code);
    return code == 0 ? "ok" : row != 0 ? row->text : "unknown error";
}
