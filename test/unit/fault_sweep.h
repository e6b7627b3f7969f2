#ifndef FAULT_SWEEP_H
#define FAULT_SWEEP_H

/* A change is made again and again, and each time another operation of the disk, or another allocation, fails under it. */

#include "store_fixture.h"

#include "faulty_vfs.h"

#define SWEEP_EACH 200 /* after so many the operations of one attempt are like each other */

/**
 * One attempt, on a database of its own: prepare, arm (*fault = arm), make the change, fault_disarm(), look at what has become of it.
 *
 * @return what fault_disarm() said
 */
typedef bool (*attempt_fn)(struct fault *fault, struct fault arm, const void *context);

/** Nothing fails any more. Returns whether the fault came to strike. */
static inline bool fault_disarm(struct fault *fault)
{
    bool has_struck = fault->has_struck;

    *fault = (struct fault){0};
    return has_struck;
}

/** The first operation fails, then the second, until an attempt ends before its turn; behind SWEEP_EACH only every stride-th does. */
static inline void sweep(attempt_fn attempt, const void *context, struct fault *fault, struct fault arm, int stride)
{
    for (arm.countdown = 1; attempt(fault, arm, context); arm.countdown += arm.countdown < SWEEP_EACH ? 1 : stride)
        assert_true(arm.countdown < 20000);
    assert_true(arm.countdown > 1);
}

/** What a change may answer when the disk fails or memory is short, and that it says why (expect_rc()). */
static inline void expect_answer(struct fixture *f, int rc, const char *change, struct fault arm)
{
    if (rc != 0 && rc != ERR_UNAVAILABLE && rc != ERR_NO_MEMORY)
        fail_msg("%s, fault %d: %d %s", change, arm.countdown, rc, f->words);
    expect_rc(f, rc, rc);
}

/** Before any database is opened. Returns whether faults can be had. */
static inline bool faults_install(void)
{
    if (access("/dev/shm", W_OK) == 0)
        fixture_root = "/dev/shm"; /* thousands of syncs, and the faults are of our own making */
    return faulty_memory_install() == SQLITE_OK && faulty_vfs_install() == SQLITE_OK;
}

#endif
