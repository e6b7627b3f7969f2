/* The configuration: tables of texts with all the error lines they give. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "config_text.h"
#include "err.h"

#define BYTES_10  "xxxxxxxxxx"
#define BYTES_50  BYTES_10 BYTES_10 BYTES_10 BYTES_10 BYTES_10
#define BYTES_100 BYTES_50 BYTES_50
#define BYTES_500 BYTES_100 BYTES_100 BYTES_100 BYTES_100 BYTES_100

#define LINES_MAX CONFIG_TEXT_ENVIRONMENT_MAX

struct error_case {
    const char *name;
    const char *text;
    const char *errors[LINES_MAX];   /* beginnings of the error lines, all of them, in order */
    const char *warnings[LINES_MAX]; /* the same */
    const char *environment[LINES_MAX];
};

static unsigned mismatches; /* of the tables: all are told before the test fails */

static void mismatch(const char *name, const char *kind, const char *line, const char *expected)
{
    print_error("%s: %s is\n  %s\nexpected\n  %s\n", name, kind, line, expected);
    mismatches++;
}

static void check_lines(const char *name, const char *kind, const char *const *expected, char *const *lines,
                        unsigned count)
{
    unsigned wanted = 0;

    while (wanted < LINES_MAX && expected[wanted] != NULL)
        wanted++;
    for (unsigned i = 0; i < count; i++) {
        if (i >= wanted || strncmp(lines[i], expected[i], strlen(expected[i])) != 0)
            mismatch(name, kind, lines[i], i < wanted ? expected[i] : "none");
    }
    for (unsigned i = count; i < wanted; i++)
        mismatch(name, kind, "none", expected[i]);
}

static void run_case(const struct error_case *c, bool has_tail)
{
    struct config *config = NULL;
    struct config_errors errors = {0};
    char text[8192];
    int rc;

    snprintf(text, sizeof text, "%s%s", c->text, has_tail ? CONFIG_TEXT_TAIL : "");
    rc = config_text_parse(bytes_of_str(text), c->environment, &config, &errors);
    check_lines(c->name, "error", c->errors, errors.lines, errors.count);
    check_lines(c->name, "warning", c->warnings, errors.warnings, errors.warning_count);
    if (rc != (c->errors[0] != NULL ? ERR_INVALID : 0) || (rc == 0) != (config != NULL))
        mismatch(c->name, "result", err_text(rc), c->errors[0] != NULL ? "an error" : "none");
    config_free(&config);
    assert_null(config);
    config_errors_fini(&errors);
}

#define AT(line) CONFIG_TEXT_PATH ":" #line ": "

