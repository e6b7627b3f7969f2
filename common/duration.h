#ifndef DURATION_H
#define DURATION_H

#include <stdint.h>

#include "bytes.h"
#include "check.h"
#include "strbuf.h"

/**
 * Parse "500ms", "5s", "5m", "1h", "1d" (a whole number and its unit, no blanks) into milliseconds. Pure.
 *
 * @param why  on error gets a short English reason fit to stand behind "value: " ("needs a unit: ms, s, m, h or d")
 * @return 0; ERR_INVALID for anything that is no duration, a number without unit too; ERR_RANGE if it exceeds UINT32_MAX ms
 */
int duration_parse(struct bytes text, uint32_t *ms_out, struct strbuf *why) MUST_CHECK;

/** The shortest exact text: 300000 gives "5m", 1500 gives "1500ms", 0 gives "0s". */
void duration_format(uint32_t ms, struct strbuf *out);

#endif
