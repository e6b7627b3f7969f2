/*
 * Names of backends become addresses, and stay right:
 *
 *     watch -> queued -> looked up (at most 64 at a time) -> answered: waits for its TTL  -> queued -> ...
 *                                                         -> failed:   waits for a retry -> queued -> ...
 */

#include "resolver.h"

#include <ev.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "dns_client.h"
#include "err.h"
#include "hostname.h"
#include "log_event.h"

#define RESOLVER_MAGIC     0x5245534fu /* "RESO" */
#define WATCHED_MAGIC      0x57415443u /* "WATC" */
#define RESOLVER_IN_FLIGHT 64          /* look-ups at a time; each is two queries, A and AAAA */

TAILQ_HEAD(watched_queue, watched);

struct resolver {
    uint32_t magic;
    struct ev_loop *loop;
    struct resolver_options options; /* zeros replaced by the defaults */
    resolver_answer_fn on_answer;
    void *context;
    struct dns_client *dns;
    struct ev_timer pump_timer; /* "soon": look-ups start from a clean stack, not from within somebody's callback */
    struct watched_queue queue;
    void *names; /* tsearch(3) tree of struct watched */
    unsigned name_count;
    bool is_closing;
};

/** A name, always in exactly one place: queued, looked up, or waiting for its timer. */
struct watched {
    uint32_t magic;
    struct resolver *resolver;
    bool is_queued;
    TAILQ_ENTRY(watched) queued;
    bool is_in_flight;
    struct ev_timer due;   /* runs until the TTL or the retry */
    struct addr_set addrs; /* the last good answer */
    unsigned watches;      /* 0: in no tree any more, freed when its look-up ends */
    unsigned failures;     /* in a row */
    char name[];
};

/* ---- what the log says ---- */

static void log_addresses(struct log_event *e, const struct addr_set *addrs)
{
    char text[SHM_BACKEND_ADDRS_MAX * ADDRESS_TEXT_MAX];
    struct strbuf s = STRBUF_OF(text);

    for (unsigned i = 0; i < addrs->count; i++) {
        if (i > 0)
            strbuf_add_char(&s, ',');
        ip_addr_format(&addrs->addrs[i], &s);
    }
    log_event_cstr(e, LOG_KEY_ADDRESSES, text);
}

static void log_answer(const struct watched *w, const char *message, uint32_t ttl_ms)
{
    struct log_event e;

    log_event_begin(&e, LOG_INFO, message);
    log_event_cstr(&e, LOG_KEY_BACKEND, w->name);
    log_addresses(&e, &w->addrs);
    log_event_u64(&e, LOG_KEY_TTL_S, ttl_ms / 1000);
    log_event_end(&e);
}

static void log_failure(const struct watched *w, const char *error, uint32_t delay_ms)
{
    struct log_event e;

    log_event_begin(&e, LOG_WARN,
                    w->addrs.count > 0 ? "backend name cannot be resolved, its last addresses stay in use"
                                       : "backend name cannot be resolved");
    log_event_cstr(&e, LOG_KEY_BACKEND, w->name);
    log_event_cstr(&e, LOG_KEY_ERROR, error);
    if (w->addrs.count > 0)
        log_addresses(&e, &w->addrs);
    log_event_u64(&e, LOG_KEY_DELAY_MS, delay_ms);
    log_event_end(&e);
}

/* ---- a name and its times ---- */

static bool has_place(const struct resolver *r)
{
    return dns_client_in_flight(r->dns) < RESOLVER_IN_FLIGHT;
}

static void pump_soon(struct resolver *r)
{
    if (!r->is_closing && !TAILQ_EMPTY(&r->queue) && has_place(r) && !ev_is_active(&r->pump_timer)) {
        ev_timer_set(&r->pump_timer, 0., 0.);
        ev_timer_start(r->loop, &r->pump_timer);
    }
}

static void watched_enqueue(struct watched *w)
{
    TAILQ_INSERT_TAIL(&w->resolver->queue, w, queued);
    w->is_queued = true;
    pump_soon(w->resolver);
}

