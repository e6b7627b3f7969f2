#ifndef ROW_ACCOUNT_H
#define ROW_ACCOUNT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "row_read.h"
#include "row_write.h"

/* Rows and problems of a file as one text, for comparing. */

struct row_account {
    char problems[4096];
    struct strbuf out;
};

static inline void row_account_problem(void *context, unsigned line, const char *text)
{
    struct row_account *account = context;

    strbuf_addf(&account->out, "%u: %s\n", line, text);
}

static inline void row_account_read(struct row_account *account, struct row_list *list, enum row_kind kind,
                                    enum row_format format, struct bytes text)
{
    account->out = STRBUF_OF(account->problems);
    row_list_init(list, kind, row_account_problem, account);
    row_read(list, format, text);
}

/** The caller frees it. */
static inline char *row_account_write(const struct row_list *list, enum row_format format)
{
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);

    row_write(list, format, to);
    fclose(to);
    return text;
}

#endif
