#ifndef FAKE_WORKER_H
#define FAKE_WORKER_H

/*
 * A worker for the supervisor's tests, in a header because each test is one source file. It takes its orders from the segment that a
 * real worker takes for the tables, and writes there what it found at its birth. To every client it says who it is, and closes.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl_codec.h"
#include "ctl_socket.h"
#include "err.h"
#include "handover.h"
#include "shm_layout.h"

enum fake_order {
    FAKE_SERVE,
    FAKE_DIE_AT_START,  /* before it says READY, every time */
    FAKE_DIE,           /* exit with 7, once */
    FAKE_IGNORE_QUEUE,  /* alive, but accepts nothing until it is told to give up its listeners */
    FAKE_HANG,          /* no heartbeat, no answer to anything */
    FAKE_HOLD,          /* keep accepted connections open until the client closes */
    FAKE_BAD_MESSAGE,   /* send a message that no worker sends, once */
    FAKE_UNASKED,       /* say that listener 0 is given up, once */
    FAKE_CLOSE_CONTROL, /* close the control socket and live on */
};

#define FAKE_LISTENERS 16
#define FAKE_HELD_MAX  64

/** What a worker found at its birth and was told; tests read it. */
struct fake_report {
    _Atomic uint64_t starts;
    _Atomic uint64_t fd_bits; /* open descriptors below 64 */
    _Atomic uint32_t obeys;   /* the order that is in force */
    _Atomic uint32_t pgid_is_own;
    _Atomic uint32_t signals_are_reset;
    _Atomic uint32_t idle_timeout_ms; /* of the latest settings */
    _Atomic uint32_t updates_seen;
    _Atomic uint32_t trusted_count; /* of the latest listener */
    _Atomic uint32_t geoip_seen;    /* 1: came with a descriptor, 2: without */
    char name[32];                  /* argv[0] */
    char environment[256];
};

struct fake_orders {
    _Atomic uint32_t order[SHM_WORKERS_MAX];
    struct fake_report report[SHM_WORKERS_MAX];
};

/** What a client is told. */
struct fake_answer {
    uint32_t slot;
    uint32_t pid;
};

struct fake_worker {
    struct fake_orders *orders;
    struct fake_report *report;
    struct shm_stats *stats;
    struct handover handover;
    int listeners[FAKE_LISTENERS];
    struct {
        int fd;
        unsigned listener;
    } held[FAKE_HELD_MAX];
    unsigned held_count;
    bool is_started;
    bool is_draining;
};

static enum fake_order fake_order_of(const struct fake_worker *f)
{
    return (enum fake_order)atomic_load(&f->orders->order[f->handover.slot]);
}

/* An order that is carried out once. */
static bool fake_take_order(struct fake_worker *f, uint32_t order)
{
    return atomic_compare_exchange_strong(&f->orders->order[f->handover.slot], &order, FAKE_SERVE);
}

static void *fake_map(int fd, uint64_t bytes)
{
    void *mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (mapping == MAP_FAILED)
        _exit(99);
    return mapping;
}

static uint64_t fake_open_fds(void)
{
    uint64_t bits = 0;

    for (int fd = 0; fd < 64; fd++)
        bits |= (uint64_t)(fcntl(fd, F_GETFD) >= 0) << fd;
    return bits;
}

static bool fake_signals_are_reset(void)
{
    struct sigaction action;
    sigset_t mask;

    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int number = 1; number < 32; number++) {
        if (sigismember(&mask, number) == 1)
            return false;
        /* A sanitizer handles some itself. */
        bool is_fault = number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL;
        if (!is_fault && sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
            return false;
    }
    return true;
}

static void fake_report_birth(struct fake_worker *f, uint64_t fd_bits, const char *name)
{
    struct fake_report *r = f->report;

    snprintf(r->name, sizeof r->name, "%s", name);
    r->environment[0] = '\0';
    for (char **variable = environ; *variable != NULL; variable++) {
        size_t used = strlen(r->environment);
        snprintf(r->environment + used, sizeof r->environment - used, "%s\n", *variable);
    }
    atomic_store(&r->fd_bits, fd_bits);
    atomic_store(&r->pgid_is_own, getpgrp() == getpid());
    atomic_store(&r->signals_are_reset, fake_signals_are_reset());
    atomic_fetch_add(&r->starts, 1);
}

