/* A snapshot of the running server's database. */

#include "log_event.h"
#include "snapshot.h"
#include "state_change.h"
#include "state_internal.h"

int state_snapshot(struct state *state, const struct state_snapshot *snapshot, struct strbuf *path_out,
                   struct strbuf *why)
{
    size_t said = why->len;

    CHECK_MAGIC(state, STATE_MAGIC);
    int rc = state_need_store(state, why);
    if (rc != 0)
        return rc;
    rc = snapshot_write(state->store, state->database_path, snapshot, path_out, why);
    if (rc == 0 && why->len > said) { /* it is there, so this is no error of the call */
        struct log_event e;
        log_event_begin(&e, LOG_WARN, "a snapshot was written, but not every old one could be removed");
        log_event_cstr(&e, LOG_KEY_DETAIL, why->data + said);
        log_event_end(&e);
        strbuf_cut(why, said);
    }
    return rc;
}
