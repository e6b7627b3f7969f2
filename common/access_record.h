#ifndef ACCESS_RECORD_H
#define ACCESS_RECORD_H

/*
 * The records that tell of connections, by their messages. Workers make them while ctl_settings.log_access is set, be it for the log or
 * for somebody who watches; the master decides which of them become lines.
 */
#define ACCESS_RECORD_MESSAGE "connection" /* one that has ended */
#define ACCESS_HELD_BACK_MESSAGE \
    "connections rejected without a line of their own" /* how many a flood left without one */

#endif
