/*
 * The country of an address, by libmaxminddb. MMDB_open() takes nothing but a path, which a worker may not open; so the database is
 * mapped here and the library's struct MMDB_s filled in, with the library's own decoder for the metadata. Its fields are public, and
 * its header binds any change of them to a new soname.
 */

#include "geoip_reader.h"

#include <fcntl.h>
#include <maxminddb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "err.h"
#include "geoip_paths.h"

/* MaxMind DB format 2.0, https://maxmind.github.io/MaxMind-DB/ */
#define FORMAT_MAJOR_VERSION 2
#define METADATA_MARKER      "\xab\xcd\xefMaxMind.com"
#define METADATA_MARKER_SIZE (sizeof METADATA_MARKER - 1)
#define METADATA_MAX_BYTES   131072u   /* the marker lies in the last 128 KiB */
#define DATA_SEPARATOR_BYTES 16u       /* between search tree and data section */
#define FILE_MAX_BYTES       (1 << 30) /* the library counts in 32 bits; what the master takes, too */
#define IPV4_DEPTH           96u       /* of ::/96, where a database of IPv6 keeps IPv4 */

#define NEEDED_SEALS (F_SEAL_SHRINK | F_SEAL_WRITE)

struct geoip_reader {
    MMDB_s mmdb; /* file_content is our mapping; never given to MMDB_close() */
};

/* ---- the metadata ---- */

/** Where the last marker begins in the file; NULL: there is none. */
static const uint8_t *find_marker(struct bytes file)
{
    size_t tail = file.len < METADATA_MAX_BYTES ? file.len : METADATA_MAX_BYTES;
    const uint8_t *end = file.ptr + file.len;
    const uint8_t *marker = NULL;
    const uint8_t *at = end - tail;

    while ((at = memmem(at, (size_t)(end - at), METADATA_MARKER, METADATA_MARKER_SIZE)) != NULL) {
        marker = at;
        at += METADATA_MARKER_SIZE;
    }
    return marker;
}

/** A number of the metadata, which is a map like any other to the library's decoder. */
static bool read_number(const MMDB_s *metadata, const char *name, uint32_t *out)
{
    MMDB_entry_s map = {.mmdb = metadata, .offset = 0};
    const char *const path[] = {name, NULL};
    MMDB_entry_data_s data;

    if (MMDB_aget_value(&map, &data, path) != MMDB_SUCCESS || !data.has_data)
        return false;
    if (data.type == MMDB_DATA_TYPE_UINT16)
        *out = data.uint16;
    else if (data.type == MMDB_DATA_TYPE_UINT32)
        *out = data.uint32;
    else
        return false;
    return true;
}

struct layout {
    uint32_t node_count;
    uint32_t record_size; /* bits */
    uint32_t ip_version;
    uint32_t major_version;
};

static bool read_layout(struct bytes metadata, struct layout *out)
{
    const MMDB_s as_data = {.data_section = metadata.ptr, .data_section_size = (uint32_t)metadata.len};

    return read_number(&as_data, "node_count", &out->node_count) &&
           read_number(&as_data, "record_size", &out->record_size) &&
           read_number(&as_data, "ip_version", &out->ip_version) &&
           read_number(&as_data, "binary_format_major_version", &out->major_version) && out->node_count > 0 &&
           (out->record_size == 24 || out->record_size == 28 || out->record_size == 32) &&
           (out->ip_version == 4 || out->ip_version == 6) && out->major_version == FORMAT_MAJOR_VERSION;
}

/* ---- what MMDB_open() would have made of it ---- */

static int find_sections(MMDB_s *m, struct bytes file)
{
    const uint8_t *marker = find_marker(file);
    struct layout layout;

    if (marker == NULL)
        return ERR_INVALID;
    const uint8_t *metadata = marker + METADATA_MARKER_SIZE;
    size_t metadata_len = file.len - (size_t)(metadata - file.ptr);
    /* Of an empty section the library takes every offset for one inside ("offset > size - 1"), here as well as below. */
    if (metadata_len == 0 || !read_layout(bytes_of(metadata, metadata_len), &layout))
        return ERR_INVALID;
    /* In 64 bits: what the library itself computes in 32 lets a huge node_count wrap around. */
    uint64_t tree_bytes = (uint64_t)layout.node_count * (layout.record_size / 4);
    uint64_t before_metadata = (uint64_t)(marker - file.ptr);
    if (tree_bytes + DATA_SEPARATOR_BYTES >= before_metadata)
        return ERR_INVALID;

    *m = (MMDB_s){
        .file_size = (ssize_t)file.len,
        .file_content = file.ptr,
        .data_section = file.ptr + tree_bytes + DATA_SEPARATOR_BYTES,
        .data_section_size = (uint32_t)(before_metadata - tree_bytes - DATA_SEPARATOR_BYTES),
        .metadata_section = metadata,
        .metadata_section_size = (uint32_t)metadata_len,
        .full_record_byte_size = (uint16_t)(layout.record_size / 4),
        .depth = layout.ip_version == 4 ? 32 : 128,
        .metadata = {.node_count = layout.node_count,
                     .record_size = (uint16_t)layout.record_size,
                     .ip_version = (uint16_t)layout.ip_version,
                     .binary_format_major_version = (uint16_t)layout.major_version},
    };
    return 0;
}

