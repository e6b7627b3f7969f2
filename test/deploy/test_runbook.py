"""docs/operations.md: its commands exist, and its tables are those of the program."""

import os
import re
import subprocess

import pytest

from lib.documents import commands, problem_of


@pytest.fixture(scope="module")
def runbook(source_root):
    with open(os.path.join(source_root, "docs/operations.md"), encoding="utf-8") as f:
        return f.read()


@pytest.fixture(scope="module")
def program(deb, tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    subprocess.run(["dpkg-deb", "--extract", deb, str(folder)], check=True)
    return str(folder / "usr/bin/mc-proxy")


def source(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        return f.read()


def test_every_command_exists_with_every_option(run, runbook, program):
    found = list(commands(runbook))
    assert len(found) > 20
    for words in found:
        assert problem_of(words, lambda command: run(program, command, "--help")) is None, words


def test_the_table_of_reasons_is_the_programs(runbook, source_root):
    text = source(source_root, "common/close_reason.h")
    text = text[text.index("#define CLOSE_REASON_TABLE"):text.index("#define CLOSE_REASON_ENUM")]
    wanted = dict(re.findall(r'X\(\w+,\s*"(\w+)",(?:\s*\w+,){3}\s*"([^"]+)"\)', text))
    assert len(wanted) > 20
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \| [^|]+ \|$", runbook, re.M))
    assert {word: rows.get(word) for word in wanted} == wanted


def test_the_table_of_keys_is_the_access_lines(runbook, source_root):
    table = runbook[runbook.index("| key | what |"):runbook.index("| question | look for |")]
    words = re.findall(r'"(\w+)"', source(source_root, "test/unit/test_conn_log.c").split("every_key[] = {")[1].split("};")[0])
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == words


def test_every_file_it_names_is_in_the_package_or_made_by_it(runbook, deb):
    there = subprocess.run(["dpkg-deb", "--contents", deb], text=True, capture_output=True, check=True).stdout
    for path in set(re.findall(r"/usr/(?:bin|libexec|share)/[\w./-]*\w", runbook)):
        assert f".{path}" in there, path


def test_its_links_lead_somewhere(runbook, source_root):
    anchors = {"#" + re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", runbook, re.M)}
    for link in re.findall(r"\]\(([^)]+)\)", runbook):
        if link.startswith("#"):
            assert link in anchors, link
        else:
            assert os.path.exists(os.path.join(source_root, "docs", link.split("#")[0])), link
