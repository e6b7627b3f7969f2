/* Random lists of changes against a naive copy: results, order in the database, what workers find, counts; lists that fail somewhere
 * change nothing; and after a restart it is all the same. */

#include "state_fixture.h"

#define HOSTS    30
#define LISTS    1500
#define LIST_MAX 12
#define IPS      16

struct naive_route {
    int listener, host, backend;
};

struct naive {
    struct naive_route routes[2 * HOSTS]; /* in the order of first insertion */
    int route_count;
    int rules[2 * IPS]; /* 2 * number + is_cidr */
    int rule_count;
    struct state_applied applied;
};

static const char *const listeners[] = {FIRST, SECOND};
static unsigned seed = 4711;

static int pick(int below)
{
    return rand_r(&seed) % below;
}

/* ---- the naive copy ---- */

static int find_route(const struct naive *n, int listener, int host)
{
    for (int i = 0; i < n->route_count; i++) {
        if (n->routes[i].listener == listener && n->routes[i].host == host)
            return i;
    }
    return -1;
}

static int find_rule(const struct naive *n, int rule)
{
    for (int i = 0; i < n->rule_count; i++) {
        if (n->rules[i] == rule)
            return i;
    }
    return -1;
}

static void naive_put(struct naive *n, struct naive_route route)
{
    int at = find_route(n, route.listener, route.host);

    if (at < 0) {
        n->routes[n->route_count++] = route;
        n->applied.routes_added++;
    } else if (n->routes[at].backend == route.backend) {
        n->applied.unchanged++;
    } else {
        n->routes[at] = route;
        n->applied.routes_replaced++;
    }
}

static int nothing_to_do(struct naive *n, bool is_allowed, int rc)
{
    n->applied.unchanged += is_allowed;
    return is_allowed ? 0 : rc;
}

static int naive_remove(struct naive *n, int listener, int host, bool is_allowed)
{
    int at = find_route(n, listener, host);

    if (at < 0)
        return nothing_to_do(n, is_allowed, ERR_NOT_FOUND);
    memmove(&n->routes[at], &n->routes[at + 1], (size_t)(--n->route_count - at) * sizeof n->routes[0]);
    n->applied.routes_removed++;
    return 0;
}

static int naive_add_rule(struct naive *n, int rule, bool is_allowed)
{
    if (find_rule(n, rule) >= 0)
        return nothing_to_do(n, is_allowed, ERR_EXISTS);
    n->rules[n->rule_count++] = rule;
    n->applied.rules_added++;
    return 0;
}

static int naive_remove_rule(struct naive *n, int rule, bool is_allowed)
{
    int at = find_rule(n, rule);

    if (at < 0)
        return nothing_to_do(n, is_allowed, ERR_NOT_FOUND);
    memmove(&n->rules[at], &n->rules[at + 1], (size_t)(--n->rule_count - at) * sizeof n->rules[0]);
    n->applied.rules_removed++;
    return 0;
}

/* ---- one change for both ---- */

struct texts {
    char host[32];
    char value[32];
};

static void host_text(int host, char out[32])
{
    snprintf(out, 32, "%sn%d.example", host % 3 == 0 ? "*." : "", host);
}

static void backend_text(int backend, char out[32])
{
    snprintf(out, 32, "10.0.0.%d:443", backend);
}

static void rule_text(int rule, char out[32])
{
    snprintf(out, 32, "192.0.2.%d%s", rule / 2, rule % 2 == 1 ? "/32" : "");
}

/** Makes the change in the copy too; returns what it should come to. */
static int random_change(struct naive *n, struct texts *t, struct state_change *out)
{
    int kind = pick(20), listener = pick(2), host = pick(HOSTS), backend = 1 + pick(4), rule = pick(2 * IPS);
    bool is_allowed = pick(12) != 0;
    enum store_rule_type type = rule % 2 == 1 ? STORE_RULE_CIDR : STORE_RULE_IP;
    int rc = 0;

    host_text(host, t->host);
    if (kind < 8) {
        backend_text(backend, t->value);
        *out = put_on(listeners[listener], t->host, t->value);
        naive_put(n, (struct naive_route){listener, host, backend});
    } else if (kind < 13) {
        *out = remove_on(listeners[listener], t->host);
        rc = naive_remove(n, listener, host, is_allowed);
    } else {
        rule_text(rule, t->value);
        *out = rule_change(kind < 17 ? STATE_ADD_RULE : STATE_REMOVE_RULE, type, t->value);
        rc = kind < 17 ? naive_add_rule(n, rule, is_allowed) : naive_remove_rule(n, rule, is_allowed);
    }
    out->allow_unchanged = is_allowed;
    if (pick(80) == 0) { /* something that cannot be read */
        *out = put_on(listeners[listener], "a b", "a:1");
        rc = ERR_INVALID;
    }
    return rc;
}

