#ifndef SHM_LAYOUT_H
#define SHM_LAYOUT_H

#include <stdatomic.h>
#include <stdint.h>

#include "address.h"
#include "close_reason.h"
#include "handshake_outcome.h"

/*
 * All memory that master and workers share. Three kinds of segments, each a memfd that can neither grow nor shrink:
 *
 *   tables   master read-write, workers read-only: routes, backends, firewall. One sparse file of many GiB of address space, of
 *            which only what is used takes memory, so that growing never needs a new mapping:
 *
 *            0            struct shm_tables            fixed place
 *            SHM_ARENA    records, hash arrays, ...    found by offset from the segment's start, never by pointer
 *
 *   stats    read-write for all: one block per worker slot with heartbeat, epoch pin and counters; survives the worker.
 *   log      read-write for one worker and the master: a ring of log records (log_ring.h).
 *
 * Rules of the tables segment, which make it safe without locks or retries:
 *   - a record is complete before one 8-byte release store (a hash slot, a backend word, the root word) makes it visible;
 *   - a visible record never changes, except for fields marked _Atomic;
 *   - readers pin an epoch (table_view.h), load what they need with acquire, copy it, release; all within one callback;
 *   - memory of an unpublished record is used again only when every pinned epoch is newer than its unpublishing.
 *
 * How readers and the writer agree. A change is: epoch + 1, its stores, then epoch + 1 again, sequentially consistent. What was
 * unpublished in between is tagged with the epoch in between, E. A reader pins the epoch it has read and then loads the root.
 *   - A reader that pinned more than E has read the second increment, which came after the unpublishing: it cannot find the record.
 *   - A reader that pinned E or less may hold it: the record stays until that pin is gone.
 *   - A reader whose pin the writer did not see when it looked wrote it later, and its fence makes it see all that came before.
 * The first increment lets a look-up that took several loads notice that a change began meanwhile (route_table.c).
 * Only what the admin API can change at run time lives here. What comes from the configuration alone reaches workers by ctl_msg.h.
 */

#define SHM_LAYOUT_VERSION 3
#define SHM_TABLES_MAGIC   0x31424154504d434dull /* "MCMPTAB1" */
#define SHM_STATS_MAGIC    0x31415453504d434dull /* "MCMPSTA1" */

#define SHM_LISTENERS_MAX     1024  /* listener ids 0..1023, over the life of a master */
#define SHM_WORKERS_MAX       256   /* worker slots 0..255 */
#define SHM_BACKEND_ADDRS_MAX 8     /* addresses kept per backend name */
#define SHM_ROUTE_SERIES_MAX  16384 /* routes that are counted one by one, and one more */
#define SHM_CACHE_LINE        64

/** An offset from the start of the tables segment; 0 is "none". Records lie on multiples of 8. */
typedef uint64_t shm_off;

/*
 * A hash table of 8-byte slots in buckets of one cache line (shm_hash.h):
 *
 *     63            32 31             0
 *     | hash tag     | offset / 8     |    0: never used    1: was used (a search goes on)
 */
#define SHM_HASH_BUCKET_SLOTS 8
#define SHM_HASH_EMPTY        0ull
#define SHM_HASH_TOMBSTONE    1ull

struct shm_hash_bucket {
    _Alignas(SHM_CACHE_LINE) _Atomic uint64_t slots[SHM_HASH_BUCKET_SLOTS];
};
_Static_assert(sizeof(struct shm_hash_bucket) == SHM_CACHE_LINE, "a bucket is one cache line");

/** A hash array; bucket_count is a power of two, or 0 for a table that has no array yet. */
struct shm_hash_ref {
    shm_off buckets;
    uint32_t bucket_count;
    uint32_t reserved;
};

/**
 * Which wildcard depths a listener has: bit d of word d / 64 says that a wildcard route with d labels exists (bit 0: "*"). The
 * longest pattern ("*." and 251 bytes) has 126 labels, so every depth has a bit of its own and a name costs no more probes than
 * there are depths. A bit is set before the first such route becomes visible and cleared after the last one went.
 */
struct shm_route_depths {
    _Atomic uint64_t words[2];
};
#define SHM_ROUTE_DEPTH_MAX 126 /* labels of the longest wildcard; 127 is never used */

