"""The PROXY header that backends get: its exact bytes, before any other and once; and programs that people use on either side."""

import os
import shutil
import socket
import ssl
import subprocess

import pytest

from lib import clients, hello
from lib import proxy_headers as ph
from lib.backends import EchoBackend, RecordBackend, RefusingPort, ScriptBackend, ServerProgram, read_hello
from lib.config import Listener
from lib.ports import free_port, has_ipv6
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")
CLIENT = "127.0.0.4"


@pytest.fixture
def record(backend):
    return backend(RecordBackend)


def routed(server):
    return f"* {server.address} send_proxy_protocol"


def sent_through(port, server, header=b"", host="127.0.0.1", source=None):
    """All that the backend gets from a client that sends header and hello; the client's and the accepted socket's address."""
    with clients.connect(port, host, source=source) as s:
        mine, theirs = s.getsockname()[:2], s.getpeername()[:2]
        s.sendall(header + HELLO)
        s.shutdown(socket.SHUT_WR)
        assert clients.read_all(s) == b""
    assert server.connections == len(server.records) == 1
    return bytes(server.records[0]), mine, theirs


# ---- exact bytes

@pytest.mark.parametrize("listen, host, source, size", [
    ("127.0.0.1", "127.0.0.1", CLIENT, 28),
    ("0.0.0.0", "127.0.0.9", CLIENT, 28),
    ("[::1]", "::1", None, 52),
    ("", "127.0.0.9", CLIENT, 28),
    ("", "::1", None, 52),
], ids=["ipv4", "ipv4_any", "ipv6", "dual_stack_ipv4", "dual_stack_ipv6"])
def test_header_names_the_client_and_the_accepted_sockets_own_address(new_daemon, record, listen, host, source, size):
    daemon = new_daemon([Listener(host=listen, routes=[routed(record)])]).start()
    got, mine, theirs = sent_through(daemon.port, record, host=host, source=source)
    assert len(got) == size + len(HELLO)
    assert got == ph.v2(mine, theirs) + HELLO
    assert got[13] == (0x11 if size == 28 else 0x21)


def test_route_without_the_flag_sends_none(proxy, record):
    daemon = proxy(f"* {record.address}")
    assert sent_through(daemon.port, record)[0] == HELLO


def test_header_is_counted_neither_in_nor_out(proxy, record):
    daemon = proxy(routed(record))
    sent_through(daemon.port, record)
    line = daemon.wait_for_access()
    assert (line["bytes_in"], line["bytes_out"]) == (str(len(HELLO)), "0")


ANNOUNCED = {
    "ipv4": (ph.SOURCE4, ph.DESTINATION4, 28),
    "ipv6": (ph.SOURCE6, ph.DESTINATION6, 52),
    "both_mapped": (("::ffff:192.0.2.5", 7), ("::ffff:192.0.2.6", 8), 28),
    "mapped_source": (("::ffff:192.0.2.5", 7), ph.DESTINATION6, 52),
    "mapped_destination": (ph.SOURCE6, ("::ffff:192.0.2.6", 8), 52),
}


@pytest.mark.parametrize("kind", list(ANNOUNCED))
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_incoming_header_is_passed_on(proxy, record, version, kind):
    """Its source and destination; both IPv4-mapped: as IPv4, one of each: both as IPv6."""
    source, destination, size = ANNOUNCED[kind]
    header = ph.v1(source, destination) if version == "v1" else ph.v2(source, destination, [ph.tlv(4, b"x")], checksum=True)
    daemon = proxy(routed(record), listener={"proxy_protocol": "required"})
    got = sent_through(daemon.port, record, header)[0]
    plain = [(a[0].removeprefix("::ffff:"), a[1]) for a in (source, destination)]
    assert len(got) == size + len(HELLO)
    assert got == ph.v2(*plain) + HELLO


