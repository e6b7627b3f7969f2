/* The field listener_addr of requests: which listener is meant. */

#include "admin_internal.h"
#include "config.h"
#include "err.h"
#include "state_change.h"
#include "state_fields.h"

int admin_find_listener(const struct admin *a, const char *addr, uint16_t *id_out, const struct config_listener **out,
                        struct strbuf *why)
{
    struct listen_addr wanted;
    int rc = state_parse_listener(bytes_of_str(addr), &wanted, why);

    if (rc != 0)
        return rc;
    for (unsigned i = 0; i < a->config->listener_count; i++) {
        *out = &a->config->listeners[i];
        if (listen_addr_equal(&(*out)->addr, &wanted) && state_find_listener(a->parts.state, &wanted, id_out) == 0)
            return 0;
    }
    strbuf_add(why, "listener_addr: no listener of the configuration has the address ");
    state_add_quoted(bytes_of_str(addr), why);
    return ERR_NOT_FOUND;
}
