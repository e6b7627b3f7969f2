/* One thread for one call. */

#include "aside.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "check.h"

#define STACK_BYTES (1u << 20)

struct aside {
    void (*fn)(void *context);
    void *context;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool has_ended;
};

static void *run(void *object)
{
    struct aside *a = object;

    a->fn(a->context);
    pthread_mutex_lock(&a->lock);
    a->has_ended = true;
    pthread_cond_signal(&a->ended);
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/** Signals are the event loop's, in the thread that turns it. False: there can be no thread now. */
static bool start(struct aside *a, pthread_t *thread_out)
{
    pthread_attr_t attributes;
    sigset_t all, before;

    if (pthread_attr_init(&attributes) != 0)
        return false;
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES); /* if not, it gets the usual one */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error_number = pthread_create(thread_out, &attributes, run, a);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error_number == 0;
}

static struct timespec look_time(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += ASIDE_LOOK_MS * 1000000L;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    return t;
}

static void wait_for_end(struct aside *a, void (*attend)(void *attendant), void *attendant)
{
    pthread_mutex_lock(&a->lock);
    while (!a->has_ended) {
        struct timespec t = look_time();
        (void)pthread_cond_timedwait(&a->ended, &a->lock, &t);
        if (a->has_ended)
            break;
        pthread_mutex_unlock(&a->lock); /* attending takes its time, and the other one is to end meanwhile if it can */
        attend(attendant);
        pthread_mutex_lock(&a->lock);
    }
    pthread_mutex_unlock(&a->lock);
}

void aside_run(void (*fn)(void *context), void *context, void (*attend)(void *attendant), void *attendant)
{
    struct aside a = {.fn = fn, .context = context, .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_condattr_t attributes;
    pthread_t thread;

    CHECK(pthread_condattr_init(&attributes) == 0); /* neither of these can fail with glibc or musl */
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&a.ended, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
    if (start(&a, &thread)) {
        wait_for_end(&a, attend, attendant);
        CHECK(pthread_join(thread, NULL) == 0);
    } else {
        fn(context);
    }
    pthread_cond_destroy(&a.ended);
    pthread_mutex_destroy(&a.lock);
}
