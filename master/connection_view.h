#ifndef CONNECTION_VIEW_H
#define CONNECTION_VIEW_H

#include <stdint.h>
#include <stdio.h>

struct McProxy__V1__Connection; /* mc_proxy/v1/admin.pb-c.h */
struct strbuf;

/* Connections for people and programs. Errors of `to` are the caller's. */

/** One that has ended: a line of some 100 characters. What clients wrote comes out printable. */
void connection_view_print_ended(const struct McProxy__V1__Connection *connection, FILE *to);

/** The header of the next, and one that is open: a line. */
void connection_view_print_header(FILE *to);
void connection_view_print_open(const struct McProxy__V1__Connection *connection, FILE *to);

/** An object on one line, without its end: the fields that have a value, by the names of the protocol. */
void connection_view_print_json(const struct McProxy__V1__Connection *connection, FILE *to);

/** "740ms", "1.2s", "3m 5s", "2d 4h": at most six characters. */
void connection_view_add_time(uint64_t ms, struct strbuf *out);

#endif