static void fake_send(uint16_t type, struct bytes payload)
{
    if (ctl_send(HANDOVER_FD_CONTROL, type, payload, -1) != 0)
        _exit(98);
}

static void fake_count(struct fake_worker *f, unsigned id, int change)
{
    _Atomic uint32_t *cell = &f->stats->active[id][f->handover.slot];
    atomic_store(cell, atomic_load(cell) + (uint32_t)change);
}

static void fake_serve(struct fake_worker *f, unsigned id, int fd)
{
    const struct fake_answer answer = {.slot = f->handover.slot, .pid = (uint32_t)getpid()};

    atomic_fetch_add(&f->stats->workers[f->handover.slot].listeners[id].accepted, 1);
    if (send(fd, &answer, sizeof answer, MSG_NOSIGNAL) < 0)
        fprintf(stderr, "fake worker: send: %s\n", strerror(errno));
    if (fake_order_of(f) == FAKE_HOLD && f->held_count < FAKE_HELD_MAX) {
        fake_count(f, id, 1);
        f->held[f->held_count].fd = fd;
        f->held[f->held_count++].listener = id;
    } else {
        close(fd);
    }
}

static void fake_accept(struct fake_worker *f, unsigned id)
{
    int fd;

    while (f->listeners[id] >= 0 && (fd = accept4(f->listeners[id], NULL, NULL, SOCK_CLOEXEC)) >= 0)
        fake_serve(f, id, fd);
}

static void fake_give_up(struct fake_worker *f, unsigned id)
{
    const struct ctl_listener_id answer = {.id = (uint16_t)id};

    if (f->listeners[id] < 0)
        return;
    fake_accept(f, id);
    close(f->listeners[id]);
    f->listeners[id] = -1;
    fake_send(CTL_LISTENER_REMOVED, bytes_of(&answer, sizeof answer));
}

static void fake_handle(struct fake_worker *f, uint16_t type, struct bytes payload, int fd)
{
    const struct ctl_listener *listener = (const void *)payload.ptr;
    const struct ctl_settings *settings = (const void *)payload.ptr;

    switch (type) {
    case CTL_SETTINGS: atomic_store(&f->report->idle_timeout_ms, settings->idle_timeout_ms); break;
    case CTL_LISTENER_ADD:
        if (f->listeners[listener->id] >= 0)
            _exit(97); /* told twice */
        f->listeners[listener->id] = fd;
        atomic_store(&f->report->trusted_count, listener->trusted_count);
        break;
    case CTL_LISTENER_UPDATE:
        if (f->listeners[listener->id] < 0)
            _exit(96);
        atomic_store(&f->report->trusted_count, listener->trusted_count);
        atomic_fetch_add(&f->report->updates_seen, 1);
        break;
    case CTL_LISTENER_REMOVE:
        if (f->listeners[((const struct ctl_listener_id *)(const void *)payload.ptr)->id] < 0)
            _exit(95);
        fake_give_up(f, ((const struct ctl_listener_id *)(const void *)payload.ptr)->id);
        break;
    case CTL_GEOIP:
        atomic_store(&f->report->geoip_seen, fd >= 0 ? 1 : 2);
        if (fd >= 0)
            close(fd);
        break;
    case CTL_START:
        f->is_started = true;
        fake_send(CTL_READY, bytes_of(NULL, 0));
        break;
    case CTL_DRAIN:
        for (unsigned id = 0; id < FAKE_LISTENERS; id++)
            fake_give_up(f, id);
        f->is_draining = true;
        break;
    case CTL_STOP: exit(0);
    default: _exit(94);
    }
}

