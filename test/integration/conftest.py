"""Fixtures: TLS material, backends that are closed again, and daemons that must end cleanly."""

import os
import shutil
import tempfile

import pytest

from lib.admin import Admin
from lib.backends import EchoBackend
from lib.config import Listener, config_text
from lib.daemon import Daemon
from lib.tls import Pki


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "error::pytest.PytestUnhandledThreadExceptionWarning")  # what went on beside the test has not gone on
    config.addinivalue_line("markers", "measures: counts memory, system calls or seconds of the daemon, which mean nothing under valgrind")
    if len(tempfile.gettempdir()) > 30:  # a Unix socket's path has 107 bytes at most, and tests have theirs in tmp_path
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/tmp")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows all logs of its daemons."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for daemon in getattr(item, "daemons", []):
            with open(daemon.config_path, encoding="utf-8") as f:
                report.sections.append((daemon.config_path, f.read()))
            report.sections.append((f"log of {daemon.config_path}", daemon.log_text()))


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def open_dir():
    """A new directory that other users can enter, for Unix sockets that workers connect to."""
    path = tempfile.mkdtemp(prefix="mc-proxy-test-", dir="/tmp")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def backend():
    """backend(Class, ...): a backend that is closed after the test and must not have failed."""
    made = []

    def make(kind, *args, **kwargs):
        made.append(kind(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()
    errors = [error for one in made for error in getattr(one, "errors", [])]
    assert not errors, errors


@pytest.fixture
def echo(backend):
    """A backend that sends everything back."""
    return backend(EchoBackend)


@pytest.fixture
def new_daemon(request, tmp_path):
    """
    new_daemon(listeners, env=..., text=..., binary=..., **sections): a Daemon that has not been started; stopped and checked after
    the test.
    """
    made = request.node.daemons = []

    def make(listeners=(), env=None, text=None, directory=None, binary=None, **sections):
        directory = directory or tmp_path
        text = text if text is not None else config_text(str(directory), listeners, **sections)
        made.append(Daemon(directory, text, listeners, env, name=f"mc-proxy-{len(made)}", binary=binary))
        return made[-1]

    yield make
    try:
        for daemon in made:
            if daemon.is_running():
                daemon.stop()
            elif daemon.returncode is not None:
                daemon.check_end()
    finally:
        for daemon in made:
            daemon.kill()


@pytest.fixture
def proxy(new_daemon):
    """proxy("*.example.com 127.0.0.1:1", ..., listener={...}, **sections): a running daemon with one listener and these routes."""

    def start(*routes, listener=None, **sections):
        one = Listener(routes=list(routes), options=listener or {})
        return new_daemon([one], **sections).start()

    return start


@pytest.fixture
def admin():
    """admin(target, credentials): a client of the admin API that is closed after the test."""
    made = []

    def connect(*args, **kwargs):
        made.append(Admin(*args, **kwargs))
        return made[-1]

    yield connect
    for client in made:
        client.close()


@pytest.fixture
def managed(new_daemon, admin, tmp_path):
    """managed([Listener(...)], workers=2, **sections): a running daemon with the admin API on a Unix socket, and a client of it."""

    def start(listeners, workers=2, **sections):
        daemon = new_daemon(listeners, server={"workers": workers}, grpc={"addr": f"unix:{tmp_path}/admin.sock"},
                            **sections).start()
        return daemon, admin(f"unix:{tmp_path}/admin.sock")

    return start