/** What is found from one word: replaced as a whole when an array grows or is rebuilt. Immutable once published. */
struct shm_root {
    uint64_t generation; /* 1 and up */
    struct shm_hash_ref routes;
    shm_off route_depths;    /* struct shm_route_depths[SHM_LISTENERS_MAX]; belongs to routes and changes with it */
    struct shm_hash_ref fw4; /* firewall, IPv4 prefixes */
    struct shm_hash_ref fw6; /* firewall, IPv6 prefixes */
    shm_off fw_masks;        /* struct shm_fw_masks; belongs to both and changes with either */
    /* _Atomic uint64_t[backend_capacity]: backend id -> offset of struct shm_backend, 0: free. The same in every root: a reader
     * with an older root finds routes that were added since, so the ids in them must mean the same there. */
    shm_off backends;
    uint32_t backend_capacity;
    uint32_t reserved;
};
_Static_assert(sizeof(struct shm_root) == 88, "shared layout");

/** A listener as the tables know it; its place in the array is the listener id. */
struct shm_listener {
    _Atomic uint32_t max_connections; /* 0: no limit */
    _Atomic uint32_t reserved;
};
_Static_assert(sizeof(struct shm_listener) == 8, "shared layout");

/**
 * Which prefix lengths have rules, as a look-up asks only for those, and which countries. A length's bit is set before the first
 * such rule becomes visible and cleared after the last one went. When an array is built anew or all rules are replaced, the new
 * root has masks of its own, and those of the old one stay as they were: whoever still holds it sees the rules of one moment.
 */
struct shm_fw_masks {
    _Atomic uint64_t lengths4;      /* bit p: a rule with prefix length p, 0..32 */
    _Atomic uint64_t lengths6[3];   /* bit p % 64 of word p / 64, 0..128 */
    _Atomic uint64_t countries[11]; /* bit (26 * first + second letter, 'A' = 0) */
};

/**
 * The rule of the rate limiter (rate_limit.h). What an address has used is counted in intervals of the rule that was in force then,
 * so the last rules stay readable. A rule is: high half connections per window, 0 = off; low half window in ms.
 */
#define SHM_RATE_RULES 4
struct shm_rate_rules {
    _Atomic uint64_t current; /* which of rules[] is in force */
    _Atomic uint64_t rules[SHM_RATE_RULES];
};

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): root and epoch change together and share a line with nothing else */
struct shm_tables {
    uint64_t magic;
    uint32_t layout_version;
    uint32_t reserved;
    uint64_t segment_bytes;
    uint64_t hash_seed[2]; /* random per start: tags and buckets of names cannot be guessed from outside */
    _Alignas(
        SHM_CACHE_LINE) _Atomic uint64_t root; /* offset of the current struct shm_root; never 0 once workers run */
    /* 1 and up; goes up before the first and after the last store of every change (see "How readers and the writer agree") */
    _Atomic uint64_t epoch;
    _Alignas(SHM_CACHE_LINE) struct shm_rate_rules rate;
    _Alignas(SHM_CACHE_LINE) struct shm_listener listeners[SHM_LISTENERS_MAX];
    /* by number of a series: goes up when another route gets it; see shm_route.series */
    _Alignas(SHM_CACHE_LINE) _Atomic uint16_t route_generations[SHM_ROUTE_SERIES_MAX];
};
#define SHM_ARENA ((sizeof(struct shm_tables) + 4095) / 4096 * 4096)

/** A route: (listener, kind, name) -> backend id. */
struct shm_route {
    uint32_t backend;
    uint32_t series; /* where it is counted: generation << 16 | number; 0: nowhere */
    uint16_t listener;
    uint8_t flags;    /* SHM_ROUTE_* */
    uint8_t name_len; /* 0 only for "*" */
    char name[];      /* normalised, without "*.", not terminated */
};
_Static_assert(sizeof(struct shm_route) == 12, "shared layout");
#define SHM_ROUTE_WILDCARD            0x01
#define SHM_ROUTE_SEND_PROXY_PROTOCOL 0x02

/** A firewall rule of one prefix; in the IPv4 table addr has 4 bytes, in the IPv6 table 16. Bits behind prefix_len are zero. */
struct shm_fw_rule {
    uint8_t prefix_len;
    _Atomic uint8_t flags; /* SHM_FW_*: how it was written; both may be there for one address; never 0 while visible */
    uint8_t reserved[2];
    uint8_t addr[];
};
_Static_assert(sizeof(struct shm_fw_rule) == 4, "shared layout");
#define SHM_FW_IP   0x01 /* "192.0.2.7" */
#define SHM_FW_CIDR 0x02 /* "192.0.2.7/32" */

/** One address of a backend. */
struct shm_backend_addr {
    struct ip_addr addr; /* 17 bytes */
    uint8_t reserved;
    uint16_t port; /* host order */
};
_Static_assert(sizeof(struct shm_backend_addr) == 20, "shared layout");