@pytest.mark.parametrize("kind", ["local", "local_with_ipv4", "local_with_checksum"])
def test_local_comes_in_and_goes_out_in_16_bytes(proxy, record, kind):
    daemon = proxy(routed(record), listener={"proxy_protocol": "required"})
    got = sent_through(daemon.port, record, ph.standing_for_the_peer()[kind])[0]
    assert got == ph.local() + HELLO
    assert len(got) == 16 + len(HELLO)


@pytest.mark.parametrize("kind", ["v1_unknown", "unspec", "udp4", "unix_stream"])
def test_header_without_addresses_comes_in_and_the_peer_goes_out(proxy, record, kind):
    daemon = proxy(routed(record), listener={"proxy_protocol": "required"})
    got, mine, theirs = sent_through(daemon.port, record, ph.standing_for_the_peer()[kind], source=CLIENT)
    assert got == ph.v2(mine, theirs) + HELLO


def test_mixed_listener_passes_on_a_header_or_tells_of_the_peer(proxy, backend):
    for source, header in ((CLIENT, b""), ("127.0.0.2", ph.v2(ph.SOURCE6, ph.DESTINATION6))):
        server = backend(RecordBackend)
        daemon = proxy(routed(server), listener={"proxy_protocol": "mixed", "proxy_trusted": "127.0.0.2"})
        got, mine, theirs = sent_through(daemon.port, server, header, source=source)
        assert got == (header or ph.v2(mine, theirs)) + HELLO
        daemon.stop()
        os.unlink(os.path.join(daemon.directory, "mc-proxy.db"))


# ---- whatever becomes of the connection

@pytest.mark.parametrize("cuts", [(1,), (5, 100), tuple(range(1, len(HELLO), 7))], ids=["first_byte", "two", "many"])
def test_hello_in_pieces_goes_behind_one_header(proxy, record, cuts):
    daemon = proxy(routed(record))
    with clients.connect(daemon.port) as s:
        clients.send_segments(s, HELLO, *cuts)
        got = record.wait_for(28 + len(HELLO))
        assert got == ph.v2(s.getsockname(), s.getpeername()) + HELLO


@pytest.mark.parametrize("size", [2048, 16384 + 300, hello.HELLO_WIRE_MAX])
def test_large_hello_and_data_behind_it_go_behind_one_header(proxy, record, size):
    data = hello.hello_of_wire_size(size) + os.urandom(400_000)
    daemon = proxy(routed(record), listener={"proxy_protocol": "required"})
    with clients.connect(daemon.port) as s:
        s.sendall(ph.of_size(900) + data)
        got = record.wait_for(28 + len(data))
    assert got[:28] == ph.v2(ph.SOURCE4, ph.DESTINATION4)
    assert got[28:] == data


def test_one_header_however_many_addresses_are_tried(new_daemon, record, tmp_path):
    """The backend's name has five addresses, of which one answers; every connection begins the round where it likes."""
    hosts = tmp_path / "hosts"
    hosts.write_text("::1 many.internal.test\n127.0.0.2 many.internal.test\n127.0.0.1 many.internal.test\n"
                     "127.0.0.3 many.internal.test\n127.0.0.5 many.internal.test\n")
    daemon = new_daemon([Listener(routes=[f"* many.internal.test:{record.port} send_proxy_protocol"])],
                        env={"CARES_HOSTS": str(hosts)}).start()
    daemon.wait_for_log(lambda e: e.get("backend") == "many.internal.test")
    expected = set()
    for _ in range(10):
        with clients.connect(daemon.port) as s:
            s.sendall(HELLO)
            expected.add(ph.v2(s.getsockname(), s.getpeername()) + HELLO)
            wait_until(lambda: len(record.records) == len(expected) and len(record.records[-1]) >= 28 + len(HELLO),
                       what="the connection")
    assert {bytes(r) for r in record.records} == expected


