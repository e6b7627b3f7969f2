#ifndef CONFIG_CHECK_H
#define CONFIG_CHECK_H

#include "config.h"

/**
 * Look into everything a configuration names: certificate, key and CA, GeoIP database, user, places of Unix sockets. For `check`, and
 * for the server before a start or reload. Binds nothing, writes nothing, changes nothing. The database is not its business: see
 * store_check().
 *
 * @param config  also one that config_load_anyway() gave with errors
 * @param errors  every problem is added, in the form of config_load()
 * @return 0, or ERR_INVALID if an error was added
 */
int config_check_files(const struct config *config, struct config_errors *errors) MUST_CHECK;

#endif