/** A backend with the addresses known at the moment; a new answer of the resolver makes a new record. */
struct shm_backend {
    uint8_t kind;       /* enum backend_kind */
    uint8_t addr_count; /* 0..SHM_BACKEND_ADDRS_MAX; 0 for BACKEND_UNIX, and for a name that has never been resolved */
    uint16_t text_len;
    struct shm_backend_addr addrs[];
    /* then char text[text_len]: canonical, "app.internal:443", "unix:/run/app.sock"; not terminated */
};
_Static_assert(sizeof(struct shm_backend) == 4, "shared layout");

/* ---- stats segment ---- */

/** Times, counted by buckets (stats.h says where they end). */
#define SHM_HISTOGRAM_BUCKETS 16
struct shm_histogram {
    _Atomic uint64_t buckets[SHM_HISTOGRAM_BUCKETS]; /* each counts its own values only, not those of the ones below */
    _Atomic uint64_t sum_us;
};

/** What one worker counts on one listener. Single writer (the slot's worker), so a plain load, add and store is enough. */
struct shm_listener_stats {
    _Atomic uint64_t accepted;
    _Atomic uint64_t bytes_in;  /* from clients */
    _Atomic uint64_t bytes_out; /* to clients */
    _Atomic uint64_t closed[CLOSE_REASON_MAX];
    struct shm_histogram connect;    /* from the complete hello to the connected backend */
    struct shm_histogram first_byte; /* from there to the backend's first byte */
    struct shm_histogram duration;   /* from accept to the end, of connections that had reached their backend */
    _Atomic uint64_t handshakes[HANDSHAKE_OUTCOMES]; /* of connections that had, when the outcome is known */
};

/** What one worker counts of one route; written by it, and by the master when the number goes to another route. */
enum shm_route_count {
    SHM_ROUTE_CONNECTIONS, /* when the route is found; the others when the connection ends */
    SHM_ROUTE_FAILED,      /* the backend could not be reached */
    SHM_ROUTE_UNANSWERED,  /* it was reached, and not one byte came from it */
    SHM_ROUTE_BYTES_IN,    /* from clients */
    SHM_ROUTE_BYTES_OUT,   /* to clients */
    SHM_ROUTE_HANDSHAKES,  /* and on: by enum handshake_outcome, when that is known */
    SHM_ROUTE_COUNTS = SHM_ROUTE_HANDSHAKES + HANDSHAKE_OUTCOMES,
};
struct shm_route_stats {
    _Atomic uint64_t counts[SHM_ROUTE_COUNTS];
};
#define SHM_ROUTE_SERIES_NUMBER 0xffffu /* of shm_route.series */

/* Index of shm_worker_stats.hellos and proxy_headers. */
enum shm_hello_count { SHM_HELLO_NO_NAME, SHM_HELLO_NAME, SHM_HELLO_COUNTS };
enum shm_proxy_header_count { SHM_PROXY_HEADER_NO_ADDRESS, SHM_PROXY_HEADER_ADDRESS, SHM_PROXY_HEADER_COUNTS };

struct shm_worker_stats {
    _Alignas(SHM_CACHE_LINE) _Atomic uint64_t
        pinned_epoch; /* 0: outside of a look-up; cleared by the master when the worker died */
    _Alignas(SHM_CACHE_LINE) _Atomic uint64_t heartbeat; /* goes up at least every 250 ms while the loop turns */
    _Atomic uint64_t pid;                                /* set by the worker when it is ready; 0: none */
    _Atomic uint64_t accepted_before;          /* accepted by earlier workers of this slot; set by the master */
    _Atomic uint64_t country_unknown;          /* look-ups that found no country */
    _Atomic uint64_t conn_cap;                 /* connections that this worker can hold; set by it when it is ready */
    _Atomic uint64_t hellos[SHM_HELLO_COUNTS]; /* valid ones; the others end their connection, see closed */
    _Atomic uint64_t proxy_headers[SHM_PROXY_HEADER_COUNTS]; /* the same */
    _Alignas(SHM_CACHE_LINE) struct shm_listener_stats listeners[SHM_LISTENERS_MAX];
    _Alignas(SHM_CACHE_LINE) struct shm_route_stats routes[SHM_ROUTE_SERIES_MAX]; /* by number of their series */
};

struct shm_stats {
    uint64_t magic;
    uint32_t layout_version;
    uint32_t reserved;
    /** Open connections by listener and worker slot: a listener's row is contiguous, as max_connections sums it. Each cell is
     *  written by its worker; the master clears the column of a dead one. */
    _Alignas(SHM_CACHE_LINE) _Atomic uint32_t active[SHM_LISTENERS_MAX][SHM_WORKERS_MAX];
    struct shm_worker_stats workers[SHM_WORKERS_MAX];
};

#endif
