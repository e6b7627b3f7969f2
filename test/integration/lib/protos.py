"""Python's view of the proto files, generated once per run."""

import functools
import importlib
import os
import subprocess
import sys
import tempfile

_SOURCE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


@functools.cache
def _generated():
    directory = tempfile.TemporaryDirectory(prefix="mc-proxy-protos-")
    proto = os.path.join(_SOURCE_ROOT, "proto")
    files = [os.path.join(folder, name) for folder, _, names in os.walk(proto) for name in names if name.endswith(".proto")]
    subprocess.run(["protoc", f"-I{proto}", f"--python_out={directory.name}", *files], check=True)
    sys.path.insert(0, directory.name)
    return directory  # kept, and with it the folder, until the end of the run


def load(name):
    """load("mc_proxy.v1.admin"): the module with that file's messages."""
    _generated()
    return importlib.import_module(f"{name}_pb2")
