/* c-ares in the master's loop: the only home of ares.h. Its sockets are watchers of ours, its time-outs one timer. */

#include "dns_client.h"

#include <ares.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "strbuf.h"

#define DNS_CLIENT_MAGIC 0x434e5344u /* "DSNC" */
#define DNS_LOOKUP_MAGIC 0x4c4e5344u /* "DSNL" */

/** A socket of c-ares in our loop. */
struct dns_socket {
    struct ev_io watcher; /* data: the client */
    struct dns_socket *next;
};

struct dns_client {
    uint32_t magic;
    struct ev_loop *loop;
    ares_channel channel;
    struct dns_socket *sockets;
    struct ev_timer timer; /* the next time-out within c-ares */
    unsigned in_flight;
    const struct dns_lookup *starting; /* the look-up within ares_getaddrinfo() at the moment */
};

struct dns_lookup {
    uint32_t magic;
    struct dns_client *client;
    dns_answer_fn on_answer;
    void *context;
    bool is_localhost;
};

/* ---- sockets and time-outs ---- */

/** c-ares tells when it wants to be called next; while nothing is asked, nothing runs. */
static void arm_timer(struct dns_client *c)
{
    struct timeval tv;

    ev_timer_stop(c->loop, &c->timer);
    if (ares_timeout(c->channel, NULL, &tv) != NULL) {
        double seconds = (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
        ev_timer_set(&c->timer, seconds > 0.001 ? seconds : 0.001, 0.);
        ev_timer_start(c->loop, &c->timer);
    }
}

static void on_timer(EV_P_ ev_timer *timer, int revents)
{
    struct dns_client *c = timer->data;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(c, DNS_CLIENT_MAGIC);
    ares_process_fd(c->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm_timer(c);
}

static void on_socket(EV_P_ ev_io *watcher, int revents)
{
    struct dns_client *c = watcher->data;
    int fd = watcher->fd;

    (void)loop;
    CHECK_MAGIC(c, DNS_CLIENT_MAGIC);
    ares_process_fd(c->channel, revents & EV_READ ? fd : ARES_SOCKET_BAD, revents & EV_WRITE ? fd : ARES_SOCKET_BAD);
    arm_timer(c); /* the watcher itself may be gone by now */
}

static struct dns_socket *socket_add(struct dns_client *c, int fd)
{
    struct dns_socket *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL; /* its queries time out, which the caller sees as a failed look-up */
    ev_io_init(&s->watcher, on_socket, fd, 0);
    s->watcher.data = c;
    s->next = c->sockets;
    c->sockets = s;
    return s;
}

static void socket_forget(struct dns_client *c, struct dns_socket **at)
{
    struct dns_socket *s = *at;

    if (s == NULL)
        return;
    *at = s->next;
    ev_io_stop(c->loop, &s->watcher);
    free(s);
}

/** c-ares opened a socket, wants other events of one, or (neither readable nor writable) is about to close one. */
static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
    struct dns_client *c = data;
    int events = (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0);
    struct dns_socket **at = &c->sockets;

    CHECK_MAGIC(c, DNS_CLIENT_MAGIC);
    while (*at != NULL && (*at)->watcher.fd != fd)
        at = &(*at)->next;
    if (events == 0) {
        socket_forget(c, at);
        return;
    }
    struct dns_socket *s = *at != NULL ? *at : socket_add(c, fd);
    if (s != NULL) {
        ev_io_stop(c->loop, &s->watcher);
        ev_io_set(&s->watcher, fd, events);
        ev_io_start(c->loop, &s->watcher);
    }
}

/* ---- answers ---- */

static void answer_take_addrs(struct dns_answer *answer, const struct ares_addrinfo_node *node)
{
    for (; node != NULL && answer->count < DNS_ANSWER_MAX; node = node->ai_next) {
        struct sockaddr_storage ss = {0};
        memcpy(&ss, node->ai_addr, node->ai_addrlen < sizeof ss ? node->ai_addrlen : sizeof ss);
        struct ip_endpoint end = ip_endpoint_of_sockaddr(&ss);
        if (end.addr.family != 0)
            answer->addrs[answer->count++] = end.addr;
    }
}

/** RFC 6761 6.3: localhost is this host, on a machine without a hosts file too, where c-ares finds nothing. */
static void answer_take_loopback(struct dns_answer *answer)
{
    answer->addrs[0] = (struct ip_addr){.family = 4, .bytes = {127, 0, 0, 1}};
    answer->addrs[1] = (struct ip_addr){.family = 6, .bytes = {[15] = 1}};
    answer->count = 2;
}

static int shorter_ttl(int a, int b)
{
    int shorter = a < b ? a : b;
    return shorter < 0 ? 0 : shorter; /* RFC 2181 8: a TTL with the top bit set counts as zero */
}

static uint32_t shortest_ttl_s(const struct ares_addrinfo *info)
{
    int ttl_s = INT32_MAX;

    for (const struct ares_addrinfo_node *node = info->nodes; node != NULL; node = node->ai_next)
        ttl_s = shorter_ttl(ttl_s, node->ai_ttl);
    for (const struct ares_addrinfo_cname *alias = info->cnames; alias != NULL; alias = alias->next)
        ttl_s = shorter_ttl(ttl_s, alias->ttl);
    return (uint32_t)ttl_s;
}

static void on_addrinfo(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct dns_lookup *lookup = arg;

    (void)timeouts;
    CHECK_MAGIC(lookup, DNS_LOOKUP_MAGIC);
    struct dns_lookup ended = *lookup;
    struct dns_answer answer = {.is_from_hosts = ended.client->starting == lookup}; /* the DNS never answers at once */

    lookup->magic = 0;
    free(lookup);
    ended.client->in_flight--;
    if (info != NULL) {
        answer_take_addrs(&answer, info->nodes);
        answer.ttl_s = shortest_ttl_s(info);
    }
    ares_freeaddrinfo(info);
    if (ended.is_localhost && answer.is_from_hosts && answer.count == 0)
        answer_take_loopback(&answer);
    else if (status != ARES_SUCCESS || answer.count == 0)
        answer.error = ares_strerror(status != ARES_SUCCESS ? status : ARES_ENODATA);
    ended.on_answer(&answer, ended.context);
}

/* ---- public ---- */

void dns_client_ask(struct dns_client *client, const char *name, dns_answer_fn on_answer, void *context)
{
    CHECK_MAGIC(client, DNS_CLIENT_MAGIC);
    struct dns_lookup *lookup = calloc(1, sizeof *lookup);
    struct ares_addrinfo_hints hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = ARES_AI_ENVHOSTS, /* CARES_HOSTS in the environment names another file than /etc/hosts */
    };

    if (lookup == NULL) {
        on_answer(&(struct dns_answer){.error = ares_strerror(ARES_ENOMEM)}, context);
        return;
    }
    *lookup = (struct dns_lookup){.magic = DNS_LOOKUP_MAGIC,
                                  .client = client,
                                  .on_answer = on_answer,
                                  .context = context,
                                  .is_localhost = strcasecmp(name, "localhost") == 0};
    client->in_flight++;
    client->starting = lookup;
    ares_getaddrinfo(client->channel, name, NULL, &hints, on_addrinfo, lookup);
    client->starting = NULL;
    arm_timer(client);
}

