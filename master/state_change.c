/*
 * Changes: read, made in the database within one transaction and prepared in the tables one after the other, then committed, then
 * published. Whatever fails, fails before the commit or is the commit.
 */

#include "state_change.h"

#include "err.h"
#include "state_fields.h"
#include "state_internal.h"
#include "state_tables.h"
#include "tables.h"

/** Changes on their way. */
struct applying {
    struct state *state;
    bool validate_only;
    bool has_begun;           /* the database's transaction */
    struct state_tables view; /* what workers will see; left alone with validate_only */
    struct state_applied applied;
    struct strbuf *why;
};

/** One of them. */
struct step {
    const struct state_change *change;
    struct state_request request;
    uint16_t listener;    /* routes */
    const char *key;      /* routes: the listener as the database names it */
    struct strbuf reason; /* what the store says, over text */
    char text[512];
};

/* ---- one change; each returns 0 or an error with words in a->why ---- */

static int no_memory(struct applying *a, int rc)
{
    if (rc != 0)
        strbuf_add(a->why, "out of memory for the shared tables; nothing was changed");
    return rc;
}

/** Having nothing to do is an error unless the change allows it. */
static int unchanged(struct applying *a, const struct step *step, int rc, const char *words)
{
    if (step->change->allow_unchanged) {
        a->applied.unchanged++;
        return 0;
    }
    strbuf_add(a->why, words);
    return rc;
}

static int route_is_missing(struct applying *a, const struct step *step)
{
    char text[512];
    struct strbuf words = STRBUF_OF(text);

    strbuf_addf(&words, "hostname: there is no route for \"%s\" on listener %s", step->request.hostname, step->key);
    return unchanged(a, step, ERR_NOT_FOUND, text);
}

static int rule_is_unchanged(struct applying *a, const struct step *step, int rc)
{
    char text[512];
    struct strbuf words = STRBUF_OF(text);

    strbuf_addf(&words, "rule: the firewall %s rule %s %s", rc == ERR_EXISTS ? "has" : "does not have",
                store_rule_type_text(step->change->rule_type), step->request.value);
    strbuf_add(&words, rc == ERR_EXISTS ? " already" : "");
    return unchanged(a, step, rc, text);
}

static int store_failed(struct applying *a, const struct step *step, int rc)
{
    strbuf_add(a->why, step->reason.data);
    return rc;
}

static int put_route(struct applying *a, struct step *step)
{
    const struct state_request *request = &step->request;
    struct store_route route = {.listener = step->key,
                                .hostname = request->hostname,
                                .backend = request->backend_text,
                                .send_proxy_protocol = step->change->send_proxy_protocol};
    enum store_put put;
    int rc = store_put_route(a->state->store, &route, &put, &step->reason);

    if (rc != 0)
        return store_failed(a, step, rc);
    a->applied.unchanged += put == STORE_PUT_UNCHANGED;
    a->applied.routes_added += put == STORE_PUT_ADDED;
    a->applied.routes_replaced += put == STORE_PUT_REPLACED;
    if (a->validate_only || put == STORE_PUT_UNCHANGED)
        return 0;
    return no_memory(a, state_tables_put_route(&a->view, step->listener, request, route.send_proxy_protocol));
}

static int remove_route(struct applying *a, struct step *step)
{
    int rc = store_remove_route(a->state->store, step->key, step->request.hostname, &step->reason);

    if (rc == ERR_NOT_FOUND)
        return route_is_missing(a, step);
    if (rc != 0)
        return store_failed(a, step, rc);
    a->applied.routes_removed++;
    return a->validate_only ? 0 : no_memory(a, state_tables_remove_route(&a->view, step->listener, &step->request));
}

static int add_rule(struct applying *a, struct step *step)
{
    struct store_rule rule = {.type = step->change->rule_type, .value = step->request.value};
    int rc = store_add_rule(a->state->store, &rule, &step->reason);

    if (rc == ERR_EXISTS)
        return rule_is_unchanged(a, step, rc);
    if (rc != 0)
        return store_failed(a, step, rc);
    a->applied.rules_added++;
    return a->validate_only ? 0 : no_memory(a, state_tables_add_rule(&a->view, &step->request));
}

