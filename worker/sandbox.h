#ifndef SANDBOX_H
#define SANDBOX_H

#include <stdint.h>

#include "check.h"
#include "strbuf.h"

/**
 * Give up what a worker does not need: root (if uid is given), capabilities, new privileges, new processes, files, and with a
 * seccomp filter every system call that relaying does not take. Call once, after everything that needs more was opened.
 *
 * @param uid  user to become, UINT32_MAX: stay
 * @param gid  group to become, with no supplementary groups
 * @param why  on error: what could not be given up
 * @return 0 or ERR_SYSTEM; the process must not go on after an error
 */
int sandbox_enter(uint32_t uid, uint32_t gid, struct strbuf *why) MUST_CHECK;

#endif
