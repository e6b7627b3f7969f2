"""The proxies: how each is configured. The same work for all: one worker, logs off, five minutes of idle time, names by a hash."""

import shutil

from . import processes
from .machine import connections_most
from .proxies import BLOCKED, NAME, OTHER_NAME, Proxy

OURS, YARDSTICK, SPLICING_YARDSTICK, DIRECT = "mc-proxy", "yardstick", "yardstick, splice", "no proxy"
YARDSTICKS = (YARDSTICK, SPLICING_YARDSTICK)


class McProxy(Proxy):
    name = OURS

    def command(self):
        config = self.write("mc-proxy.ini", f"""
[server]
workers = {self.workers}
[database]
path = {self.database}
[log]
level = warn
access = false
[proxy]
hello_timeout = 30s
connect_timeout = 30s
idle_timeout = 5m
half_close_timeout = 5m
[grpc]
addr = unix:{self.admin_socket}
[firewall]
blocked_ips = {BLOCKED}
[listener main]
addr = {self.listener}
route = {NAME} 127.0.0.1:{self.backend}
route = {OTHER_NAME} 127.0.0.1:{self.backend + 1}
""")
        if self.table is not None:
            self.table.copy_database(self.database, self.listener)
        return [str(self.bench.tools / "mc-proxy"), "server", "-c", config]

    @property
    def database(self):
        return self.folder / "mc-proxy.db"

    @property
    def admin_socket(self):
        return f"{self.folder}/admin.sock"

    @property
    def listener(self):
        return f"127.0.0.1:{self.port}"

    def traffic_pids(self):
        """The workers, without their master."""
        return [pid for pid in self.pids() if pid != self.process.pid]


class HAProxy(Proxy):
    name = program = "haproxy"

    def command(self):
        self.map = self.table.haproxy_map if self.table else self.write("names.map", f"{NAME} main\n{OTHER_NAME} other\n")
        backends = "".join(f"backend {name}\n    server a {address}\n" for name, address in self.table.backends) if self.table else ""
        config = self.write("haproxy.cfg", f"""
global
    nbthread {self.workers}
    maxconn {connections_most() + 100}
    maxpipes 100
    stats socket {self.admin_socket} level admin
defaults
    mode tcp
    timeout client 5m
    timeout server 5m
    timeout connect 30s
    option splice-auto
frontend in
    bind 127.0.0.1:{self.port} backlog 4096
    tcp-request connection reject if {{ src {BLOCKED} }}
    tcp-request inspect-delay 30s
    tcp-request content accept if {{ req.ssl_hello_type 1 }}
    use_backend %[req.ssl_sni,lower,map({self.map})]
backend main
    server a 127.0.0.1:{self.backend}
backend other
    server a 127.0.0.1:{self.backend + 1}
{backends}""")
        return [shutil.which("haproxy"), "-W", "-db", "-f", config]

    @property
    def admin_socket(self):
        return f"{self.folder}/admin.sock"


class Nginx(Proxy):
    name = program = "nginx"

    def command(self):
        names = f"include {self.table.nginx_map};" if self.table else ""
        upstreams = "".join(f"    upstream {name} {{ server {address}; }}\n" for name, address in self.table.backends) if self.table else ""
        sizes = "map_hash_max_size 4194304; map_hash_bucket_size 128;" if self.table else ""
        config = self.write("nginx.conf", f"""
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
user root;
worker_processes {self.workers};
worker_rlimit_nofile {2 * connections_most() + 400};
error_log /dev/null crit;
pid {self.folder}/pid;
events {{ worker_connections {2 * connections_most() + 200}; }}
stream {{
    access_log off;
    {sizes}
    map $ssl_preread_server_name $target {{
        {NAME} main;
        {OTHER_NAME} other;
        {names}
    }}
    upstream main {{ server 127.0.0.1:{self.backend}; }}
    upstream other {{ server 127.0.0.1:{self.backend + 1}; }}
{upstreams}
    server {{
        listen 127.0.0.1:{self.port} backlog=4096{" reuseport" if self.workers > 1 else ""};
        deny {BLOCKED};
        ssl_preread on;
        preread_timeout 30s;
        proxy_connect_timeout 30s;
        proxy_timeout 5m;
        proxy_pass $target;
    }}
}}
""")
        return [shutil.which("nginx"), "-c", config, "-p", str(self.folder)]


class SniProxy(Proxy):
    """Knows no block list, no second worker, and no names but regular expressions, one after the other."""

    name = program = "sniproxy"

    def command(self):
        config = self.write("sniproxy.conf", f"""
user root
pidfile {self.folder}/pid
error_log {{ filename /dev/null }}
listener 127.0.0.1:{self.port} {{ proto tls
    table main
    access_log {{ filename /dev/null }}
}}
table main {{
    {NAME.replace('.', '[.]')} 127.0.0.1:{self.backend}
    {OTHER_NAME.replace('.', '[.]')} 127.0.0.1:{self.backend + 1}
}}
""")
        return [shutil.which("sniproxy"), "-f", "-n", str(2 * connections_most() + 200), "-c", config]


class Yardstick(Proxy):
    name = YARDSTICK
    how = "copy"

    def command(self):
        return [str(self.bench.tools / "test/bench/yardstick"), str(self.port), str(self.backend), self.how]


class SplicingYardstick(Yardstick):
    name = SPLICING_YARDSTICK
    how = "splice"


class Direct(Proxy):
    """No proxy at all: clients connect to the backend. What is left is the load's own latency."""

    name = DIRECT

    def __init__(self, bench, port, backend, **kwargs):
        super().__init__(bench, backend, backend, **kwargs)

    def start(self):
        return self

    def pids(self):
        return []


KINDS = {kind.name: kind for kind in (McProxy, HAProxy, Nginx, SniProxy, Yardstick, SplicingYardstick, Direct)}
RIVALS = ("haproxy", "nginx", "sniproxy")


def is_installed(name):
    return not KINDS[name].program or shutil.which(KINDS[name].program) is not None


def private_bytes(proxy):
    return processes.private_bytes(proxy.pids())
