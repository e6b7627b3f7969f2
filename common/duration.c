/* Durations as operators write them: a whole number and its unit. */

#include "duration.h"

#include <string.h>

#include "err.h"
#include "invalid.h"

static const struct duration_unit {
    const char *name;
    uint32_t ms;
} units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

#define UNITS (sizeof units / sizeof units[0])

static const struct duration_unit *find_unit(struct bytes name)
{
    for (size_t i = 0; i < UNITS; i++) {
        if (bytes_equal_str(name, units[i].name))
            return &units[i];
    }
    return NULL;
}

/* What is most likely wrong with the text behind the digits, which is no unit. */
static const char *unit_fault(struct bytes rest)
{
    if (rest.len == 0)
        return "needs a unit: ms, s, m, h or d";
    if (rest.ptr[0] == '.' || rest.ptr[0] == ',')
        return "must be a whole number, write 1500ms for one and a half seconds";
    if (rest.ptr[0] == ' ' || rest.ptr[0] == '\t')
        return "must not have a blank between number and unit";
    return "unit must be ms, s, m, h or d";
}

int duration_parse(struct bytes text, uint32_t *ms_out, struct strbuf *why)
{
    uint64_t value = 0;
    size_t digits = 0;

    for (; digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9'; digits++) {
        if (value <= UINT32_MAX) /* one digit more cannot overflow 64 bits */
            value = value * 10 + (uint64_t)(text.ptr[digits] - '0');
    }
    if (digits == 0)
        return invalid(why, "must be a number and its unit: 500ms, 5s, 5m, 1h or 1d");

    struct bytes rest = bytes_of(text.ptr + digits, text.len - digits);
    const struct duration_unit *unit = find_unit(rest);
    if (unit == NULL)
        return invalid(why, unit_fault(rest));
    if (value > UINT32_MAX / unit->ms) {
        strbuf_addf(why, "must be at most %u%s", UINT32_MAX / unit->ms, unit->name);
        return ERR_RANGE;
    }
    *ms_out = (uint32_t)value * unit->ms;
    return 0;
}

void duration_format(uint32_t ms, struct strbuf *out)
{
    if (ms == 0) {
        strbuf_add(out, "0s");
        return;
    }
    /* The largest unit that divides it has the shortest number; milliseconds always do. */
    const struct duration_unit *unit = units;
    while (ms % unit->ms != 0)
        unit++;
    strbuf_addf(out, "%u%s", ms / unit->ms, unit->name);
}
