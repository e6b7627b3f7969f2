/* How child processes ended, as fields of a log line. */

#include "exit_status.h"

#include <string.h>
#include <sys/wait.h>

#include "log_event.h"

void exit_status_log(struct log_event *e, int status)
{
    if (WIFSIGNALED(status)) {
        log_event_i64(e, LOG_KEY_SIGNAL, WTERMSIG(status));
        log_event_cstr(e, LOG_KEY_DETAIL, strsignal(WTERMSIG(status)));
    } else {
        log_event_i64(e, LOG_KEY_STATUS, WEXITSTATUS(status));
    }
}
