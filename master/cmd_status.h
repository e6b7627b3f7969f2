#ifndef CMD_STATUS_H
#define CMD_STATUS_H

#include "cli.h"

extern const struct cli_command cmd_status;

#endif