/* ---- comparing ---- */

static void expect_same_database(struct proxy *p, const struct naive *n)
{
    char expected[8192], host[32], value[32];
    struct strbuf text = STRBUF_OF(expected);

    for (int i = 0; i < n->route_count; i++) {
        host_text(n->routes[i].host, host);
        backend_text(n->routes[i].backend, value);
        strbuf_addf(&text, "%s %s %s 0\n", listeners[n->routes[i].listener], host, value);
    }
    for (int i = 0; i < n->rule_count; i++) {
        rule_text(n->rules[i], value);
        strbuf_addf(&text, "%s %s\n", n->rules[i] % 2 == 1 ? "cidr" : "ip", value);
    }
    expect_database(p, expected);
}

static void expect_same_tables(struct proxy *p, const struct naive *n)
{
    char name[64], value[32];
    unsigned counts[2] = {0, 0};

    for (int i = 0; i < n->route_count; i++)
        counts[n->routes[i].listener]++;
    for (int listener = 0; listener < 2; listener++) {
        assert_int_equal(state_route_count(p->state, id_of_listener(p, listeners[listener])), counts[listener]);
        for (int host = 0; host < HOSTS; host++) {
            int at = find_route(n, listener, host);
            snprintf(name, sizeof name, "%sn%d.example", host % 3 == 0 ? "deep.below." : "", host);
            value[0] = '\0';
            if (at >= 0)
                backend_text(n->routes[at].backend, value);
            expect_route(p, listeners[listener], name, value);
        }
    }
    assert_int_equal(state_rule_count(p->state), n->rule_count);
    for (int ip = 0; ip < IPS; ip++) {
        bool has_ip = find_rule(n, 2 * ip) >= 0, has_cidr = find_rule(n, 2 * ip + 1) >= 0;
        rule_text(2 * ip, value);
        assert_int_equal(verdict_on(p, value), has_ip     ? FIREWALL_BLOCKED_IP
                                               : has_cidr ? FIREWALL_BLOCKED_CIDR
                                                          : FIREWALL_PASS);
    }
}

static void one_list(struct proxy *p, struct naive *n, unsigned *failed_out)
{
    struct state_change changes[LIST_MAX];
    struct texts texts[LIST_MAX];
    struct naive copy = *n;
    size_t count = pick(3) == 0 ? 1 : 1 + (size_t)pick(LIST_MAX), at = count;
    bool validate_only = pick(8) == 0;
    int expected = 0;

    copy.applied = (struct state_applied){0};
    for (size_t i = 0; i < count; i++) {
        int rc = random_change(&copy, &texts[i], &changes[i]);
        if (rc != 0 && expected == 0) {
            expected = rc;
            at = i;
        }
    }
    expect_rc(p->f, state_apply(p->state, changes, count, validate_only, &p->applied, &p->failed, &p->f->why),
              expected);
    assert_int_equal(p->failed, at);
    *failed_out += expected != 0;
    if (expected != 0)
        return;
    assert_memory_equal(&p->applied, &copy.applied, sizeof copy.applied);
    if (!validate_only)
        *n = copy;
}

static void test_random_lists_against_a_naive_copy(void **state)
{
    struct proxy *p = *state;
    static struct naive naive;
    unsigned failed = 0;

    for (int round = 0; round < LISTS; round++) {
        one_list(p, &naive, &failed);
        if (round % 16 == 0)
            state_housekeeping(p->state, 1);
        expect_same_tables(p, &naive);
        expect_same_database(p, &naive);
        if (round % 300 == 299) {
            proxy_reopen(p);
            expect_same_tables(p, &naive);
            expect_same_database(p, &naive);
        }
    }
    assert_true(failed > LISTS / 10 && failed < LISTS / 2); /* both kinds came */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROXY_TEST(test_random_lists_against_a_naive_copy),
    };

    if (access("/dev/shm", W_OK) == 0)
        fixture_root = "/dev/shm";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
