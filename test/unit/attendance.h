#ifndef ATTENDANCE_H
#define ATTENDANCE_H

/* Who is called while something takes long, and whether always in the thread that waits for it. */

#include <pthread.h>

struct attendance {
    pthread_t thread; /* the one that waits */
    unsigned count;
    unsigned elsewhere; /* calls in another one */
};

static inline void attend(void *attendant)
{
    struct attendance *a = attendant;

    a->count++;
    a->elsewhere += !pthread_equal(pthread_self(), a->thread);
}

#endif
