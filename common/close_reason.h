#ifndef CLOSE_REASON_H
#define CLOSE_REASON_H

/**
 * Every way a connection ends, in one table: the log word (`reason=`, also the metrics label), and a sentence for people.
 * Words are an interface: never change one, only add.
 */
#define CLOSE_REASON_TABLE(X)                                                                            \
    X(CLOSE_FINISHED, "finished", "both sides ended the connection")                                     \
    X(CLOSE_CLIENT_RESET, "client_reset", "the client reset the connection")                             \
    X(CLOSE_BACKEND_RESET, "backend_reset", "the backend reset the connection")                          \
    X(CLOSE_IDLE_TIMEOUT, "idle_timeout", "no byte either way within idle_timeout")                      \
    X(CLOSE_HALF_CLOSE_TIMEOUT, "half_close_timeout",                                                    \
      "one side had finished and no byte came within half_close_timeout")                                \
    X(CLOSE_SHUTDOWN, "shutdown", "the proxy stopped before the connection had ended")                   \
    X(CLOSE_MAX_CONNECTIONS, "max_connections", "the listener was at max_connections")                   \
    X(CLOSE_PROXY_UNTRUSTED, "proxy_untrusted", "the peer may not send a PROXY header to this listener") \
    X(CLOSE_PROXY_MALFORMED, "proxy_malformed", "the PROXY header was malformed or missing")             \
    X(CLOSE_PROXY_TIMEOUT, "proxy_timeout", "the PROXY header was not complete within hello_timeout")    \
    X(CLOSE_BLOCKED_IP, "blocked_ip", "the client's address is blocked")                                 \
    X(CLOSE_BLOCKED_CIDR, "blocked_cidr", "the client's network is blocked")                             \
    X(CLOSE_BLOCKED_COUNTRY, "blocked_country", "the client's country is blocked")                       \
    X(CLOSE_RATE_LIMIT, "rate_limit", "the client opened connections faster than rate_limit")            \
    X(CLOSE_HELLO_MALFORMED, "hello_malformed", "the first bytes were no valid TLS ClientHello")         \
    X(CLOSE_HELLO_TOO_LARGE, "hello_too_large", "the ClientHello was larger than 65536 bytes")           \
    X(CLOSE_HELLO_TIMEOUT, "hello_timeout", "the ClientHello was not complete within hello_timeout")     \
    X(CLOSE_HELLO_EOF, "hello_eof", "the client closed before its ClientHello was complete")             \
    X(CLOSE_HELLO_EVICTED, "hello_evicted",                                                              \
      "more than max_pending_hellos waited for their first bytes, and this one had waited longest")      \
    X(CLOSE_NO_ROUTE, "no_route", "no route for the name on this listener")                              \
    X(CLOSE_BACKEND_UNRESOLVED, "backend_unresolved", "the backend's name has no known address")         \
    X(CLOSE_BACKEND_REFUSED, "backend_refused", "the backend refused the connection")                    \
    X(CLOSE_BACKEND_TIMEOUT, "backend_timeout", "the backend did not answer within connect_timeout")     \
    X(CLOSE_BACKEND_UNREACHABLE, "backend_unreachable", "the backend cannot be reached")                 \
    X(CLOSE_NO_PORTS, "no_ports", "no local port was left for a connection to the backend")              \
    X(CLOSE_NO_DESCRIPTORS, "no_descriptors", "no file descriptor was left")                             \
    X(CLOSE_NO_MEMORY, "no_memory", "an allocation failed")                                              \
    X(CLOSE_INTERNAL, "internal_error", "a system call failed in a way nobody expected; see the log")    \
    X(CLOSE_OPERATOR, "operator", "an operator closed the connection")                                   \
    X(CLOSE_WORKER_DIED, "worker_died", "its worker died; counted by the master, there is no access line")

#define CLOSE_REASON_ENUM(id, word, sentence) id,
enum close_reason { CLOSE_REASON_TABLE(CLOSE_REASON_ENUM) CLOSE_REASON_COUNT };
#undef CLOSE_REASON_ENUM

/** Shared memory counts per reason with room to grow: raising this changes SHM_LAYOUT_VERSION. */
#define CLOSE_REASON_MAX 64
_Static_assert(CLOSE_REASON_COUNT <= CLOSE_REASON_MAX, "per-reason counters in shared memory are of this size");

/** The log word of a reason, static. */
const char *close_reason_word(enum close_reason reason);

/** One sentence for people, static, without capital and full stop. */
const char *close_reason_sentence(enum close_reason reason);

#endif
