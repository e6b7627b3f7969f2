#ifndef CONN_ANSWER_H
#define CONN_ANSWER_H

#include "bytes.h"

struct conn;

/** Bytes of the backend pass by, while awaits_answer: note when the first came, and what they say of the handshake. */
void conn_take_answer(struct conn *c, struct bytes in);

/** The end of a connection that had reached its backend: what did not come until now does not come. */
void conn_end_answer(struct conn *c);

#endif
