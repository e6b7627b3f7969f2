/* Checks what the configuration names rather than says. */

#include "config_check.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin_tls_check.h"
#include "config_origin.h"
#include "err.h"
#include "geoip.h"

struct file_check {
    const struct config *config;
    struct config_errors *errors;
};

static void add_problem(const struct file_check *c, enum config_section section, const char *key, bool is_warning,
                        const char *subject, const char *text)
{
    char data[4096 + 512]; /* a path and a section */
    struct strbuf place = STRBUF_OF(data);

    config_origin_describe(c->config->origin, section, key, &place);
    if (is_warning)
        config_errors_warn(c->errors, "%s%s: %s", data, subject, text);
    else
        config_errors_add(c->errors, "%s%s: %s", data, subject, text);
}

static void on_tls_problem(void *context, enum admin_tls_file file, bool is_warning, const char *text)
{
    const struct file_check *c = context;
    static const char *const keys[] = {"tls_cert", "tls_key", "client_ca"};
    const char *const paths[] = {c->config->grpc_tls_cert, c->config->grpc_tls_key, c->config->grpc_client_ca};

    add_problem(c, CONFIG_GRPC, keys[file], is_warning, paths[file], text);
}

static void check_geoip(const struct file_check *c)
{
    char data[512];
    struct strbuf why = STRBUF_OF(data);
    int fd;

    if (geoip_load_copy(c->config->geoip_db, &fd, &why) == 0)
        close(fd);
    else
        add_problem(c, CONFIG_FIREWALL, "geoip_db", false, c->config->geoip_db, data);
}

/** What is no socket is not replaced. Whether there is a folder is not asked: a service manager may make it for the start. */
static void check_unix_sockets(const struct file_check *c)
{
    for (unsigned i = 0; i < c->config->grpc_addr_count; i++) {
        const struct config_grpc_addr *addr = &c->config->grpc_addrs[i];
        char data[4096 + 512]; /* a path and a section */
        struct strbuf place = STRBUF_OF(data);
        struct stat st;
        if (!addr->is_unix || lstat(addr->path, &st) != 0 || S_ISSOCK(st.st_mode))
            continue;
        config_origin_describe_line(c->config->origin, addr->line, CONFIG_GRPC, "addr", &place);
        config_errors_add(c->errors, "%s%s: something that is no socket is there; remove it or choose another path",
                          data, addr->text);
    }
}

/** Only root can become another user; for anybody else the key has no meaning. */
static void check_user(const struct file_check *c)
{
    const char *user = c->config->user;
    const struct passwd *entry = getpwnam(user);

    if (entry != NULL && entry->pw_uid == 0)
        add_problem(c, CONFIG_SERVER, "user", false, user, "workers do not run as root; expected an unprivileged user");
    else if (geteuid() != 0 && (entry == NULL || entry->pw_uid != geteuid()))
        add_problem(c, CONFIG_SERVER, "user", true, user, "has no effect unless the server is started as root");
    else if (entry == NULL)
        add_problem(c, CONFIG_SERVER, "user", false, user, "there is no such user; expected one of this system");
}

int config_check_files(const struct config *config, struct config_errors *errors)
{
    const struct admin_tls_files tls = {config->grpc_tls_cert, config->grpc_tls_key, config->grpc_client_ca,
                                        "tls_cert"};
    struct file_check c = {.config = config, .errors = errors};
    unsigned before = errors->count;

    if (config->user != NULL)
        check_user(&c);
    check_unix_sockets(&c);
    if (tls.cert_path != NULL || tls.key_path != NULL || tls.ca_path != NULL)
        admin_tls_check(&tls, on_tls_problem, &c);
    if (config->geoip_db != NULL)
        check_geoip(&c);
    return errors->count > before || errors->is_incomplete ? ERR_INVALID : 0;
}