static int remove_rule(struct applying *a, struct step *step)
{
    struct store_rule rule = {.type = step->change->rule_type, .value = step->request.value};
    int rc = store_remove_rule(a->state->store, &rule, &step->reason);

    if (rc == ERR_NOT_FOUND)
        return rule_is_unchanged(a, step, rc);
    if (rc != 0)
        return store_failed(a, step, rc);
    a->applied.rules_removed++;
    return a->validate_only ? 0 : no_memory(a, state_tables_remove_rule(&a->view, &step->request));
}

typedef int (*step_fn)(struct applying *a, struct step *step);

static const step_fn steps[] = {
    [STATE_PUT_ROUTE] = put_route,
    [STATE_REMOVE_ROUTE] = remove_route,
    [STATE_ADD_RULE] = add_rule,
    [STATE_REMOVE_RULE] = remove_rule,
};

/** Does what the change is about exist, and can it be done at all? */
static int check_target(struct applying *a, struct step *step)
{
    const struct state_change *change = step->change;
    int rc = 0;

    if (change->kind == STATE_PUT_ROUTE || change->kind == STATE_REMOVE_ROUTE) {
        rc = state_need_listener_at(a->state, &step->request.listener, change->listener, &step->listener, a->why);
        if (rc == 0)
            step->key = a->state->listeners[step->listener].key;
    } else if (change->kind == STATE_ADD_RULE && change->rule_type == STORE_RULE_COUNTRY && !a->state->has_geoip) {
        strbuf_add(a->why, "rule.type: a country rule needs a GeoIP database; set [firewall] geoip_db and reload");
        rc = ERR_PRECONDITION;
    }
    return rc;
}

static int begin_once(struct applying *a)
{
    int rc = a->has_begun ? 0 : store_begin(a->state->store, a->why);

    a->has_begun = rc == 0;
    return rc;
}

static int apply_one(struct applying *a, const struct state_change *change)
{
    struct step step = {.change = change};
    int rc;

    step.reason = STRBUF_OF(step.text);
    CHECK((size_t)change->kind < sizeof steps / sizeof steps[0]);
    if ((rc = state_request_parse(change, &step.request, a->why)) != 0 || (rc = check_target(a, &step)) != 0 ||
        (rc = begin_once(a)) != 0)
        return rc;
    return steps[change->kind](a, &step);
}

/* ---- all of them ---- */

/** Is the change itself to blame, and not the disk or the memory? */
static bool is_its_fault(int rc)
{
    return rc == ERR_INVALID || rc == ERR_NOT_FOUND || rc == ERR_EXISTS || rc == ERR_PRECONDITION;
}

static int apply_all(struct applying *a, const struct state_change *changes, size_t count, size_t *failed_out)
{
    *failed_out = count;
    for (size_t i = 0; i < count; i++) {
        int rc = apply_one(a, &changes[i]);
        if (rc == 0)
            continue;
        if (is_its_fault(rc))
            *failed_out = i;
        return rc;
    }
    return 0;
}

/** The end of it: on disk and shown to the workers, or nowhere. */
static int finish(struct applying *a, int rc)
{
    if (a->has_begun && (rc != 0 || a->validate_only))
        store_rollback(a->state->store);
    else if (a->has_begun)
        rc = store_commit(a->state->store, a->why);
    if (rc == 0)
        state_tables_publish(&a->view);
    else
        state_tables_abort(&a->view);
    return rc;
}

int state_apply(struct state *state, const struct state_change *changes, size_t count, bool validate_only,
                struct state_applied *out, size_t *failed_out, struct strbuf *why)
{
    struct applying a = {.state = state, .validate_only = validate_only, .why = why};

    CHECK_MAGIC(state, STATE_MAGIC);
    CHECK(state->is_loaded);
    *failed_out = count;
    int rc = state_need_store(state, why);
    if (rc != 0)
        return rc;
    state_tables_begin(&a.view, state, count == 1);
    rc = finish(&a, apply_all(&a, changes, count, failed_out));
    if (rc == 0)
        *out = a.applied;
    return rc;
}

int state_set_max_connections(struct state *state, struct bytes listener, uint32_t max_connections, struct strbuf *why)
{
    uint16_t id = 0;
    int rc;

    CHECK_MAGIC(state, STATE_MAGIC);
    if ((rc = state_need_store(state, why)) != 0 || (rc = state_need_listener(state, listener, &id, why)) != 0 ||
        (rc = store_set_max_connections(state->store, state->listeners[id].key, max_connections, why)) != 0)
        return rc;
    tables_set_max_connections(state->tables, id, max_connections);
    state->generation++;
    return 0;
}
