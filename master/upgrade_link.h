#ifndef UPGRADE_LINK_H
#define UPGRADE_LINK_H

#include <stdbool.h>

#include "check.h"

/*
 * What a server and its successor say to each other during an upgrade, over a pair of SOCK_SEQPACKET sockets. The two may be of
 * different versions, so a message is text, a word and perhaps a reason behind a blank, and a word that is not known is passed over.
 *
 *     successor                                   predecessor
 *     (its configuration is right) GIVE-DATABASE  -->  ends the admin API, closes the database
 *                                                 <--  DATABASE-GIVEN
 *     (its workers serve)          READY          -->  tells systemd who is the main process now
 *                                                 <--  TAKE-OVER; gives up its listeners, relays what it has, exits
 *     (cannot go on)               FAILED reason  -->  takes the database back and goes on
 *                                                 <--  CALLED-OFF: it was told to stop
 */
enum upgrade_word {
    UPGRADE_GIVE_DATABASE,
    UPGRADE_DATABASE_GIVEN,
    UPGRADE_READY,
    UPGRADE_TAKE_OVER,
    UPGRADE_FAILED,
    UPGRADE_CALLED_OFF,
    UPGRADE_UNKNOWN, /* of a later version */
};

#define UPGRADE_TEXT_MAX 1024

struct upgrade_message {
    enum upgrade_word word;
    char text[UPGRADE_TEXT_MAX]; /* "" : none */
};

/** @param ends_out  non-blocking, close-on-exec. @return 0; ERR_SYSTEM with errno */
int upgrade_link_make(int ends_out[2]) MUST_CHECK;

/** Is this descriptor, which the environment claims to be a link, one? */
bool upgrade_link_is_one(int fd);

/** Never blocks. A text that is too long is cut. @return 0; ERR_CLOSED; ERR_SYSTEM with errno */
int upgrade_link_send(int fd, enum upgrade_word word, const char *text) MUST_CHECK;

/** The next message, without waiting. @return 0; ERR_UNAVAILABLE: none; ERR_CLOSED; ERR_SYSTEM with errno */
int upgrade_link_receive(int fd, struct upgrade_message *out) MUST_CHECK;

/** The same, waiting up to timeout_ms. @return also ERR_TIMEOUT */
int upgrade_link_wait(int fd, unsigned timeout_ms, struct upgrade_message *out) MUST_CHECK;

#endif
