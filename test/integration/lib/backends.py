"""Backends in threads: TLS servers that name themselves, and raw TCP ones that behave well or badly."""

import errno
import fcntl
import hashlib
import os
import socket
import ssl
import struct
import subprocess
import threading

from lib import sockets
from lib.ports import free_port, require_ipv6
from lib.procfs import listening_ports
from lib.waiting import wait_until


class Backend:
    """
    Accepts connections and hands each to serve(connection) in a thread of its own. `address` is what a route's right side says;
    `connections` counts, `errors` keeps what handlers raised apart from a peer's reset.
    """

    def __init__(self, family=socket.AF_INET, path=None, receive_buffer=None, port=0):
        self.family = socket.AF_UNIX if path else family
        if self.family == socket.AF_INET6:
            require_ipv6()
        self.connections = 0
        self.errors = []
        self._open = set()
        self._lock = threading.Lock()
        self._listener = socket.socket(self.family, socket.SOCK_STREAM)
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if path:
            self._listener.bind(path)
            os.chmod(path, 0o777)  # workers run as another user
            self.address = f"unix:{path}"
        else:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port or free_port()))
            self.port = self._listener.getsockname()[1]
            self.address = f"[::1]:{self.port}" if family == socket.AF_INET6 else f"127.0.0.1:{self.port}"
        self._listener.listen(4096)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        try:
            self.serve(connection)
        except (ConnectionError, ssl.SSLError):
            pass
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # shutdown() of what a peer has reset
                self.errors.append(error)
        except Exception as error:  # a script of the test has found something, or is wrong
            self.errors.append(error)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def serve(self, connection):
        raise NotImplementedError

    def close(self):
        """No more connections; those that are open are shut down, which ends their handlers."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


class TlsBackend(Backend):
    """An HTTP/1.1 server over TLS whose body is "<name> sni=<name asked for> <protocol version>"."""

    def __init__(self, pki, name, version=None, **kwargs):
        self.name = name
        self.context = pki.server_context(name, version)
        self.context.set_alpn_protocols(["http/1.1"])
        self.context.sni_callback = lambda tls, sni, _context: setattr(tls, "asked_for", sni)
        super().__init__(**kwargs)

    def serve(self, connection):
        connection.settimeout(20)
        with self.context.wrap_socket(connection, server_side=True) as tls:
            request = b""
            while b"\r\n\r\n" not in request:
                data = tls.recv(65536)
                if not data:
                    return
                request += data
            body = f"{self.name} sni={getattr(tls, 'asked_for', None)} {tls.version()}\n".encode()
            tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
                        % (len(body), body))
            try:
                tls.unwrap()
            except OSError:
                pass  # the client went without a close_notify


def read_hello(connection, size):
    """The hello's bytes, which a raw backend gets first."""
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise ConnectionError("ended within the hello")
        data += chunk
    return data


class HelloCheckBackend(Backend):
    """Answers "same <name>" when exactly one of the expected hellos arrives, "different" for other bytes of that length."""

    def __init__(self, name, hellos, **kwargs):
        self.name = name
        self.hellos = set(hellos)
        self.size = len(next(iter(self.hellos)))
        super().__init__(**kwargs)

    def serve(self, connection):
        connection.settimeout(30)
        data = read_hello(connection, self.size)
        connection.sendall(b"same " + self.name.encode() if data in self.hellos else b"different")


class EchoBackend(Backend):
    """Sends everything back, hello included, until the client has finished; greeting comes first."""

    def __init__(self, greeting=b"", **kwargs):
        self.greeting = greeting
        super().__init__(**kwargs)

    def serve(self, connection):
        connection.sendall(self.greeting)
        while data := connection.recv(65536):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


class RecordBackend(Backend):
    """Keeps all it gets: records[i] are the bytes of its i-th connection so far. Answers nothing."""

    def __init__(self, chunk=65536, **kwargs):
        self.chunk = chunk
        self.records = []
        super().__init__(**kwargs)

    def serve(self, connection):
        record = bytearray()
        self.records.append(record)
        while data := connection.recv(self.chunk):
            record += data

    def wait_for(self, size, connections=1):
        """The bytes of the only connection (or of all of them) once each has so many, or more."""
        wait_until(lambda: len(self.records) >= connections and all(len(r) >= size for r in self.records), 20,
                   f"{connections} connection(s) with {size} bytes")
        return bytes(self.records[0]) if connections == 1 else [bytes(r) for r in self.records]


class SinkBackend(Backend):
    """Reads until the end of file, then answers "<bytes> <sha256>" of what came behind the hello."""

    def __init__(self, hello_size, **kwargs):
        self.hello_size = hello_size
        super().__init__(**kwargs)

    def serve(self, connection):
        read_hello(connection, self.hello_size)
        digest, count = hashlib.sha256(), 0
        buffer = bytearray(1 << 20)
        view = memoryview(buffer)
        while n := connection.recv_into(buffer):
            digest.update(view[:n])
            count += n
        connection.sendall(f"{count} {digest.hexdigest()}".encode())


