/* The home of libmaxminddb in the master: makes the copy of the GeoIP database that workers look up in, and convinces itself that
 * no look-up in it can fail or crash. */

#include "geoip.h"

#include <errno.h>
#include <fcntl.h>
#include <maxminddb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "err.h"
#include "geoip_paths.h"
#include "geoip_verify.h"
#include "read_at.h"

#define GEOIP_MAX_BYTES      (1 << 30)
#define COPY_CHUNK_BYTES     262144u
#define METADATA_MAX_BYTES   131072u /* MaxMind DB format 2.0: the marker is in the last 128 KiB */
#define METADATA_MARKER      "\xab\xcd\xefMaxMind.com"
#define METADATA_MARKER_SIZE (sizeof METADATA_MARKER - 1)
#define EXPECTED             "expected a MaxMind DB file with countries"

/* ---- the copy ---- */

static int open_source(const char *path, int *fd_out, off_t *size_out, struct strbuf *why)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a named pipe must not hold us up */

    if (fd < 0 || fstat(fd, &st) != 0) {
        strbuf_addf(why, "cannot be read: %s; " EXPECTED, strerror(errno));
        if (fd >= 0)
            close(fd);
        return ERR_SYSTEM;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > GEOIP_MAX_BYTES) {
        strbuf_add(why, S_ISREG(st.st_mode) ? "is larger than 1 GiB; " EXPECTED : "is no regular file; " EXPECTED);
        close(fd);
        return S_ISREG(st.st_mode) ? ERR_TOO_LARGE : ERR_INVALID;
    }
    *fd_out = fd;
    *size_out = st.st_size;
    return 0;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR)
            return ERR_SYSTEM;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/** Copy until the end of the file; 0 or ERR_SYSTEM (errno). */
