/* c-ares in the master's loop: the only home of ares.h. Its sockets are watchers of ours, its time-outs one timer. */

#include "dns_client.h"

#include <ares.h>
#include <arpa/inet.h>
#include <ev.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"
#include "log_event.h"
#include "resolv_conf.h"
#include "strbuf.h"

#define DNS_CLIENT_MAGIC 0x434e5344u /* "DSNC" */
#define DNS_LOOKUP_MAGIC 0x4c4e5344u /* "DSNL" */
#define DEFAULT_SERVER   "127.0.0.1" /* c-ares asks it when it knows no other */

/** A socket of c-ares in our loop. */
struct dns_socket {
    struct ev_io watcher; /* data: the client */
    struct dns_socket *next;
};

/** What tells one resolv.conf from the next. */
struct dns_file_mark {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
};

struct dns_client {
    uint32_t magic;
    struct ev_loop *loop;
    struct dns_client_options options;
    ares_channel channel;
    struct dns_file_mark read_mark; /* of the resolv.conf that the channel was made from */
    unsigned within_ares;           /* calls that c-ares has not returned from: the channel must stay */
    bool is_behind;                 /* a later one could not be read yet */
    bool is_renewing;               /* the old channel is being destroyed: its look-ups go to the new one */
    struct dns_lookup *again;       /* those look-ups */
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
    struct dns_lookup *next; /* in `again` */
    bool is_localhost;
    char name[];
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

static void process(struct dns_client *c, ares_socket_t read_fd, ares_socket_t write_fd)
{
    c->within_ares++;
    ares_process_fd(c->channel, read_fd, write_fd);
    c->within_ares--;
}

static void on_timer(EV_P_ ev_timer *timer, int revents)
{
    struct dns_client *c = timer->data;

    (void)loop;
    (void)revents;
    CHECK_MAGIC(c, DNS_CLIENT_MAGIC);
    process(c, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm_timer(c);
}

static void on_socket(EV_P_ ev_io *watcher, int revents)
{
    struct dns_client *c = watcher->data;
    int fd = watcher->fd;

    (void)loop;
    CHECK_MAGIC(c, DNS_CLIENT_MAGIC);
    process(c, revents & EV_READ ? fd : ARES_SOCKET_BAD, revents & EV_WRITE ? fd : ARES_SOCKET_BAD);
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
    if (lookup->client->is_renewing) {
        ares_freeaddrinfo(info);
        lookup->next = lookup->client->again;
        lookup->client->again = lookup;
        return;
    }
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

/* ---- the channel ---- */

static const char *resolv_conf_of(const struct dns_client *c)
{
    return c->options.resolv_conf != NULL ? c->options.resolv_conf : "/etc/resolv.conf";
}

static bool read_mark(const struct dns_client *c, struct dns_file_mark *out)
{
    struct stat st;

    if (stat(resolv_conf_of(c), &st) != 0)
        return false;
    *out = (struct dns_file_mark){.device = st.st_dev, .inode = st.st_ino, .size = st.st_size, .modified = st.st_mtim};
    return true;
}

static bool is_same_mark(const struct dns_file_mark *a, const struct dns_file_mark *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

/** Does it ask the server that it takes when resolv.conf names none? */
static bool asks_by_default(ares_channel channel)
{
    struct ares_addr_node *servers = NULL;
    struct in_addr usual;
    bool is_usual = ares_get_servers(channel, &servers) != ARES_SUCCESS; /* no memory: as good as unread */

    (void)inet_pton(AF_INET, DEFAULT_SERVER, &usual);
    if (servers != NULL)
        is_usual = servers->next == NULL && servers->family == AF_INET && servers->addr.addr4.s_addr == usual.s_addr;
    ares_free_data(servers);
    return is_usual;
}

static int open_channel(struct dns_client *c, ares_channel *out)
{
    char lookups[] = "fb"; /* hosts file first, whatever nsswitch.conf has: is_from_hosts stands on that */
    char path[PATH_MAX];
    struct ares_options options = {
        .timeout = (int)c->options.timeout_ms,
        .tries = (int)c->options.tries,
        .lookups = lookups,
        .udp_port = c->options.port,
        .tcp_port = c->options.port,
        .resolvconf_path = path,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = c,
    };

    snprintf(path, sizeof path, "%s", resolv_conf_of(c));
    int ports = c->options.port != 0 ? ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT : 0;
    int status = ares_init_options(out, &options,
                                   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_RESOLVCONF |
                                       ARES_OPT_SOCK_STATE_CB | ports);
    if (status != ARES_SUCCESS)
        *out = NULL;
    else if (c->options.servers != NULL)
        status = ares_set_servers_ports_csv(*out, c->options.servers);
    else if (asks_by_default(*out) && resolv_conf_names_another(path, DEFAULT_SERVER))
        return ERR_UNAVAILABLE; /* it passes over a file that it cannot open or read for want of descriptors or memory */
    return status == ARES_SUCCESS ? 0 : status == ARES_ENOMEM ? ERR_NO_MEMORY : ERR_INVALID;
}

/** Hand a look-up to c-ares, which may answer at once. */
static void begin(struct dns_client *c, struct dns_lookup *lookup)
{
    struct ares_addrinfo_hints hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = ARES_AI_ENVHOSTS, /* CARES_HOSTS in the environment names another file than /etc/hosts */
    };

    c->starting = lookup;
    c->within_ares++;
    ares_getaddrinfo(c->channel, lookup->name, NULL, &hints, on_addrinfo, lookup);
    c->within_ares--;
    c->starting = NULL;
}

/** A channel with what resolv.conf says now takes over, with all that is under way. */
static int renew(struct dns_client *c)
{
    ares_channel old = c->channel, fresh;
    int rc = open_channel(c, &fresh);

    if (rc != 0) {
        if (fresh != NULL)
            ares_destroy(fresh);
        return rc;
    }
    log_text(LOG_INFO, "resolv.conf has changed: names are asked for as it says");
    c->is_renewing = true;
    ares_destroy(old);
    c->is_renewing = false;
    c->channel = fresh;
    while (c->again != NULL) {
        struct dns_lookup *lookup = c->again;
        c->again = lookup->next;
        begin(c, lookup);
    }
    return 0;
}

/** What lacks descriptors or memory is tried again with the next look-up, and said once. */
static void renew_if_changed(struct dns_client *c)
{
    struct dns_file_mark now;

    if (c->options.servers != NULL || c->within_ares > 0 || !read_mark(c, &now) || is_same_mark(&now, &c->read_mark))
        return;
    int rc = renew(c);
    bool comes_again = rc == ERR_UNAVAILABLE || rc == ERR_NO_MEMORY;
    if (rc != 0 && !c->is_behind)
        log_text(LOG_WARN, "resolv.conf has changed and cannot be used: names are asked for as before");
    if (!comes_again)
        c->read_mark = now;
    c->is_behind = comes_again;
}

/* ---- public ---- */

void dns_client_ask(struct dns_client *client, const char *name, dns_answer_fn on_answer, void *context)
{
    CHECK_MAGIC(client, DNS_CLIENT_MAGIC);
    size_t len = strlen(name);
    struct dns_lookup *lookup = calloc(1, sizeof *lookup + len + 1);

    if (lookup == NULL) {
        on_answer(&(struct dns_answer){.error = ares_strerror(ARES_ENOMEM)}, context);
        return;
    }
    *lookup = (struct dns_lookup){.magic = DNS_LOOKUP_MAGIC,
                                  .client = client,
                                  .on_answer = on_answer,
                                  .context = context,
                                  .is_localhost = strcasecmp(name, "localhost") == 0};
    memcpy(lookup->name, name, len + 1);
    renew_if_changed(client);
    client->in_flight++;
    begin(client, lookup);
    arm_timer(client);
}

unsigned dns_client_in_flight(const struct dns_client *client)
{
    CHECK_MAGIC(client, DNS_CLIENT_MAGIC);
    return client->in_flight;
}

int dns_client_new(struct ev_loop *loop, const struct dns_client_options *options, struct dns_client **out)
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
    c->options = *options;
    (void)read_mark(c, &c->read_mark); /* before it is read: what changes in between is seen later */
    if ((rc = open_channel(c, &c->channel)) != 0) {
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
