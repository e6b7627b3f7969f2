"""The command line over TLS: which certificates it takes, and what it says of those it does not."""

import socket
import ssl
import subprocess
import threading

import pytest

from lib.config import Listener
from lib.daemon import expect_command, run_command
from lib.ports import free_port
from lib.tls import Pki

NAME = "localhost"  # what certificates here are for, unless a test says otherwise


@pytest.fixture(scope="module")
def other_pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("other-pki"))


class Server:
    """A daemon whose admin API is on TCP."""

    def __init__(self, daemon, port):
        self.daemon, self.port, self.addr = daemon, port, f"127.0.0.1:{port}"

    def ask(self, *args, fails=0, addr=None):
        """`status` with these options."""
        done = expect_command("status", *args, *(["--addr", addr or self.addr] if "-c" not in args else []), fails=fails)
        return done.stderr if fails else done.stdout

    def ask_by_config(self, *args, fails=0):
        return self.ask("-c", self.daemon.config_path, *args, fails=fails)


@pytest.fixture
def server(new_daemon, pki):
    """server(cert=(cert, key), client_ca=...)"""

    def start(cert=None, **keys):
        cert, key = cert or pki.cert(NAME)
        port = free_port()
        grpc = {"addr": f"127.0.0.1:{port}", "tls_cert": cert, "tls_key": key, **keys}
        return Server(new_daemon([Listener()], grpc=grpc).start(), port)

    return start


def make_cert(pki, tmp_path, *options, ext="subjectAltName=DNS:localhost,IP:127.0.0.1", is_self_signed=False):
    """A certificate made with these options of `openssl x509`; (file, key)."""
    base = str(tmp_path / f"made-{len(list(tmp_path.iterdir()))}")
    key = pki.cert(NAME)[1]
    with open(base + ".ext", "w", encoding="ascii") as f:
        f.write(ext + "\n")
    subprocess.run(["openssl", "req", "-new", "-key", key, "-subj", "/CN=made", "-out", base + ".csr"], check=True)
    signer = ["-signkey", key] if is_self_signed else ["-CA", pki.ca, "-CAkey", pki.ca.replace(".pem", ".key"), "-set_serial", "77"]
    subprocess.run(["openssl", "x509", "-req", "-in", base + ".csr", *signer, "-extfile", base + ".ext", "-out", base + ".pem",
                    *(options or ["-days", "30"])], check=True, capture_output=True)
    return base + ".pem", key


# ---- the server's certificate


def test_a_certificate_of_the_given_ca(server, pki):
    one = server()
    assert "connections: 0 active" in one.ask("--ca", pki.ca)
    assert "connections: 0 active" in one.ask("--ca", pki.ca, addr=f"localhost:{one.port}")


def test_an_address_in_the_certificate(server, pki, tmp_path):
    one = server(cert=make_cert(pki, tmp_path, ext="subjectAltName=IP:127.0.0.1"))
    one.ask("--ca", pki.ca)
    error = one.ask("--ca", pki.ca, addr=f"localhost:{one.port}", fails=1)
    assert "wrong certificate: it is for 127.0.0.1, not for localhost" in error


def test_no_ca_known(server):
    error = server().ask(fails=1)
    assert ("wrong certificate: it comes from a CA that is not trusted here (/CN=mc-proxy test CA); name the right one with --ca"
            in error)


def test_the_wrong_ca(server, other_pki):
    assert "it comes from a CA that is not trusted here" in server().ask("--ca", other_pki.ca, fails=1)


def test_another_name(server, pki):
    one = server(cert=pki.cert("www.example.com"))
    assert "wrong certificate: it is for www.example.com, not for 127.0.0.1\n" in one.ask("--ca", pki.ca, fails=1)


def test_an_expired_certificate(server, pki, tmp_path):
    one = server(cert=make_cert(pki, tmp_path, "-days", "-1"))
    assert "wrong certificate: that of /CN=made has expired on 20" in one.ask("--ca", pki.ca, fails=1)


def test_files_that_are_none(server, pki, tmp_path):
    one = server()
    junk = tmp_path / "junk.pem"
    junk.write_text("junk\n")
    assert f"--ca {junk} holds no usable certificate" in one.ask("--ca", junk, fails=1)
    assert f"--ca {tmp_path}/none cannot be read" in one.ask("--ca", f"{tmp_path}/none", fails=1)
    cert, _ = pki.client_cert("files")
    assert f"--cert {junk} holds no usable certificate" in one.ask("--ca", pki.ca, "--cert", junk, fails=1)
    assert f"--key {junk} holds no usable private key" in one.ask("--ca", pki.ca, "--cert", cert, "--key", junk, fails=1)
    assert f"--cert {cert} holds no usable private key" in one.ask("--ca", pki.ca, "--cert", cert, fails=1)


