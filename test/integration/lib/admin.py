"""The admin API as Python's own gRPC sees it. Messages and methods come from the .proto files, so nothing is generated for the tests."""

import contextlib
import functools
import os
import subprocess
import tempfile

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "proto")
_FILES = ["mc_proxy/v1/admin.proto", "grpc/health/v1/health.proto", "grpc/reflection/v1/reflection.proto",
          "grpc/reflection/v1alpha/reflection.proto"]

ADMIN = "mc_proxy.v1.ProxyAdminService"
HEALTH = "grpc.health.v1.Health"
NOT_SERVING, SERVING, SERVICE_UNKNOWN = 2, 1, 3
IP, CIDR, COUNTRY = 1, 2, 3

Code = grpc.StatusCode


@functools.cache
def pool():
    """The descriptors of all our .proto files."""
    with tempfile.NamedTemporaryFile() as f:
        subprocess.run(["protoc", "--include_imports", f"--descriptor_set_out={f.name}", f"-I{_PROTO}", *_FILES], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(f.read())
    made = descriptor_pool.DescriptorPool()
    for file in files.file:
        made.Add(file)
    return made


@functools.cache
def message(name):
    """The class of a message: message("mc_proxy.v1.Route")."""
    return message_factory.MessageFactory(pool()).GetPrototype(pool().FindMessageTypeByName(name))


def _request_class(method):
    return message(method.input_type.full_name)


class Admin:
    """
    A client: admin.AddRoute(listener_addr=..., route={...}) for each unary method of the service; further arguments are fields of the
    request, `timeout` is the deadline in seconds.
    """

    def __init__(self, target, credentials=None, options=()):
        options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1), *options]
        self.channel = (grpc.secure_channel(target, credentials, options) if credentials else
                        grpc.insecure_channel(target, options))

    def close(self):
        self.channel.close()

    def _call(self, service, name):
        method = pool().FindServiceByName(service).methods_by_name[name]
        # Both sides may stream; python3-protobuf 3.21 does not say which on a method.
        kinds = {"ApplyChanges": self.channel.stream_unary, "Watch": self.channel.unary_stream,
                 "WatchConnections": self.channel.unary_stream, "ListConnections": self.channel.unary_stream,
                 "ServerReflectionInfo": self.channel.stream_stream}
        make = kinds.get(name, self.channel.unary_unary)
        return make(f"/{service}/{name}", _request_class(method).SerializeToString,
                    message(method.output_type.full_name).FromString), _request_class(method)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        call, request = self._call(ADMIN, name)
        return lambda timeout=20, **fields: call(request(**fields), timeout=timeout)

    def raw(self, method, data, timeout=20):
        """A unary method with a request of any bytes; the answer's bytes."""
        return self.channel.unary_unary(f"/{ADMIN}/{method}")(data, timeout=timeout)

    def apply(self, *requests, timeout=60):
        """ApplyChanges; each request is a dict of one message of the stream."""
        call, request = self._call(ADMIN, "ApplyChanges")
        return call((request(**fields) for fields in requests), timeout=timeout)

    def check(self, service="", timeout=10):
        """The health: a number."""
        call, request = self._call(HEALTH, "Check")
        return call(request(service=service), timeout=timeout).status

    def watch(self, service="", timeout=60):
        """The health's stream."""
        call, request = self._call(HEALTH, "Watch")
        return call(request(service=service), timeout=timeout)

    def reflect(self, *questions, package="grpc.reflection.v1", timeout=20):
        """The answers to questions, each a dict of ServerReflectionRequest."""
        call, request = self._call(f"{package}.ServerReflection", "ServerReflectionInfo")
        return list(call((request(**q) for q in questions), timeout=timeout))

    # ---- short forms

    def add(self, addr, hostname, backend, send_proxy_protocol=False):
        """AddRoute; was it created?"""
        return self.AddRoute(listener_addr=addr, route={"hostname": hostname, "backend": backend,
                                                        "send_proxy_protocol": send_proxy_protocol}).created

    def remove(self, addr, hostname):
        self.RemoveRoute(listener_addr=addr, hostname=hostname)

    def routes(self, addr, **page):
        """[(hostname, backend, send_proxy_protocol), ...]"""
        return [(r.hostname, r.backend, r.send_proxy_protocol)
                for r in self.ListRoutes(listener_addr=addr, timeout=60, **page).routes]

    def rules(self):
        """[(type, value), ...]"""
        return [(r.type, r.value) for r in self.GetFirewallRules().rules]

    def block(self, kind, value):
        self.AddFirewallRule(rule={"type": kind, "value": value})

    def unblock(self, kind, value):
        self.RemoveFirewallRule(rule={"type": kind, "value": value})


def put(addr, hostname, backend, **more):
    """A Change of ApplyChanges."""
    return {"put_route": {"listener_addr": addr, "route": {"hostname": hostname, "backend": backend}}, **more}


def tls_credentials(ca, cert=None, key=None):
    def read(path):
        if path is None:
            return None
        with open(path, "rb") as f:
            return f.read()

    return grpc.ssl_channel_credentials(read(ca), read(key), read(cert))


@contextlib.contextmanager
def refused(code, beginning=""):
    """The call within ends with this status and a message that begins so."""
    with pytest.raises(grpc.RpcError) as caught:
        yield
    said = f"{caught.value.code()}: {caught.value.details()}"
    assert caught.value.code() == code and caught.value.details().startswith(beginning), said
