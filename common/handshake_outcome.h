#ifndef HANDSHAKE_OUTCOME_H
#define HANDSHAKE_OUTCOME_H

/**
 * What a backend answers to the ClientHello, told by its first record: the log word (`handshake=`, also the metrics label), and a
 * sentence for people. Words are an interface: never change one, only add. Shared memory counts by outcome: SHM_LAYOUT_VERSION.
 */
#define HANDSHAKE_OUTCOME_TABLE(X)                                                          \
    X(HANDSHAKE_NONE, "none", "it was reached, and not one byte came")                      \
    X(HANDSHAKE_SERVER_HELLO, "server_hello", "it goes on with the handshake")              \
    X(HANDSHAKE_RETRY, "hello_retry_request", "it asks for a ClientHello of another group") \
    X(HANDSHAKE_ALERT, "alert", "it refuses the handshake")                                 \
    X(HANDSHAKE_OTHER, "other", "it does not speak TLS, or ended within its first record")

#define HANDSHAKE_OUTCOME_ENUM(id, word, sentence) id,
enum handshake_outcome { HANDSHAKE_OUTCOME_TABLE(HANDSHAKE_OUTCOME_ENUM) HANDSHAKE_OUTCOMES };
#undef HANDSHAKE_OUTCOME_ENUM

#endif
