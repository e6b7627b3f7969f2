"""
Numbers and lists in the documents are those of the code. A number that the code may change has a row here: where it is said, and where it
is so; or it is worded so that it cannot become wrong.
"""

import glob
import os
import re

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def text_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def as_written(number):
    return f"{number:,}"


def kib(number):
    return as_written(number >> 10)


def mib(number):
    return as_written(number >> 20)


def seconds(ms):
    return as_written(ms // 1000)


def seconds_of_us(us):
    return as_written(us // 1000000)


def minutes(ms):
    return as_written(ms // 60000)


def minutes_of_us(us):
    return minutes(us // 1000)


def less_one(number):
    return as_written(number - 1)


def digits(number):
    return str(number)


SESSION, LIMITS, APPLY = "master/grpc_session.c", "master/grpc_limits.h", "master/admin_apply.c"
UPGRADE, NOTIFY, LAYOUT = "master/server_upgrade.c", "master/server_notify.c", "common/shm_layout.h"
API, OPERATIONS, METRICS, LIFECYCLE = "docs/admin-api.md", "docs/operations.md", "docs/metrics.md", "docs/lifecycle.md"
PROTO, SAMPLE, ARCHITECTURE, PAGES = "proto/mc_proxy/v1/admin.proto", "config/mc-proxy.ini.example", "docs/architecture.md", "docs/man/mc-proxy"

# document, words with {} for the number, file of the code, what stands before the number there, how it is written
FACTS = [
    ("README.md", "TLS records, up to {} KiB", "common/client_hello.h", "define CLIENT_HELLO_MAX_BYTES", kib),
    ("SECURITY.md", "GET and HEAD of one path, {} KiB", "master/metrics_http.h", "define METRICS_HTTP_MAX_BYTES", kib),
    (API, "| connections, all addresses together | {} |", SESSION, ".connections =", as_written),
    (API, "when all {} places are taken", SESSION, ".connections =", as_written),
    (OPERATIONS, "too many connections: {} are the limit", SESSION, ".connections =", as_written),
    (PROTO, "64 KiB of headers, {} connections", SESSION, ".connections =", as_written),
    (PROTO, "connections, {} streams on each", LIMITS, "define GRPC_STREAMS_MAX", as_written),
    (API, "| calls at once on a connection | {} |", LIMITS, "define GRPC_STREAMS_MAX", as_written),
    (API, "| a request's message | {} MiB |", LIMITS, "define GRPC_MESSAGE_MAX", mib),
    (PROTO, "Limits: {} MiB for one message", LIMITS, "define GRPC_MESSAGE_MAX", mib),
    (API, "| headers of a request, with 32 bytes for each | {} KiB |", LIMITS, "define GRPC_HEADERS_MAX", kib),
    (API, "all headers on the wire | 64 KiB; {} KiB |", "master/h2_scan.c", "define BLOCK_BYTES_MAX", kib),
    (API, "| messages of one `ApplyChanges` together | {} MiB,", APPLY, "define CALL_BYTES_MAX", mib),
    (API, "MiB, {} changes |", APPLY, "define CHANGES_MAX", as_written),
    (PROTO, "(at most {} changes", APPLY, "define CHANGES_MAX", as_written),
    (API, "frames with nothing in them | {} at once", "master/h2_budget.h", '"PING frames",', as_written),
    (API, "| TLS handshake and preface together | {} s |", SESSION, ".handshake_ms =", seconds),
    (API, "| a request that does not go on | {} s |", SESSION, ".request_ms =", seconds),
    (API, "of which nothing is taken | {} s |", SESSION, ".stall_ms =", seconds),
    (API, "| parts of requests held, all connections | {} MiB |", SESSION, ".request_bytes =", mib),
    (API, "| answers not yet taken, all connections | {} MiB |", SESSION, ".answer_bytes =", mib),
    (API, "Any number up to {} of either", "master/config.h", "define CONFIG_GRPC_ADDRS_MAX", as_written),
    (SAMPLE, "repeat the key for more, at most {}.", "master/config.h", "define CONFIG_GRPC_ADDRS_MAX", as_written),
    (PAGES + ".ini.5", "repeated for more, at most {}.", "master/config.h", "define CONFIG_GRPC_ADDRS_MAX", as_written),
    (API, "`page_size` 1 to {},", "master/admin_page.c", "define PAGE_SIZE_MAX", as_written),
    (PROTO, "in the answer, 1 to {};", "master/admin_page.c", "define PAGE_SIZE_MAX", as_written),
    (API, "counters of their own, {} unless `max_routes`", "master/admin_status.h", "define STATUS_ROUTES_DEFAULT", as_written),
    (PROTO, "there are {} watchers already", "master/admin_watch.c", "define WATCHES_MAX", as_written),
    (PROTO, "because all {} places were taken", LAYOUT, "define SHM_ROUTE_SERIES_MAX", less_one),
    (METRICS, "Up to {} routes are counted", LAYOUT, "define SHM_ROUTE_SERIES_MAX", less_one),
    ("docs/observability.md", "Beyond {} routes", LAYOUT, "define SHM_ROUTE_SERIES_MAX", less_one),
    (OPERATIONS, "have even then, up to {} of them", LAYOUT, "define SHM_ROUTE_SERIES_MAX", less_one),
    (PAGES + "-status.1", "Only the first {} routes", LAYOUT, "define SHM_ROUTE_SERIES_MAX", less_one),
    (METRICS, "It takes {} connections at a time", "master/metrics_server.h", "define METRICS_CLIENTS_MAX", as_written),
    (METRICS, "waited longest for a request), {} KiB a request", "master/metrics_http.h", "define METRICS_HTTP_MAX_BYTES", kib),
    (METRICS, "gives {} s for a request to arrive", "master/metrics_client.c", "define REQUEST_S", as_written),
    (ARCHITECTURE, "it buffers {} MiB", "master/log_output.h", "define LOG_OUTPUT_BUFFER_BYTES", mib),
    (ARCHITECTURE, "may have {} KiB on their way to it", "master/admin_watch.c", "define WATCH_QUEUE_MAX", kib),
    (ARCHITECTURE, "looks at {} places of its connection pool", "worker/query.h", "define QUERY_PLACES_MAX", as_written),
    (LIFECYCLE, "of {} minutes: a large database", NOTIFY, "define START_EXTEND_US", minutes_of_us),
    (LIFECYCLE, "`EXTEND_TIMEOUT_USEC=` of {} s:", NOTIFY, "define STOPPING_EXTEND_US", seconds_of_us),
    (LIFECYCLE, "at most every {} s, when it has changed", NOTIFY, "define STATUS_TICKS", as_written),
    (LIFECYCLE, "nobody has answered for {} s", "master/worker_slot.h", "define SLOT_MUTE_LOOKS (", seconds),
    (LIFECYCLE, "not ready within {} s", UPGRADE, "define READY_MS", seconds),
    (LIFECYCLE, "it tries again every {} s", UPGRADE, "define RESUME_MS", seconds),
    (OPERATIONS, "through a cache of {} MiB", "master/store_open.c", "PRAGMA cache_size = -", kib),
    (OPERATIONS, "on every client connection after {} s without a byte", "master/listen_sockets.c", "TCP_KEEPIDLE,", as_written),
    (SAMPLE, "Any number of listeners up to {},", LAYOUT, "define SHM_LISTENERS_MAX", digits),
    (PAGES + ".ini.5", "Any number up to {}, each with", LAYOUT, "define SHM_LISTENERS_MAX", digits),
    (SAMPLE, "1 to {} letters, digits,", "master/config.h", "define CONFIG_NAME_MAX", as_written),
    (PAGES + ".ini.5", "of its own of 1 to {} letters", "master/config.h", "define CONFIG_NAME_MAX", as_written),
    (SAMPLE, "commas or the key repeated, at most {}.", "common/ctl_msg.h", "define CTL_TRUSTED_MAX", digits),
    (PAGES + ".ini.5", "may send a PROXY header, at most {}.", "common/ctl_msg.h", "define CTL_TRUSTED_MAX", digits),
    ("docs/proxy-chaining.md", "A header may have up to {} bytes", "common/proxy_protocol.h", "define PROXY_V2_MAX_BYTES", as_written),
    (PAGES + "-top.1", "beyond {} addresses", "master/client_counts.h", "define CLIENT_COUNTS_MAX", as_written),
    (PAGES + "-top.1", "quiet for {} pages", "master/client_counts.h", "define CLIENT_COUNTS_QUIET", as_written),
    (PAGES + "-connections.1", "By default {} seconds.", "master/cmd_connections.c", "define CONNECTIONS_TIMEOUT_MS", seconds),
    (PAGES + "-explain.1", "By default {} seconds.", "master/cmd_explain.c", "define EXPLAIN_TIMEOUT_MS", seconds),
    (PAGES + "-firewall.1", "By default {} seconds,", "master/cmd_firewall.c", "define FIREWALL_TIMEOUT_MS", seconds),
    (PAGES + "-firewall.1", "for exports {} minute and", "master/row_import.c", "define EXPORT_TIMEOUT_MS", minutes),
    (PAGES + "-firewall.1", "for imports {} minutes.", "master/row_import.c", "define IMPORT_TIMEOUT_MS", minutes),
    (PAGES + "-listeners.1", "By default {} seconds.", "master/cmd_listeners.c", "define LISTENERS_TIMEOUT_MS", seconds),
    (PAGES + "-routes.1", "By default {} seconds,", "master/cmd_routes.c", "define ROUTES_TIMEOUT_MS", seconds),
    (PAGES + "-routes.1", "for exports {} minute and", "master/row_import.c", "define EXPORT_TIMEOUT_MS", minutes),
    (PAGES + "-routes.1", "for imports {} minutes.", "master/row_import.c", "define IMPORT_TIMEOUT_MS", minutes),
    (PAGES + "-snapshot.1", "By default {} minutes.", "master/cmd_snapshot.c", "define SNAPSHOT_TIMEOUT_MS", minutes),
    (PAGES + "-status.1", "By default {} seconds.", "master/cmd_status.c", "define STATUS_TIMEOUT_MS", seconds),
    (PAGES + "-top.1", "By default {} seconds.", "master/cmd_top.c", "define TOP_TIMEOUT_MS", seconds),
]


def number_behind(text, words):
    """A constant of C: 32, 65536u, (4u << 20), (10u * 60 * 1000), 10."""
    pattern = r"\s+".join(re.escape(word) for word in words.split()) + r"\s*\(?((?:\d+[ul]*\.?(?: (?:<<|\*) )?)+)"
    found = re.search(pattern, text)
    assert found, words
    value = 1
    for factor in re.sub(r"[ul.]", "", found[1]).split(" * "):
        base, _, shift = factor.partition(" << ")
        value *= int(base) << int(shift or 0)
    return value


def one_line(text):
    """Without the marks of comments and tables' line breaks, so that words are found wherever a line ends."""
    return " ".join(re.sub(r"^\s*(//|#) ?", "", text, flags=re.M).split())


@pytest.mark.parametrize("document, words, source, place, write", FACTS, ids=lambda value: value if isinstance(value, str) else "")
def test_number_is_that_of_the_code(document, words, source, place, write):
    number = write(number_behind(text_of(source), place))
    assert words.replace("{}", number) in one_line(text_of(document))


def test_numbers_of_c_are_read():
    for text, number in [("32,", 32), ("65536u", 65536), ("(4u << 20)", 4 << 20), ("(10u * 60 * 1000)", 600000), ("10. /*", 10),
                         ("(1024ull * 1024)", 1 << 20), ("64u << 20,", 64 << 20)]:
        assert number_behind(f"#define  THING   {text}", "define THING") == number


def test_costs_have_the_bounds_of_the_test():
    costs = text_of("test/integration/test_costs.py")
    constant = {name: float(value) for name, value in re.findall(r"^([A-Z_]+) = ([\d.]+)\b", costs, re.M)}
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text_of("docs/performance.md").splitlines() if line.startswith("| ")]
    bounds = {row[0]: re.sub(r".*\(test: ([\d.,]+)\).*", r"\1", row[2]).replace(",", "") for row in rows if len(row) == 4 and "(test: " in row[2]}
    slack = constant["INSTRUCTIONS_SLACK"]
    calls = constant["MEASURED_CALLS"] + constant["CALLS_SLACK"]
    wanted = {
        "short connection: system calls without `epoll_wait`": calls,
        "the same, hello 5 ms after the connect": calls,
        "the same, hello in two segments": calls + 1,
        "short connection: user-space instructions": int(constant["MEASURED_INSTRUCTIONS"] * slack + 0.5),
        "blocked connection: user-space instructions": int(constant["MEASURED_BLOCKED_INSTRUCTIONS"] * slack + 0.5),
        "idle established connection: memory of the worker": constant["ALLOWED_IDLE_BYTES"],
        "byte of a hello that comes in single bytes: instructions of the parser": int(constant["MEASURED_PER_PIECE"] * slack + 0.5),
        "MiB relayed in bulk: system calls without `epoll_wait`": constant["CALLS_PER_MIB"],
    }
    assert {name: float(bounds.get(name, 0)) for name in wanted} == pytest.approx(wanted)


def test_libraries_are_at_home_where_the_architecture_says():
    headers = {"sqlite3": r"<sqlite3\.h>", "inih": r"<ini\.h>", "c-ares": r"<ares\.h>", "OpenSSL": r"<openssl/", "nghttp2": r"<nghttp2/",
               "protobuf-c": r"(?:<protobuf-c/|\"[\w/]+\.pb-c\.h\")", "libmaxminddb": r"<maxminddb\.h>", "libseccomp": r"<seccomp\.h>"}
    files = [path for folder in ("common", "common/geoip", "master", "worker") for path in glob.glob(f"{folder}/*.[ch]", root_dir=ROOT)]
    homes = dict(re.findall(r"^\| (\w[\w-]*) \| (.*) \|$", text_of(ARCHITECTURE).partition("| library | home |")[2].partition("\n\n")[0], re.M))
    assert set(homes) == set(headers) | {"libev"}
    for library, header in headers.items():
        users = {path for path in files if re.search(rf"^#include {header}", text_of(path), re.M)}
        patterns = re.findall(r"`((?:master|worker|common)/[\w/*]+)\.c`", homes[library])
        at_home = {path for pattern in patterns for path in glob.glob(f"{pattern}.[ch]", root_dir=ROOT)}
        assert users and not users - at_home, (library, users - at_home)
        for pattern in patterns:
            assert users & set(glob.glob(f"{pattern}.[ch]", root_dir=ROOT)), f"{library} is not in {pattern}"


def test_targets_of_make_exist():
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.M))
    documents = ["README.md", "SECURITY.md"] + glob.glob("docs/*.md", root_dir=ROOT)
    named = {name for path in documents for name in re.findall(r"(?:`|^|[A-Z]+=\S+ )make ([a-z][a-z-]*)", text_of(path), re.M)}
    assert len(named) > 10 and named <= targets, named - targets


def test_alerts_are_explained():
    rules = re.findall(r"alert: (\w+)", text_of("packaging/prometheus/alerts.yml"))
    assert rules and re.findall(r"^\| (McProxy\w+) \|", text_of(METRICS), re.M) == rules


def test_capabilities_that_are_kept_are_explained():
    definition = re.search(r"uint64_t kept =(.*?);", text_of("master/server_privileges.c"), re.S)[1]
    kept = re.findall(r"BIT\((CAP_\w+)\)", definition)
    rows = re.findall(r"^\| (`CAP_.*?) \|", text_of("docs/security.md"), re.M)
    assert kept and sorted(name for row in rows for name in re.findall(r"CAP_\w+", row)) == sorted(kept)


def test_parsers_of_fuzz_targets_are_those_whose_branches_are_counted():
    folders = re.findall(r"(common|master)/\(([\w|.*]+)\)", text_of("test/tools/parser_coverage.sh"))
    counted = {os.path.basename(path) for folder, names in folders for name in names.split("|")
               for path in glob.glob(f"{folder}/{name.replace('.*', '*')}.c", root_dir=ROOT)}
    listed = {name for row in re.findall(r"^\| `fuzz_\w+` \|.*\|$", text_of("docs/testing.md"), re.M) for name in re.findall(r"`(\w+\.c)`", row)}
    assert counted and listed == counted