static void on_due(EV_P_ ev_timer *timer, int revents)
{
    struct watched *w = timer->data;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(w, WATCHED_MAGIC);
    watched_enqueue(w);
}

static void watched_wait(struct watched *w, uint32_t delay_ms)
{
    ev_timer_set(&w->due, delay_ms / 1000., 0.);
    ev_timer_start(w->resolver->loop, &w->due);
}

static uint32_t retry_delay_ms(const struct resolver_options *options, unsigned failures)
{
    uint64_t delay = options->retry_min_ms;

    for (unsigned i = 1; i < failures && delay < options->retry_max_ms; i++)
        delay *= 2;
    if (delay > options->retry_max_ms)
        delay = options->retry_max_ms;
    return (uint32_t)delay + arc4random_uniform((uint32_t)delay / 4 + 1); /* so that names do not come back in step */
}

static void watched_note_failure(struct watched *w, const char *error)
{
    w->failures++;
    uint32_t delay_ms = retry_delay_ms(&w->resolver->options, w->failures);

    if (w->failures == 1)
        log_failure(w, error, delay_ms);
    watched_wait(w, delay_ms);
}

/* ---- an answer ---- */

/**
 * The addresses to use: those of the answer, in its order. When it holds more than a set does, the ones in use already go first:
 * servers rotate long answers, and a different choice at each TTL would be a change for nothing.
 */
static struct addr_set answer_choose(const struct dns_answer *answer, const struct addr_set *current)
{
    struct addr_set kept = {0}, members = {0}, chosen = {0};

    for (unsigned i = 0; i < answer->count; i++) {
        if (addr_set_has(current, &answer->addrs[i]))
            addr_set_add(&kept, &answer->addrs[i]);
    }
    members = kept;
    for (unsigned i = 0; i < answer->count; i++)
        addr_set_add(&members, &answer->addrs[i]);
    for (unsigned i = 0; i < answer->count; i++) {
        if (addr_set_has(&members, &answer->addrs[i]))
            addr_set_add(&chosen, &answer->addrs[i]);
    }
    return chosen;
}

static uint32_t answer_good_for_ms(const struct dns_answer *answer, const struct resolver_options *options)
{
    uint64_t ttl_ms = (uint64_t)answer->ttl_s * 1000;

    if (answer->is_from_hosts)
        return options->hosts_ttl_ms;
    if (ttl_ms < options->ttl_min_ms)
        return options->ttl_min_ms;
    return ttl_ms < options->ttl_max_ms ? (uint32_t)ttl_ms : options->ttl_max_ms;
}

/** The last thing done with w: the callback may take the watch back. */
static void watched_take_addrs(struct watched *w, const struct addr_set *addrs, uint32_t ttl_ms)
{
    struct resolver *r = w->resolver;
    bool is_first = w->addrs.count == 0;
    bool has_changed = !addr_set_equal(&w->addrs, addrs);
    bool had_failed = w->failures > 0;

    w->failures = 0;
    if (has_changed)
        w->addrs = *addrs;
    watched_wait(w, ttl_ms);
    if (has_changed)
        log_answer(w, is_first ? "backend name resolved" : "backend name has new addresses", ttl_ms);
    else if (had_failed)
        log_answer(w, "backend name resolved again", ttl_ms);
    if (has_changed) {
        struct addr_set copy = w->addrs;
        r->on_answer(w->name, &copy, r->context);
    }
}

/** Free a name that is out of the tree; while it is looked up, its look-up will. */
static void watched_free(void *object)
{
    struct watched *w = object;

    CHECK_MAGIC(w, WATCHED_MAGIC);
    w->watches = 0;
    if (w->is_in_flight)
        return;
    if (w->is_queued)
        TAILQ_REMOVE(&w->resolver->queue, w, queued);
    ev_timer_stop(w->resolver->loop, &w->due);
    w->magic = 0;
    free(w);
}

