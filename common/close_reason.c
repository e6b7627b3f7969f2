/* What is known of each close reason, from the one table. */

#include "close_reason.h"

#include "check.h"

struct reason_row {
    const char *word;
    enum close_class class;
    enum close_party party;
    enum close_manner manner;
    const char *sentence;
};

#define CLOSE_REASON_ROW(id, word, class, party, manner, sentence) \
    [id] = {(word), CLOSE_CLASS_##class, CLOSE_BY_##party, CLOSE_##manner, (sentence)},
static const struct reason_row rows[CLOSE_REASON_COUNT] = {CLOSE_REASON_TABLE(CLOSE_REASON_ROW)};
#undef CLOSE_REASON_ROW

static const struct reason_row *row_of(enum close_reason reason)
{
    CHECK((unsigned)reason < CLOSE_REASON_COUNT);
    return &rows[reason];
}

const char *close_reason_word(enum close_reason reason)
{
    return row_of(reason)->word;
}

enum close_class close_reason_class(enum close_reason reason)
{
    return row_of(reason)->class;
}

enum close_party close_reason_party(enum close_reason reason)
{
    return row_of(reason)->party;
}

enum close_manner close_reason_manner(enum close_reason reason)
{
    return row_of(reason)->manner;
}

const char *close_reason_sentence(enum close_reason reason)
{
    return row_of(reason)->sentence;
}
