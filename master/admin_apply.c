/*
 * ApplyChanges. The messages of the stream are turned into one array of changes as they come, with copies of their texts, and applied
 * when the client has finished its side. What a stream may hold is limited, and what all of them may hold together.
 */

#include <stdlib.h>
#include <string.h>

#include "admin_change.h"
#include "admin_internal.h"
#include "err.h"
#include "log_event.h"
#include "mc_proxy/v1/admin.pb-c.h"
#include "proto_scan.h"
#include "proto_wire.h"

#define CHANGES_MAX    1000000u
#define CALL_BYTES_MAX (64u << 20)  /* of messages */
#define COLLECTED_MAX  (256u << 20) /* of memory, of all calls: one of the greatest size and some small ones */
#define LOG_EACH_MAX   100u         /* changes of one call that get a line each; of more there is only the sum */
#define CHANGES_FIELD  1            /* ApplyChangesRequest.changes */
#define CAPACITY_MIN   64u
#define REQUEST_TYPE   (&mc_proxy__v1__apply_changes_request__descriptor)

/** The texts of one message, one behind the other. */
struct apply_texts {
    struct apply_texts *next;
    size_t len;
    uint8_t data[];
};

/** A call that collects. */
struct apply {
    uint32_t magic;
    bool is_validate_only;
    struct state_change *changes;
    size_t count, capacity;
    struct apply_texts *texts;
    size_t message_bytes; /* of the client's, so far */
    size_t charged_bytes; /* of admin.collected_bytes */
    bool has_problem;     /* changes[count] cannot be one: what follows is not looked at any more */
    char problem[ADMIN_WHY_MAX];
};
#define APPLY_MAGIC 0x4150504cu

static struct apply *apply_of(const struct grpc_call *call)
{
    struct apply *apply = grpc_call_state(call);

    CHECK_MAGIC(apply, APPLY_MAGIC);
    return apply;
}

static struct apply *apply_begin(struct grpc_call *call)
{
    struct apply *apply = grpc_call_state(call);

    if (apply != NULL)
        return apply_of(call);
    apply = calloc(1, sizeof *apply);
    if (apply != NULL) {
        apply->magic = APPLY_MAGIC;
        grpc_call_set_state(call, apply);
    }
    return apply;
}

void admin_on_apply_changes_gone(struct grpc_call *call)
{
    if (grpc_call_state(call) == NULL)
        return;
    struct apply *apply = apply_of(call);
    while (apply->texts != NULL) {
        struct apply_texts *texts = apply->texts;
        apply->texts = texts->next;
        free(texts);
    }
    admin_of(call)->collected_bytes -= apply->charged_bytes;
    grpc_call_set_state(call, NULL);
    apply->magic = 0;
    free(apply->changes);
    free(apply);
}

/* ---- collecting ---- */

/** Take so many more bytes of memory into account. */
static int charge(struct admin *a, struct apply *apply, size_t bytes)
{
    if (bytes > COLLECTED_MAX - a->collected_bytes)
        return ERR_NO_MEMORY;
    a->collected_bytes += bytes;
    apply->charged_bytes += bytes;
    return 0;
}

static int reserve_changes(struct admin *a, struct apply *apply, size_t more)
{
    size_t capacity = apply->capacity + apply->capacity / 2;
    int rc;

    if (apply->count + more <= apply->capacity)
        return 0;
    capacity = capacity < CAPACITY_MIN ? CAPACITY_MIN : capacity > CHANGES_MAX ? CHANGES_MAX : capacity;
    capacity = capacity < apply->count + more ? apply->count + more : capacity;
    if ((rc = charge(a, apply, (capacity - apply->capacity) * sizeof *apply->changes)) != 0)
        return rc;
    struct state_change *changes = realloc(apply->changes, capacity * sizeof *changes);
    if (changes == NULL)
        return ERR_NO_MEMORY;
    apply->changes = changes;
    apply->capacity = capacity;
    return 0;
}

