#ifndef CMD_CHECK_H
#define CMD_CHECK_H

#include "cli.h"

extern const struct cli_command cmd_check;

#endif
