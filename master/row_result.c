/* What an import has done, for people and programs. */

#include "row_result.h"

#include <inttypes.h>

#include "json_out.h"
#include "row_apply.h"

static void print_json(const struct row_applied *a, bool is_dry_run, FILE *to)
{
    struct json_out json = json_out_to(to);

    json_out_open(&json, '{');
    json_out_bool_of(&json, "dry_run", is_dry_run);
    json_out_number_of(&json, "added", a->added);
    json_out_number_of(&json, "replaced", a->replaced);
    json_out_number_of(&json, "removed", a->removed);
    json_out_number_of(&json, "unchanged", a->unchanged);
    json_out_close(&json, '}');
    fputc('\n', to);
}

void row_result_print(const struct row_applied *applied, bool is_dry_run, bool is_json, FILE *to)
{
    if (is_json) {
        print_json(applied, is_dry_run, to);
        return;
    }
    fprintf(to, "%s%" PRIu64 " added, %" PRIu64 " replaced, %" PRIu64 " removed, %" PRIu64 " unchanged\n",
            is_dry_run ? "nothing was changed; it would be: " : "", applied->added, applied->replaced, applied->removed,
            applied->unchanged);
}