/* All messages that wait. */
static void fake_listen_to_master(struct fake_worker *f)
{
    static _Alignas(8) uint8_t buffer[CTL_MSG_MAX];
    struct ctl_header header;
    struct bytes payload;
    int fd, rc;

    while ((rc = ctl_recv(HANDOVER_FD_CONTROL, buffer, sizeof buffer, &header, &payload, &fd)) == 0) {
        if (!ctl_message_is_valid(CTL_FROM_MASTER, header.type, payload, fd >= 0))
            _exit(93);
        if (header.type == CTL_HANDOVER)
            memcpy(&f->handover, payload.ptr, sizeof f->handover);
        else
            fake_handle(f, header.type, payload, fd);
        if (header.type == CTL_HANDOVER)
            return;
    }
    if (rc == ERR_CLOSED)
        exit(0);
    if (rc != ERR_UNAVAILABLE)
        _exit(92);
}

static void fake_look_after_held(struct fake_worker *f)
{
    for (unsigned i = 0; i < f->held_count;) {
        char byte;
        if (recv(f->held[i].fd, &byte, 1, MSG_DONTWAIT) != 0) {
            i++;
            continue;
        }
        fake_count(f, f->held[i].listener, -1);
        close(f->held[i].fd);
        f->held[i] = f->held[--f->held_count];
    }
}

static void fake_wait(int milliseconds)
{
    struct pollfd control = {.fd = HANDOVER_FD_CONTROL, .events = POLLIN};
    poll(&control, 1, milliseconds);
}

/* Deaf to the master, but never left behind by a test that failed. */
static void fake_stand_still(void)
{
    static pid_t parent;

    if (parent == 0)
        parent = getppid();
    if (getppid() != parent)
        _exit(91);
    poll(NULL, 0, 5);
}

static void fake_obey(struct fake_worker *f)
{
    static const struct ctl_listener_id zero;

    if (fake_take_order(f, FAKE_DIE))
        exit(7);
    if (fake_take_order(f, FAKE_BAD_MESSAGE))
        fake_send(CTL_SETTINGS, bytes_of(NULL, 0));
    if (fake_take_order(f, FAKE_UNASKED))
        fake_send(CTL_LISTENER_REMOVED, bytes_of(&zero, sizeof zero));
    if (fake_take_order(f, FAKE_CLOSE_CONTROL)) {
        close(HANDOVER_FD_CONTROL);
        for (;;)
            fake_stand_still();
    }
    atomic_store(&f->report->obeys, fake_order_of(f));
    while (fake_order_of(f) == FAKE_HANG)
        fake_stand_still();
}

static void fake_turn(struct fake_worker *f)
{
    struct shm_worker_stats *stats = &f->stats->workers[f->handover.slot];

    atomic_fetch_add(&stats->heartbeat, 1);
    fake_obey(f);
    fake_listen_to_master(f);
    for (unsigned id = 0; f->is_started && fake_order_of(f) != FAKE_IGNORE_QUEUE && id < FAKE_LISTENERS; id++)
        fake_accept(f, id);
    fake_look_after_held(f);
    if (f->is_draining && f->held_count == 0)
        exit(0);
    fake_wait(2);
}

/** The life of the fake worker; call it when argv[1] is HANDOVER_SUBCOMMAND. */
static int fake_worker_main(const char *name)
{
    struct fake_worker f = {.handover = {.slot = SHM_WORKERS_MAX}};
    uint64_t fd_bits = fake_open_fds();

    for (unsigned i = 0; i < FAKE_LISTENERS; i++)
        f.listeners[i] = -1;
    while (f.handover.slot == SHM_WORKERS_MAX) {
        fake_listen_to_master(&f);
        if (f.handover.slot == SHM_WORKERS_MAX)
            fake_wait(1000);
    }
    f.orders = fake_map(HANDOVER_FD_TABLES, f.handover.tables_bytes);
    f.stats = fake_map(HANDOVER_FD_STATS, f.handover.stats_bytes);
    f.report = &f.orders->report[f.handover.slot];
    fake_report_birth(&f, fd_bits, name);
    if (fake_order_of(&f) == FAKE_DIE_AT_START)
        _exit(3);
    for (;;)
        fake_turn(&f);
}

#endif