unsigned dns_client_in_flight(const struct dns_client *client)
{
    CHECK_MAGIC(client, DNS_CLIENT_MAGIC);
    return client->in_flight;
}

static int open_channel(struct dns_client *c, const char *servers, uint32_t timeout_ms, uint32_t tries)
{
    char lookups[] = "fb"; /* hosts file first, whatever nsswitch.conf has: is_from_hosts stands on that */
    struct ares_options options = {
        .timeout = (int)timeout_ms,
        .tries = (int)tries,
        .lookups = lookups,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = c,
    };
    int status = ares_init_options(&c->channel, &options,
                                   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);

    if (status != ARES_SUCCESS)
        c->channel = NULL;
    else if (servers != NULL)
        status = ares_set_servers_ports_csv(c->channel, servers);
    return status == ARES_SUCCESS ? 0 : status == ARES_ENOMEM ? ERR_NO_MEMORY : ERR_INVALID;
}

int dns_client_new(struct ev_loop *loop, const char *servers, uint32_t timeout_ms, uint32_t tries,
                   struct dns_client **out)
{
    struct dns_client *c = calloc(1, sizeof *c);
    int rc;

    if (c == NULL)
        return ERR_NO_MEMORY;
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        free(c);
        return ERR_NO_MEMORY;
    }
    c->magic = DNS_CLIENT_MAGIC;
    c->loop = loop;
    ev_timer_init(&c->timer, on_timer, 0., 0.);
    c->timer.data = c;
    if ((rc = open_channel(c, servers, timeout_ms, tries)) != 0) {
        dns_client_free(&c);
        return rc;
    }
    *out = c;
    return 0;
}

void dns_client_free(struct dns_client **client)
{
    struct dns_client *c = *client;

    if (c == NULL)
        return;
    CHECK_MAGIC(c, DNS_CLIENT_MAGIC);
    *client = NULL;
    if (c->channel != NULL)
        ares_destroy(c->channel); /* every look-up ends with ARES_EDESTRUCTION, every socket is closed */
    CHECK(c->in_flight == 0 && c->sockets == NULL);
    ev_timer_stop(c->loop, &c->timer);
    ares_library_cleanup();
    c->magic = 0;
    free(c);
}

const char *dns_client_version_text(void)
{
    static char text[32];
    struct strbuf s = STRBUF_OF(text);

    strbuf_addf(&s, "c-ares %s", ares_version(NULL));
    return text;
}
