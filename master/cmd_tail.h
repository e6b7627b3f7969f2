#ifndef CMD_TAIL_H
#define CMD_TAIL_H

#include "cli.h"

extern const struct cli_command cmd_tail;

#endif
