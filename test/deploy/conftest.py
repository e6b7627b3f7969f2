"""Fixtures: the package under test, the tree that machines are copies of, TLS material, backends."""

import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "test", "integration"))  # lib: backends, clients, hellos, waiting

from deploylib import package, tree  # noqa: E402
from lib.tls import Pki  # noqa: E402


@pytest.fixture(scope="session")
def source_root():
    return ROOT


@pytest.fixture(scope="session")
def deb():
    """The package of the tree as it is."""
    return package.build(ROOT)


@pytest.fixture(scope="session")
def newer_deb(deb, tmp_path_factory):
    """The same with a later version, to upgrade to."""
    return package.newer(deb, str(tmp_path_factory.mktemp("newer")))


@pytest.fixture(scope="session")
def base_tree(deb):
    """A Debian with systemd and what the package depends on, and without the package. Not to be written to: tree.copy() it."""
    return tree.base(package.dependencies(deb))


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def run():
    """run("program", ...): its standard output; a failure shows all that it wrote."""

    def call(*args, expect=0, **kwargs):
        done = subprocess.run(args, text=True, stdin=subprocess.DEVNULL, capture_output=True, check=False, **kwargs)
        assert done.returncode == expect, f"{args}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    return call
