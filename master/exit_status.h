#ifndef EXIT_STATUS_H
#define EXIT_STATUS_H

struct log_event;

/** How a child process ended: its exit status, or the signal and what that is called. @param status  of waitpid(2) */
void exit_status_log(struct log_event *e, int status);

#endif
