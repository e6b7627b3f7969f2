/* The one file that is compiled again when only the commit changed. */

#include "version.h"

#include "version_generated.h"

const char *version_text(void)
{
    return MC_PROXY_VERSION;
}
