/* The master's part of a panic record: what its parts say of themselves, each line with "panic: " in front. */

#include <string.h>
#include <unistd.h>

#include "check.h"
#include "grpc_server.h"
#include "server_internal.h"
#include "server_metrics.h"
#include "state.h"
#include "supervisor.h"

#define DUMP_MAX 16384 /* of one part; lines that do not fit are left out */

static const struct server *at_work; /* only for the panic record */

static void dump_server(const struct server *s, struct strbuf *out)
{
    strbuf_addf(out, "server started=%s stopping=%s reload_waiting=%s upgrade_pid=%d\n", s->is_started ? "yes" : "no",
                s->is_stopping ? "yes" : "no", s->is_reload_waiting ? "yes" : "no", (int)s->upgrade.pid);
}

static void dump_supervisor(const struct server *s, struct strbuf *out)
{
    if (s->supervisor != NULL)
        supervisor_dump(s->supervisor, out);
}

static void dump_admin(const struct server *s, struct strbuf *out)
{
    if (s->admin.grpc == NULL)
        return;
    strbuf_add(out, "admin ");
    grpc_server_dump(s->admin.grpc, out);
    strbuf_add_char(out, '\n');
}

static void dump_state(const struct server *s, struct strbuf *out)
{
    if (s->state != NULL)
        state_dump(s->state, out);
}

static void write_lines(int fd, const char *text)
{
    static const char prefix[] = "panic: ";

    for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        if (write(fd, prefix, sizeof prefix - 1) < 0 || write(fd, text, (size_t)(end + 1 - text)) < 0)
            return; /* nothing left to try */
    }
}

/** Part by part: what is broken may take the rest with it. */
static void dump(int fd)
{
    static void (*const parts[])(const struct server *s, struct strbuf *out) = {
        dump_server, dump_supervisor, dump_admin, server_metrics_dump, dump_state,
    };
    static char text[DUMP_MAX];

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        struct strbuf out = STRBUF_OF(text);
        parts[i](at_work, &out);
        write_lines(fd, text);
    }
}

void server_dump_at_panic(const struct server *s)
{
    at_work = s;
    check_set_dump(s != NULL ? dump : NULL);
}