/** Where IPv4 begins in a database of IPv6: the node of ::/96, or a record that covers all of it. */
static int find_ipv4_start(MMDB_s *m)
{
    uint64_t node = 0;
    uint16_t depth = 0;

    for (; m->metadata.ip_version == 6 && depth < IPV4_DEPTH && node < m->metadata.node_count; depth++) {
        MMDB_search_node_s records;
        if (MMDB_read_node(m, (uint32_t)node, &records) != MMDB_SUCCESS)
            return ERR_INVALID;
        node = records.left_record;
    }
    m->ipv4_start_node = (MMDB_ipv4_start_node_s){.netmask = depth, .node_value = (uint32_t)node};
    return 0;
}

static int map_file(int fd, struct bytes *out)
{
    int seals = fcntl(fd, F_GET_SEALS);
    off_t size = lseek(fd, 0, SEEK_END);

    if (seals < 0 || (seals & NEEDED_SEALS) != NEEDED_SEALS)
        return ERR_FOREIGN;
    if (size <= 0 || size > FILE_MAX_BYTES)
        return ERR_INVALID;
    void *content = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
    if (content == MAP_FAILED)
        return ERR_SYSTEM;
    *out = bytes_of(content, (size_t)size);
    return 0;
}

static void unmap_file(struct bytes file)
{
    void *content;

    memcpy(&content, &file.ptr, sizeof content); /* munmap() has no const */
    (void)munmap(content, file.len);
}

static int open_mapped(struct bytes file, struct geoip_reader **out)
{
    struct geoip_reader *r = calloc(1, sizeof *r);
    int rc = r != NULL ? 0 : ERR_NO_MEMORY;

    if (rc == 0 && (rc = find_sections(&r->mmdb, file)) == 0)
        rc = find_ipv4_start(&r->mmdb);
    if (rc != 0)
        free(r);
    else
        *out = r;
    return rc;
}

int geoip_reader_open(int fd, struct geoip_reader **out)
{
    struct bytes file;
    int rc = map_file(fd, &file);

    (void)close(fd); /* the mapping stays */
    if (rc != 0)
        return rc;
    if ((rc = open_mapped(file, out)) != 0)
        unmap_file(file);
    return rc;
}

void geoip_reader_close(struct geoip_reader **reader)
{
    struct geoip_reader *r = *reader;

    if (r == NULL)
        return;
    *reader = NULL;
    unmap_file(bytes_of(r->mmdb.file_content, (size_t)r->mmdb.file_size));
    free(r);
}

/** The text at the first of the paths that the record has. */
static bool read_code(MMDB_entry_s *entry, MMDB_entry_data_s *out)
{
    for (size_t i = 0; i < GEOIP_COUNTRY_PATHS; i++) {
        if (MMDB_aget_value(entry, out, geoip_country_paths[i]) == MMDB_SUCCESS && out->has_data)
            return out->type == MMDB_DATA_TYPE_UTF8_STRING;
    }
    return false;
}

bool geoip_reader_country(const struct geoip_reader *r, const struct ip_addr *addr, char iso_code_out[2])
{
    const struct ip_endpoint endpoint = {.addr = *addr};
    struct sockaddr_storage ss;
    MMDB_entry_data_s data;
    int status = MMDB_SUCCESS;

    if (addr->family != 4 && (addr->family != 6 || r->mmdb.metadata.ip_version == 4))
        return false;
    (void)ip_endpoint_to_sockaddr(&endpoint, &ss);
    MMDB_lookup_result_s found = MMDB_lookup_sockaddr(&r->mmdb, (const struct sockaddr *)&ss, &status);
    /* An offset behind the section is that of a record in the separator, wrapped around. */
    if (status != MMDB_SUCCESS || !found.found_entry || found.entry.offset >= r->mmdb.data_section_size)
        return false;
    if (!read_code(&found.entry, &data) || data.data_size != 2)
        return false;
    memcpy(iso_code_out, data.utf8_string, 2);
    return true;
}
