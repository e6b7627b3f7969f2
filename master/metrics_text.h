#ifndef METRICS_TEXT_H
#define METRICS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metrics_catalogue.h"

/*
 * Text in Prometheus's exposition format, version 0.0.4, in one buffer that grows. An exhausted memory is remembered in `failed` and
 * asked for once, at the end; what is added after it is lost.
 */
struct metrics_text {
    char *data; /* not terminated; NULL while empty */
    size_t len;
    size_t capacity;
    bool failed;
};

/** Frees the buffer; an empty text is left. */
void metrics_text_fini(struct metrics_text *t);

void metrics_text_add(struct metrics_text *t, const char *text);

/** A label of a sample. */
struct metrics_label {
    const char *name;
    const char *value; /* any text; what the format needs escaped is escaped */
};

#define METRICS_LABELS_MAX 3 /* of one sample */

/** HELP and TYPE lines. All samples of a metric follow directly. */
void metrics_text_family(struct metrics_text *t, enum metric metric);

/**
 * One sample.
 *
 * @param suffix  "", or a histogram's "_bucket", "_sum" or "_count"
 * @param labels  count of them
 */
void metrics_text_sample(struct metrics_text *t, enum metric metric, const char *suffix,
                         const struct metrics_label *labels, unsigned count, uint64_t value);

/** The same for a time, which is written in seconds. */
void metrics_text_sample_us(struct metrics_text *t, enum metric metric, const char *suffix,
                            const struct metrics_label *labels, unsigned count, uint64_t value_us);

/** Microseconds as seconds in the shortest form: "0.0025", "10". */
#define METRICS_SECONDS_MAX 32
void metrics_format_seconds(uint64_t us, char out[METRICS_SECONDS_MAX]);

#endif
