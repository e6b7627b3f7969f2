/* The configuration: what texts and files give. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config.h"
#include "config_schema.h"
#include "config_text.h"
#include "err.h"

static struct config *parse_good(const char *text, const char *const *environment)
{
    struct config *config = NULL;
    struct config_errors errors = {0};

    if (config_text_parse(bytes_of_str(text), environment, &config, &errors) != 0)
        fail_msg("%s", errors.count > 0 ? errors.lines[0] : "no error line");
    config_errors_fini(&errors);
    return config;
}

static void test_defaults(void **state)
{
    struct config *c = parse_good("[database]\npath = x.db\n[listener a]\naddr = :443\n", NULL);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    (void)state;
    assert_true(c->workers_auto);
    assert_in_range(c->workers, 1, (unsigned)cpus);
    assert_null(c->user);
    assert_string_equal(c->database_path, "/etc/mc/x.db");
    assert_int_equal(c->log_level, LOG_INFO);
    assert_false(c->log_json);
    assert_true(c->log_access);
    assert_int_equal(c->log_rejected_per_second, 200);
    assert_int_equal(c->hello_timeout_ms, 10000);
    assert_int_equal(c->connect_timeout_ms, 5000);
    assert_int_equal(c->idle_timeout_ms, 300000);
    assert_int_equal(c->half_close_timeout_ms, 60000);
    assert_int_equal(c->shutdown_timeout_ms, 30000);
    assert_int_equal(c->max_pending_hellos, CTL_PENDING_HELLOS_AUTO);
    assert_int_equal(c->grpc_addr_count, 0);
    assert_null(c->grpc_tls_cert);
    assert_false(c->has_metrics);
    assert_false(c->metrics_routes);
    assert_int_equal(c->metrics_max_series, 100000);
    assert_null(c->geoip_db);
    assert_int_equal(c->rate_limit, 0);
    assert_int_equal(c->rate_window_ms, 60000);
    assert_int_equal(c->listener_count, 1);
    assert_int_equal(c->listeners[0].proxy_mode, PROXY_MODE_OFF);
    assert_int_equal(c->listeners[0].no_route_mode, NO_ROUTE_RESET);
    assert_int_equal(c->listeners[0].max_connections, 0);
    config_free(&c);
}

static const char full_text[] =
    "[server]\nworkers = 256\nuser = proxy\n[database]\npath = /var/lib/x.db\n"
    "[log]\nlevel = error\nformat = json\naccess = false\nrejected_per_second = 1000000\n"
    "[proxy]\nhello_timeout = 1s\nconnect_timeout = 2s\nidle_timeout = 3m\nhalf_close_timeout = 4m\nshutdown_timeout = "
    "7d\nmax_pending_hellos = 1000000\n"
    "[grpc]\naddr = unix:/run/a.sock\naddr = 127.0.0.1:9090\ntls_cert = certs/c.pem\ntls_key = ./k.pem\nclient_ca = "
    "/ca\n"
    "[metrics]\naddr = [::1]:9100\nroutes = true\nmax_series = 100\n"
    "[firewall]\ngeoip_db = geo.mmdb\nblocked_ips = 192.0.2.7 ,2001:DB8::7\nblocked_ips=192.0.2.8\n"
    "blocked_cidrs = 198.51.100.0/24\nblocked_countries = KP,IR\nrate_limit = 1000000\nrate_window = 1d\n"
    "[listener https]\naddr = :443\nproxy_protocol = required\nproxy_trusted = 10.0.0.0/8, 192.0.2.1\n"
    "max_connections = 4294967295\nno_route = alert\nroute = WWW.Example.com. 127.0.0.1:8443\n"
    "route = *.apps.example.com\t[2001:DB8::5]:443   send_proxy_protocol\nroute = * unix:/run/fallback.sock\n"
    "[listener other]\naddr = [0::1]:444\nproxy_protocol = mixed\nproxy_trusted = 2001:db8::/32\n";

static void check_full_listeners(const struct config *c)
{
    const struct config_listener *l = &c->listeners[0];

    assert_int_equal(c->listener_count, 2);
    assert_string_equal(l->name, "https");
    assert_string_equal(l->addr_text, ":443");
    assert_true(l->addr.is_dual_stack);
    assert_int_equal(l->addr.port, 443);
    assert_int_equal(l->proxy_mode, PROXY_MODE_REQUIRED);
    assert_int_equal(l->no_route_mode, NO_ROUTE_ALERT);
    assert_int_equal(l->max_connections, UINT32_MAX);
    assert_int_equal(l->trusted_count, 2);
    assert_int_equal(l->trusted[0].prefix_len, 8);
    assert_int_equal(l->trusted[1].prefix_len, 32);
    assert_int_equal(l->route_count, 3);
    assert_string_equal(l->routes[0].hostname, "www.example.com");
    assert_string_equal(l->routes[0].backend, "127.0.0.1:8443");
    assert_false(l->routes[0].send_proxy_protocol);
    assert_string_equal(l->routes[1].hostname, "*.apps.example.com");
    assert_string_equal(l->routes[1].backend, "[2001:db8::5]:443");
    assert_true(l->routes[1].send_proxy_protocol);
    assert_string_equal(l->routes[2].hostname, "*");
    assert_string_equal(l->routes[2].backend, "unix:/run/fallback.sock");
    assert_string_equal(c->listeners[1].addr_text, "[0::1]:444");
    assert_int_equal(c->listeners[1].proxy_mode, PROXY_MODE_MIXED);
    assert_int_equal(c->listeners[1].trusted[0].addr.family, 6);
}

static void test_every_key(void **state)
{
    struct config *c = parse_good(full_text, NULL);

    (void)state;
    assert_false(c->workers_auto);
    assert_int_equal(c->workers, 256);
    assert_string_equal(c->user, "proxy");
    assert_string_equal(c->database_path, "/var/lib/x.db");
    assert_int_equal(c->log_level, LOG_ERROR);
    assert_true(c->log_json);
    assert_false(c->log_access);
    assert_int_equal(c->log_rejected_per_second, 1000000);
    assert_int_equal(c->hello_timeout_ms, 1000);
    assert_int_equal(c->connect_timeout_ms, 2000);
    assert_int_equal(c->idle_timeout_ms, 180000);
    assert_int_equal(c->half_close_timeout_ms, 240000);
    assert_int_equal(c->shutdown_timeout_ms, 604800000);
    assert_int_equal(c->max_pending_hellos, 1000000);
    assert_int_equal(c->grpc_addr_count, 2);
    assert_true(c->grpc_addrs[0].is_unix);
    assert_string_equal(c->grpc_addrs[0].path, "/run/a.sock");
    assert_string_equal(c->grpc_addrs[0].text, "unix:/run/a.sock");
    assert_false(c->grpc_addrs[1].is_unix);
    assert_string_equal(c->grpc_addrs[1].text, "127.0.0.1:9090");
    assert_int_equal(c->grpc_addrs[1].addr.port, 9090);
    assert_string_equal(c->grpc_tls_cert, "/etc/mc/certs/c.pem");
    assert_string_equal(c->grpc_tls_key, "/etc/mc/./k.pem");
    assert_string_equal(c->grpc_client_ca, "/ca");
    assert_true(c->has_metrics);
    assert_string_equal(c->metrics_addr_text, "[::1]:9100");
    assert_int_equal(c->metrics_addr.port, 9100);
    assert_true(c->metrics_routes);
    assert_int_equal(c->metrics_max_series, 100);
    assert_string_equal(c->geoip_db, "/etc/mc/geo.mmdb");
    assert_int_equal(c->blocked_ips.count, 3);
    assert_string_equal(c->blocked_ips.items[0], "192.0.2.7");
    assert_string_equal(c->blocked_ips.items[1], "2001:db8::7");
    assert_string_equal(c->blocked_ips.items[2], "192.0.2.8");
    assert_int_equal(c->blocked_cidrs.count, 1);
    assert_int_equal(c->blocked_countries.count, 2);
    assert_string_equal(c->blocked_countries.items[1], "IR");
    assert_int_equal(c->rate_limit, 1000000);
    assert_int_equal(c->rate_window_ms, 86400000);
    check_full_listeners(c);
    config_free(&c);
}

static void test_environment_overrides(void **state)
{
    static const char *const environment[CONFIG_TEXT_ENVIRONMENT_MAX] = {
        "MCPROXY_SERVER_WORKERS=3",          "MCPROXY_DATABASE_PATH=/other.db",  "MCPROXY_LOG_ACCESS=true",
        "MCPROXY_PROXY_IDLE_TIMEOUT=1h",     "MCPROXY_METRICS_ADDR=127.0.0.1:1", "MCPROXY_FIREWALL_RATE_LIMIT=7",
        "MCPROXY_LISTENER_HTTPS_ADDR=:8443",
    };
    struct config *c = parse_good(full_text, environment);

    (void)state;
    assert_int_equal(c->workers, 3);
    assert_string_equal(c->database_path, "/other.db");
    assert_true(c->log_access);
    assert_int_equal(c->idle_timeout_ms, 3600000);
    assert_string_equal(c->metrics_addr_text, "127.0.0.1:1");
    assert_int_equal(c->rate_limit, 7);
    assert_string_equal(c->listeners[0].addr_text, ":8443");
    assert_int_equal(c->listeners[0].addr.port, 8443);
    config_free(&c);
}

/* Every prefix of a good text ends in a verdict, and so does every text with one byte changed. */
static void test_prefixes_and_flips(void **state)
{
    char text[sizeof full_text];

    (void)state;
    for (size_t len = 0; len < sizeof full_text; len++) {
        struct config *config = NULL;
        struct config_errors errors = {0};
        int rc = config_text_parse(bytes_of(full_text, len), NULL, &config, &errors);
        assert_true((rc == 0 && errors.count == 0) || (rc == ERR_INVALID && errors.count > 0));
        config_free(&config);
        config_errors_fini(&errors);
    }
    for (size_t i = 0; i < sizeof full_text - 1; i++) {
        struct config *config = NULL;
        struct config_errors errors = {0};
        memcpy(text, full_text, sizeof text);
        text[i] ^= (char)(1 << i % 8);
        int rc = config_text_parse(bytes_of(text, sizeof text - 1), NULL, &config, &errors);
        assert_true((rc == 0 && errors.count == 0) || (rc == ERR_INVALID && errors.count > 0));
        config_free(&config);
        config_errors_fini(&errors);
    }
}

