#ifndef CLOSE_REASON_H
#define CLOSE_REASON_H

/** What became of connections that ended for a reason, as an operator looks for it. */
enum close_class {
    CLOSE_CLASS_SERVED,   /* reached a backend, however it ended then */
    CLOSE_CLASS_REJECTED, /* the client's doing: limit, PROXY header, hello, no route */
    CLOSE_CLASS_BLOCKED,  /* by a firewall rule or the rate limit */
    CLOSE_CLASS_FAILED,   /* no backend, the proxy lacked something, or a worker died */
    CLOSE_CLASSES,
};

/** Who ended a connection. */
enum close_party { CLOSE_BY_PROXY, CLOSE_BY_CLIENT, CLOSE_BY_BACKEND };

/** How the sockets are closed that are still open then. */
enum close_manner {
    CLOSE_ENDS,   /* as the steps have left them: what was sent is delivered, then comes the end */
    CLOSE_RESETS, /* with RST: the stream was cut, or the client never got what it asked for */
};

/**
 * Every way a connection ends, in one table: the log word (`reason=`, also the metrics label), CLOSE_CLASS_ of it, CLOSE_BY_ whom, the
 * manner, and a sentence for people. Words are an interface: never change one, only add.
 */
/* clang-format off */
#define CLOSE_REASON_TABLE(X) \
    X(CLOSE_FINISHED,            "finished",            SERVED,   PROXY,   ENDS,   "both sides ended the connection") \
    X(CLOSE_CLIENT_RESET,        "client_reset",        SERVED,   CLIENT,  ENDS,   "the client reset the connection") \
    X(CLOSE_BACKEND_RESET,       "backend_reset",       SERVED,   BACKEND, ENDS,   "the backend reset the connection") \
    X(CLOSE_IDLE_TIMEOUT,        "idle_timeout",        SERVED,   PROXY,   ENDS,   "no byte either way within idle_timeout") \
    X(CLOSE_HALF_CLOSE_TIMEOUT,  "half_close_timeout",  SERVED,   PROXY,   ENDS,   "one side had finished and no byte came within half_close_timeout") \
    X(CLOSE_SHUTDOWN,            "shutdown",            SERVED,   PROXY,   ENDS,   "the proxy stopped before the connection had ended") \
    X(CLOSE_MAX_CONNECTIONS,     "max_connections",     REJECTED, PROXY,   ENDS,   "the listener was at max_connections") \
    X(CLOSE_PROXY_UNTRUSTED,     "proxy_untrusted",     REJECTED, PROXY,   RESETS, "the peer may not send a PROXY header to this listener") \
    X(CLOSE_PROXY_MALFORMED,     "proxy_malformed",     REJECTED, PROXY,   RESETS, "the PROXY header was malformed or missing") \
    X(CLOSE_PROXY_TIMEOUT,       "proxy_timeout",       REJECTED, PROXY,   RESETS, "the PROXY header was not complete within hello_timeout") \
    X(CLOSE_BLOCKED_IP,          "blocked_ip",          BLOCKED,  PROXY,   RESETS, "the client's address is blocked") \
    X(CLOSE_BLOCKED_CIDR,        "blocked_cidr",        BLOCKED,  PROXY,   RESETS, "the client's network is blocked") \
    X(CLOSE_BLOCKED_COUNTRY,     "blocked_country",     BLOCKED,  PROXY,   RESETS, "the client's country is blocked") \
    X(CLOSE_RATE_LIMIT,          "rate_limit",          BLOCKED,  PROXY,   RESETS, "the client opened connections faster than rate_limit") \
    X(CLOSE_HELLO_MALFORMED,     "hello_malformed",     REJECTED, PROXY,   RESETS, "the first bytes were no valid TLS ClientHello") \
    X(CLOSE_HELLO_TOO_LARGE,     "hello_too_large",     REJECTED, PROXY,   RESETS, "the ClientHello was larger than 65536 bytes") \
    X(CLOSE_HELLO_TIMEOUT,       "hello_timeout",       REJECTED, PROXY,   RESETS, "the ClientHello was not complete within hello_timeout") \
    X(CLOSE_HELLO_EOF,           "hello_eof",           REJECTED, CLIENT,  RESETS, "the client closed before its ClientHello was complete") \
    X(CLOSE_HELLO_EVICTED,       "hello_evicted",       REJECTED, PROXY,   RESETS, "more than max_pending_hellos waited for their first bytes, and this one had waited longest") \
    X(CLOSE_NO_ROUTE,            "no_route",            REJECTED, PROXY,   RESETS, "no route for the name on this listener") \
    X(CLOSE_BACKEND_UNRESOLVED,  "backend_unresolved",  FAILED,   PROXY,   RESETS, "the backend's name has no known address") \
    X(CLOSE_BACKEND_REFUSED,     "backend_refused",     FAILED,   BACKEND, RESETS, "the backend refused the connection") \
    X(CLOSE_BACKEND_TIMEOUT,     "backend_timeout",     FAILED,   PROXY,   RESETS, "the backend did not answer within connect_timeout") \
    X(CLOSE_BACKEND_UNREACHABLE, "backend_unreachable", FAILED,   PROXY,   RESETS, "the backend cannot be reached") \
    X(CLOSE_NO_PORTS,            "no_ports",            FAILED,   PROXY,   RESETS, "no local port was left for a connection to the backend") \
    X(CLOSE_NO_DESCRIPTORS,      "no_descriptors",      FAILED,   PROXY,   RESETS, "no file descriptor was left") \
    X(CLOSE_NO_MEMORY,           "no_memory",           FAILED,   PROXY,   RESETS, "an allocation failed") \
    X(CLOSE_INTERNAL,            "internal_error",      FAILED,   PROXY,   RESETS, "a system call failed in a way nobody expected; see the log") \
    X(CLOSE_OPERATOR,            "operator",            SERVED,   PROXY,   RESETS, "an operator closed the connection") \
    X(CLOSE_WORKER_DIED,         "worker_died",         FAILED,   PROXY,   RESETS, "its worker died; counted by the master, there is no access line")
/* clang-format on */

#define CLOSE_REASON_ENUM(id, word, class, party, manner, sentence) id,
enum close_reason { CLOSE_REASON_TABLE(CLOSE_REASON_ENUM) CLOSE_REASON_COUNT };
#undef CLOSE_REASON_ENUM

/** Shared memory counts per reason with room to grow: raising this changes SHM_LAYOUT_VERSION. */
#define CLOSE_REASON_MAX 64
_Static_assert(CLOSE_REASON_COUNT <= CLOSE_REASON_MAX, "per-reason counters in shared memory are of this size");

/** The log word of a reason, static. */
const char *close_reason_word(enum close_reason reason);

enum close_class close_reason_class(enum close_reason reason);

enum close_party close_reason_party(enum close_reason reason);

enum close_manner close_reason_manner(enum close_reason reason);

/** One sentence for people, static, without capital and full stop. */
const char *close_reason_sentence(enum close_reason reason);

#endif
