"""An admin API in Python, by another implementation of gRPC (grpcio), for tests of the command line alone."""

import concurrent.futures
import os
import time

import grpc

from lib.admin import ADMIN, message, pool


class admin:
    """The messages of admin.proto by their names."""


for _name in pool().FindFileByName("mc_proxy/v1/admin.proto").message_types_by_name:
    setattr(admin, _name, message(f"mc_proxy.v1.{_name}"))
_TYPES = {1: "ip", 2: "cidr", 3: "country"}
MESSAGE_LIMIT = 4 << 20


class Refusal(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


class FakeAdmin:
    """
    Serves at unix:PATH and, with TLS, at 127.0.0.1:PORT until it is closed. `routes` by listener and hostname, `rules` by type and
    value; `calls` is what was asked, `failures` by method is what is answered instead, `delay` how long every call takes.
    """

    def __init__(self, path=None, port=None, cert=None, key=None, client_ca=None, listeners=(":443",)):
        self.listeners = list(listeners)
        self.routes = {listener: {} for listener in self.listeners}
        self.rules = {}
        self.max_connections = {}
        self.calls = []
        self.deadlines = []
        self.message_sizes = []
        self.failures = {}
        self.status = {}
        self.delay = 0
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(8),
                                  options=[("grpc.max_receive_message_length", MESSAGE_LIMIT),
                                           ("grpc.max_send_message_length", -1)])
        self.server.add_generic_rpc_handlers((self._handlers(),))
        if path:
            self.server.add_insecure_port(f"unix:{path}")
        if port:
            self.server.add_secure_port(f"127.0.0.1:{port}", _credentials(cert, key, client_ca))
        self.server.start()

    def close(self):
        self.server.stop(None).wait(10)

    # ---- the frame

    def _handlers(self):
        table = {}
        for method in pool().FindServiceByName(ADMIN).methods:
            request, response = (getattr(admin, t.name) for t in (method.input_type, method.output_type))
            make = (grpc.stream_unary_rpc_method_handler if method.name == "ApplyChanges"
                    else grpc.unary_unary_rpc_method_handler)
            table[method.name] = make(self._run(method.name),
                                      request_deserializer=self._reader(request),
                                      response_serializer=response.SerializeToString)
        return grpc.method_handlers_generic_handler(ADMIN, table)

    def _reader(self, request):
        def read(data):
            self.message_sizes.append(len(data))
            return request.FromString(data)
        return read

    def _run(self, name):
        def run(request, context):
            self.deadlines.append(context.time_remaining())
            time.sleep(self.delay)
            try:
                if name in self.failures:
                    raise Refusal(*self.failures[name])
                if name != "ApplyChanges":
                    self.calls.append((name, request))
                return getattr(self, name)(request)
            except Refusal as refusal:
                context.abort(refusal.code, refusal.message)
        return run

    # ---- the methods

    def _listener(self, addr):
        if addr not in self.routes:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"no listener {addr} in the configuration")
        return self.routes[addr]

    @staticmethod
    def _page(rows, request):
        begin = int(request.page_token or 0)
        end = begin + request.page_size if request.page_size else len(rows)
        return rows[begin:end], str(end) if end < len(rows) else ""

    def ListRoutes(self, request):
        rows, token = self._page(list(self._listener(request.listener_addr).values()), request)
        return admin.ListRoutesResponse(routes=rows, next_page_token=token)

    def GetFirewallRules(self, request):
        rows, token = self._page(list(self.rules.values()), request)
        return admin.GetFirewallRulesResponse(rules=rows, next_page_token=token)

    def AddRoute(self, request):
        routes = self._listener(request.listener_addr)
        if ":" not in request.route.backend:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "route.backend: port is missing")
        created = request.route.hostname not in routes
        routes[request.route.hostname] = request.route
        return admin.AddRouteResponse(created=created)

    def RemoveRoute(self, request):
        if self._listener(request.listener_addr).pop(request.hostname, None) is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"no route {request.hostname} on {request.listener_addr}")
        return admin.RemoveRouteResponse()

    def AddFirewallRule(self, request):
        key = (request.rule.type, request.rule.value)
        if key in self.rules:
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, f"rule {_TYPES[key[0]]} {key[1]} is there already")
        self.rules[key] = request.rule
        return admin.AddFirewallRuleResponse()

    def RemoveFirewallRule(self, request):
        if self.rules.pop((request.rule.type, request.rule.value), None) is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, "no such rule")
        return admin.RemoveFirewallRuleResponse()

    def SetListenerMaxConnections(self, request):
        self._listener(request.listener_addr)
        self.max_connections[request.listener_addr] = request.max_connections
        return admin.SetListenerMaxConnectionsResponse()

    def GetStatus(self, _request):
        status = admin.GetStatusResponse(
            version="9.8.7", total_connections=1234, active_connections=56, generation=3, firewall_rules=len(self.rules),
            uptime_seconds=93784, configured_workers=1, worker_restarts=2,
            workers=[admin.WorkerStatus(pid=4242, active_connections=56, total_connections=1234, slot=0, state="running",
                                        max_connections=32000, descriptors=150)])
        status.started_at.FromJsonString("2026-11-22T18:00:00.125Z")
        for addr in self.listeners:
            status.listeners.add(addr=addr, route_count=len(self.routes[addr]), active_connections=56, name="https",
                                 max_connections=self.max_connections.get(addr, 0), proxy_protocol="off",
                                 total_connections=1234, rejected_connections=7, bytes_in=1234567, bytes_out=45678901234,
                                 no_route="reset", closed=[admin.CloseCount(reason="no_route", connections=7)])
        for key, value in self.status.items():
            setattr(status, key, value)
        return status

    def Snapshot(self, request):
        return admin.SnapshotResponse(path=request.output_path or "/var/backups/new.db")

    # ---- many changes

    def ApplyChanges(self, requests):
        changes, validate_only = [], False
        for request in requests:
            changes += request.changes
            validate_only |= request.validate_only
        self.calls.append(("ApplyChanges", changes))
        routes = {listener: dict(table) for listener, table in self.routes.items()}
        rules = dict(self.rules)
        done = admin.ApplyChangesResponse()
        for i, change in enumerate(changes):
            what = change.WhichOneof("change")
            body = getattr(change, what)
            if "route" in what and body.listener_addr not in routes:
                raise Refusal(grpc.StatusCode.NOT_FOUND, f"changes[{i}].{what}.listener_addr: no listener {body.listener_addr}")
            counter = getattr(self, f"_{what}")(routes, rules, body)
            if counter == "unchanged" and not change.allow_unchanged:
                raise Refusal(grpc.StatusCode.NOT_FOUND, f"changes[{i}].{what}.hostname: nothing to do")
            setattr(done, counter, getattr(done, counter) + 1)
        if not validate_only:
            self.routes, self.rules = routes, rules
        return done

    @staticmethod
    def _put_route(routes, _rules, body):
        before = routes[body.listener_addr].get(body.route.hostname)
        routes[body.listener_addr][body.route.hostname] = body.route
        return "routes_added" if before is None else "unchanged" if before == body.route else "routes_replaced"

    @staticmethod
    def _remove_route(routes, _rules, body):
        return "routes_removed" if routes[body.listener_addr].pop(body.hostname, None) is not None else "unchanged"

    @staticmethod
    def _add_rule(_routes, rules, body):
        key = (body.rule.type, body.rule.value)
        if key in rules:
            return "unchanged"
        rules[key] = body.rule
        return "rules_added"

    @staticmethod
    def _remove_rule(_routes, rules, body):
        return "rules_removed" if rules.pop((body.rule.type, body.rule.value), None) is not None else "unchanged"

    # ---- for tests

    def set_routes(self, listener, *routes):
        """Each "HOSTNAME BACKEND [send_proxy_protocol]"."""
        self.routes[listener] = {}
        for text in routes:
            words = text.split()
            self.routes[listener][words[0]] = admin.Route(hostname=words[0], backend=words[1],
                                                          send_proxy_protocol=len(words) > 2)

    def route_texts(self, listener=":443"):
        return [f"{r.hostname} {r.backend}" + (" send_proxy_protocol" if r.send_proxy_protocol else "")
                for r in self.routes[listener].values()]

    def rule_texts(self):
        return [f"{_TYPES[r.type]} {r.value}" for r in self.rules.values()]


def _credentials(cert, key, client_ca):
    def read(path):
        with open(path, "rb") as f:
            return f.read()

    return grpc.ssl_server_credentials([(read(key), read(cert))], root_certificates=read(client_ca) if client_ca else None,
                                       require_client_auth=client_ca is not None)


def quiet_grpc():
    """grpcio tells of every handshake that fails; here they are meant to."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
