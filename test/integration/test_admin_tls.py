"""The admin API over TCP: TLS 1.3 only, and client certificates where a client CA is set."""

import signal
import ssl
import socket

import grpc
import pytest

from lib.admin import Code, refused, tls_credentials
from lib.config import Listener, config_text
from lib.ports import free_port
from lib.tls import Pki
from lib.waiting import wait_until

NAME = "admin.test"
OPTIONS = [("grpc.ssl_target_name_override", NAME)]


@pytest.fixture(scope="module")
def other_pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("other-pki"))


@pytest.fixture
def over_tls(new_daemon, pki, tmp_path):
    """over_tls(client_ca=...): (daemon, port)"""

    def start(**keys):
        cert, key = pki.cert(NAME)
        port = free_port()
        daemon = new_daemon([Listener()], grpc={"addr": [f"127.0.0.1:{port}", f"unix:{tmp_path}/admin.sock"], "tls_cert": cert,
                                                "tls_key": key, **keys}).start()
        return daemon, port

    return start


def client(admin, port, credentials):
    return admin(f"127.0.0.1:{port}", credentials, OPTIONS)


def test_tls_and_unix_at_once(over_tls, admin, pki, tmp_path):
    daemon, port = over_tls()
    tcp, unix = client(admin, port, tls_credentials(pki.ca)), admin(f"unix:{tmp_path}/admin.sock")
    addr = daemon.listeners[0].addr
    tcp.add(addr, "a.example.com", "10.0.0.1:1")
    unix.add(addr, "b.example.com", "10.0.0.1:1")
    assert len(tcp.routes(addr)) == len(unix.routes(addr)) == 2
    line = daemon.wait_for_log(lambda e: e["msg"] == "route added" and e["route"] == "a.example.com")
    assert line["peer"].startswith("127.0.0.1:")


def test_paths_outside_of_the_backups_are_not_for_tcp(over_tls, admin, pki, tmp_path):
    _, port = over_tls()
    api = client(admin, port, tls_credentials(pki.ca))
    for path in (str(tmp_path / "x.db"), "../x.db", "a/../../x.db"):
        with refused(Code.PERMISSION_DENIED, "output_path: "):
            api.Snapshot(output_path=path)
    assert api.Snapshot().path.startswith(f"{tmp_path}/backups/")
    assert api.Snapshot(output_path="mine.db").path == f"{tmp_path}/backups/mine.db"


def test_client_refuses_a_server_of_another_ca(over_tls, admin, other_pki):
    _, port = over_tls()
    with refused(Code.UNAVAILABLE):
        client(admin, port, tls_credentials(other_pki.ca)).GetStatus()


@pytest.mark.parametrize("who", ["missing", "wrong CA", "expired"])
def test_mtls_lets_nobody_else_in(over_tls, admin, pki, other_pki, who):
    daemon, port = over_tls(client_ca=pki.ca)
    cert = {"missing": (None, None), "wrong CA": other_pki.client_cert("operator"),
            "expired": pki.client_cert("expired", is_expired=True)}[who]
    with refused(Code.UNAVAILABLE):
        client(admin, port, tls_credentials(pki.ca, *cert)).add(daemon.listeners[0].addr, "a.example.com", "10.0.0.1:1")
    good = client(admin, port, tls_credentials(pki.ca, *pki.client_cert("operator")))
    assert good.routes(daemon.listeners[0].addr) == []


def test_mtls_lets_the_right_one_in(over_tls, admin, pki):
    daemon, port = over_tls(client_ca=pki.ca)
    api = client(admin, port, tls_credentials(pki.ca, *pki.client_cert("operator")))
    assert api.add(daemon.listeners[0].addr, "a.example.com", "10.0.0.1:1") is True


def test_nothing_below_tls_1_3(over_tls, pki):
    _, port = over_tls()
    context = pki.client_context(ssl.TLSVersion.TLSv1_2)
    with socket.create_connection(("127.0.0.1", port)) as s, pytest.raises((ssl.SSLError, ConnectionResetError)):
        context.wrap_socket(s, server_hostname=NAME)


def test_plain_text_over_tcp_gets_nowhere(over_tls, admin):
    _, port = over_tls()
    with refused(Code.UNAVAILABLE):
        admin(f"127.0.0.1:{port}").GetStatus()


def test_reload_brings_new_certificates_for_new_connections(over_tls, admin, pki, other_pki, tmp_path):
    daemon, port = over_tls()
    old = client(admin, port, tls_credentials(pki.ca))
    assert old.GetStatus().version
    cert, key = other_pki.cert(NAME)
    daemon.write_config(config_text(str(tmp_path), daemon.listeners,
                                    grpc={"addr": f"127.0.0.1:{port}", "tls_cert": cert, "tls_key": key}))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log(lambda e: e["msg"] == "configuration reloaded")
    assert client(admin, port, tls_credentials(other_pki.ca)).GetStatus().version
    assert old.GetStatus().version, "a connection from before goes on"
    with refused(Code.UNAVAILABLE):
        client(admin, port, tls_credentials(pki.ca)).GetStatus()


def test_port_is_free_after_the_end(over_tls, admin, pki):
    daemon, port = over_tls()
    api = client(admin, port, tls_credentials(pki.ca))
    wait_until(lambda: api.check() == 1, what="serving")
    daemon.stop()
    with pytest.raises(grpc.RpcError):
        api.GetStatus(timeout=1)
    with socket.create_server(("127.0.0.1", port)):
        pass