/** Make room for what one message can bring. */
static int reserve(struct admin *a, struct apply *apply, size_t message_len, size_t more, struct strbuf *why)
{
    if (more > CHANGES_MAX - apply->count) {
        strbuf_addf(why, "more than %u changes in one call", CHANGES_MAX);
        return ERR_TOO_LARGE;
    }
    if (message_len > CALL_BYTES_MAX - apply->message_bytes) {
        strbuf_addf(why, "more than %u bytes in one call", CALL_BYTES_MAX);
        return ERR_TOO_LARGE;
    }
    apply->message_bytes += message_len;
    struct apply_texts *texts = NULL;
    if (reserve_changes(a, apply, more) != 0 || charge(a, apply, sizeof *texts + message_len) != 0 ||
        (texts = malloc(sizeof *texts + message_len)) == NULL) {
        strbuf_add(why, "no memory for so many changes now: try again later, or with fewer");
        return ERR_NO_MEMORY;
    }
    texts->next = apply->texts;
    texts->len = 0;
    apply->texts = texts;
    return 0;
}

/** Copy a text; the same as the one copied last at this place (usually the listener's address) is not copied again. */
static void keep(struct apply_texts *texts, struct bytes *text, const struct bytes *last)
{
    if (last != NULL && last->len == text->len && (text->len == 0 || memcmp(last->ptr, text->ptr, text->len) == 0)) {
        *text = *last;
        return;
    }
    if (text->len > 0)
        memcpy(texts->data + texts->len, text->ptr, text->len);
    *text = bytes_of(texts->data + texts->len, text->len);
    texts->len += text->len;
}

static void add_change(struct apply *apply, struct state_change change)
{
    const struct state_change *last = apply->count > 0 ? &apply->changes[apply->count - 1] : NULL;

    CHECK(apply->changes != NULL && apply->count < apply->capacity);
    keep(apply->texts, &change.listener, last != NULL ? &last->listener : NULL);
    keep(apply->texts, &change.hostname, NULL);
    keep(apply->texts, &change.backend, last != NULL ? &last->backend : NULL);
    keep(apply->texts, &change.value, NULL);
    apply->changes[apply->count++] = change;
}

/** From here on nothing is a change; what is wrong is said at the end, as one before it may turn out to be wrong too. */
static void set_problem(struct apply *apply, const char *text)
{
    struct strbuf problem = STRBUF_OF(apply->problem);

    strbuf_add(&problem, text);
    apply->has_problem = true;
}

/** @param limit  only changes before this one, counted over all messages */
static void add_changes(struct apply *apply, const McProxy__V1__ApplyChangesRequest *request, size_t limit)
{
    char text[512];
    struct strbuf why = STRBUF_OF(text);
    struct state_change change;

    for (size_t i = 0; i < request->n_changes && apply->count < limit; i++) {
        strbuf_addf(&why, "changes[%zu].", apply->count);
        if (admin_change_of(request->changes[i], &change, &why) != 0) {
            set_problem(apply, text);
            return;
        }
        strbuf_reset(&why);
        add_change(apply, change);
    }
}

/** @param problem  what the scan has found in changes[wrong]; empty: nothing */
static void collect(struct admin *a, struct apply *apply, struct grpc_call *call, struct bytes message, size_t wrong,
                    const char *problem)
{
    char text[128];
    struct strbuf why = STRBUF_OF(text);
    int rc = reserve(a, apply, message.len, wire_count(message, CHANGES_FIELD), &why);

    if (rc != 0) {
        admin_fail(call, rc, &why);
        return;
    }
    const McProxy__V1__ApplyChangesRequest *request = admin_unpack(call, message, REQUEST_TYPE);
    if (request == NULL)
        return;
    apply->is_validate_only |= request->validate_only;
    add_changes(apply, request, *problem == '\0' ? SIZE_MAX : wrong);
    if (*problem != '\0' && !apply->has_problem)
        set_problem(apply, problem);
    proto_arena_reset(&a->arena);
}

