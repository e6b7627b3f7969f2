/* The table of metrics, and the same as a page for people. */

#include "metrics_catalogue.h"

#include "close_reason.h"
#include "handshake_outcome.h"

#define METRICS_ROW(id, metric_type, metric_name, metric_labels, metric_help) \
    [id] = {.name = (metric_name), .labels = (metric_labels), .help = (metric_help), .type = METRIC_##metric_type},
static const struct metric_row rows[METRIC_COUNT] = {METRICS_TABLE(METRICS_ROW)};
#undef METRICS_ROW

static const char *const type_words[] = {"counter", "gauge", "histogram"};

const char *const metric_rule_words[] = {"ip", "cidr", "country", "rate_limit"};
const char *const metric_verdict_words[] = {"name", "no_name", "rejected"};
const char *const metric_outcome_words[] = {"address", "no_address", "malformed", "timeout", "untrusted"};
const char *const metric_result_words[] = {"success", "failure"};
const char *const metric_stage_words[] = {"worker", "output"};

#define OUTCOME_WORD(id, word, sentence) [id] = (word),
const char *const metric_handshake_words[] = {HANDSHAKE_OUTCOME_TABLE(OUTCOME_WORD)};
#undef OUTCOME_WORD

#define OUTCOME_SENTENCE(id, word, sentence) [id] = (sentence),
static const char *const outcome_sentences[] = {HANDSHAKE_OUTCOME_TABLE(OUTCOME_SENTENCE)};
#undef OUTCOME_SENTENCE

/** A label whose values are words of ours. */
struct label_row {
    const char *label;
    const char *const *words;
    unsigned count;
};

static const struct label_row label_rows[] = {
    {"rule", metric_rule_words, RULE_COUNT},
    {"verdict", metric_verdict_words, VERDICT_COUNT},
    {"outcome", metric_outcome_words, OUTCOME_COUNT},
    {"result", metric_result_words, RESULT_COUNT},
    {"stage", metric_stage_words, STAGE_COUNT},
    {"outcome of handshakes", metric_handshake_words, HANDSHAKE_OUTCOMES},
};

const struct metric_row *metric_row(enum metric metric)
{
    CHECK((unsigned)metric < METRIC_COUNT);
    return &rows[metric];
}

const char *metric_type_word(enum metric_type type)
{
    CHECK((unsigned)type < sizeof type_words / sizeof type_words[0]);
    return type_words[type];
}

static void add_metrics(struct strbuf *out)
{
    strbuf_add(out, "| metric | type | labels | what |\n| --- | --- | --- | --- |\n");
    for (unsigned i = 0; i < METRIC_COUNT; i++)
        strbuf_addf(out, "| `%s` | %s | %s | %s |\n", rows[i].name, type_words[rows[i].type], rows[i].labels,
                    rows[i].help);
}

static void add_labels(struct strbuf *out)
{
    strbuf_add(out, "\n| label | values |\n| --- | --- |\n"
                    "| listener | the listener's `addr` as the configuration writes it |\n"
                    "| process | `master`, or `worker-0` and so on by the worker's number |\n"
                    "| reason | see below |\n"
                    "| route | the route's hostname as the admin API shows it |\n"
                    "| version | the program's version |\n");
    for (unsigned i = 0; i < sizeof label_rows / sizeof label_rows[0]; i++) {
        strbuf_addf(out, "| %s |", label_rows[i].label);
        for (unsigned j = 0; j < label_rows[i].count; j++)
            strbuf_addf(out, "%s `%s`", j > 0 ? "," : "", label_rows[i].words[j]);
        strbuf_add(out, " |\n");
    }
}

void metrics_catalogue_markdown(struct strbuf *out)
{
    add_metrics(out);
    add_labels(out);
    strbuf_add(out, "\n| outcome of handshakes | what the backend's first record says |\n| --- | --- |\n");
    for (unsigned outcome = 0; outcome < HANDSHAKE_OUTCOMES; outcome++)
        strbuf_addf(out, "| `%s` | %s |\n", metric_handshake_words[outcome], outcome_sentences[outcome]);
    strbuf_add(out, "\n| reason | the connection ended because |\n| --- | --- |\n");
    for (unsigned reason = 0; reason < CLOSE_REASON_COUNT; reason++)
        strbuf_addf(out, "| `%s` | %s |\n", close_reason_word(reason), close_reason_sentence(reason));
}