def test_one_header_when_the_first_address_answers_late(new_daemon, backend, tmp_path):
    """The first address never answers; what the client sends meanwhile comes behind header and hello."""
    record = backend(RecordBackend)
    blocked = socket.socket()
    blocked.bind(("127.0.0.2", record.port))  # a full queue that is never served: SYNs are dropped
    blocked.listen(0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.2", record.port))
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.2 slow.internal.test\n127.0.0.1 slow.internal.test\n")
    daemon = new_daemon([Listener(routes=[f"* slow.internal.test:{record.port} send_proxy_protocol"])],
                        env={"CARES_HOSTS": str(hosts)}, proxy={"connect_timeout": "1s"}).start()
    daemon.wait_for_log(lambda e: e.get("backend") == "slow.internal.test")
    more = os.urandom(20_000)
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        s.sendall(more)
        got = record.wait_for(28 + len(HELLO) + len(more))
        assert got == ph.v2(s.getsockname(), s.getpeername()) + HELLO + more
    for one in (blocked, *fillers):
        one.close()


def test_unix_backend(proxy, backend, open_dir):
    record = backend(RecordBackend, path=os.path.join(open_dir, "app.sock"))
    daemon = proxy(routed(record))
    got, mine, theirs = sent_through(daemon.port, record, source=CLIENT)
    assert got == ph.v2(mine, theirs) + HELLO


def test_backend_that_reads_single_bytes_with_a_tiny_buffer_gets_all(proxy, backend):
    record = backend(RecordBackend, chunk=1, receive_buffer=1)
    data = hello.hello_of_wire_size(30_000) + os.urandom(60_000)
    daemon = proxy(routed(record), listener={"proxy_protocol": "required"})
    with clients.connect(daemon.port) as s:
        s.sendall(ph.v2(ph.SOURCE6, ph.DESTINATION6) + data)
        got = record.wait_for(52 + len(data))
    assert got[:52] == ph.v2(ph.SOURCE6, ph.DESTINATION6)
    assert got[52:] == data


def test_header_alone_is_read_before_the_backend_answers(proxy, backend):
    """A backend that reads exactly the header, then exactly the hello, then talks."""
    heard = []

    def script(connection):
        heard.append(ph.read(lambda n: read_hello(connection, n)))
        read_hello(connection, len(HELLO))
        connection.sendall(b"welcome")
        connection.recv(1)

    daemon = proxy(routed(backend(ScriptBackend, script)))
    with clients.connect(daemon.port, source=CLIENT) as s:
        s.sendall(HELLO)
        assert clients.read_exactly(s, 7) == b"welcome"
        assert heard[0][:4] == (ph.PROXY, ph.INET, s.getsockname(), s.getpeername())


def test_refused_backend_is_a_reset(proxy, backend):
    daemon = proxy(routed(backend(RefusingPort)))
    clients.expect_reset(clients.connect(daemon.port), HELLO)
    assert daemon.wait_for_access()["reason"] == "backend_refused"


def test_many_clients_at_once_each_get_their_own_header(new_daemon, record):
    daemon = new_daemon([Listener(host="", routes=[routed(record)])], server={"workers": 2}).start()
    open_ones, expected = [], set()
    for i in range(120):
        host, source = ("::1", None) if i % 3 == 0 else ("127.0.0.1", f"127.0.1.{i + 1}")
        s = clients.connect(daemon.port, host, source=source)
        s.sendall(HELLO)
        open_ones.append(s)
        expected.add(ph.v2(s.getsockname()[:2], s.getpeername()[:2]) + HELLO)
    record.wait_for(28 + len(HELLO), connections=120)
    wait_until(lambda: {bytes(r) for r in record.records} == expected, what="all headers")
    for s in open_ones:
        s.close()


# ---- programs that receive

def need(program):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


REPORT = b"GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"


def report_of(pki, port, host="127.0.0.1", source=None, header=b""):
    """The last line that a server's page has, by a real TLS client; with the client's and the accepted socket's address."""
    with clients.connect(port, host, source=source) as s:
        s.sendall(header)
        mine, theirs = s.getsockname()[:2], s.getpeername()[:2]
        with pki.client_context().wrap_socket(s, server_hostname="www.example.com") as tls:
            tls.sendall(REPORT)
            text = b""
            try:
                while data := tls.recv(65536):
                    text += data
            except (ConnectionResetError, ssl.SSLError):
                pass
            return text.decode().strip().splitlines()[-1], mine, theirs


def line_for(source, destination):
    return f"{source[0]} {source[1]} {destination[0]} {destination[1]}"


NGINX_HTTP = """
daemon off; master_process off; pid @PATH@/pid; error_log @PATH@/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path @PATH@/body; proxy_temp_path @PATH@/proxy; fastcgi_temp_path @PATH@/fastcgi;
    uwsgi_temp_path @PATH@/uwsgi; scgi_temp_path @PATH@/scgi;
    server {{
        listen 127.0.0.1:{port} ssl proxy_protocol;
        ssl_certificate {cert}; ssl_certificate_key {key};
        location / {{
            default_type text/plain;
            return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port\\n";
        }}
    }}
}}
"""

NGINX_STREAM = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; master_process off; pid @PATH@/pid; error_log @PATH@/error.log;
events {{ worker_connections 256; }}
stream {{
    server {{
        listen 127.0.0.1:{port} ssl proxy_protocol;
        ssl_certificate {cert}; ssl_certificate_key {key};
        return "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port\\n";
    }}
}}
"""

HAPROXY_RECEIVER = """
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend f
    bind 127.0.0.1:{port} accept-proxy ssl crt {pem}
    http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port]\\n"