class SourceBackend(Backend):
    """Behind the hello sends `size` bytes of a pattern, then finishes. `digest` is theirs; `sent` counts as they go."""

    def __init__(self, hello_size, size, ending="close", **kwargs):
        self.hello_size, self.size, self.ending = hello_size, size, ending
        self.block = os.urandom(1 << 20)
        self.sent = 0
        super().__init__(**kwargs)

    @property
    def digest(self):
        digest, left = hashlib.sha256(), self.size
        while left > 0:
            digest.update(self.block[:min(left, len(self.block))])
            left -= len(self.block)
        return digest.hexdigest()

    def serve(self, connection):
        read_hello(connection, self.hello_size)
        view, left = memoryview(self.block), self.size
        while left > 0:
            at = (self.size - left) % len(view)
            n = connection.send(view[at:at + min(left, len(view) - at)])
            left -= n
            self.sent += n
        if self.ending == "reset":
            wait_until(lambda: unsent_bytes(connection) == 0, 20, "all bytes to be acknowledged")
            reset(connection)
        elif self.ending == "half_close":
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


class ScriptBackend(Backend):
    """Calls a function of the test with each connection."""

    def __init__(self, script, **kwargs):
        self.script = script
        super().__init__(**kwargs)

    def serve(self, connection):
        self.script(connection)


class RefusingPort:
    """A port on which nothing listens."""

    def __init__(self):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"

    def close(self):
        pass


class BlackHole:
    """A listening socket with a full queue that is never served: the kernel drops every further SYN."""

    def __init__(self):
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", free_port()))
        self._listener.listen(0)
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._filler = socket.create_connection(("127.0.0.1", self.port))  # a backlog of 0 has room for one
        wait_until(self._is_full, what="the queue to be full")

    def _is_full(self):
        """Of a listening socket, tcpi_unacked and tcpi_sacked are the length of its queue and its backlog."""
        queued, backlog = struct.unpack_from("II", self._listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32), 24)
        return queued > backlog

    def is_asked(self):
        """Does somebody knock, and get no answer?"""
        return any(s.state == sockets.SYN_SENT for s in sockets.tcp(remote_port=self.port))

    def close(self):
        self._filler.close()
        self._listener.close()


class NginxBackend:
    """A real nginx that serves a name over TLS."""

    def __init__(self, pki, name, directory):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.name = name
        cert, key = pki.cert(name)
        path = os.path.join(directory, f"nginx-{self.port}")
        os.makedirs(path)
        with open(os.path.join(path, "nginx.conf"), "w", encoding="ascii") as f:
            f.write(f"""
daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/fastcgi;
    uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;
    server {{
        listen 127.0.0.1:{self.port} ssl http2;
        ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
        location / {{ default_type text/plain; return 200 "{name} sni=$ssl_server_name $ssl_protocol\\n"; }}
    }}
}}
""")
        self._process = subprocess.Popen(["nginx", "-p", path, "-c", os.path.join(path, "nginx.conf")],
                                         stderr=subprocess.DEVNULL)
        _wait_listening(self.port)

    def close(self):
        _end(self._process)


class ServerProgram:
    """
    A program that serves until it is closed: command and, as its last argument, a configuration file. @PATH@ in the text stands
    for a folder of its own. Ready when it listens on the ports.
    """

    def __init__(self, command, directory, text, ports):
        name = f"{os.path.basename(command[0])}-{ports[0]}"
        self.path = os.path.join(directory, name)
        os.makedirs(self.path)
        config = os.path.join(self.path, "config")
        with open(config, "w", encoding="ascii") as f:
            f.write(text.replace("@PATH@", self.path))
        self.log = os.path.join(self.path, "output")
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen([*command, config], stdout=log, stderr=log, cwd=self.path)
        wait_until(lambda: self._fail_if_ended() or set(ports) <= listening_ports(), 30, f"{name} to listen")

    def _fail_if_ended(self):
        if self._process.poll() is not None:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                raise AssertionError(f"{self.path} ended with {self._process.returncode}: {f.read()}")

    def close(self):
        _end(self._process)


class OpensslBackend:
    """`openssl s_server`, which answers HTTP with a page about the session."""

    def __init__(self, pki, name, *options):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        cert, key = pki.cert(name)
        self._process = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", cert,
                                          "-key", key, "-www", "-quiet", *options],
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_listening(self.port)

    def close(self):
        _end(self._process)


def _wait_listening(port):
    wait_until(lambda: port in listening_ports(), 30, f"a backend on port {port}")


def _end(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def reset(connection):
    """Closes with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def unsent_bytes(connection):
    """Bytes written that the peer has not acknowledged (SIOCOUTQ)."""
    return struct.unpack("i", fcntl.ioctl(connection, 0x5411, b"\0" * 4))[0]