/* clang-format off */
static const struct error_case cases[] = {
    {"empty apart from the tail", "", .errors = {NULL}},
    {"comments and blank lines", "# a\n; b\n   # c\n\n\t\n", .errors = {NULL}},
    {"a byte order mark and CRLF", "\xef\xbb\xbf[log]\r\nlevel = debug\r\n", .errors = {NULL}},
    {"no line end at the end", "[log]\nlevel = debug", .errors = {NULL}},

    /* what inih would cut, join or skip */
    {"a line of 300 bytes", "[database]\nuser = " BYTES_100 BYTES_100 BYTES_100 "\n",
     .errors = {AT(2) "[database]: the line has 307 bytes; at most 199"}},
    {"a comment of 300 bytes", "[log]\n#" BYTES_100 BYTES_100 BYTES_100 "level = x\nlevel = info\n",
     .errors = {AT(2) "[log]: the line has"}},
    {"a line of 199 bytes", "[server]\nuser = " BYTES_100 BYTES_50 BYTES_10 BYTES_10 BYTES_10 BYTES_10 "xx\n", .errors = {NULL}},
    {"a line of 200 bytes", "[server]\nuser = " BYTES_100 BYTES_50 BYTES_10 BYTES_10 BYTES_10 BYTES_10 "xxx\n",
     .errors = {AT(2) "[server]: the line has 200 bytes"}},
    {"a section name of 60 bytes", "[listener " BYTES_50 "]\naddr = nonsense\n", .errors = {AT(1) "the section name has 59 bytes; at most 49"}},
    {"a listener name of 41 bytes", "[listener xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]\naddr = nonsense\n", .errors = {AT(1) "the section name has 50 bytes"}},
    {"a listener name of 40 bytes", "[listener xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]\naddr = :1\n", .errors = {NULL}},
    {"a key of 60 bytes", "[log]\n" BYTES_50 BYTES_10 " = 5\n", .errors = {AT(2) "[log]: the key has 60 bytes; at most 49"}},
    {"an indented line is a line", "[log]\n  level = debug\n\tformat = json\n    blabla\n", .errors = {AT(4) "[log]: the line is neither"}},
    {"an indented section", "   [log]\nlevel = loud\n", .errors = {AT(2) "[log] level: \"loud\""}},
    {"no ']'", "[log]\nlevel = info\n[proxy\nidle_timeout = nonsense\n[log]\nformat = x\n",
     .errors = {AT(3) "the section line has no ']'", AT(6) "[log] format: \"x\" is not possible; expected text or json"}},
    {"text behind ']'", "[log] level = debug\n", .errors = {AT(1) "there is text behind the section's ']'"}},
    {"a comment behind ']'", "[log] ; a\nlevel = debug\n[proxy]#b\n", .errors = {NULL}},
    {"no equals sign", "[log]\nlevel\n", .errors = {AT(2) "[log]: the line is neither a [section] nor a key = value"}},
    {"no key", "[log]\n= info\n", .errors = {AT(2) "[log]: there is no key"}},
    {"no value", "[log]\nlevel =\n", .errors = {AT(2) "[log] level: \"\": the value is empty; expected debug, info, warn or error"}},
    {"nothing but a comment as value", "[log]\nlevel = ; info\n", .errors = {AT(2) "[log] level: \"\": the value is empty"}},
    {"a comment behind a value", "[log]\nlevel = debug ; or info\n", .errors = {NULL}},
    {"a hash behind a value", "[database]\npath = /a # b\n", .errors = {AT(2) "[database]: the value of path holds a '#'"}},
    {"a semicolon without blank", "[server]\nuser =;a\n", .errors = {AT(2) "[server]: the value of user begins with ';'"}},
    {"a control byte", "[log]\nlevel = \001info\n", .errors = {AT(2) "[log]: the line holds a control byte (0x01)"}},
    {"a carriage return inside", "[log]\nlevel = a\rb\n", .errors = {AT(2) "[log]: the line holds a control byte (0x0d)"}},
    {"a key before any section", "level = info\n", .errors = {AT(1) "level stands before the first section"}},

    /* sections and keys */
    {"an unknown section", "[lgo]\nlevel = x\n", .errors = {AT(1) "[lgo] is no section; did you mean [log]?"}},
    {"an unknown section, far from all", "[quux]\n", .errors = {AT(1) "[quux] is no section; the sections are [server], "}},
    {"a capital section", "[Proxy]\n", .errors = {AT(1) "[Proxy] is no section; did you mean [proxy]?"}},
    {"a misspelt listener", "[listner a]\n", .errors = {AT(1) "[listner a] is no section; did you mean [listener NAME]?"}},
    {"a listener without name", "[listener]\naddr = x\n", .errors = {AT(1) "[listener ] has no proper name"}},
    {"a listener with a blank", "[listener a b]\naddr = x\n", .errors = {AT(1) "[listener a b] has no proper name"}},
    {"an unknown key", "[proxy]\nidle_timout = 5m\n", .errors = {AT(2) "[proxy] idle_timout: no such key; did you mean idle_timeout?"}},
    {"a key of another section", "[server]\nrate_limit = 5\n", .errors = {AT(2) "[server] rate_limit: no such key; it belongs into [firewall]"}},
    {"a key far from all", "[log]\ncolour = 5\n", .errors = {AT(2) "[log] colour: no such key; the keys here are level, format, access"}},
    {"a key set twice", "[log]\nlevel = info\nlevel = info\n", .errors = {AT(3) "[log] level: set twice, in line 2 already"}},
    {"a key set twice in a section that comes twice", "[log]\nlevel = info\n[proxy]\n[log]\nlevel = info\n",
     .errors = {AT(5) "[log] level: set twice, in line 2 already"}},
    {"a section that comes twice", "[log]\nlevel = info\n[log]\nformat = text\n", .errors = {NULL}},

    /* values */
    {"a duration without unit", "[proxy]\nidle_timeout = 5\n", .errors = {AT(2) "[proxy] idle_timeout: \"5\": "}},
    {"a duration too long", "[proxy]\nidle_timeout = 8d\n",
     .errors = {AT(2) "[proxy] idle_timeout: \"8d\": too large; expected a duration from 10ms to 7d, such as 5m"}},
    {"a duration too short", "[proxy]\nhello_timeout = 9ms\n", .errors = {AT(2) "[proxy] hello_timeout: \"9ms\": too small; expected a duration from 10ms"}},
    {"no time to shut down", "[proxy]\nshutdown_timeout = 0s\n", .errors = {NULL}},
    {"a window too short", "[firewall]\nrate_window = 500ms\n", .errors = {AT(2) "[firewall] rate_window: \"500ms\": too small; expected a duration from 1s to 1d"}},
    {"no worker", "[server]\nworkers = 0\n", .errors = {AT(2) "[server] workers: \"0\": too small; expected auto or a number from 1 to 256"}},
    {"257 workers", "[server]\nworkers = 257\n", .errors = {AT(2) "[server] workers: \"257\": too large"}},
    {"negative workers", "[server]\nworkers = -1\n", .errors = {AT(2) "[server] workers: \"-1\": not a whole number"}},
    {"a number that wraps around", "[firewall]\nrate_limit = 18446744073709551617\n", .errors = {AT(2) "[firewall] rate_limit: \"18446744073709551617\": too large"}},
    {"a rate over a million", "[firewall]\nrate_limit = 1000001\n", .errors = {AT(2) "[firewall] rate_limit: \"1000001\": too large; expected a number from 0 to 1000000"}},
    {"too many lines of the rejected", "[log]\nrejected_per_second = 1000001\n", .errors = {AT(2) "[log] rejected_per_second: \"1000001\": too large; expected a number from 0 to 1000000"}},
    {"a bool in other words", "[log]\naccess = yes\n", .errors = {AT(2) "[log] access: \"yes\" is not possible; expected false or true"}},
    {"capitals in a word", "[log]\nlevel = INFO\n", .errors = {AT(2) "[log] level: \"INFO\" is not possible; expected debug, info, warn or error"}},
    {"an escape in a long value", "[log]\nlevel = " BYTES_100 BYTES_50 "\n", .errors = {AT(2) "[log] level: \"" BYTES_100 BYTES_10 BYTES_10 "...\" is not"}},

    /* lists */
    {"an empty list", "[firewall]\nblocked_ips =\nblocked_ips = \t\n", .errors = {NULL}},
    {"an empty entry", "[firewall]\nblocked_ips = 192.0.2.7,,192.0.2.8,\n",
     .errors = {AT(2) "[firewall] blocked_ips: \"\": the value is empty", AT(2) "[firewall] blocked_ips: \"\": the value is empty"}},
    {"a bad entry among good ones", "[firewall]\nblocked_ips = 192.0.2.7, 192.0.2.256, 192.0.2.8\n", .errors = {AT(2) "[firewall] blocked_ips: \"192.0.2.256\": "}},
    {"one address in two spellings", "[firewall]\nblocked_ips = 2001:db8::7\nblocked_ips = 192.0.2.7, 2001:DB8:0::7, ::ffff:192.0.2.7\n",
     .errors = {AT(3) "[firewall] blocked_ips: 192.0.2.7 is a duplicate, it is in line 3 already", AT(3) "[firewall] blocked_ips: 2001:db8::7 is a duplicate, it is in line 2 already"}},
    {"a network with host bits", "[firewall]\nblocked_cidrs = 198.51.100.1/24\n", .errors = {AT(2) "[firewall] blocked_cidrs: \"198.51.100.1/24\": "}},
    {"an address as network", "[firewall]\nblocked_cidrs = 198.51.100.1\n", .errors = {AT(2) "[firewall] blocked_cidrs: \"198.51.100.1\": "}},
    {"countries", "[firewall]\ngeoip_db = x\nblocked_countries = KP, kp, PRK, P\n",
     .errors = {AT(3) "[firewall] blocked_countries: \"P\": no country code; expected country codes of two", AT(3) "[firewall] blocked_countries: \"PRK\"", AT(3) "[firewall] blocked_countries: \"kp\""}},
    {"countries without database", "[firewall]\nblocked_countries = KP\n", .errors = {AT(2) "[firewall] blocked_countries: needs a GeoIP database; expected geoip_db"}},

    /* [grpc] and [metrics] */
    {"a socket path that is relative", "[grpc]\naddr = unix:run/x\n", .errors = {AT(2) "[grpc] addr: \"unix:run/x\": the path behind unix:"}},
    {"a socket path of 108 bytes", "[grpc]\naddr = unix:/" BYTES_100 "xxxxxxx\n", .errors = {AT(2) "[grpc] addr: \"unix:/xxx"}},
    {"a socket path of 107 bytes", "[grpc]\naddr = unix:/" BYTES_100 "xxxxxx\n", .errors = {NULL}},
    {"a TCP address without TLS", "[grpc]\naddr = unix:/x\naddr = 127.0.0.1:9090\n", .errors = {AT(3) "[grpc] addr: 127.0.0.1:9090 is a TCP address, which needs TLS"}},
    {"half of TLS", "[grpc]\naddr = 127.0.0.1:9090\ntls_cert = x\n", .errors = {AT(3) "[grpc] tls_cert: is set without tls_key; expected both or none"}},
    {"the other half of TLS", "[grpc]\naddr = 127.0.0.1:9090\ntls_key = x\n", .errors = {AT(3) "[grpc] tls_key: is set without tls_cert"}},
    {"a CA without TLS", "[grpc]\naddr = unix:/x\nclient_ca = x\n", .errors = {AT(3) "[grpc] client_ca: is set without TLS"}},
    {"TLS without TCP", "[grpc]\naddr = unix:/x\ntls_cert = a\ntls_key = b\n", .warnings = {AT(3) "[grpc] tls_cert: has no effect"}},
    {"one socket twice", "[grpc]\naddr = unix:/x\naddr = unix:/x\n", .errors = {AT(3) "[grpc] addr: unix:/x is a duplicate, it is in line 2 already"}},
    {"one address twice", "[grpc]\ntls_cert = a\ntls_key = b\naddr = [::1]:9090\naddr = [0::1]:9090\n", .errors = {AT(5) "[grpc] addr: [::1]:9090 is a duplicate, it is in line 4 already"}},
    {"an address and its wildcard", "[grpc]\ntls_cert = a\ntls_key = b\naddr = 127.0.0.1:9090\naddr = :9090\n", .errors = {AT(5) "[grpc] addr: :9090 overlaps with 127.0.0.1:9090 of [grpc]"}},
    {"metrics on the port of grpc", "[grpc]\ntls_cert = a\ntls_key = b\naddr = :9090\n[metrics]\naddr = [::1]:9090\n", .errors = {AT(6) "[metrics] addr: [::1]:9090 overlaps with :9090 of [grpc]"}},
    {"metrics without port", "[metrics]\naddr = 127.0.0.1\n", .errors = {AT(2) "[metrics] addr: \"127.0.0.1\": "}},

    /* listeners */
    {"a listener without address", "[log]\n\n[listener a]\nno_route = alert\n", .errors = {AT(3) "[listener a] addr: is required and not set; expected an address like :443"}},
    {"a listener with nothing", "[listener a]\n", .errors = {AT(1) "[listener a] addr: is required"}},
    {"a listener with a wrong address", "[listener a]\naddr = :99999\n", .errors = {AT(2) "[listener a] addr: \":99999\": "}},
    {"a name twice", "[listener a]\naddr = :1\n[listener a]\naddr = :2\n", .errors = {AT(3) "[listener a]: is a duplicate, the section is in line 1 already"}},
    {"an address twice", "[listener a]\naddr = [::1]:1\n[listener b]\naddr = [0:0::1]:1\n", .errors = {AT(4) "[listener b] addr: [::1]:1 overlaps with [::1]:1 of [listener a]"}},
    {"both families and IPv4", "[listener a]\naddr = :1\n[listener b]\naddr = 0.0.0.0:1\n", .errors = {AT(4) "[listener b] addr: 0.0.0.0:1 overlaps with :1 of [listener a]"}},
    {"IPv6 and both families", "[listener a]\naddr = [::]:1\n[listener b]\naddr = :1\n", .errors = {AT(4) "[listener b] addr: :1 overlaps with [::]:1 of [listener a]"}},
    {"each family on its own", "[listener a]\naddr = [::]:1\n[listener b]\naddr = 0.0.0.0:1\n", .errors = {NULL}},
    {"a wildcard beside an address", "[listener a]\naddr = :1\n[listener b]\naddr = 127.0.0.1:1\n", .errors = {NULL}},
    {"a listener on the port of metrics", "[metrics]\naddr = 127.0.0.1:1\n[listener b]\naddr = :1\n", .errors = {AT(4) "[listener b] addr: :1 overlaps with 127.0.0.1:1 of [metrics]"}},
    {"mixed without trusted", "[listener a]\naddr = :1\nproxy_protocol = mixed\n", .errors = {AT(3) "[listener a] proxy_protocol: mixed needs"}},
    {"mixed with trusted", "[listener a]\naddr = :1\nproxy_protocol = mixed\nproxy_trusted = 10.0.0.0/8, ::1\n", .errors = {NULL}},
    {"required without trusted", "[listener a]\naddr = :1\nproxy_protocol = required\n", .errors = {NULL}},
    {"trusted for nothing", "[listener a]\naddr = :1\nproxy_trusted = 10.0.0.0/8\n", .warnings = {AT(3) "[listener a] proxy_trusted: has no effect"}},
    {"trusted twice", "[listener a]\naddr = :1\nproxy_protocol = required\nproxy_trusted = 10.0.0.1, 10.0.0.1/32\n", .errors = {AT(4) "[listener a] proxy_trusted: 10.0.0.1/32 is a duplicate"}},
    {"more connections than a number holds", "[listener a]\naddr = :1\nmax_connections = 4294967296\n", .errors = {AT(3) "[listener a] max_connections: \"4294967296\": too large; expected a number from 0 to 4294967295"}},

    /* routes */
    {"a route without backend", "[listener a]\naddr = :1\nroute = www.example.com\n", .errors = {AT(3) "[listener a] route: \"www.example.com\": the backend is missing; expected HOSTNAME BACKEND"}},
    {"a route with a bad name", "[listener a]\naddr = :1\nroute = www.*.com 10.0.0.1:1\n", .errors = {AT(3) "[listener a] route: \"www.*.com 10.0.0.1:1\": hostname: "}},
    {"a route with a bad backend", "[listener a]\naddr = :1\nroute = www.example.com 10.0.0.1\n", .errors = {AT(3) "[listener a] route: \"www.example.com 10.0.0.1\": backend: "}},
    {"a route with a bad flag", "[listener a]\naddr = :1\nroute = www.example.com 10.0.0.1:1 proxy\n", .errors = {AT(3) "[listener a] route: \"www.example.com 10.0.0.1:1 proxy\": the third word"}},
    {"a route with four words", "[listener a]\naddr = :1\nroute = www.example.com 10.0.0.1:1 send_proxy_protocol x\n", .errors = {AT(3) "[listener a] route: \"www.example.com 10.0.0.1:1 send_proxy_protocol x\": there are more"}},
    {"one name twice", "[listener a]\naddr = :1\nroute = WWW.example.com 10.0.0.1:1\nroute = www.example.com. 10.0.0.2:1\n",
     .errors = {AT(4) "[listener a] route: www.example.com is a duplicate, it is in line 3 already"}},
    {"one name on two listeners", "[listener a]\naddr = :1\nroute = * 10.0.0.1:1\n[listener b]\naddr = :2\nroute = * 10.0.0.1:1\n", .errors = {NULL}},
    {"a wildcard beside its name", "[listener a]\naddr = :1\nroute = *.example.com 10.0.0.1:1\nroute = example.com 10.0.0.1:1\nroute = * 10.0.0.1:1\n", .errors = {NULL}},

    {"everything at once", "[log]\nlevel = x\n[nonsense]\na = b\n[proxy]\nidle_timeout = 5\n[listener a]\naddr = :1\nroute = x\nfoo = bar\n",
     .errors = {AT(2) "[log] level", AT(3) "[nonsense]", AT(6) "[proxy] idle_timeout", AT(9) "[listener a] route", AT(10) "[listener a] foo"}},

    /* environment */
    {"a wrong value", "[log]\n", .errors = {"MCPROXY_LOG_LEVEL: [log] level: \"x\" is not possible; expected debug"}, .environment = {"MCPROXY_LOG_LEVEL=x"}},
    {"a path that is too long", "", .errors = {"MCPROXY_GRPC_TLS_CERT: [grpc] tls_cert: ", "MCPROXY_GRPC_TLS_CERT: [grpc] tls_cert: is set without tls_key"},
     .environment = {"MCPROXY_GRPC_TLS_CERT=" BYTES_500 BYTES_500 BYTES_500 BYTES_500 BYTES_500 BYTES_500 BYTES_500 BYTES_500 BYTES_100}},
    {"an empty value", "", .errors = {"MCPROXY_LOG_LEVEL: [log] level: \"\": the value is empty"}, .environment = {"MCPROXY_LOG_LEVEL="}},
    {"bytes from outside", "", .errors = {"MCPROXY_LOG_LEVEL: [log] level: \"\\x1b[2J\" is not possible"}, .environment = {"MCPROXY_LOG_LEVEL=\x1b[2J"}},
    {"a wrong key", "", .errors = {"MCPROXY_LOG_LEVLE: [log]: no key levle; did you mean level?"}, .environment = {"MCPROXY_LOG_LEVLE=info"}},
    {"a list", "", .errors = {"MCPROXY_FIREWALL_BLOCKED_IPS: [firewall] blocked_ips: is a list"}, .environment = {"MCPROXY_FIREWALL_BLOCKED_IPS=192.0.2.7"}},
    {"another list", "", .errors = {"MCPROXY_GRPC_ADDR: [grpc] addr: is a list"}, .environment = {"MCPROXY_GRPC_ADDR=unix:/x"}},
    {"no section of ours", "", .warnings = {"MCPROXY_HOME: this variable names no section"}, .environment = {"MCPROXY_HOME=/", "PATH=/bin", "MCPROXYLOG_LEVEL=x", "MCPROXY_"}},
    {"no listener of ours", "", .warnings = {"MCPROXY_LISTENER_B_ADDR: this variable names no section"}, .environment = {"MCPROXY_LISTENER_B_ADDR=:1"}},
    {"small letters", "", .errors = {"MCPROXY_LOG_level: [log]: no key level"}, .environment = {"MCPROXY_LOG_level=debug"}},
    {"a file's value is checked too", "[log]\nlevel = x\n", .errors = {AT(2) "[log] level: \"x\""}, .environment = {"MCPROXY_LOG_LEVEL=info"}},
    {"a listener's key", "[listener web-1.b]\naddr = :1\n", .errors = {"MCPROXY_LISTENER_WEB_1_B_NO_ROUTE: [listener web-1.b] no_route: \"x\" is not possible; expected reset or alert"}, .environment = {"MCPROXY_LISTENER_WEB_1_B_NO_ROUTE=x"}},
    {"a listener's wrong key", "[listener a]\naddr = :1\n", .errors = {"MCPROXY_LISTENER_A_NOROUTE: [listener a]: no key noroute; did you mean no_route?"}, .environment = {"MCPROXY_LISTENER_A_NOROUTE=x"}},
    {"two listeners spelled the same", "[listener a-b]\naddr = :1\n[listener a_b]\naddr = :2\n", .errors = {"MCPROXY_LISTENER_A_B_ADDR: [listener a-b]: this variable fits more than one listener"}, .environment = {"MCPROXY_LISTENER_A_B_ADDR=:3"}},
    {"a listener that is the beginning of another", "[listener x]\naddr = :1\n[listener x_max]\naddr = :2\n", .errors = {"MCPROXY_LISTENER_X_MAX_CONNECTIONS: [listener x] max_connections: \"a\""}, .environment = {"MCPROXY_LISTENER_X_MAX_CONNECTIONS=a"}},
    {"an address that makes a conflict", "[listener a]\naddr = :1\n[listener b]\naddr = :2\n", .errors = {"MCPROXY_LISTENER_B_ADDR: [listener b] addr: :1 overlaps with :1 of [listener a]"}, .environment = {"MCPROXY_LISTENER_B_ADDR=:1"}},
    {"a required key", "[listener a]\n", .environment = {"MCPROXY_LISTENER_A_ADDR=:1"}},
};