def test_a_key_of_another_certificate(server, pki, tmp_path):
    """Said in the words of the command line: whoever types it may never have seen the configuration."""
    one = server()
    cert, _ = pki.client_cert("one")
    key = pki.ca.replace(".pem", ".key")
    assert f"--key {key} is not the key of --cert; expected" in one.ask("--ca", pki.ca, "--cert", cert, "--key", key, fails=1)
    both = tmp_path / "both.pem"
    with open(cert, encoding="ascii") as c, open(key, encoding="ascii") as k:
        both.write_text(c.read() + k.read())
    assert f"--cert {both} is not the key of its certificate" in one.ask("--ca", pki.ca, "--cert", both, fails=1)


# ---- with the server's own configuration


def test_its_own_configuration_vouches_for_it(server, pki):
    """No CA, and a certificate for another name: what is configured is what must be shown, nothing else."""
    server(cert=pki.cert("www.example.com")).ask_by_config()


def test_a_self_signed_certificate_of_the_configuration(server, pki, tmp_path):
    server(cert=make_cert(pki, tmp_path, is_self_signed=True)).ask_by_config()


def test_a_ca_that_is_given_must_have_signed_it_all_the_same(server, pki, other_pki):
    one = server(cert=pki.cert("www.example.com"))
    assert "it comes from a CA that is not trusted here" in one.ask_by_config("--ca", other_pki.ca, fails=1)
    one.ask_by_config("--ca", pki.ca)


def test_another_server_at_the_configured_address(server, other_pki, tmp_path):
    one = server()
    cert, key = other_pki.cert(NAME)
    impostor = tmp_path / "impostor.ini"
    impostor.write_text(f"[grpc]\naddr = {one.addr}\ntls_cert = {cert}\ntls_key = {key}\n")
    error = one.ask("-c", impostor, fails=1)
    assert "wrong certificate: " in error and "nor is it tls_cert of the configuration" in error


# ---- client certificates


def test_a_client_certificate_is_demanded(server, pki, other_pki):
    one = server(client_ca=pki.ca)
    cert, key = pki.client_cert("operator")
    one.ask("--ca", pki.ca, "--cert", cert, "--key", key)
    assert "the server demands a client certificate; give one with --cert and --key" in one.ask("--ca", pki.ca, fails=1)
    cert, key = other_pki.client_cert("stranger")
    assert "the server does not trust the client certificate" in one.ask("--ca", pki.ca, "--cert", cert, "--key", key, fails=1)
    cert, key = pki.client_cert("late", is_expired=True)
    assert "the client certificate has expired" in one.ask("--ca", pki.ca, "--cert", cert, "--key", key, fails=1)


def test_certificate_and_key_in_one_file(server, pki, tmp_path):
    one = server(client_ca=pki.ca)
    both = tmp_path / "both.pem"
    both.write_text("".join(open(path, encoding="ascii").read() for path in pki.client_cert("both")))
    one.ask("--ca", pki.ca, "--cert", both)


def test_the_servers_certificate_serves_as_the_clients_if_it_can(server, pki, tmp_path):
    uses = "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth"
    one = server(cert=make_cert(pki, tmp_path, ext=uses), client_ca=pki.ca)
    one.ask_by_config()
    one.daemon.stop()
    one = server(client_ca=pki.ca)  # its certificate is for servers only
    assert "the server demands a client certificate; give one with --cert and --key" in one.ask_by_config(fails=1)
    cert, key = pki.client_cert("config")
    one.ask_by_config("--cert", cert, "--key", key)


# ---- what is no admin API


def serve(context, handle=lambda connection: None):
    """A TLS server (or without context: TCP) for one connection; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run():
        with listener:
            connection, _ = listener.accept()
            try:
                with context.wrap_socket(connection, server_side=True) if context else connection as c:
                    handle(c)
            except OSError:
                pass

    threading.Thread(target=run, daemon=True).start()
    return listener.getsockname()[1]


def fails_at(port, *args):
    return expect_command("status", "--addr", f"127.0.0.1:{port}", *args, fails=1).stderr


def test_nobody_listens():
    assert "nobody listens there; is the server running?" in fails_at(free_port())


def test_plain_tcp(pki):
    assert "it does not speak TLS" in fails_at(serve(None, lambda c: c.sendall(b"SSH-2.0-x\r\n" * 10)), "--ca", pki.ca)


def test_an_old_tls(pki):
    assert "the server has no TLS 1.3" in fails_at(serve(pki.server_context(NAME, ssl.TLSVersion.TLSv1_2)), "--ca", pki.ca)


def test_a_web_server(pki):
    context = pki.server_context(NAME)
    context.set_alpn_protocols(["http/1.1"])
    assert "it speaks TLS, but not HTTP/2" in fails_at(serve(context), "--ca", pki.ca)


def test_a_server_that_says_nothing(pki):
    release = threading.Event()
    try:
        port = serve(None, lambda c: release.wait(20))
        assert "no answer in time" in fails_at(port, "--ca", pki.ca, "--timeout", "300ms")
    finally:
        release.set()


def test_a_name_that_does_not_resolve():
    done = run_command("status", "--addr", "no-such-host.invalid:1")
    assert done.returncode == 1 and "cannot reach the server at no-such-host.invalid:1: " in done.stderr, done
