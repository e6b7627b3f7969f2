"""Real TLS clients reach real TLS backends by name, end to end, with TLS 1.2 and 1.3."""

import ssl

import pytest

from lib import clients
from lib.backends import NginxBackend, OpensslBackend, TlsBackend

PYTHON_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3, None: None}

CLIENTS = {
    "python": lambda pki, port, name, version: clients.python_ssl(pki, port, name, PYTHON_VERSIONS[version]),
    "curl": clients.curl,
    "openssl": clients.openssl_s_client,
    "gnutls": clients.gnutls_cli,
    "node": clients.node_tls,
}


@pytest.fixture
def two_sites(proxy, backend, pki, tmp_path):
    """nginx serves one.example.com, Python everything below two.example.com."""
    one = backend(NginxBackend, pki, "one.example.com", str(tmp_path))
    two = backend(TlsBackend, pki, "*.two.example.com")
    return proxy(f"one.example.com {one.address}", f"*.two.example.com {two.address}")


@pytest.mark.parametrize("version", ["1.2", "1.3", None])
@pytest.mark.parametrize("client", CLIENTS)
def test_client_reaches_the_backend_of_its_name(two_sites, pki, client, version):
    page = CLIENTS[client](pki, two_sites.port, "one.example.com", version)
    assert "one.example.com sni=one.example.com" in page
    page = CLIENTS[client](pki, two_sites.port, "www.two.example.com", version)
    assert "*.two.example.com sni=www.two.example.com" in page
    if version:
        assert f"TLSv{version}" in page
    for name in ("one.example.com", "www.two.example.com"):
        assert two_sites.wait_for_access(sni=name)["reason"] in ("finished", "client_reset", "backend_reset")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("client", CLIENTS)
def test_client_reaches_openssl_s_server(proxy, backend, pki, client, version):
    server = backend(OpensslBackend, pki, "srv.example.com")
    daemon = proxy(f"srv.example.com {server.address}")
    page = CLIENTS[client](pki, daemon.port, "srv.example.com", version)
    assert f"TLSv{version}" in page


def test_chromium_reaches_two_names_behind_one_port(two_sites):
    assert "one.example.com sni=one.example.com" in clients.chromium(two_sites.port, "one.example.com")
    assert "*.two.example.com sni=www.two.example.com" in clients.chromium(two_sites.port, "www.two.example.com")
    two_sites.wait_for_access(sni="one.example.com")


def test_certificate_is_the_backends_own(two_sites, pki):
    with clients.connect(two_sites.port) as s:
        with pki.client_context().wrap_socket(s, server_hostname="one.example.com") as tls:
            assert ("DNS", "one.example.com") in tls.getpeercert()["subjectAltName"]


def test_wrong_name_fails_verification_and_nothing_is_terminated_in_between(proxy, backend, pki):
    """The default route leads to a backend with another name's certificate: the client sees exactly that."""
    other = backend(TlsBackend, pki, "other.example.com")
    daemon = proxy(f"* {other.address}")
    with clients.connect(daemon.port) as s, pytest.raises(ssl.SSLCertVerificationError):
        pki.client_context().wrap_socket(s, server_hostname="mine.example.com")
