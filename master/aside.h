#ifndef ASIDE_H
#define ASIDE_H

/*
 * A call that may wait for the disk, made in a thread of its own, so that its caller is not stuck with it. The caller waits all the
 * same: the two never run at the same time on the same data, if attend() keeps away from what fn() works on.
 */

#define ASIDE_LOOK_MS 10

/**
 * Call fn(context), and attend(attendant) every ASIDE_LOOK_MS until it has returned. The thread takes no signals, and is gone when
 * this returns. Where none can be had, fn() is called right here, and nobody attends.
 */
void aside_run(void (*fn)(void *context), void *context, void (*attend)(void *attendant), void *attendant);

#endif
