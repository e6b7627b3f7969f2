#ifndef SERVER_PRIVILEGES_H
#define SERVER_PRIVILEGES_H

#include "check.h"
#include "strbuf.h"

/**
 * Give up, for this process and all that it executes, every capability that the server has no use for, and the way to get one back
 * (no_new_privs). Nobody but root may look into its memory afterwards, and no core file is written: it will hold the admin API's key.
 * What it was not started with it does not get; a server without any privilege passes too. Call once, before a file is read.
 *
 * @param why  on error: what could not be given up
 * @return 0 or ERR_SYSTEM
 */
int server_give_up_privileges(struct strbuf *why) MUST_CHECK;

/**
 * May workers of this process, which is root's, become another user? Root of a container often may not, and they do not live as root.
 *
 * @param name  of the user, for people
 * @param why   on error: why not, and what to do
 * @return 0 or ERR_SYSTEM
 */
int server_can_become_user(const char *name, struct strbuf *why) MUST_CHECK;

#endif
