"""Stock clients of others: buf, which lints our .proto files and calls what reflection tells it, and gRPC for Node.js."""

import json
import os
import shutil
import subprocess

import pytest

from lib import npm
from lib.admin import ADMIN
from lib.config import Listener
from lib.ports import free_port
from lib.waiting import wait_until

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
NAME = "admin.test"


@pytest.fixture(scope="module")
def buf(tmp_path_factory):
    """buf(...): the finished program."""
    folder = tmp_path_factory.mktemp("buf")
    program = npm.install(folder, "@bufbuild/buf") / ".bin" / "buf"

    def run(*args, cwd=ROOT):
        return subprocess.run([program, *args], cwd=cwd, env={**os.environ, "HOME": str(folder)}, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=60)

    return run


def test_protos_are_clean(buf):
    done = buf("lint")
    assert done.returncode == 0, done.stdout + done.stderr


def test_lint_would_find_something(buf, tmp_path):
    """The same rules are not content with a field that has no comment."""
    shutil.copytree(os.path.join(ROOT, "proto"), tmp_path / "proto")
    shutil.copy(os.path.join(ROOT, "buf.yaml"), tmp_path)
    with open(tmp_path / "proto/mc_proxy/v1/admin.proto", "a", encoding="utf-8") as f:
        f.write("// A message.\nmessage Extra {\n  string notCommented = 1;\n}\n")
    done = buf("lint", cwd=tmp_path)
    assert done.returncode != 0 and "notCommented" in done.stdout


@pytest.mark.parametrize("protocol", ["grpc-v1", "grpc-v1alpha"])
def test_buf_curl_over_the_unix_socket(buf, managed, tmp_path, protocol):
    listener = Listener()
    _, api = managed([listener], workers=1)
    common = ["curl", "--protocol", "grpc", "--http2-prior-knowledge", "--unix-socket", f"{tmp_path}/admin.sock", "--reflect",
              "--reflect-protocol", protocol]
    added = buf(*common, "-d", json.dumps({"listenerAddr": listener.addr,
                                           "route": {"hostname": "buf.example.com", "backend": "10.0.0.1:1"}}),
                f"http://localhost/{ADMIN}/AddRoute")
    assert added.returncode == 0 and json.loads(added.stdout) == {"created": True}, added.stderr
    assert [r[0] for r in api.routes(listener.addr)] == ["buf.example.com"]
    refused = buf(*common, "-d", json.dumps({"listenerAddr": listener.addr}), f"http://localhost/{ADMIN}/AddRoute")
    assert refused.returncode != 0
    error = json.loads(refused.stderr)
    assert error["code"] == "invalid_argument" and error["message"].startswith("route: is missing")
    many = buf(*common, "-d", json.dumps({"changes": [{"removeRoute": {"listenerAddr": listener.addr,
                                                                      "hostname": "buf.example.com"}}]}),
               f"http://localhost/{ADMIN}/ApplyChanges")
    assert json.loads(many.stdout) == {"routesRemoved": "1"}, many.stderr
    services = buf(*common, "--list-methods", "http://localhost")
    assert f"{ADMIN}/GetStatus" in services.stdout, services.stderr


NODE = """
const grpc = require('@grpc/grpc-js'), loader = require('@grpc/proto-loader'), fs = require('fs');
const [protos, target, addr, ca, cert, key] = process.argv.slice(2);
const load = file => grpc.loadPackageDefinition(loader.loadSync(file, {includeDirs: [protos], longs: Number, enums: String, keepCase: true, defaults: true}));
const creds = ca ? grpc.credentials.createSsl(...[ca, key, cert].map(f => f ? fs.readFileSync(f) : null))
                 : grpc.credentials.createInsecure();
const options = ca ? {'grpc.ssl_target_name_override': 'admin.test'} : {};
const admin = new (load('mc_proxy/v1/admin.proto').mc_proxy.v1.ProxyAdminService)(target, creds, options);
const health = new (load('grpc/health/v1/health.proto').grpc.health.v1.Health)(target, creds, options);
const call = (client, name, request) => new Promise(done =>
    client[name](request, {deadline: Date.now() + 10000}, (error, answer) =>
        done(error ? {code: error.code, details: error.details} : answer)));
(async () => {
    const said = {};
    said.health = await call(health, 'Check', {});
    said.added = await call(admin, 'AddRoute', {listener_addr: addr, route: {hostname: 'n.example.com', backend: '10.0.0.1:1'}});
    said.refused = await call(admin, 'AddRoute', {listener_addr: addr, route: {hostname: 'b\\u00fccher', backend: 'x'}});
    said.applied = await new Promise(done => {
        const stream = admin.ApplyChanges((error, answer) => done(error || answer));
        for (let i = 0; i < 3000; i++)
            stream.write({changes: [{put_route: {listener_addr: addr, route: {hostname: `n${i}.example.com`, backend: '10.0.0.1:1'}}}]});
        stream.end();
    });
    said.listed = (await call(admin, 'ListRoutes', {listener_addr: addr})).routes.length;
    said.watched = await new Promise(done => {
        const stream = health.Watch({service: ''});
        stream.on('error', () => {});
        stream.on('data', answer => { done(answer.status); stream.cancel(); });
    });
    console.log(JSON.stringify(said));
    process.exit(0);
})();
"""


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    folder = tmp_path_factory.mktemp("node")
    npm.install(folder, "@grpc/grpc-js", "@grpc/proto-loader")
    (folder / "client.js").write_text(NODE, encoding="utf-8")
    return folder


@pytest.mark.parametrize("transport", ["unix", "mtls"])
def test_node(node_folder, new_daemon, admin, pki, tmp_path, transport):
    listener = Listener()
    port = free_port()
    cert, key = pki.cert(NAME)
    target = f"unix:{tmp_path}/admin.sock"
    new_daemon([listener], grpc={"addr": [target, f"127.0.0.1:{port}"], "tls_cert": cert, "tls_key": key,
                                 "client_ca": pki.ca}).start()
    wait_until(lambda: admin(target).check() == 1, what="serving")
    arguments = [target, listener.addr]
    if transport == "mtls":
        arguments = [f"127.0.0.1:{port}", listener.addr, pki.ca, *pki.client_cert("operator")]
    done = subprocess.run(["node", str(node_folder / "client.js"), os.path.join(ROOT, "proto"), *arguments],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["health"]["status"] == said["watched"] == "SERVING"
    assert said["added"]["created"] is True
    assert said["refused"]["code"] == 3 and said["refused"]["details"].startswith("route.hostname: ")
    assert said["applied"]["routes_added"] == 3000
    assert said["listed"] == 3001
