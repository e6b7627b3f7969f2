#ifndef CMD_SNAPSHOT_H
#define CMD_SNAPSHOT_H

#include "cli.h"

extern const struct cli_command cmd_snapshot;

#endif
