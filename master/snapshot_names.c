/* The names of snapshots, and which of them are old. */

#include "snapshot_names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX     "mc-proxy-"
#define PREFIX_LEN (sizeof PREFIX - 1)
#define SUFFIX     ".db"
#define WHEN_SHAPE "00000000T000000Z" /* 0: any digit */
#define WHEN_LEN   (sizeof WHEN_SHAPE - 1)
#define NUMBER_MAX 1000000

void snapshot_name_format(time_t when, unsigned number, char out[SNAPSHOT_NAME_MAX])
{
    struct tm utc;
    struct strbuf name = strbuf_init(out, SNAPSHOT_NAME_MAX);
    char text[WHEN_LEN + 1] = "";

    CHECK(gmtime_r(&when, &utc) != NULL && strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &utc) == WHEN_LEN);
    strbuf_addf(&name, PREFIX "%s", text);
    if (number > 1)
        strbuf_addf(&name, "-%u", number);
    strbuf_add(&name, SUFFIX);
    CHECK(!name.overflowed);
}

static bool has_shape(const char *text)
{
    for (size_t i = 0; i < WHEN_LEN; i++) {
        bool is_digit = text[i] >= '0' && text[i] <= '9';
        if (WHEN_SHAPE[i] == '0' ? !is_digit : text[i] != WHEN_SHAPE[i])
            return false;
    }
    return true;
}

bool snapshot_name_parse(const char *name, struct snapshot_name *out)
{
    char again[SNAPSHOT_NAME_MAX];
    unsigned long number = 1;

    if (strncmp(name, PREFIX, PREFIX_LEN) != 0 || !has_shape(name + PREFIX_LEN))
        return false;
    const char *rest = name + PREFIX_LEN + WHEN_LEN;
    if (rest[0] == '-')
        number = strtoul(rest + 1, NULL, 10);
    if (number == 0 || number > NUMBER_MAX)
        return false;
    memcpy(out->when, name + PREFIX_LEN, WHEN_LEN);
    out->when[WHEN_LEN] = '\0';
    out->number = (unsigned)number;
    /* Only what we would write ourselves: no "-1", no "-02", nothing behind. */
    int len =
        snprintf(again, sizeof again, number > 1 ? PREFIX "%s-%u" SUFFIX : PREFIX "%s" SUFFIX, out->when, out->number);
    return len > 0 && strcmp(again, name) == 0;
}

unsigned snapshot_names_last(const char *folder, time_t when)
{
    char first[SNAPSHOT_NAME_MAX];
    struct snapshot_name wanted, name;
    const struct dirent *entry;
    unsigned last = 0;
    DIR *dir = opendir(folder);

    snapshot_name_format(when, 1, first);
    CHECK(snapshot_name_parse(first, &wanted));
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (snapshot_name_parse(entry->d_name, &name) && strcmp(name.when, wanted.when) == 0 && name.number > last)
            last = name.number;
    }
    if (dir != NULL)
        closedir(dir);
    return last;
}

/* ---- pruning ---- */

struct name_list {
    struct snapshot_name *names;
    size_t count;
    size_t capacity;
};

static bool list_add(struct name_list *list, const struct snapshot_name *name)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? list->capacity * 2 : 64;
        struct snapshot_name *names = realloc(list->names, capacity * sizeof *names);
        if (names == NULL)
            return false;
        list->names = names;
        list->capacity = capacity;
    }
    list->names[list->count++] = *name;
    return true;
}

static int compare_newest_first(const void *left, const void *right)
{
    const struct snapshot_name *a = left, *b = right;
    int by_time = strcmp(b->when, a->when);

    if (by_time != 0)
        return by_time;
    return (a->number < b->number) - (a->number > b->number);
}

/** All regular files with names of ours but the spared one; false if memory ran out. */
static bool collect(DIR *dir, const char *spared_name, struct name_list *out)
{
    const struct dirent *entry;
    struct snapshot_name name;
    struct stat st;

    while ((entry = readdir(dir)) != NULL) {
        if (!snapshot_name_parse(entry->d_name, &name) || strcmp(entry->d_name, spared_name) == 0 ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            continue;
        if (!list_add(out, &name))
            return false;
    }
    return true;
}

static void remove_snapshot(int folder_fd, const struct snapshot_name *name, struct strbuf *why)
{
    char file[SNAPSHOT_NAME_MAX];

    if (name->number > 1)
        snprintf(file, sizeof file, PREFIX "%s-%u" SUFFIX, name->when, name->number);
    else
        snprintf(file, sizeof file, PREFIX "%s" SUFFIX, name->when);
    if (unlinkat(folder_fd, file, 0) != 0 && errno != ENOENT)
        strbuf_addf(why, "%sthe old snapshot %s cannot be removed: %s", why->len > 0 ? "; " : "", file,
                    strerror(errno));
}

static void warn(const char *folder, const char *reason, struct strbuf *why)
{
    strbuf_addf(why, "old snapshots in %s are not removed: %s", folder, reason);
}

/** Of the spared file's path, the name if it lies in the folder and has a name of ours; else "". */
static const char *spared_name_of(const char *folder, const char *spared)
{
    struct snapshot_name name;
    size_t len = strlen(folder);

    if (strncmp(spared, folder, len) != 0 || spared[len] != '/' || !snapshot_name_parse(spared + len + 1, &name))
        return "";
    return spared + len + 1;
}

void snapshot_prune(const char *folder, unsigned keep, const char *spared, struct strbuf *why)
{
    const char *spared_name = spared_name_of(folder, spared);
    struct name_list list = {0};
    DIR *dir = opendir(folder);

    if (dir == NULL) {
        if (errno != ENOENT)
            warn(folder, strerror(errno), why);
        return;
    }
    if (collect(dir, spared_name, &list)) {
        size_t kept = spared_name[0] != '\0' ? keep - 1 : keep;
        if (list.count > 0)
            qsort(list.names, list.count, sizeof *list.names, compare_newest_first);
        for (size_t i = kept; i < list.count; i++)
            remove_snapshot(dirfd(dir), &list.names[i], why);
    } else {
        warn(folder, "out of memory", why);
    }
    free(list.names);
    closedir(dir);
}
