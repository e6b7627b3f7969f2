/* Configuration text from memory: any bytes end in a configuration or in error lines, never in both or in a fault. */

#include "check.h"
#include "config_parse.h"
#include "err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *const environment[] = {NULL};
    struct config *config = NULL;
    struct config_errors errors = {0};
    int rc = config_parse_text(bytes_of(data, size), "/etc/fuzz.ini", environment, &config, &errors);

    CHECK((rc == 0) == (config != NULL));
    CHECK((rc == ERR_INVALID) == config_errors_any(&errors));
    config_free(&config);
    config_errors_fini(&errors);
    return 0;
}
