/* The control messages as one table: a message that no row describes is a bug of the other side. */

#include "ctl_codec.h"

#include <string.h>

#include "handover.h"
#include "log_event.h"
#include "shm_layout.h"

enum ctl_fd_rule { CTL_FD_NEVER, CTL_FD_ALWAYS, CTL_FD_MAYBE };
enum ctl_body { CTL_BODY_FIXED, CTL_BODY_LISTENER, CTL_BODY_LISTENER_ID, CTL_BODY_QUERY, CTL_BODY_ANSWER };

struct ctl_row {
    uint16_t type;
    enum ctl_sender sender;
    enum ctl_fd_rule fd_rule;
    enum ctl_body body;
    size_t bytes; /* exactly, for CTL_BODY_FIXED */
    const char *word;
};

/* clang-format off */
static const struct ctl_row rows[] = {
    {CTL_HANDOVER,         CTL_FROM_MASTER, CTL_FD_NEVER,  CTL_BODY_FIXED,       sizeof(struct handover),     "handover"},
    {CTL_SETTINGS,         CTL_FROM_MASTER, CTL_FD_NEVER,  CTL_BODY_FIXED,       sizeof(struct ctl_settings), "settings"},
    {CTL_LISTENER_ADD,     CTL_FROM_MASTER, CTL_FD_ALWAYS, CTL_BODY_LISTENER,    0,                           "listener_add"},
    {CTL_LISTENER_UPDATE,  CTL_FROM_MASTER, CTL_FD_NEVER,  CTL_BODY_LISTENER,    0,                           "listener_update"},
    {CTL_LISTENER_REMOVE,  CTL_FROM_MASTER, CTL_FD_NEVER,  CTL_BODY_LISTENER_ID, 0,                           "listener_remove"},
    {CTL_GEOIP,            CTL_FROM_MASTER, CTL_FD_MAYBE,  CTL_BODY_FIXED,       0,                           "geoip"},
    {CTL_START,            CTL_FROM_MASTER, CTL_FD_NEVER,  CTL_BODY_FIXED,       0,                           "start"},
    {CTL_DRAIN,            CTL_FROM_MASTER, CTL_FD_NEVER,  CTL_BODY_FIXED,       0,                           "drain"},
    {CTL_STOP,             CTL_FROM_MASTER, CTL_FD_NEVER,  CTL_BODY_FIXED,       0,                           "stop"},
    {CTL_QUERY,            CTL_FROM_MASTER, CTL_FD_NEVER,  CTL_BODY_QUERY,       0,                           "query"},
    {CTL_READY,            CTL_FROM_WORKER, CTL_FD_NEVER,  CTL_BODY_FIXED,       0,                           "ready"},
    {CTL_LISTENER_REMOVED, CTL_FROM_WORKER, CTL_FD_NEVER,  CTL_BODY_LISTENER_ID, 0,                           "listener_removed"},
    {CTL_QUERY_ANSWER,     CTL_FROM_WORKER, CTL_FD_NEVER,  CTL_BODY_ANSWER,      0,                           "query_answer"},
};
/* clang-format on */

static const struct ctl_row *ctl_find_row(uint16_t type)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].type == type)
            return &rows[i];
    }
    return NULL;
}

static bool ctl_listener_is_valid(struct bytes payload)
{
    const struct ctl_listener *l = (const void *)payload.ptr;

    return payload.len >= sizeof *l && l->trusted_count <= CTL_TRUSTED_MAX && payload.len == ctl_listener_bytes(l) &&
           l->id < SHM_LISTENERS_MAX && l->proxy_mode <= PROXY_MODE_MIXED && l->no_route_mode <= NO_ROUTE_ALERT &&
           memchr(l->addr, '\0', sizeof l->addr) != NULL;
}

static bool ctl_cidr_is_valid(const struct ip_cidr *cidr)
{
    unsigned bits = cidr->addr.family == 4 ? 32 : cidr->addr.family == 6 ? 128 : 0;

    return cidr->prefix_len <= bits && (cidr->addr.family == 0 || bits > 0);
}

static bool ctl_query_is_valid(struct bytes payload)
{
    const struct ctl_query *q = (const void *)payload.ptr;

    return payload.len == sizeof *q && q->action <= CTL_QUERY_CLOSE && q->cursor != CTL_QUERY_END &&
           q->has_listener <= 1 && q->listener < SHM_LISTENERS_MAX && ctl_cidr_is_valid(&q->client) &&
           memchr(q->route, '\0', sizeof q->route) != NULL;
}

/** A log record with every field whole. */
static bool record_is_valid(struct bytes record)
{
    struct log_record_reader reader;
    struct log_field field;
    int rc = log_record_open(&reader, record);

    while (rc == 0 && (rc = log_record_next(&reader, &field)) == 1)
        rc = 0;
    return rc == 0;
}

static bool ctl_answer_is_valid(struct bytes payload)
{
    const struct ctl_query_answer *a = (const void *)payload.ptr;
    struct bytes record;
    uint32_t count = 0;

    if (payload.len < sizeof *a || (a->record_count > 0 && a->record_count != a->matched))
        return false;
    struct bytes rest = ctl_answer_records(a, payload);
    while (ctl_answer_next(&rest, &record)) {
        if (!record_is_valid(record))
            return false;
        count++;
    }
    return rest.len == 0 && count == a->record_count;
}

static bool ctl_body_is_valid(const struct ctl_row *row, struct bytes payload)
{
    const struct ctl_listener_id *id = (const void *)payload.ptr;

    switch (row->body) { /* GCOVR_EXCL_BR_LINE: every body is a case */
    case CTL_BODY_LISTENER: return ctl_listener_is_valid(payload);
    case CTL_BODY_LISTENER_ID: return payload.len == sizeof *id && id->id < SHM_LISTENERS_MAX;
    case CTL_BODY_QUERY: return ctl_query_is_valid(payload);
    case CTL_BODY_ANSWER: return ctl_answer_is_valid(payload);
    case CTL_BODY_FIXED: break;
    }
    return payload.len == row->bytes;
}

bool ctl_answer_next(struct bytes *rest, struct bytes *record_out)
{
    uint16_t len;

    if (rest->len < sizeof len)
        return false;
    memcpy(&len, rest->ptr, sizeof len);
    if (rest->len - sizeof len < len)
        return false;
    *record_out = bytes_of(rest->ptr + sizeof len, len);
    *rest = bytes_of(rest->ptr + sizeof len + len, rest->len - sizeof len - len);
    return true;
}

bool ctl_message_is_valid(enum ctl_sender sender, uint16_t type, struct bytes payload, bool has_fd)
{
    const struct ctl_row *row = ctl_find_row(type);

    if (row == NULL || row->sender != sender)
        return false;
    if ((row->fd_rule == CTL_FD_ALWAYS && !has_fd) || (row->fd_rule == CTL_FD_NEVER && has_fd))
        return false;
    return ctl_body_is_valid(row, payload);
}

const char *ctl_type_word(uint16_t type)
{
    const struct ctl_row *row = ctl_find_row(type);
    return row != NULL ? row->word : "unknown";
}
