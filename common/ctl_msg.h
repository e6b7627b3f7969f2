#ifndef CTL_MSG_H
#define CTL_MSG_H

#include <stdint.h>

#include "address.h"
#include "hostname.h"

/*
 * Messages on the control socket between master and worker (SOCK_SEQPACKET, so one datagram is one message). Fixed-width native
 * structs: both ends are the same binary. Every message begins with struct ctl_header; a message of unknown type or wrong length
 * is a bug of the other side: the worker exits, the master kills the worker.
 *
 *   master -> worker                          worker -> master
 *   HANDOVER (first)
 *   SETTINGS, LISTENER_ADD + fd, ..., START   READY: it accepts connections
 *   SETTINGS, LISTENER_ADD/UPDATE/REMOVE      LISTENER_REMOVED: queue served, descriptor closed
 *   DRAIN                                     (exits with 0 when the last connection has ended)
 *   STOP                                      (closes everything and exits with 0)
 *   QUERY                                     QUERY_ANSWER: a part of it; the next part is asked for with another QUERY
 */
enum ctl_type {
    CTL_HANDOVER = 1,    /* struct handover */
    CTL_SETTINGS,        /* struct ctl_settings */
    CTL_LISTENER_ADD,    /* struct ctl_listener, with the listening socket as SCM_RIGHTS */
    CTL_LISTENER_UPDATE, /* struct ctl_listener: the same id and socket, other properties */
    CTL_LISTENER_REMOVE, /* struct ctl_listener_id: accept what waits in the queue, close the socket, answer */
    CTL_GEOIP, /* no payload, with a sealed memfd of the database as SCM_RIGHTS; without descriptor: none any more */
    CTL_START, /* no payload: everything was sent, begin to accept */
    CTL_DRAIN, /* no payload: accept what waits in the queues, close all listeners, exit when the last connection has
                             ended; after shutdown_timeout close the rest */
    CTL_STOP,  /* no payload: close everything now */
    CTL_QUERY, /* struct ctl_query: about open connections; one at a time */
    CTL_READY = 64,       /* no payload */
    CTL_LISTENER_REMOVED, /* struct ctl_listener_id */
    CTL_QUERY_ANSWER,     /* struct ctl_query_answer */
};

struct ctl_header {
    uint16_t type;
    uint16_t reserved;
    uint32_t len; /* of the payload behind this header */
};

#define CTL_PENDING_HELLOS_AUTO UINT32_MAX

/** What the configuration says about all connections. Milliseconds. */
struct ctl_settings {
    uint32_t hello_timeout_ms;
    uint32_t connect_timeout_ms;
    uint32_t idle_timeout_ms;
    uint32_t half_close_timeout_ms;
    uint32_t shutdown_timeout_ms;
    uint32_t max_pending_hellos; /* per worker; 0: no limit; CTL_PENDING_HELLOS_AUTO: what suits its descriptors */
    uint8_t log_level;           /* enum log_level: lower ones need not be written into the ring */
    uint8_t log_access;          /* make access records */
    uint8_t reserved[2];
    uint32_t rejected_per_second; /* lines of rejected connections, per reason; 0: no limit */
};

enum proxy_mode { PROXY_MODE_OFF, PROXY_MODE_REQUIRED, PROXY_MODE_MIXED };
enum no_route_mode { NO_ROUTE_RESET, NO_ROUTE_ALERT };

#define CTL_TRUSTED_MAX 1024

/** What the configuration says about one listener. */
struct ctl_listener {
    uint16_t id; /* index into shm_tables.listeners */
    uint8_t proxy_mode;
    uint8_t no_route_mode;
    uint16_t trusted_count; /* 0..CTL_TRUSTED_MAX */
    uint16_t reserved;
    char addr[ADDRESS_TEXT_MAX]; /* as the configuration writes it; for log lines */
    struct ip_cidr trusted[];
};

struct ctl_listener_id {
    uint16_t id;
    uint16_t reserved;
};

enum ctl_query_action { CTL_QUERY_LIST, CTL_QUERY_COUNT, CTL_QUERY_CLOSE };

#define CTL_ROUTE_MAX (HOSTNAME_MAX + 3) /* "*." and a name, NUL-terminated */

/** Which open connections are meant, and what about them. Fields that are zero or empty mean all. */
struct ctl_query {
    uint64_t query_id; /* comes back in the answer */
    uint64_t cursor;   /* 0, then what the answer before gave */
    uint64_t conn;     /* of this id */
    uint8_t action;    /* enum ctl_query_action */
    uint8_t has_listener;
    uint16_t listener;         /* of this id, if has_listener */
    struct ip_cidr client;     /* from this network; family 0: from anywhere */
    char route[CTL_ROUTE_MAX]; /* led by this route, canonical */
};

#define CTL_QUERY_END UINT64_MAX

/** One answer: what a bounded look found. Behind it `records`, each a 16-bit length (native) and a log record (log_event.h). */
struct ctl_query_answer {
    uint64_t query_id;
    uint64_t cursor;       /* for the next query, greater than that query's; CTL_QUERY_END: that was all */
    uint32_t matched;      /* connections: as many as there are records, counted, or closed */
    uint32_t record_count; /* 0 unless CTL_QUERY_LIST */
    uint8_t records[];
};

/** The longest message: header and a listener with all trusted networks. */
#define CTL_MSG_MAX (sizeof(struct ctl_header) + sizeof(struct ctl_listener) + CTL_TRUSTED_MAX * sizeof(struct ip_cidr))

#endif
