#ifndef ADMIN_INTERNAL_H
#define ADMIN_INTERNAL_H

#include <stdint.h>

#include "admin.h"
#include "bytes.h"
#include "proto_answer.h"
#include "proto_arena.h"
#include "strbuf.h"

/* Between the admin_*.c files. */

struct connection_call;
struct connection_queries;
struct connection_watch;
struct health_watch;
struct ip_cidr;
struct proto_files;

struct admin {
    uint32_t magic;
    struct admin_parts parts;
    const struct config *config; /* in force */
    enum admin_phase phase;
    uint64_t started_ms;      /* UTC */
    uint64_t started_mono_ms; /* the same moment by the monotonic clock */
    struct proto_arena arena; /* of the request at hand */
    size_t collected_bytes;   /* held by all ApplyChanges that still collect */
    struct health_watch *watches;
    struct connection_watch *connection_watches;
    unsigned connection_watch_count;
    struct connection_call *connection_calls; /* lists and closes under way */
    struct connection_queries *queries;
    struct proto_files *files; /* for reflection */
};
#define ADMIN_MAGIC 0x41444d4eu

#define ADMIN_WHY_MAX      2048         /* of a status message */
#define ADMIN_UNPACKED_MAX (256u << 20) /* memory of one message of at most 4 MiB: a field of two bytes may take 100 */
#define ADMIN_ANSWER_MAX   (1u << 30)

/** The admin that serves a call. */
struct admin *admin_of(const struct grpc_call *call);

/**
 * Scan and unpack a request, hand it to serve(), and give its memory back. What cannot be unpacked is answered here. The type of
 * *request is the one of the descriptor.
 */
typedef void (*admin_serve_fn)(struct admin *admin, struct grpc_call *call, const void *request);
void admin_serve(struct grpc_call *call, struct bytes message, const ProtobufCMessageDescriptor *type,
                 admin_serve_fn serve);

/** The second half of it, when the message has been scanned: NULL if it cannot be unpacked, and then the call is finished. */
const void *admin_unpack(struct grpc_call *call, struct bytes message, const ProtobufCMessageDescriptor *type);

/** Queue one message of the answer; false: no memory for it now, and the call is finished. */
bool admin_send(struct grpc_call *call, const ProtobufCMessage *message) MUST_CHECK;

/** The answer to a unary call, and its end. */
void admin_reply(struct grpc_call *call, const ProtobufCMessage *message);
/** Packs the list that was asked for. 0, or a code of err.h and `why`. */
typedef int (*admin_list_fn)(struct admin *a, const void *request, struct proto_answer *answer, struct strbuf *why);

/** The answer to a unary call that asks for a list, and its end. */
void admin_reply_list(struct admin *a, struct grpc_call *call, const void *request, admin_list_fn list);

/** The end of a call that failed with a code of err.h; `why` is the message for the client, empty: the code's text. */
void admin_fail(struct grpc_call *call, int rc, const struct strbuf *why);
void admin_fail_text(struct grpc_call *call, int rc, const char *why);
/** What came is no message at all. */
void admin_fail_no_message(struct grpc_call *call, const ProtobufCMessageDescriptor *type);

/** protobuf-c's fields are not const, but packing only reads. */
static inline void *admin_unconst(const void *ptr)
{
    union {
        const void *in;
        void *out;
    } both = {.in = ptr};

    return both.out;
}

static inline char *admin_text(const char *text)
{
    return admin_unconst(text);
}

/* ---- pages ---- */

struct state_page;

/**
 * What page_size and page_token of a request ask for.
 *
 * @param out  a page to hand on
 * @return 0, or ERR_INVALID with the reason
 */
int admin_page_of(uint32_t page_size, const char *page_token, struct state_page *out, struct strbuf *why) MUST_CHECK;

#define ADMIN_TOKEN_MAX 24
/** The token of the page that comes next: empty if there is none. */
void admin_page_token(const struct state_page *page, char out[ADMIN_TOKEN_MAX]);

/* ---- the methods, one function a row of the table in admin.c ---- */

void admin_on_list_routes(struct grpc_call *call, struct bytes message);
void admin_on_add_route(struct grpc_call *call, struct bytes message);
void admin_on_remove_route(struct grpc_call *call, struct bytes message);
void admin_on_get_firewall_rules(struct grpc_call *call, struct bytes message);
void admin_on_add_firewall_rule(struct grpc_call *call, struct bytes message);
void admin_on_remove_firewall_rule(struct grpc_call *call, struct bytes message);
void admin_on_apply_changes(struct grpc_call *call, struct bytes message);
void admin_on_apply_changes_end(struct grpc_call *call);
void admin_on_apply_changes_gone(struct grpc_call *call);
void admin_on_set_max_connections(struct grpc_call *call, struct bytes message);
void admin_on_get_status(struct grpc_call *call, struct bytes message);
void admin_on_explain(struct grpc_call *call, struct bytes message);
void admin_on_snapshot(struct grpc_call *call, struct bytes message);
void admin_on_health_check(struct grpc_call *call, struct bytes message);
void admin_on_health_watch(struct grpc_call *call, struct bytes message);
void admin_on_health_watch_gone(struct grpc_call *call);
void admin_on_reflection(struct grpc_call *call, struct bytes message);
void admin_on_reflection_end(struct grpc_call *call);
void admin_on_reflection_gone(struct grpc_call *call);

void admin_on_watch_connections(struct grpc_call *call, struct bytes message);
void admin_on_watch_connections_gone(struct grpc_call *call);
void admin_on_list_connections(struct grpc_call *call, struct bytes message);
void admin_on_close_connections(struct grpc_call *call, struct bytes message);
void admin_on_connections_gone(struct grpc_call *call);

/** Tell of losses where there is room again. */
void admin_watches_tick(struct admin *admin);
/** Finish every watch, and every list and close that is under way. */
void admin_watches_end(struct admin *admin);
void admin_connections_end(struct admin *admin);

struct config_listener;
/** The listener of the configuration that the field listener_addr means; *out is borrowed. 0; ERR_INVALID, ERR_NOT_FOUND with the reason. */
int admin_find_listener(const struct admin *a, const char *addr, uint16_t *id_out, const struct config_listener **out,
                        struct strbuf *why) MUST_CHECK;

/** Tell every watch what the health is now. */
void admin_health_changed(struct admin *admin);
/** Finish every watch. */
void admin_health_end(struct admin *admin);

#endif
