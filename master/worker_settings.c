/* The configuration in the words of the control messages. */

#include "worker_settings.h"

#include <stdlib.h>
#include <string.h>

#include "config.h"

struct ctl_settings ctl_settings_of(const struct config *config)
{
    return (struct ctl_settings){
        .hello_timeout_ms = config->hello_timeout_ms,
        .connect_timeout_ms = config->connect_timeout_ms,
        .idle_timeout_ms = config->idle_timeout_ms,
        .half_close_timeout_ms = config->half_close_timeout_ms,
        .shutdown_timeout_ms = config->shutdown_timeout_ms,
        .max_pending_hellos = config->max_pending_hellos,
        .log_level = (uint8_t)config->log_level,
        .log_access = config->log_access && config->log_level <= LOG_INFO,
        .rejected_per_second = config->log_rejected_per_second,
    };
}

struct ctl_listener *ctl_listener_of(const struct config_listener *listener, uint16_t id)
{
    struct ctl_listener *ctl = calloc(1, sizeof *ctl + listener->trusted_count * sizeof ctl->trusted[0]);

    if (ctl == NULL)
        return NULL;
    ctl->id = id;
    ctl->proxy_mode = (uint8_t)listener->proxy_mode;
    ctl->no_route_mode = (uint8_t)listener->no_route_mode;
    ctl->trusted_count = (uint16_t)listener->trusted_count;
    memcpy(ctl->addr, listener->addr_text, sizeof ctl->addr);
    if (listener->trusted_count > 0)
        memcpy(ctl->trusted, listener->trusted, listener->trusted_count * sizeof ctl->trusted[0]);
    return ctl;
}
