#ifndef WORKER_SETTINGS_H
#define WORKER_SETTINGS_H

#include "check.h"
#include "ctl_msg.h"

struct config;
struct config_listener;

/* What workers are told, made from the configuration. */

struct ctl_settings ctl_settings_of(const struct config *config);

/** The message about one listener; free() it. NULL: no memory. */
struct ctl_listener *ctl_listener_of(const struct config_listener *listener, uint16_t id) MUST_CHECK;

#endif
