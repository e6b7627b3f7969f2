#ifndef FAKE_DNS_H
#define FAKE_DNS_H

#include <arpa/inet.h>
#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * A DNS server on a UDP port of 127.0.0.1, in the test's own loop: answers A and AAAA from a table that the test changes as it goes.
 * Names that are not in the table do not exist (NXDOMAIN), except for "n<number>.bulk", which is 10.0.<high byte>.<low byte>.
 */

#define FAKE_RECORDS 24

/** What the server says about a name. */
struct fake_name {
    const char *name;
    int rcode;       /* 2: SERVFAIL, 3: NXDOMAIN */
    bool is_mute;    /* no answer at all */
    bool rotates;    /* every answer begins one record later */
    bool drops_aaaa; /* AAAA gets no answer, A does */
    uint32_t ttl;
    const char *alias; /* a CNAME comes first, with alias_ttl */
    uint32_t alias_ttl;
    const char *v4[FAKE_RECORDS];
    const char *v6[FAKE_RECORDS];
    unsigned asked; /* A queries so far */
};

struct fake_dns {
    struct ev_loop *loop;
    struct ev_io io;
    char servers[32]; /* "127.0.0.1:PORT" */
    struct fake_name *names;
    unsigned name_count;
    bool is_mute;         /* answers nobody */
    unsigned asked;       /* queries of all kinds */
    unsigned muted_names; /* A queries that were left without answer */
};

struct fake_packet {
    uint8_t data[4096];
    size_t len;
};

static inline void fake_put(struct fake_packet *p, const void *data, size_t len)
{
    memcpy(p->data + p->len, data, len);
    p->len += len;
}

static inline void fake_put16(struct fake_packet *p, unsigned value)
{
    uint8_t b[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    fake_put(p, b, 2);
}

static inline void fake_put_name(struct fake_packet *p, const char *name)
{
    while (*name != '\0') {
        size_t len = strcspn(name, ".");
        uint8_t b = (uint8_t)len;
        fake_put(p, &b, 1);
        fake_put(p, name, len);
        name += len + (name[len] == '.');
    }
    fake_put(p, "", 1);
}

/** A record owned by `owner`, or by the question's name when NULL (a compression pointer). */
static inline void fake_put_record(struct fake_packet *p, const char *owner, unsigned type, uint32_t ttl,
                                   const struct fake_packet *rdata)
{
    if (owner != NULL)
        fake_put_name(p, owner);
    else
        fake_put16(p, 0xc00c);
    fake_put16(p, type);
    fake_put16(p, 1);
    fake_put16(p, ttl >> 16);
    fake_put16(p, ttl & 0xffff);
    fake_put16(p, (unsigned)rdata->len);
    fake_put(p, rdata->data, rdata->len);
}

static inline unsigned fake_put_addresses(struct fake_packet *p, const struct fake_name *n, unsigned type)
{
    const char *const *texts = type == 1 ? n->v4 : n->v6;
    unsigned count = 0;

    while (count < FAKE_RECORDS && texts[count] != NULL)
        count++;
    for (unsigned i = 0; i < count; i++) {
        struct fake_packet rdata = {.len = type == 1 ? 4 : 16};
        inet_pton(type == 1 ? AF_INET : AF_INET6, texts[n->rotates ? (i + n->asked) % count : i], rdata.data);
        fake_put_record(p, n->alias, type, n->ttl, &rdata);
    }
    return count;
}

static inline void fake_answer(struct fake_dns *dns, const struct fake_name *n, const uint8_t *query,
                               size_t question_len, unsigned type, const struct sockaddr_in *to)
{
    struct fake_packet p = {0};
    unsigned answers = 0;

    fake_put(&p, query, 2);
    fake_put16(&p, 0x8580u | (unsigned)(n == NULL ? 3 : n->rcode));
    fake_put16(&p, 1);
    fake_put16(&p, 0); /* answers, below */
    fake_put16(&p, 0);
    fake_put16(&p, 0);
    fake_put(&p, query + 12, question_len);
    if (n != NULL && n->rcode == 0) {
        if (n->alias != NULL) {
            struct fake_packet rdata = {0};
            fake_put_name(&rdata, n->alias);
            fake_put_record(&p, NULL, 5, n->alias_ttl, &rdata);
            answers++;
        }
        answers += fake_put_addresses(&p, n, type);
    }
    p.data[7] = (uint8_t)answers;
    (void)!sendto(dns->io.fd, p.data, p.len, 0, (const struct sockaddr *)to, sizeof *to);
}

static inline struct fake_name *fake_find(struct fake_dns *dns, const char *name)
{
    static struct fake_name bulk;
    static char bulk_addr[32];
    unsigned number;

    for (unsigned i = 0; i < dns->name_count; i++) {
        if (strcasecmp(dns->names[i].name, name) == 0)
            return &dns->names[i];
    }
    if (sscanf(name, "n%u.bulk", &number) != 1)
        return NULL;
    snprintf(bulk_addr, sizeof bulk_addr, "10.0.%u.%u", number / 256 % 256, number % 256);
    bulk = (struct fake_name){.name = "bulk", .ttl = 3600, .v4 = {bulk_addr}};
    return &bulk;
}

static void fake_on_query(EV_P_ ev_io *w, int revents)
{
    struct fake_dns *dns = w->data;
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    uint8_t query[512];
    char name[256] = "";
    ssize_t len;

    (void)loop;
    (void)revents;
    while ((len = recvfrom(w->fd, query, sizeof query, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len)) > 12) {
        size_t at = 12, out = 0;
        while (at < (size_t)len && query[at] != 0) {
            if (out > 0)
                name[out++] = '.';
            memcpy(name + out, query + at + 1, query[at]);
            out += query[at];
            at += query[at] + 1u;
        }
        name[out] = '\0';
        unsigned type = query[at + 2]; /* the high byte is zero for A and AAAA */
        struct fake_name *n = fake_find(dns, name);
        dns->asked++;
        if (n != NULL && type == 1)
            n->asked++;
        if (dns->is_mute || (n != NULL && (n->is_mute || (n->drops_aaaa && type == 28))))
            dns->muted_names += type == 1;
        else
            fake_answer(dns, n, query, at + 5 - 12, type, &from);
    }
}

/** At 127.0.0.`host`, on this port; 0: any. Returns the port. */
static inline uint16_t fake_dns_start_at(struct fake_dns *dns, struct ev_loop *loop, struct fake_name *names,
                                         unsigned name_count, unsigned host, uint16_t port)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(0x7f000000u + host)};
    socklen_t addr_len = sizeof addr;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &addr_len) != 0)
        abort();
    *dns = (struct fake_dns){.loop = loop, .names = names, .name_count = name_count};
    snprintf(dns->servers, sizeof dns->servers, "127.0.0.%u:%u", host, ntohs(addr.sin_port));
    ev_io_init(&dns->io, fake_on_query, fd, EV_READ);
    dns->io.data = dns;
    ev_io_start(loop, &dns->io);
    return ntohs(addr.sin_port);
}

static inline void fake_dns_start(struct fake_dns *dns, struct ev_loop *loop, struct fake_name *names,
                                  unsigned name_count)
{
    fake_dns_start_at(dns, loop, names, name_count, 1, 0);
}

static inline void fake_dns_stop(struct fake_dns *dns)
{
    ev_io_stop(dns->loop, &dns->io);
    close(dns->io.fd);
}

#endif
