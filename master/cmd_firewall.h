#ifndef CMD_FIREWALL_H
#define CMD_FIREWALL_H

#include "cli.h"

extern const struct cli_command cmd_firewall;

#endif
