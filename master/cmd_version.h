#ifndef CMD_VERSION_H
#define CMD_VERSION_H

#include "cli.h"

extern const struct cli_command cmd_version;

#endif