static void scan_and_collect(struct apply *apply, struct grpc_call *call, struct bytes message)
{
    char text[ADMIN_WHY_MAX];
    struct strbuf why = STRBUF_OF(text);
    size_t wrong;
    int rc = proto_scan(REQUEST_TYPE, message, apply->count, &wrong, &why);

    if (rc == ERR_PROTOCOL)
        admin_fail_no_message(call, REQUEST_TYPE);
    else
        collect(admin_of(call), apply, call, message, wrong, text);
}

void admin_on_apply_changes(struct grpc_call *call, struct bytes message)
{
    struct apply *apply = apply_begin(call);

    if (apply == NULL)
        admin_fail_text(call, ERR_NO_MEMORY, "");
    else if (!apply->has_problem)
        scan_and_collect(apply, call, message);
}

/* ---- applying ---- */

/** The first change that cannot be made, in a message of its own. */
static void fail_at(struct grpc_call *call, const struct apply *apply, size_t failed, int rc, const struct strbuf *why)
{
    char text[ADMIN_WHY_MAX];
    struct strbuf full = STRBUF_OF(text);

    if (failed < apply->count)
        strbuf_addf(&full, "changes[%zu].%s.", failed, admin_change_field(apply->changes[failed].kind));
    strbuf_add(&full, why->len > 0 ? why->data : err_text(rc));
    admin_fail(call, rc, &full);
}

static void log_applied(const struct grpc_call *call, const struct apply *apply, const struct state_applied *applied)
{
    struct log_event e;

    log_event_begin(&e, LOG_INFO, "changes applied");
    log_event_cstr(&e, LOG_KEY_PEER, grpc_call_peer(call));
    log_event_u64(&e, LOG_KEY_COUNT, apply->count);
    log_event_u64(&e, LOG_KEY_ROUTES_ADDED, applied->routes_added);
    log_event_u64(&e, LOG_KEY_ROUTES_REPLACED, applied->routes_replaced);
    log_event_u64(&e, LOG_KEY_ROUTES_REMOVED, applied->routes_removed);
    log_event_u64(&e, LOG_KEY_RULES_ADDED, applied->rules_added);
    log_event_u64(&e, LOG_KEY_RULES_REMOVED, applied->rules_removed);
    log_event_u64(&e, LOG_KEY_UNCHANGED, applied->unchanged);
    log_event_end(&e);
    for (size_t i = 0; apply->count <= LOG_EACH_MAX && i < apply->count; i++)
        admin_change_log(call, &apply->changes[i], NULL);
}

static void reply_applied(struct grpc_call *call, const struct state_applied *applied)
{
    McProxy__V1__ApplyChangesResponse response;

    mc_proxy__v1__apply_changes_response__init(&response);
    response.routes_added = applied->routes_added;
    response.routes_replaced = applied->routes_replaced;
    response.routes_removed = applied->routes_removed;
    response.rules_added = applied->rules_added;
    response.rules_removed = applied->rules_removed;
    response.unchanged = applied->unchanged;
    admin_reply(call, &response.base);
}

void admin_on_apply_changes_end(struct grpc_call *call)
{
    struct admin *a = admin_of(call);
    struct apply *apply = apply_begin(call); /* a stream without any message is an empty list */
    char text[ADMIN_WHY_MAX];
    struct strbuf why = STRBUF_OF(text);
    struct state_applied applied = {0};
    size_t failed = 0;
    int rc = 0;

    if (!grpc_call_is_open(call))
        return;
    if (apply == NULL) {
        admin_fail_text(call, ERR_NO_MEMORY, "");
        return;
    }
    bool is_validate_only = apply->is_validate_only || apply->has_problem;
    if (apply->count > 0)
        rc = state_apply(a->parts.state, apply->changes, apply->count, is_validate_only, &applied, &failed, &why);
    if (rc != 0) {
        fail_at(call, apply, failed, rc, &why);
    } else if (apply->has_problem) {
        admin_fail_text(call, ERR_INVALID, apply->problem);
    } else {
        if (!is_validate_only && apply->count > 0)
            log_applied(call, apply, &applied);
        reply_applied(call, &applied);
    }
}
