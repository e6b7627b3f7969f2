"""docs/observability.md shows what is: its commands are run against a server under load, and print lines of the shapes shown there."""

import contextlib
import os
import re
import shlex
import threading
import time

import pytest

from lib import clients, hello
from lib.backends import EchoBackend, RefusingPort, TlsBackend
from lib.config import Listener
from lib.daemon import run_command
from lib.metrics import get
from lib.ports import free_port
from lib.tries import in_one_of

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "observability.md")
# What differs from run to run, and what stands for it on both sides.
VOLATILE = [(r"mc-proxy \d\S*", "VERSION"), (r"up .* since \S+", "up AGE"), (r"\d{4}-\d\d-\d\dT[\d:.]+Z|\d\d:\d\d:\d\d\.\d+Z", "TIME"),
            (r"(?<![\w.])(\[[\da-f:]+\]|\d+\.\d+\.\d+\.\d+)?:\d+\b", "ADDRESS"), (r"(?<![\w.])\d+\.\d+\.\d+\.\d+(/\d+)?", "ADDRESS"),
            (r"connections? (is|are) open", "connections are open"), (r"alpn=\S+ ", ""), (r"tls=\S+", "tls=VERSIONS"),
            (r"(?<![\w.])[\d.]+(us|ms|[kKMGTsmhd])?(/s)?(?=[\s,;)]|$)", r"N\2"), (r"=[\d.]+(us|ms|[kKMG])?(?=\s|$)", "=N"), (r" +", " ")]


def page():
    with open(PAGE, encoding="utf-8") as f:
        return f.read()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page(), re.M | re.S)


def shape(line):
    for pattern, instead in VOLATILE:
        line = re.sub(pattern, instead, line)
    return line.strip()


def commands():
    found = []
    for block in blocks("console"):
        assert block.startswith("$ "), block
        found += [part.partition("\n")[::2] for part in re.split(r"^\$ ", block, flags=re.M)[1:]]
    return found


@pytest.fixture
def server(new_daemon, backend, pki, tmp_path):
    """The page's server, under the page's load."""
    tls, echo, refusing = backend(TlsBackend, pki, "www.example.com"), backend(EchoBackend), backend(RefusingPort)
    listener = Listener(routes=[f"www.example.com {tls.address}", f"*.apps.example.com {echo.address}",
                                f"down.example.com 127.0.0.1:{refusing.port}"])
    metrics = free_port()
    daemon = new_daemon([listener], server={"workers": 2}, grpc={"addr": f"unix:{tmp_path}/admin.sock"}, metrics={"addr": f"127.0.0.1:{metrics}"},
                        firewall={"blocked_cidrs": ["127.0.9.0/24", "198.51.100.0/24"], "rate_limit": "100000"}).start()
    daemon.metrics = metrics
    is_over, errors = threading.Event(), []

    def visit(name, source, wait=0):
        with contextlib.suppress(OSError), clients.connect(listener.port, source=source) as s:
            s.sendall(hello.client_hello(name))
            s.recv(1)
            time.sleep(wait)

    def visit_all():
        for _ in range(4):
            with pki.client_context().wrap_socket(clients.connect(listener.port), server_hostname="www.example.com") as s:
                s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                while s.recv(65536):
                    pass
        clients.enters(listener.port, hello.client_hello(b"a.apps.example.com"))
        for name, source in ((b"nobody.example.com", "127.0.0.7"), (b"down.example.com", "127.0.0.7"), (b"x.example.com", "127.0.9.1")):
            visit(name, source)

    def load():
        try:
            while not is_over.wait(0.03):
                visit_all()
        except Exception as error:  # told at the end: without the load the page's lines would not come
            errors.append(error)

    held = pki.client_context().wrap_socket(clients.connect(listener.port), server_hostname="www.example.com")
    thread = threading.Thread(target=load)
    thread.start()
    yield daemon
    is_over.set()
    thread.join()
    held.close()
    assert not errors, errors


def run(daemon, command):
    words = [daemon.listeners[0].addr if word == ":443" else daemon.config_path if word.endswith(".ini") else word
             for word in shlex.split(command)]
    if words[1] == "tail":  # as many lines as it takes to see one of each
        words[words.index("-n") + 1] = "60"
    done = run_command(*words[1:], timeout=60)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout


def test_commands_print_what_the_page_shows(server):
    shown = commands()
    assert len(shown) >= 7
    for command, said in shown:
        in_one_of(5, lambda c=command, s=said: expect_lines(server, c, s))  # what is shown by the second may have had a slow one


def expect_lines(server, command, said):
    printed = {shape(line) for line in run(server, command).splitlines()}
    missing = [line for line in said.splitlines() if shape(line) not in printed]
    assert not missing, f"{command}: {missing}\n{[shape(line) for line in missing]}\n{sorted(printed)}"


def test_access_lines_have_the_keys_shown(server):
    def keys(line):
        return re.findall(r"(?:^| )([a-z_]+)=", line)

    lines = blocks("text")[0].splitlines()
    for line in lines:
        wanted = re.search(r"reason=(\w+)", line).group(1)
        server.wait_for_access(reason=wanted, timeout=20)
        real = [keys(text) for text in server.log_text().splitlines() if f" reason={wanted}" in text]
        assert keys(line) in real, (keys(line), real[:3])


def test_the_queries_ask_for_what_there_is(server):
    text = get(server.metrics)[2]
    for name in set(re.findall(r"mcproxy_[a-z_]+", "".join(blocks("promql")))):
        assert f"{name} " in text or f"{name}{{" in text, name