/* Without the tail. */
static const struct error_case bare_cases[] = {
    {"nothing", "", .errors = {"/etc/mc/c.ini: [database] path: is required and not set; expected the path"}, .warnings = {"/etc/mc/c.ini: [listener NAME]: there is no such section"}},
    {"what has no line comes last", "[log]\nlevel = x\n[listener a]\naddr = :1\n", .errors = {AT(2) "[log] level", "/etc/mc/c.ini: [database] path: is required"}},
    {"an empty section", "\n[database]\n[listener a]\naddr = :1\n", .errors = {AT(2) "[database] path: is required and not set"}},
    {"a path from the environment", "[listener a]\naddr = :1\n", .environment = {"MCPROXY_DATABASE_PATH=/a"}},
    {"an empty path from the environment", "[listener a]\naddr = :1\n", .errors = {"MCPROXY_DATABASE_PATH: [database] path: \"\": the value is empty"}, .environment = {"MCPROXY_DATABASE_PATH="}},
};
/* clang-format on */

static void test_errors(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
        run_case(&cases[i], true);
    for (unsigned i = 0; i < sizeof bare_cases / sizeof bare_cases[0]; i++)
        run_case(&bare_cases[i], false);
    assert_int_equal(mismatches, 0);
}

static void test_nul_byte(void **state)
{
    static const char text[] = "[log]\nlevel = info\0 and more\n" CONFIG_TEXT_TAIL;
    struct config *config = NULL;
    struct config_errors errors = {0};

    (void)state;
    assert_int_equal(config_text_parse(bytes_of(text, sizeof text - 1), NULL, &config, &errors), ERR_INVALID);
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.lines[0],
                        AT(2) "[log]: the line holds a control byte (0x00); a configuration is plain text");
    config_errors_fini(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_nul_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