"""


def combined_pem(pki, directory):
    """Certificate and key in one file, as HAProxy wants them."""
    path = os.path.join(directory, "combined.pem")
    with open(path, "wb") as out:
        for part in pki.cert("www.example.com"):
            with open(part, "rb") as f:
                out.write(f.read())
    return path


@pytest.fixture
def start_program(backend, pki, tmp_path):
    """start_program(command, text, ...): a program on a free port; its configuration may use {port}, {cert}, {key}, {pem}."""

    def start(command, text, **values):
        need(command[0])
        port = free_port()
        cert, key = pki.cert("www.example.com")
        program = backend(ServerProgram, command, str(tmp_path),
                          text.format(port=port, cert=cert, key=key, pem=combined_pem(pki, tmp_path), **values), [port])
        program.port, program.address = port, f"127.0.0.1:{port}"
        return program

    return start


RECEIVERS = {
    "nginx_http": (["nginx", "-c"], NGINX_HTTP),
    "nginx_stream": (["nginx", "-c"], NGINX_STREAM),
    "haproxy": (["haproxy", "-db", "-f"], HAPROXY_RECEIVER),
}


@pytest.mark.parametrize("receiver", list(RECEIVERS))
def test_program_behind_us_knows_the_client(new_daemon, start_program, pki, receiver):
    if receiver == "nginx_stream" and not os.path.exists("/usr/lib/nginx/modules/ngx_stream_module.so"):
        pytest.skip("nginx has no stream module")
    program = start_program(*RECEIVERS[receiver])
    daemon = new_daemon([Listener(host="", routes=[routed(program)]),
                         Listener(name="behind", routes=[routed(program)], options={"proxy_protocol": "required"})]).start()
    for host, source in (("127.0.0.1", CLIENT), ("::1", None)):
        line, mine, theirs = report_of(pki, daemon.port, host, source)
        assert line == line_for(mine, theirs)
    behind = daemon.listeners[1].port
    for source, destination in ((ph.SOURCE4, ph.DESTINATION4), (ph.SOURCE6, ph.DESTINATION6)):
        assert report_of(pki, behind, header=ph.v2(source, destination))[0] == line_for(source, destination)
        assert report_of(pki, behind, header=ph.v1(source, destination))[0] == line_for(source, destination)


# ---- programs that send

HAPROXY_SENDER = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend f
    bind 127.0.0.1:{port}
""" + ("    bind [::1]:{port}" if has_ipv6() else "") + """
    default_backend b
backend b
    server s 127.0.0.1:{to} {options}
"""

