#ifndef CLOSE_REASON_H
#define CLOSE_REASON_H

/** What became of connections that ended for a reason, as an operator looks for it. */
enum close_class {
    CLOSE_CLASS_SERVED,   /* reached a backend, however it ended then */
    CLOSE_CLASS_REJECTED, /* the client's doing: limit, PROXY header, hello, no route */
    CLOSE_CLASS_BLOCKED,  /* by a firewall rule or the rate limit */
    CLOSE_CLASS_FAILED,   /* no backend, or the proxy lacked something */
    CLOSE_CLASSES,
};

/**
 * Every way a connection ends, in one table: the log word (`reason=`, also the metrics label), its class, and a sentence for people.
 * Words are an interface: never change one, only add.
 */
#define CLOSE_REASON_TABLE(X)                                                                                          \
    X(CLOSE_FINISHED, "finished", CLOSE_CLASS_SERVED, "both sides ended the connection")                               \
    X(CLOSE_CLIENT_RESET, "client_reset", CLOSE_CLASS_SERVED, "the client reset the connection")                       \
    X(CLOSE_BACKEND_RESET, "backend_reset", CLOSE_CLASS_SERVED, "the backend reset the connection")                    \
    X(CLOSE_IDLE_TIMEOUT, "idle_timeout", CLOSE_CLASS_SERVED, "no byte either way within idle_timeout")                \
    X(CLOSE_HALF_CLOSE_TIMEOUT, "half_close_timeout", CLOSE_CLASS_SERVED,                                              \
      "one side had finished and no byte came within half_close_timeout")                                              \
    X(CLOSE_SHUTDOWN, "shutdown", CLOSE_CLASS_SERVED, "the proxy stopped before the connection had ended")             \
    X(CLOSE_MAX_CONNECTIONS, "max_connections", CLOSE_CLASS_REJECTED, "the listener was at max_connections")           \
    X(CLOSE_PROXY_UNTRUSTED, "proxy_untrusted", CLOSE_CLASS_REJECTED,                                                  \
      "the peer may not send a PROXY header to this listener")                                                         \
    X(CLOSE_PROXY_MALFORMED, "proxy_malformed", CLOSE_CLASS_REJECTED, "the PROXY header was malformed or missing")     \
    X(CLOSE_PROXY_TIMEOUT, "proxy_timeout", CLOSE_CLASS_REJECTED,                                                      \
      "the PROXY header was not complete within hello_timeout")                                                        \
    X(CLOSE_BLOCKED_IP, "blocked_ip", CLOSE_CLASS_BLOCKED, "the client's address is blocked")                          \
    X(CLOSE_BLOCKED_CIDR, "blocked_cidr", CLOSE_CLASS_BLOCKED, "the client's network is blocked")                      \
    X(CLOSE_BLOCKED_COUNTRY, "blocked_country", CLOSE_CLASS_BLOCKED, "the client's country is blocked")                \
    X(CLOSE_RATE_LIMIT, "rate_limit", CLOSE_CLASS_BLOCKED, "the client opened connections faster than rate_limit")     \
    X(CLOSE_HELLO_MALFORMED, "hello_malformed", CLOSE_CLASS_REJECTED, "the first bytes were no valid TLS ClientHello") \
    X(CLOSE_HELLO_TOO_LARGE, "hello_too_large", CLOSE_CLASS_REJECTED, "the ClientHello was larger than 65536 bytes")   \
    X(CLOSE_HELLO_TIMEOUT, "hello_timeout", CLOSE_CLASS_REJECTED,                                                      \
      "the ClientHello was not complete within hello_timeout")                                                         \
    X(CLOSE_HELLO_EOF, "hello_eof", CLOSE_CLASS_REJECTED, "the client closed before its ClientHello was complete")     \
    X(CLOSE_HELLO_EVICTED, "hello_evicted", CLOSE_CLASS_REJECTED,                                                      \
      "more than max_pending_hellos waited for their first bytes, and this one had waited longest")                    \
    X(CLOSE_NO_ROUTE, "no_route", CLOSE_CLASS_REJECTED, "no route for the name on this listener")                      \
    X(CLOSE_BACKEND_UNRESOLVED, "backend_unresolved", CLOSE_CLASS_FAILED, "the backend's name has no known address")   \
    X(CLOSE_BACKEND_REFUSED, "backend_refused", CLOSE_CLASS_FAILED, "the backend refused the connection")              \
    X(CLOSE_BACKEND_TIMEOUT, "backend_timeout", CLOSE_CLASS_FAILED,                                                    \
      "the backend did not answer within connect_timeout")                                                             \
    X(CLOSE_BACKEND_UNREACHABLE, "backend_unreachable", CLOSE_CLASS_FAILED, "the backend cannot be reached")           \
    X(CLOSE_NO_PORTS, "no_ports", CLOSE_CLASS_FAILED, "no local port was left for a connection to the backend")        \
    X(CLOSE_NO_DESCRIPTORS, "no_descriptors", CLOSE_CLASS_FAILED, "no file descriptor was left")                       \
    X(CLOSE_NO_MEMORY, "no_memory", CLOSE_CLASS_FAILED, "an allocation failed")                                        \
    X(CLOSE_INTERNAL, "internal_error", CLOSE_CLASS_FAILED,                                                            \
      "a system call failed in a way nobody expected; see the log")                                                    \
    X(CLOSE_OPERATOR, "operator", CLOSE_CLASS_SERVED, "an operator closed the connection")                             \
    X(CLOSE_WORKER_DIED, "worker_died", CLOSE_CLASS_FAILED,                                                            \
      "its worker died; counted by the master, there is no access line")

#define CLOSE_REASON_ENUM(id, word, class, sentence) id,
enum close_reason { CLOSE_REASON_TABLE(CLOSE_REASON_ENUM) CLOSE_REASON_COUNT };
#undef CLOSE_REASON_ENUM

/** Shared memory counts per reason with room to grow: raising this changes SHM_LAYOUT_VERSION. */
#define CLOSE_REASON_MAX 64
_Static_assert(CLOSE_REASON_COUNT <= CLOSE_REASON_MAX, "per-reason counters in shared memory are of this size");

/** The log word of a reason, static. */
const char *close_reason_word(enum close_reason reason);

enum close_class close_reason_class(enum close_reason reason);

/** One sentence for people, static, without capital and full stop. */
const char *close_reason_sentence(enum close_reason reason);

#endif
