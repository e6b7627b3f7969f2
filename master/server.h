#ifndef SERVER_H
#define SERVER_H

/**
 * The life of the master: load the configuration, start workers, serve until a signal ends it. Runs in the foreground, logs to
 * standard error.
 *
 * @param config_path  borrowed; read again at each reload
 * @return the exit status: 0 after a stop by signal, 1 when it failed, 78 when the configuration is wrong (both logged)
 */
int server_run(const char *config_path);

#endif
