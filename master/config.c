/* Loading a configuration from end to end, the list of errors, and the end of both. */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "config_builder.h"
#include "config_env.h"
#include "config_memory.h"
#include "config_parse.h"
#include "config_rules.h"
#include "err.h"

#define CONFIG_FILE_MAX_BYTES (64u << 20) /* a million routes; what is larger is no configuration (/dev/zero is one) */
#define CONFIG_READ_FIRST     (64u << 10)
#define CONFIG_READ_MS \
    5000 /* for all of it: a running server does nothing else meanwhile, and a pipe's writer may never come */

/* ---- errors ---- */

static void add_line(char ***lines, unsigned *count, bool *is_incomplete, const char *format, va_list args)
    PRINTF_LIKE(4, 0);
static void add_line(char ***lines, unsigned *count, bool *is_incomplete, const char *format, va_list args)
{
    char *line;

    if (vasprintf(&line, format, args) < 0) {
        *is_incomplete = true;
        return;
    }
    if (config_grow(lines, *count, sizeof **lines) != 0) {
        free(line);
        *is_incomplete = true;
        return;
    }
    (*lines)[(*count)++] = line;
}

void config_errors_add(struct config_errors *errors, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_line(&errors->lines, &errors->count, &errors->is_incomplete, format, args);
    va_end(args);
}

void config_errors_warn(struct config_errors *errors, const char *format, ...)
{
    bool is_lost = false; /* a warning that does not fit into memory changes nothing */
    va_list args;

    va_start(args, format);
    add_line(&errors->warnings, &errors->warning_count, &is_lost, format, args);
    va_end(args);
}

static void free_texts(char **texts, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

void config_errors_fini(struct config_errors *errors)
{
    free_texts(errors->lines, errors->count);
    free_texts(errors->warnings, errors->warning_count);
    *errors = (struct config_errors){0};
}

/* ---- loading ---- */

/** What is wanted of a load. */
struct load_mode {
    enum config_section only; /* CONFIG_SECTION_COUNT, or whose errors count */
    bool is_kept_anyway;      /* hand the configuration out even if it has errors */
};

static const struct load_mode mode_whole = {CONFIG_SECTION_COUNT, false};
static const struct load_mode mode_anyway = {CONFIG_SECTION_COUNT, true};
static const struct load_mode mode_grpc = {CONFIG_GRPC, false};

static int parse(struct bytes text, const char *path, char *const *environment, const struct load_mode *mode,
                 struct config **out, struct config_errors *errors)
{
    struct config_builder b;
    int rc = config_builder_init(&b, path, mode->only);

    if (rc == 0) {
        config_builder_read(&b, text);
        config_env_apply(&b, environment);
        config_rules_check(&b);
        config_problems_report(&b.problems, errors);
        rc = b.is_out_of_memory || b.problems.is_out_of_memory ? ERR_NO_MEMORY
             : b.problems.error_count > 0                      ? ERR_INVALID
                                                               : 0;
    }
    if (rc == 0 || (rc == ERR_INVALID && mode->is_kept_anyway)) {
        *out = b.config;
        b.config = NULL;
    }
    config_builder_fini(&b);
    return rc;
}

int config_parse_text(struct bytes text, const char *path, char *const *environment, struct config **out,
                      struct config_errors *errors)
{
    return parse(text, path, environment, &mode_whole, out, errors);
}

/** As read(2), but waits for a pipe's writer until the deadline only; -1 and ETIMEDOUT then. Files are always ready. */
static ssize_t read_until(int fd, char *to, size_t size, uint64_t deadline_ms)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    uint64_t now_ms = clock_monotonic_ms();
    int ready = poll(&readable, 1, now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0);

    if (ready > 0)
        return read(fd, to, size);
    if (ready == 0)
        errno = ETIMEDOUT;
    return -1;
}

