#ifndef PROXY_V1_H
#define PROXY_V1_H

#include "bytes.h"
#include "proxy_protocol.h"

/** proxy_header_parse() for what begins like version 1; the same promises. */
enum proxy_result proxy_v1_parse(struct bytes in, struct proxy_header *out);

#endif
