/* Two sorted lists walked side by side. */

#include "row_diff.h"

#include <stdlib.h>

#include "err.h"
#include "row_write.h"

static int allocate(struct row_diff *d, size_t wanted_count, size_t current_count)
{
    size_t both = wanted_count < current_count ? wanted_count : current_count;

    d->added = calloc(wanted_count + 1, sizeof(const struct row *));
    d->removed = calloc(current_count + 1, sizeof(const struct row *));
    d->replaced = calloc(both + 1, sizeof *d->replaced);
    return d->added != NULL && d->removed != NULL && d->replaced != NULL ? 0 : ERR_NO_MEMORY;
}

static void walk(struct row_diff *d, const struct row **wanted, size_t wanted_count, const struct row **current,
                 size_t current_count)
{
    size_t w = 0, c = 0;

    while (w < wanted_count || c < current_count) {
        int order = w == wanted_count ? 1 : c == current_count ? -1 : row_compare(wanted[w], current[c]);
        if (order < 0) {
            d->added[d->added_count++] = wanted[w++];
        } else if (order > 0) {
            d->removed[d->removed_count++] = current[c++];
        } else {
            if (!row_is_same(wanted[w], current[c]))
                d->replaced[d->replaced_count++] = (struct row_replaced){.before = current[c], .after = wanted[w]};
            w++;
            c++;
        }
    }
}

int row_diff_make(struct row_diff *out, const struct row **wanted, size_t wanted_count, struct row_list *current)
{
    const struct row **sorted;
    size_t count = row_list_sort(current, &sorted);
    int rc = current->is_out_of_memory ? ERR_NO_MEMORY : allocate(out, wanted_count, count);

    if (rc == 0)
        walk(out, wanted, wanted_count, sorted, count);
    free(sorted);
    return rc;
}

void row_diff_fini(struct row_diff *diff)
{
    free(diff->added);
    free(diff->removed);
    free(diff->replaced);
    *diff = (struct row_diff){0};
}

static void print_rows(const char *sign, const struct row **rows, size_t count, FILE *to)
{
    for (size_t i = 0; i < count; i++) {
        fputs(sign, to);
        row_write_text(rows[i], to);
        fputc('\n', to);
    }
}

void row_diff_print(const struct row_diff *diff, bool with_removals, FILE *to)
{
    if (with_removals)
        print_rows("- ", diff->removed, diff->removed_count, to);
    for (size_t i = 0; i < diff->replaced_count; i++) {
        fputs("~ ", to);
        row_write_text(diff->replaced[i].after, to);
        fputs(" (was ", to);
        row_write_text(diff->replaced[i].before, to);
        fputs(")\n", to);
    }
    print_rows("+ ", diff->added, diff->added_count, to);
}