/* ---- limits ---- */

static char *repeat(const char *head, const char *format, unsigned count)
{
    size_t capacity = strlen(head) + (size_t)count * (strlen(format) + 24) + sizeof CONFIG_TEXT_TAIL;
    char *text = malloc(capacity);
    struct strbuf s = strbuf_init(text, capacity);

    assert_non_null(text);
    strbuf_add(&s, head);
    for (unsigned i = 0; i < count; i++) {
        char line[160];
        /* The formats are those of the tests below. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(line, sizeof line, format, i, i / 250 + 1, i % 250 + 1);
#pragma GCC diagnostic pop
        strbuf_add(&s, line);
    }
    strbuf_add(&s, CONFIG_TEXT_TAIL);
    assert_false(s.overflowed);
    return text;
}

static unsigned count_errors(char *text, const char *first_error)
{
    struct config *config = NULL;
    struct config_errors errors = {0};
    int rc = config_text_parse(bytes_of_str(text), NULL, &config, &errors);
    unsigned count = errors.count;

    assert_int_equal(rc, count > 0 ? ERR_INVALID : 0);
    if (count > 0)
        assert_non_null(strstr(errors.lines[0], first_error));
    config_free(&config);
    config_errors_fini(&errors);
    free(text);
    return count;
}

static void test_limits(void **state)
{
    static const char listeners[] = "[listener l%u]\naddr = 127.0.%u.%u:1\n";
    static const char trusted[] = "; %u\nproxy_trusted = 10.0.%u.%u\n";
    static const char trusted_head[] = "[listener a]\naddr = :1\nproxy_protocol = required\n";
    static const char sockets[] = "addr = unix:/%u\n";

    (void)state;
    assert_int_equal(count_errors(repeat("", listeners, 1023), ""), 0);
    assert_int_equal(count_errors(repeat("", listeners, 1024), "[listener tail] is one too many; at most 1024"), 1);
    assert_int_equal(count_errors(repeat(trusted_head, trusted, 1024), ""), 0);
    assert_int_equal(count_errors(repeat(trusted_head, trusted, 1025), "at most 1024 are possible"), 1);
    assert_int_equal(count_errors(repeat("[grpc]\n", sockets, 16), ""), 0);
    assert_int_equal(count_errors(repeat("[grpc]\n", sockets, 17), "at most 16 are possible"), 1);
    assert_int_equal(
        count_errors(repeat("[listener a]\naddr = :1\n", "route = h%u.example.com 10.0.0.1:1\n", 20000), ""), 0);
}

/* ---- files ---- */

static void test_files(void **state)
{
    char folder[] = "/tmp/test_config.XXXXXX", path[64];
    char *const environment[] = {NULL};
    struct config *config = NULL;
    struct config_errors errors = {0};
    FILE *f;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/c.ini", folder);
    assert_int_equal(config_load(path, environment, &config, &errors), ERR_INVALID);
    assert_non_null(strstr(errors.lines[0], "c.ini: cannot be read: No such file or directory"));
    config_errors_fini(&errors);
    assert_int_equal(config_load(folder, environment, &config, &errors), ERR_INVALID);
    assert_non_null(strstr(errors.lines[0], "cannot be read: Is a directory"));
    config_errors_fini(&errors);

    assert_non_null(f = fopen(path, "w"));
    fputs(CONFIG_TEXT_TAIL, f);
    fclose(f);
    assert_int_equal(config_load(path, environment, &config, &errors), 0);
    config_free(&config);
    config_errors_fini(&errors);

    /* Paths that are relative, or below a relative configuration path, end up absolute. */
    assert_non_null(f = fopen(path, "w"));
    fputs("[database]\npath = x.db\n[listener a]\naddr = :1\n", f);
    fclose(f);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(config_load("c.ini", environment, &config, &errors), 0);
    snprintf(path, sizeof path, "%s/x.db", folder);
    assert_string_equal(config->database_path, path);
    config_free(&config);
    assert_int_equal(config_load("./c.ini", environment, &config, &errors), 0);
    snprintf(path, sizeof path, "%s/./x.db", folder);
    assert_string_equal(config->database_path, path);
    config_free(&config);
    assert_int_equal(unlink("c.ini"), 0);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void test_grpc_only(void **state)
{
    char path[] = "/tmp/test_config.XXXXXX";
    char *const environment[] = {NULL};
    struct config *config = NULL;
    struct config_errors errors = {0};
    int fd = mkstemp(path);
    static const char text[] = "[grpc]\naddr = unix:/x\n[listener a]\nroute = nonsense\n";

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    assert_int_equal(config_load(path, environment, &config, &errors), ERR_INVALID);
    config_errors_fini(&errors);
    assert_int_equal(config_load_grpc(path, environment, &config, &errors), 0);
    assert_string_equal(config->grpc_addrs[0].path, "/x");
    config_free(&config);
    config_errors_fini(&errors);
    unlink(path);
}

/* ---- the example file ---- */

/** The line of the example that sets key, commented out or not: "key = value". Returns false if there is none. */
static bool find_in_example(const char *example, const struct config_key *key, char value[256])
{
    char section[64];
    const char *at;

    snprintf(section, sizeof section, "\n[%s%s]", config_section_name(key->section),
             key->section == CONFIG_LISTENER ? " https" : "");
    at = strstr(example, section);
    assert_non_null(at);
    for (at = strchr(at + 1, '\n'); at != NULL && at[1] != '['; at = strchr(at + 1, '\n')) {
        const char *line = at + 1 + (at[1] == ';' || at[1] == '#' ? 1 : 0);
        size_t len = strlen(key->name);
        if (strncmp(line, key->name, len) != 0 || strncmp(line + len, " = ", 3) != 0)
            continue;
        size_t value_len = strcspn(line + len + 3, "\n");
        assert_in_range(value_len, 1, 255);
        memcpy(value, line + len + 3, value_len);
        value[value_len] = '\0';
        return true;
    }
    return false;
}

static void test_example_has_every_key(void **state)
{
    unsigned count;
    const struct config_key *keys = config_schema_keys(&count);
    char example[16384];
    FILE *f = fopen(MCPROXY_SOURCE_DIR "/config/mc-proxy.ini.example", "r");

    (void)state;
    assert_non_null(f);
    size_t len = fread(example, 1, sizeof example - 1, f);
    fclose(f);
    example[len] = '\0';
    for (unsigned i = 0; i < count; i++) {
        char value[256];
        if (!find_in_example(example, &keys[i], value))
            fail_msg("the example does not show [%s] %s", config_section_name(keys[i].section), keys[i].name);
        /* Whatever is not set shows its default. */
        if (keys[i].default_value != NULL && strcmp(value, keys[i].default_value) != 0)
            fail_msg("the example shows [%s] %s = %s, the default is %s", config_section_name(keys[i].section),
                     keys[i].name, value, keys[i].default_value);
    }
    struct config *config = parse_good(example, NULL);
    config_free(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_key),
        cmocka_unit_test(test_environment_overrides),
        cmocka_unit_test(test_prefixes_and_flips),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_grpc_only),
        cmocka_unit_test(test_example_has_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