/** Read to the end; 0, ERR_SYSTEM (errno), ERR_TOO_LARGE or ERR_NO_MEMORY. The caller frees *text_out in every case. */
static int read_all(int fd, char **text_out, size_t *len_out)
{
    uint64_t deadline_ms = clock_monotonic_ms() + CONFIG_READ_MS;
    size_t capacity = CONFIG_READ_FIRST;

    *text_out = malloc(capacity);
    *len_out = 0;
    while (*text_out != NULL) {
        ssize_t n = read_until(fd, *text_out + *len_out, capacity - *len_out, deadline_ms);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return n == 0 ? 0 : ERR_SYSTEM;
        *len_out += (size_t)n;
        if (*len_out < capacity)
            continue;
        if (capacity == CONFIG_FILE_MAX_BYTES)
            return ERR_TOO_LARGE;
        capacity *= 2;
        char *larger = realloc(*text_out, capacity);
        if (larger == NULL)
            return ERR_NO_MEMORY;
        *text_out = larger;
    }
    return ERR_NO_MEMORY;
}

static int read_file(const char *path, char **text_out, size_t *len_out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* the opening of a pipe would wait for its writer */
    int rc;

    *text_out = NULL;
    if (fd < 0)
        return ERR_SYSTEM;
    rc = read_all(fd, text_out, len_out);
    int kept = errno;
    close(fd);
    errno = kept;
    return rc;
}

static const char *unreadable(int rc)
{
    if (rc == ERR_SYSTEM)
        return errno == ETIMEDOUT ? "it is a pipe, and nobody has written all of it within 5 s" : strerror(errno);
    return "it is larger than 64 MiB";
}

static int load(const char *path, char *const *environment, const struct load_mode *mode, struct config **out,
                struct config_errors *errors)
{
    char *text;
    size_t len = 0;
    int rc = read_file(path, &text, &len);

    if (rc == 0) {
        rc = parse(bytes_of(text, len), path, environment, mode, out, errors);
    } else if (rc != ERR_NO_MEMORY) {
        config_errors_add(errors, "%s: cannot be read: %s; expected a configuration file", path, unreadable(rc));
        rc = ERR_INVALID;
    }
    free(text);
    return rc;
}

int config_load(const char *path, char *const *environment, struct config **out, struct config_errors *errors)
{
    return load(path, environment, &mode_whole, out, errors);
}

int config_load_anyway(const char *path, char *const *environment, struct config **out, struct config_errors *errors)
{
    *out = NULL;
    return load(path, environment, &mode_anyway, out, errors);
}

int config_load_grpc(const char *path, char *const *environment, struct config **out, struct config_errors *errors)
{
    return load(path, environment, &mode_grpc, out, errors);
}

/* ---- the end ---- */

static void free_listener(struct config_listener *listener)
{
    for (unsigned i = 0; i < listener->route_count; i++) {
        free(listener->routes[i].hostname);
        free(listener->routes[i].backend);
    }
    free(listener->routes);
    free(listener->trusted);
}

static void free_grpc(struct config *c)
{
    for (unsigned i = 0; i < c->grpc_addr_count; i++) {
        free(c->grpc_addrs[i].text);
        free(c->grpc_addrs[i].path);
    }
    free(c->grpc_addrs);
    free(c->grpc_tls_cert);
    free(c->grpc_tls_key);
    free(c->grpc_client_ca);
}

void config_free(struct config **config)
{
    struct config *c = *config;

    if (c == NULL)
        return;
    for (unsigned i = 0; i < c->listener_count; i++)
        free_listener(&c->listeners[i]);
    free(c->listeners);
    free_grpc(c);
    free_texts(c->blocked_ips.items, c->blocked_ips.count);
    free_texts(c->blocked_cidrs.items, c->blocked_cidrs.count);
    free_texts(c->blocked_countries.items, c->blocked_countries.count);
    free(c->geoip_db);
    free(c->database_path);
    free(c->user);
    config_origin_free(&c->origin);
    free(c);
    *config = NULL;
}
