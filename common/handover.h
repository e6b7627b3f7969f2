#ifndef HANDOVER_H
#define HANDOVER_H

#include <stdint.h>

/*
 * What a worker is born with. The master forks, puts these descriptors in place, closes all others and executes its own binary
 * again with the hidden subcommand `worker`; so a worker's memory never held the database handle or a key.
 *
 *     0, 1  /dev/null          2  standard error (for panics only; log lines go through the ring)
 *
 * The first message on the control socket is the handover record; listeners and settings follow there (ctl_msg.h), the same
 * messages that a reload sends.
 */
enum handover_fd {
    HANDOVER_FD_CONTROL = 3, /* SOCK_SEQPACKET to the master; its end of file means that the master died */
    HANDOVER_FD_TABLES,      /* tables segment, opened read-only */
    HANDOVER_FD_STATS,       /* stats segment */
    HANDOVER_FD_LOG,         /* this slot's log ring */
    HANDOVER_FD_RATE,        /* rate-limit table */
    HANDOVER_FD_END,
};

/** The hidden subcommand. */
#define HANDOVER_SUBCOMMAND "worker"

#define HANDOVER_MAGIC 0x3152564f444e4148ull /* "HANDOVR1" */

struct handover {
    uint64_t magic;
    uint32_t layout_version; /* SHM_LAYOUT_VERSION */
    uint32_t slot;           /* 0..SHM_WORKERS_MAX-1 */
    uint64_t birth;          /* counts the workers of this server's life, from 1 */
    uint64_t tables_bytes;
    uint64_t stats_bytes;
    uint64_t log_bytes;
    uint64_t rate_bytes;
    uint32_t drop_uid; /* UINT32_MAX: stay who you are (the master does not run as root) */
    uint32_t drop_gid;
};

/** The connections of a worker are numbered birth * HANDOVER_BIRTH_CONNS + 1, + 2, ...: no id comes twice in a server's life. */
#define HANDOVER_BIRTH_CONNS 1000000000000ull

/**
 * The life of a worker, from its descriptors to its end; never returns to the caller's code path before the worker is done.
 *
 * @return the exit status: 0 after a drain or when the master went away, 1 when it could not start (reason on standard error)
 */
int worker_main(void);

#endif
