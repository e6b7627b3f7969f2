/* Database, tables and resolver in step: opening and closing them, listener ids, and what is to be done now and then. */

#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend_names.h"
#include "backend_set.h"
#include "clock.h"
#include "err.h"
#include "firewall_writer.h"
#include "rate_limit.h"
#include "route_writer.h"
#include "shared_file.h"
#include "state_internal.h"
#include "store.h"
#include "tables.h"

#define RATE_SWEEP_MS (60ull * 60 * 1000)

/* ---- opening and closing ---- */

static int make_rate_table(struct state *s)
{
    uint64_t seed[2];
    void *mapping;
    int rc;

    if (getentropy(seed, sizeof seed) != 0)
        return ERR_SYSTEM;
    if ((rc = shared_file_make("mc-proxy-rates", sizeof *s->rates, &s->rate_fd, &mapping)) != 0)
        return rc;
    s->rates = mapping;
    rate_table_init(s->rates, seed);
    return 0;
}

static int open_tables(struct state *s, const struct state_options *options, struct strbuf *why)
{
    struct tables_options tables = {.stats = options->stats, .worker_slots = options->worker_slots};
    int rc;

    if ((rc = tables_new(&tables, &s->tables)) != 0) {
        strbuf_addf(why, "cannot make the shared tables: %s", shared_file_why(rc));
        return rc;
    }
    if ((rc = backend_set_new(s->tables, &s->backends)) != 0 ||
        (rc = route_writer_new(s->tables, s->backends, &s->routes)) != 0 ||
        (rc = firewall_writer_new(s->tables, &s->firewall)) != 0 || (rc = make_rate_table(s)) != 0) {
        strbuf_addf(why, "cannot make the shared tables: %s", err_text(rc));
        return rc;
    }
    if ((rc = backend_names_new(options->loop, s->backends, NULL, &s->names)) != 0)
        strbuf_addf(why, "cannot begin to resolve names: %s; look at /etc/resolv.conf", err_text(rc));
    return rc;
}

static int open_store(struct state *s, struct strbuf *why)
{
    int rc = store_open(s->database_path, &s->store, why);

    if (rc == 0 && s->on_busy != NULL)
        store_on_busy(s->store, s->on_busy, s->busy_context);
    return rc;
}

int state_open(const char *database_path, const struct state_options *options, struct state **out, struct strbuf *why)
{
    struct state *s = calloc(1, sizeof *s);
    int rc;

    if (s == NULL) {
        strbuf_add(why, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    s->magic = STATE_MAGIC;
    s->rate_fd = -1;
    s->on_busy = options->on_busy;
    s->busy_context = options->context;
    s->database_path = strdup(database_path);
    if (s->database_path == NULL) {
        strbuf_add(why, err_text(ERR_NO_MEMORY));
        state_close(&s);
        return ERR_NO_MEMORY;
    }
    if ((rc = open_store(s, why)) != 0 || (rc = open_tables(s, options, why)) != 0) {
        state_close(&s);
        return rc;
    }
    *out = s;
    return 0;
}

void state_close(struct state **state)
{
    struct state *s = *state;

    if (s == NULL)
        return;
    CHECK_MAGIC(s, STATE_MAGIC);
    backend_names_free(&s->names); /* first: it hears from the set, and the set from the writer */
    route_writer_free(&s->routes);
    firewall_writer_free(&s->firewall);
    backend_set_free(&s->backends);
    tables_free(&s->tables);
    store_close(&s->store);
    if (s->rates != NULL)
        munmap(s->rates, sizeof *s->rates);
    if (s->rate_fd >= 0)
        close(s->rate_fd);
    free(s->database_path);
    s->magic = 0;
    free(s);
    *state = NULL;
}

void state_suspend(struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    store_close(&state->store);
}

bool state_is_suspended(const struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return state->store == NULL;
}

int state_resume(struct state *state, struct strbuf *why)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return open_store(state, why);
}

int state_need_store(const struct state *state, struct strbuf *why)
{
    if (state->store != NULL)
        return 0;
    strbuf_add(why, "the database is closed, because an upgrade is under way; try again in a few seconds");
    return ERR_UNAVAILABLE;
}

/* ---- listeners and their ids ---- */

int state_assign_id(struct state *state, const struct listen_addr *addr, uint16_t *id_out)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    for (unsigned id = 0; id < state->listener_count; id++) {
        if (listen_addr_equal(&state->listeners[id].addr, addr)) {
            *id_out = (uint16_t)id;
            return 0;
        }
    }
    if (state->listener_count == SHM_LISTENERS_MAX)
        return ERR_TOO_LARGE;
    struct listener_entry *entry = &state->listeners[state->listener_count];
    struct strbuf key = STRBUF_OF(entry->key);
    entry->addr = *addr;
    listen_addr_format(addr, &key);
    CHECK(!key.overflowed);
    *id_out = (uint16_t)state->listener_count++;
    return 0;
}

void state_listener_gone(struct state *state, uint16_t id)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    CHECK(id < state->listener_count);
    state->listeners[id].is_in_use = state->listeners[id].is_configured;
}

void state_set_rate(struct state *state, uint32_t limit, uint32_t window_ms)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    firewall_writer_set_rate(state->firewall, (struct rate_rule){.limit = limit, .window_ms = window_ms}, state->rates,
                             clock_monotonic_ns());
}

void state_set_geoip_available(struct state *state, bool is_available)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    state->has_geoip = is_available;
}

uint64_t state_country_rules(const struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return firewall_writer_counts(state->firewall).country;
}

void state_set_worker_slots(struct state *state, unsigned worker_slots)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    if (worker_slots > state->tables->worker_slots) /* never fewer: one on its way out may still look something up */
        tables_set_worker_slots(state->tables, worker_slots);
}

void state_retry_names(struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    backend_names_retry(state->names);
}

bool state_is_settled(const struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return backend_names_are_settled(state->names);
}

void state_housekeeping(struct state *state, uint64_t now_ms)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    (void)tables_reclaim(state->tables); /* a bounded part; the rest the next time */
    if (now_ms - state->swept_ms >= RATE_SWEEP_MS) {
        state->swept_ms = now_ms;
        rate_table_sweep(state->rates, &state->tables->shm->rate, now_ms * 1000000);
    }
}

int state_rate_fd(const struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return state->rate_fd;
}

const struct rate_table *state_rates(const struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return state->rates;
}

struct tables *state_tables(struct state *state)
{
    CHECK_MAGIC(state, STATE_MAGIC);
    return state->tables;
}

void state_dump(const struct state *s, struct strbuf *out)
{
    strbuf_addf(out, "state generation=%llu loaded=%s listeners=%u database=%s\ntables ",
                (unsigned long long)s->generation, s->is_loaded ? "yes" : "no", s->listener_count,
                s->store != NULL ? "open" : "closed");
    tables_dump(s->tables, out);
    strbuf_add(out, "\nroutes ");
    route_writer_dump(s->routes, out);
    strbuf_add(out, "\nfirewall ");
    firewall_writer_dump(s->firewall, out);
    strbuf_add(out, "\nbackends ");
    backend_set_dump(s->backends, out);
    strbuf_add_char(out, '\n');
    if (s->names != NULL) /* else it is being closed */
        backend_names_dump(s->names, out);
}
