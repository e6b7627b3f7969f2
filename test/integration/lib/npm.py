"""Programs and libraries of others that npm fetches when a test wants them. A machine without npm, or without a way to it, skips."""

import shutil
import subprocess

import pytest


def install(folder, *packages):
    """Installs packages into a folder; returns its node_modules."""
    if shutil.which("npm") is None:
        pytest.skip("npm, which fetches what this test drives, is not installed")
    try:
        done = subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *packages],
                              cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm does not get to {packages}")
    if done.returncode != 0:
        pytest.skip(f"npm cannot fetch {packages}: {done.stderr.strip()[-300:]}")
    return folder / "node_modules"