static int copy_bytes(int from, int to, char *buffer, off_t *copied_out)
{
    *copied_out = 0;
    while (*copied_out <= GEOIP_MAX_BYTES) {
        ssize_t n = read(from, buffer, COPY_CHUNK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? 0 : ERR_SYSTEM;
        if (write_all(to, buffer, (size_t)n) != 0)
            return ERR_SYSTEM;
        *copied_out += n;
    }
    return 0;
}

static int fill_copy(int source, int copy, off_t size, struct strbuf *why)
{
    char *buffer = malloc(COPY_CHUNK_BYTES);
    off_t copied;
    int rc = buffer != NULL ? copy_bytes(source, copy, buffer, &copied) : ERR_NO_MEMORY;

    free(buffer);
    if (rc != 0) {
        strbuf_addf(why, "cannot be copied: %s", rc == ERR_SYSTEM ? strerror(errno) : "out of memory");
    } else if (copied != size) {
        strbuf_add(why, "changed while it was read; expected the file to be replaced by rename");
        rc = ERR_CORRUPT;
    } else if (fcntl(copy, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
        strbuf_addf(why, "the copy cannot be sealed: %s", strerror(errno));
        rc = ERR_SYSTEM;
    }
    return rc;
}

static int make_copy(const char *path, int *fd_out, struct strbuf *why)
{
    int source, copy, rc;
    off_t size;

    if ((rc = open_source(path, &source, &size, why)) != 0)
        return rc;
    copy = memfd_create("geoip", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (copy < 0) {
        strbuf_addf(why, "cannot be copied: %s", strerror(errno));
        rc = ERR_SYSTEM;
    } else if ((rc = fill_copy(source, copy, size, why)) != 0) {
        close(copy);
    } else {
        *fd_out = copy;
    }
    close(source);
    return rc;
}

/* ---- the check ---- */

/** Is the metadata, which MMDB_open() reads, harmless? The marker is searched like libmaxminddb does: the last one counts. */
static int check_metadata(struct bytes tail)
{
    const uint8_t *metadata = NULL, *at = tail.ptr, *end = tail.ptr + tail.len;
    struct geoip_verifier v;
    int rc;

    while (at != NULL && (at = memmem(at, (size_t)(end - at), METADATA_MARKER, METADATA_MARKER_SIZE)) != NULL)
        metadata = at += METADATA_MARKER_SIZE;
    if (metadata == NULL)
        return ERR_INVALID;
    if ((rc = geoip_verifier_init(&v, bytes_of(metadata, (size_t)(end - metadata)))) != 0)
        return rc;
    rc = geoip_verifier_check(&v, 0);
    geoip_verifier_fini(&v);
    return rc;
}

static int check_tail(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return ERR_SYSTEM;
    size_t len = st.st_size < METADATA_MAX_BYTES ? (size_t)st.st_size : METADATA_MAX_BYTES;
    uint8_t *tail = malloc(METADATA_MAX_BYTES);
    if (tail == NULL)
        return ERR_NO_MEMORY;
    bool is_read = read_at(fd, tail, len, st.st_size - (off_t)len) == (ssize_t)len;
    int rc = is_read ? check_metadata(bytes_of(tail, len)) : ERR_SYSTEM;
    free(tail);
    return rc;
}

/** Does a record, already verified, name a country? 1, 0, or ERR_CORRUPT when the code is no text. */
static int record_has_country(MMDB_entry_s *entry)
{
    for (size_t i = 0; i < GEOIP_COUNTRY_PATHS; i++) {
        MMDB_entry_data_s data;
        int status = MMDB_aget_value(entry, &data, geoip_country_paths[i]);
        if (status == MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR || (status == MMDB_SUCCESS && !data.has_data))
            continue;
        return status == MMDB_SUCCESS && data.type == MMDB_DATA_TYPE_UTF8_STRING ? 1 : ERR_CORRUPT;
    }
    return 0;
}

static int check_record(struct geoip_verifier *v, uint8_t type, MMDB_entry_s *entry, bool *has_country)
{
    int rc;

    if (type != MMDB_RECORD_TYPE_DATA)
        return type == MMDB_RECORD_TYPE_INVALID ? ERR_CORRUPT : 0;
    if (entry->offset < v->section.len && (v->seen[entry->offset / 8] & 1u << entry->offset % 8) != 0)
        return 0; /* a record shared by many networks */
    if ((rc = geoip_verifier_check(v, entry->offset)) != 0 || (rc = record_has_country(entry)) < 0)
        return rc;
    *has_country |= rc == 1;
    return 0;
}

/** Visit every node, in the order of the file rather than of the tree: loops cannot hold it up. */
static int check_tree(const MMDB_s *mmdb, bool *has_country)
{
    struct geoip_verifier v;
    int rc = geoip_verifier_init(&v, bytes_of(mmdb->data_section, mmdb->data_section_size));

    for (uint32_t i = 0; rc == 0 && i < mmdb->metadata.node_count; i++) {
        MMDB_search_node_s node;
        if (MMDB_read_node(mmdb, i, &node) != MMDB_SUCCESS)
            rc = ERR_CORRUPT;
        if (rc == 0)
            rc = check_record(&v, node.left_record_type, &node.left_record_entry, has_country);
        if (rc == 0)
            rc = check_record(&v, node.right_record_type, &node.right_record_entry, has_country);
    }
    geoip_verifier_fini(&v);
    return rc;
}

/** A database whose type says Country may be empty; of any other we want to see one. */
static int check_contents(const MMDB_s *mmdb, struct strbuf *why)
{
    const char *type = mmdb->metadata.database_type != NULL ? mmdb->metadata.database_type : "";
    bool has_country = strstr(type, "Country") != NULL;
    int rc = check_tree(mmdb, &has_country);

    if (rc == ERR_NO_MEMORY)
        strbuf_add(why, "cannot be checked: out of memory");
    else if (rc != 0)
        strbuf_add(why, "is damaged; " EXPECTED);
    else if (!has_country)
        strbuf_addf(why, "is a database of type \"%.60s\" without country.iso_code or country_code; " EXPECTED, type);
    return rc != 0 ? rc : has_country ? 0 : ERR_INVALID;
}

static int check_copy(int fd, struct strbuf *why)
{
    char link[64];
    MMDB_s mmdb;
    int status, rc = check_tail(fd);

    if (rc != 0) {
        strbuf_add(why, rc == ERR_INVALID ? "is no MaxMind DB file; " EXPECTED : "is damaged; " EXPECTED);
        return rc;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    status = MMDB_open(link, MMDB_MODE_MMAP, &mmdb);
    if (status != MMDB_SUCCESS) {
        strbuf_addf(why, "is no MaxMind DB file: %s; " EXPECTED, MMDB_strerror(status));
        return ERR_INVALID;
    }
    rc = check_contents(&mmdb, why);
    MMDB_close(&mmdb);
    return rc;
}

int geoip_load_copy(const char *path, int *fd_out, struct strbuf *why)
{
    int fd, rc;

    if ((rc = make_copy(path, &fd, why)) != 0)
        return rc;
    if ((rc = check_copy(fd, why)) != 0) {
        close(fd);
        return rc;
    }
    *fd_out = fd;
    return 0;
}

const char *geoip_version_text(void)
{
    return MMDB_lib_version();
}
