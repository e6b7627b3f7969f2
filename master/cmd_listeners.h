#ifndef CMD_LISTENERS_H
#define CMD_LISTENERS_H

#include "cli.h"

extern const struct cli_command cmd_listeners;

#endif
