#ifndef CMD_ROUTES_H
#define CMD_ROUTES_H

#include "cli.h"

extern const struct cli_command cmd_routes;

#endif
