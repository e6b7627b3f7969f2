/* Control messages: whatever is taken as valid can be used as its type says, without a second look. */

#include <string.h>

#include "check.h"
#include "ctl_codec.h"
#include "shm_layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_listener(const struct ctl_listener *l, size_t len)
{
    CHECK(len == ctl_listener_bytes(l) && l->trusted_count <= CTL_TRUSTED_MAX && l->id < SHM_LISTENERS_MAX);
    CHECK(strlen(l->addr) < sizeof l->addr && l->proxy_mode <= PROXY_MODE_MIXED && l->no_route_mode <= NO_ROUTE_ALERT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static _Alignas(8) uint8_t payload[CTL_MSG_MAX];

    if (size < 3 || size - 3 > sizeof payload)
        return 0;
    enum ctl_sender sender = data[0] % 2 == 0 ? CTL_FROM_MASTER : CTL_FROM_WORKER;
    bool has_fd = data[1] % 2 != 0;
    uint16_t type = data[2];
    size_t len = size - 3;
    memcpy(payload, data + 3, len);
    if (!ctl_message_is_valid(sender, type, bytes_of(payload, len), has_fd))
        return 0;
    CHECK(strcmp(ctl_type_word(type), "unknown") != 0);
    CHECK(!ctl_message_is_valid(sender == CTL_FROM_MASTER ? CTL_FROM_WORKER : CTL_FROM_MASTER, type,
                                bytes_of(payload, len), has_fd));
    if (type == CTL_LISTENER_ADD || type == CTL_LISTENER_UPDATE)
        check_listener((const struct ctl_listener *)(const void *)payload, len);
    return 0;
}
