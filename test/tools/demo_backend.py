#!/usr/bin/python3
"""A TLS backend for the demo: answers every request with its own name and the server name the client asked for.

usage: demo_backend.py PORT NAME CERTIFICATE KEY READY-FILE    (the file is made as soon as clients can connect)
"""

import http.server
import pathlib
import socketserver
import ssl
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the client ends the connection: a server that goes first resets what a client still says

    def do_GET(self):
        body = f"Hello from {self.server.name}: you asked for {self.headers.get('Host', 'no host')}.\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def main():
    port, name, certificate, key, ready = int(sys.argv[1]), *sys.argv[2:6]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    try:
        server = Server(("127.0.0.1", port), Handler)
    except OSError as error:
        sys.exit(f"demo {name}: cannot listen on 127.0.0.1:{port}: {error.strerror}")
    server.name = name
    # The handshake belongs to the connection's thread: a client that sends nothing must not hold up the others.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    pathlib.Path(ready).touch()
    server.serve_forever()


if __name__ == "__main__":
    main()