static void on_dns_answer(const struct dns_answer *answer, void *context)
{
    struct watched *w = context;

    CHECK_MAGIC(w, WATCHED_MAGIC);
    struct resolver *r = w->resolver;
    w->is_in_flight = false;
    if (w->watches == 0) {
        watched_free(w);
    } else if (answer->error != NULL) {
        watched_note_failure(w, answer->error);
    } else {
        struct addr_set addrs = answer_choose(answer, &w->addrs);
        watched_take_addrs(w, &addrs, answer_good_for_ms(answer, &r->options));
    }
    pump_soon(r);
}

/** Names in /etc/hosts are answered at once and never fill the places in flight: a turn starts a bounded number, too. */
static void on_pump(EV_P_ ev_timer *timer, int revents)
{
    struct resolver *r = timer->data;
    struct watched *w;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(r, RESOLVER_MAGIC);
    for (unsigned n = 0; n < RESOLVER_IN_FLIGHT && has_place(r) && (w = TAILQ_FIRST(&r->queue)) != NULL; n++) {
        TAILQ_REMOVE(&r->queue, w, queued);
        w->is_queued = false;
        w->is_in_flight = true;
        dns_client_ask(r->dns, w->name, on_dns_answer, w);
    }
    pump_soon(r);
}

/* ---- the tree of names ---- */

/** A key for tfind(): a struct watched that is only a name. */
union watched_key {
    struct watched watched;
    char room[sizeof(struct watched) + HOSTNAME_MAX + 1];
};

static void watched_key_set(union watched_key *key, const char *name)
{
    size_t len = strlen(name);

    CHECK(len <= HOSTNAME_MAX);
    memcpy(key->watched.name, name, len + 1);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct watched *)a)->name, ((const struct watched *)b)->name);
}

static struct watched *find_watched(const struct resolver *r, const char *name)
{
    union watched_key key;

    watched_key_set(&key, name);
    struct watched *const *node = tfind(&key.watched, &r->names, compare_names);
    return node != NULL ? *node : NULL;
}

static struct watched *watched_new(struct resolver *r, const char *name)
{
    size_t len = strlen(name);
    struct watched *w = calloc(1, sizeof *w + len + 1);

    if (w == NULL)
        return NULL;
    w->magic = WATCHED_MAGIC;
    w->resolver = r;
    memcpy(w->name, name, len + 1);
    ev_timer_init(&w->due, on_due, 0., 0.);
    w->due.data = w;
    return w;
}

/* ---- public ---- */

int resolver_watch(struct resolver *resolver, const char *name)
{
    CHECK_MAGIC(resolver, RESOLVER_MAGIC);
    struct watched *w = find_watched(resolver, name);

    if (w == NULL) {
        if ((w = watched_new(resolver, name)) == NULL)
            return ERR_NO_MEMORY;
        if (tsearch(w, &resolver->names, compare_names) == NULL) {
            watched_free(w);
            return ERR_NO_MEMORY;
        }
        resolver->name_count++;
        watched_enqueue(w);
    }
    w->watches++;
    return 0;
}

void resolver_unwatch(struct resolver *resolver, const char *name)
{
    CHECK_MAGIC(resolver, RESOLVER_MAGIC);
    struct watched *w = find_watched(resolver, name);

    if (w == NULL || --w->watches > 0)
        return;
    tdelete(w, &resolver->names, compare_names);
    resolver->name_count--;
    watched_free(w);
}

static void retry_watched(const void *node, VISIT visit, void *closure)
{
    struct watched *w = *(struct watched *const *)node;

    (void)closure;
    if ((visit != preorder && visit != leaf) || w->failures == 0 || !ev_is_active(&w->due))
        return;
    ev_timer_stop(w->resolver->loop, &w->due);
    watched_enqueue(w);
}

void resolver_retry(struct resolver *resolver)
{
    CHECK_MAGIC(resolver, RESOLVER_MAGIC);
    twalk_r(resolver->names, retry_watched, NULL);
}

