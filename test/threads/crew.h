#ifndef CREW_H
#define CREW_H

/* Threads that stand for processes: started together, told to stop together; what they find wrong fails the test in its own thread,
 * as cmocka's assertions may be used in no other. Include behind cmocka.h. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define CREW_MAX 8

struct crew;
typedef void (*crew_fn)(struct crew *crew, unsigned number, void *context);

struct crew {
    _Atomic bool is_over;
    _Atomic(const char *) complaint; /* the first one; a literal */
    crew_fn fn;
    void *context;
    unsigned count;
    struct crew_member {
        struct crew *crew;
        unsigned number;
        pthread_t thread;
    } members[CREW_MAX];
};

#define CREW_EXPECT(crew, cond)                                                     \
    do {                                                                            \
        const char *none = NULL;                                                    \
        if (!(cond))                                                                \
            (void)atomic_compare_exchange_strong(&(crew)->complaint, &none, #cond); \
    } while (0)

static inline void *crew_main(void *arg)
{
    struct crew_member *member = arg;

    member->crew->fn(member->crew, member->number, member->crew->context);
    return NULL;
}

/** Run fn(crew, 0..count-1, context), each in a thread. */
static inline void crew_start(struct crew *crew, unsigned count, crew_fn fn, void *context)
{
    *crew = (struct crew){.fn = fn, .context = context, .count = count};
    for (unsigned i = 0; i < count; i++) {
        crew->members[i].crew = crew;
        crew->members[i].number = i;
        assert_int_equal(pthread_create(&crew->members[i].thread, NULL, crew_main, &crew->members[i]), 0);
    }
}

/** Tell them that it is over, and wait. */
static inline void crew_join(struct crew *crew)
{
    atomic_store(&crew->is_over, true);
    for (unsigned i = 0; i < crew->count; i++)
        assert_int_equal(pthread_join(crew->members[i].thread, NULL), 0);
    const char *complaint = atomic_load(&crew->complaint);
    if (complaint != NULL)
        fail_msg("%s", complaint);
}

#endif
