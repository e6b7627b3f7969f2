/* The control messages as one table: a message that no row describes is a bug of the other side. */

#include "ctl_codec.h"

#include <string.h>

#include "handover.h"
#include "shm_layout.h"

enum ctl_fd_rule { CTL_FD_NEVER, CTL_FD_ALWAYS, CTL_FD_MAYBE };
enum ctl_body { CTL_BODY_FIXED, CTL_BODY_LISTENER, CTL_BODY_LISTENER_ID };

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
    {CTL_READY,            CTL_FROM_WORKER, CTL_FD_NEVER,  CTL_BODY_FIXED,       0,                           "ready"},
    {CTL_LISTENER_REMOVED, CTL_FROM_WORKER, CTL_FD_NEVER,  CTL_BODY_LISTENER_ID, 0,                           "listener_removed"},
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

static bool ctl_body_is_valid(const struct ctl_row *row, struct bytes payload)
{
    const struct ctl_listener_id *id = (const void *)payload.ptr;

    switch (row->body) {
    case CTL_BODY_LISTENER: return ctl_listener_is_valid(payload);
    case CTL_BODY_LISTENER_ID: return payload.len == sizeof *id && id->id < SHM_LISTENERS_MAX;
    case CTL_BODY_FIXED: break;
    }
    return payload.len == row->bytes;
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
