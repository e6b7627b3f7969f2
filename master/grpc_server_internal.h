#ifndef GRPC_SERVER_INTERNAL_H
#define GRPC_SERVER_INTERNAL_H

#include "grpc_limits.h"
#include "grpc_server.h"

/** grpc_server_new() with limits of one's own, for tests that do not want to wait half a minute. */
int grpc_server_new_with(struct ev_loop *loop, const struct grpc_limits *limits, const struct grpc_method *methods,
                         void *service, struct grpc_server **out) MUST_CHECK;

#endif
