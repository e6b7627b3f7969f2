/* Words, classes and sentences of the close reasons, from the one table. */

#include "close_reason.h"

#include "check.h"

#define CLOSE_REASON_WORD(id, word, class, sentence) [id] = (word),
static const char *const words[] = {CLOSE_REASON_TABLE(CLOSE_REASON_WORD)};
#undef CLOSE_REASON_WORD

#define CLOSE_REASON_CLASS(id, word, class, sentence) [id] = (class),
static const enum close_class classes[] = {CLOSE_REASON_TABLE(CLOSE_REASON_CLASS)};
#undef CLOSE_REASON_CLASS

#define CLOSE_REASON_SENTENCE(id, word, class, sentence) [id] = (sentence),
static const char *const sentences[] = {CLOSE_REASON_TABLE(CLOSE_REASON_SENTENCE)};
#undef CLOSE_REASON_SENTENCE

const char *close_reason_word(enum close_reason reason)
{
    CHECK((unsigned)reason < CLOSE_REASON_COUNT);
    return words[reason];
}

enum close_class close_reason_class(enum close_reason reason)
{
    CHECK((unsigned)reason < CLOSE_REASON_COUNT);
    return classes[reason];
}

const char *close_reason_sentence(enum close_reason reason)
{
    CHECK((unsigned)reason < CLOSE_REASON_COUNT);
    return sentences[reason];
}
