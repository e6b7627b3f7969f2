#ifndef CMD_EXPLAIN_H
#define CMD_EXPLAIN_H

#include "cli.h"

extern const struct cli_command cmd_explain;

#endif
