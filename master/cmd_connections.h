#ifndef CMD_CONNECTIONS_H
#define CMD_CONNECTIONS_H

#include "cli.h"

extern const struct cli_command cmd_connections;

#endif