struct addr_set resolver_addresses(const struct resolver *resolver, const char *name)
{
    CHECK_MAGIC(resolver, RESOLVER_MAGIC);
    const struct watched *w = find_watched(resolver, name);

    return w != NULL ? w->addrs : (struct addr_set){0};
}

static void set_defaults(struct resolver_options *options)
{
    const struct {
        uint32_t *value;
        uint32_t preset;
    } presets[] = {
        {&options->query_timeout_ms, 2000}, {&options->query_tries, 3},      {&options->ttl_min_ms, 1000},
        {&options->ttl_max_ms, 3600000},    {&options->hosts_ttl_ms, 60000}, {&options->retry_min_ms, 1000},
        {&options->retry_max_ms, 60000},
    };

    for (unsigned i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        if (*presets[i].value == 0)
            *presets[i].value = presets[i].preset;
    }
}

int resolver_new(struct ev_loop *loop, const struct resolver_options *options, resolver_answer_fn on_answer,
                 void *context, struct resolver **out)
{
    struct resolver *r = calloc(1, sizeof *r);
    int rc;

    if (r == NULL)
        return ERR_NO_MEMORY;
    r->magic = RESOLVER_MAGIC;
    r->loop = loop;
    r->on_answer = on_answer;
    r->context = context;
    if (options != NULL)
        r->options = *options;
    set_defaults(&r->options);
    TAILQ_INIT(&r->queue);
    ev_timer_init(&r->pump_timer, on_pump, 0., 0.);
    r->pump_timer.data = r;
    struct dns_client_options dns = {.servers = r->options.servers,
                                     .resolv_conf = r->options.resolv_conf,
                                     .port = r->options.port,
                                     .timeout_ms = r->options.query_timeout_ms,
                                     .tries = r->options.query_tries};
    if ((rc = dns_client_new(loop, &dns, &r->dns)) != 0) {
        free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void resolver_free(struct resolver **resolver)
{
    struct resolver *r = *resolver;

    if (r == NULL)
        return;
    CHECK_MAGIC(r, RESOLVER_MAGIC);
    *resolver = NULL;
    r->is_closing = true;
    tdestroy(r->names, watched_free);
    dns_client_free(&r->dns); /* and with their look-ups the names that were still asked for */
    ev_timer_stop(r->loop, &r->pump_timer);
    r->magic = 0;
    free(r);
}

static const char *state_word(const struct watched *w)
{
    return w->is_in_flight ? "in_flight" : w->is_queued ? "queued" : w->failures > 0 ? "retry" : "ttl";
}

static void dump_watched(const void *node, VISIT which, void *closure)
{
    const struct watched *w = *(const struct watched *const *)node;
    struct strbuf *out = closure;

    if (which != postorder && which != leaf)
        return; /* in twalk(3)'s words "postorder" is the visit in sorted order */
    strbuf_addf(out, "  name=%s state=%s watches=%u failures=%u addresses=", w->name, state_word(w), w->watches,
                w->failures);
    for (unsigned i = 0; i < w->addrs.count; i++) {
        if (i > 0)
            strbuf_add_char(out, ',');
        ip_addr_format(&w->addrs.addrs[i], out);
    }
    strbuf_add_char(out, '\n');
}

static void count_unsettled(const void *node, VISIT visit, void *closure)
{
    const struct watched *w = *(const struct watched *const *)node;
    unsigned *count = closure;

    if (visit == preorder || visit == leaf)
        *count += w->addrs.count == 0 && w->failures == 0;
}

unsigned resolver_unsettled_count(const struct resolver *resolver)
{
    unsigned count = 0;

    CHECK_MAGIC(resolver, RESOLVER_MAGIC);
    twalk_r(resolver->names, count_unsettled, &count);
    return count;
}

void resolver_dump(const struct resolver *resolver, struct strbuf *out)
{
    CHECK_MAGIC(resolver, RESOLVER_MAGIC);
    strbuf_addf(out, "resolver names=%u in_flight=%u\n", resolver->name_count, dns_client_in_flight(resolver->dns));
    twalk_r(resolver->names, dump_watched, out);
}