SENDER_OPTIONS = {
    "v1": "send-proxy",
    "v2": "send-proxy-v2",
    "v2_checksum": "send-proxy-v2 proxy-v2-options crc32c",
    "v2_all_options": "send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id",
    "v2_ssl": "send-proxy-v2-ssl",
    "v2_ssl_cn": "send-proxy-v2-ssl-cn",
}


@pytest.mark.parametrize("options", list(SENDER_OPTIONS))
def test_haproxy_before_us_announces_the_client(proxy, start_program, record, options):
    daemon = proxy(routed(record), listener={"proxy_protocol": "required", "proxy_trusted": "127.0.0.1"})
    sender = start_program(["haproxy", "-db", "-f"], HAPROXY_SENDER, to=daemon.port, options=SENDER_OPTIONS[options])
    expected = set()
    for host, source in (("127.0.0.1", CLIENT), ("127.0.0.1", "127.0.0.5"), ("::1", None)):
        with clients.connect(sender.port, host, source=source) as s:
            s.sendall(HELLO)
            expected.add(ph.v2(s.getsockname()[:2], s.getpeername()[:2]) + HELLO)
            wait_until(lambda: {bytes(r) for r in record.records} == expected, what=f"the connection by {host} {source}")
            client = f"{source}:" if source else "[::1]:"
        daemon.wait_for_access(bytes_in=len(HELLO), count=len(expected))
        assert any(line["client"].startswith(client) for line in daemon.access_lines())


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_health_checks_of_haproxy_stand_for_the_peer(proxy, start_program, backend, version):
    """They come as LOCAL or UNKNOWN and end without a hello."""
    echo = backend(EchoBackend)
    daemon = proxy(routed(echo), listener={"proxy_protocol": "required", "proxy_trusted": "127.0.0.1"})
    start_program(["haproxy", "-db", "-f"], HAPROXY_SENDER, to=daemon.port,
                  options=f"{version} check check-send-proxy inter 200ms")
    daemon.wait_for_access(count=2)
    for line in daemon.access_lines():
        assert line["client"].startswith("127.0.0.1:")
        assert line["reason"] in ("hello_eof", "client_reset") and line["bytes_in"] == "0"
    assert echo.connections == 0


NGINX_SENDER = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; master_process off; pid @PATH@/pid; error_log @PATH@/error.log;
events {{ worker_connections 256; }}
stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{to}; proxy_protocol on; proxy_half_close on; }} }}
"""


def test_nginx_before_us_announces_the_client(proxy, start_program, record):
    if not os.path.exists("/usr/lib/nginx/modules/ngx_stream_module.so"):
        pytest.skip("nginx has no stream module")
    daemon = proxy(routed(record), listener={"proxy_protocol": "required", "proxy_trusted": "127.0.0.1"})
    sender = start_program(["nginx", "-c"], NGINX_SENDER, to=daemon.port)
    got, mine, theirs = sent_through(sender.port, record, source=CLIENT)
    assert got == ph.v2(mine, theirs) + HELLO
    daemon.wait_for_access(client=f"{CLIENT}:{mine[1]}")


def test_curl_as_sender(proxy, start_program, pki):
    need("curl")
    program = start_program(*RECEIVERS["nginx_http"])
    daemon = proxy(routed(program), listener={"proxy_protocol": "required"})
    done = subprocess.run(["curl", "-sS", "--max-time", "20", "--haproxy-protocol", "--resolve",
                           f"www.example.com:{daemon.port}:127.0.0.1", "--cacert", pki.ca,
                           f"https://www.example.com:{daemon.port}/"],
                          capture_output=True, text=True, check=False, timeout=40)
    assert done.returncode == 0, done.stderr
    source, _, destination, port = done.stdout.split()
    assert (source, destination, port) == ("127.0.0.1", "127.0.0.1", str(daemon.port))
