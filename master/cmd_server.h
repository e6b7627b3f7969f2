#ifndef CMD_SERVER_H
#define CMD_SERVER_H

#include "cli.h"

extern const struct cli_command cmd_server;

#endif
