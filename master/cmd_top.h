#ifndef CMD_TOP_H
#define CMD_TOP_H

#include "cli.h"

extern const struct cli_command cmd_top;

#endif
