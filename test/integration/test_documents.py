"""What documents name exists: files, tests, commands, keys, metrics, messages of the log, headings of links, and every fuzz target."""

import functools
import glob
import os
import re

import pytest

from lib.daemon import run_command
from lib.documents import commands, problem_of

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCUMENTS = ["README.md", "SECURITY.md"] + sorted(glob.glob("docs/*.md", root_dir=ROOT) + glob.glob("docs/decisions/*.md", root_dir=ROOT))
PRODUCT = ["common", "master", "worker", "proto"]
FOLDERS = "common|worker|master|test|packaging|config|proto|docs"


def text_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def exists(path):
    return os.path.exists(os.path.join(ROOT, path))


def missing_files(text):
    """Names of files and tests in backquotes that lead nowhere."""
    named = set(re.findall(rf"`((?:{FOLDERS})/[\w./-]+\.\w+)`", text))
    named |= {f"test/unit/{name}.c" for name in re.findall(r"`unit\.(test_\w+)`", text)}
    named |= {f"test/integration/test_{name}.py" for name in re.findall(r"`integration\.(\w+)`", text)}
    named |= {f"test/deploy/test_{name}.py" for name in re.findall(r"`deploy\.(\w+)`", text)}
    return sorted(name for name in named if not exists(name))


def missing_names(text):
    """Files in backquotes without a folder, and functions, that are nowhere in the source."""
    files, code = everything()
    named = {name for name in re.findall(r"`([a-z]\w+\.[ch])`", text) if name not in files}
    return sorted(named | {name for name in re.findall(r"`([a-z]+_\w+)\(\)`", text) if not re.search(rf"\b{name}\b", code)} - OF_THE_KERNEL)


# What decisions quote of Linux.
OF_THE_KERNEL = {"do_splice", "inet_csk_listen_stop", "tcp_v4_rcv", "tcp_epollin_ready", "epoll_wait"}


@functools.cache
def everything():
    """Names of all source files, and the text of those that are the product."""
    paths = [path for folder in PRODUCT + ["test"] for path in glob.glob(f"{folder}/**/*.[ch]", root_dir=ROOT, recursive=True)]
    return {os.path.basename(path) for path in paths}, "\n".join(text_of(path) for path in paths if not path.startswith("test/"))


@functools.cache
def help_of(command):
    return run_command(command, "--help").stdout


def headings(path):
    """As links name them."""
    lines = re.findall(r"^#+ +(.*)$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def missing_links(path):
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(path)):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        file = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
        if not exists(file) or (heading and heading not in headings(file)):
            found.append(target)
    return found


@pytest.mark.parametrize("path", DOCUMENTS)
def test_links_lead_somewhere(path):
    assert not missing_links(path)


@pytest.mark.parametrize("path", DOCUMENTS)
def test_what_is_named_exists(path):
    assert not missing_files(text_of(path))
    assert not missing_names(text_of(path))


@pytest.mark.parametrize("path", DOCUMENTS)
def test_commands_exist_with_their_options(path):
    assert not [(words, problem) for words in commands(text_of(path)) if (problem := problem_of(words, help_of))]


def test_keys_in_sentences_exist():
    sample, section = set(), None
    for line in text_of("config/mc-proxy.ini.example").splitlines():
        if match := re.match(r"\[(\w+)", line):
            section = match[1]
        elif match := re.match(r";?(\w+) = ", line):
            sample.add((section, match[1]))
    texts = [text_of(path) for path in DOCUMENTS + ["proto/mc_proxy/v1/admin.proto"]]
    named = {pair for text in texts for pair in re.findall(r"\[(\w+)\] ([a-z_]+)\b", text) if pair[0] in {section for section, _ in sample}}
    assert len(named) > 5 and named <= sample, named - sample


def test_metrics_in_documents_exist():
    there = set(re.findall(r'"(mcproxy_\w+)"', text_of("master/metrics_catalogue.h")))
    named = {re.sub("_(bucket|count|sum)$", "", name) for path in DOCUMENTS for name in re.findall(r"\bmcproxy_\w+", text_of(path))}
    assert len(named) > 20 and named <= there, named - there


def test_reasons_in_documents_exist():
    there = set(re.findall(r'"(\w+)"', text_of("common/close_reason.h")))
    named = {reason for path in DOCUMENTS for reason in re.findall(r"\breason=\\?\"?([a-z_]+[a-z])\b(?!_)", text_of(path))}
    assert len(named) > 8 and named <= there, named - there


# Words that an operator is told to look for in the log, in systemd's status or in what a command prints.
MESSAGES = [
    ("docs/operations.md", "connections rejected without a line of their own"), ("docs/operations.md", "connections closed by an operator"),
    ("docs/operations.md", "TLS failed"), ("docs/operations.md", "the last reload failed"), ("docs/operations.md", "cannot open the database"),
    ("docs/operations.md", "in use by another mc-proxy"), ("docs/operations.md", "made by a newer mc-proxy"),
    ("docs/operations.md", "permission denied"), ("docs/operations.md", "the server demands a client certificate"),
    ("docs/lifecycle.md", "not upgraded"), ("docs/lifecycle.md", "upgraded: the new process has taken over"),
    ("docs/metrics.md", "worker died"), ("docs/proxy-chaining.md", "no PROXY header"),
]


@pytest.mark.parametrize("path, words", MESSAGES)
def test_messages_in_documents_are_the_programs(path, words):
    assert words.lower() in text_of(path).lower()
    assert words.lower() in everything()[1].lower()


def test_a_name_that_leads_nowhere_is_seen():
    assert missing_files("see `common/nothing.c`, `unit.test_nothing`, `integration.nothing` and `common/address.c`") == [
        "common/nothing.c", "test/integration/test_nothing.py", "test/unit/test_nothing.c"]
    assert missing_names("`no_such.c` and `address.c`, `no_such_function()` and `conn_close()`") == ["no_such.c", "no_such_function"]


def test_a_command_that_is_none_is_seen():
    text = ("```console\n$ sudo mc-proxy status --nothing | head\nmc-proxy 0.1.0\n```\n"
            "```sh\nmc-proxy routes nothing\nbuild/mc-proxy nothing -c FILE\nmc-proxy top -n 3\n```\n")
    found = [problem_of(words, help_of) for words in commands(text)]
    assert sorted(map(str, found)) == ["None", "there is no action nothing", "there is no command nothing", "there is no option --nothing"]


def test_the_threat_model_names_its_evidence():
    """A row for each input, and none without a file or test."""
    rows = [line for line in text_of("SECURITY.md").split("\n") if line.startswith("| **")]
    assert len(rows) >= 13
    assert not [row for row in rows if not re.search(r"`(unit\.|test/)", row.split("|")[-2])]


def test_every_fuzz_target_is_in_the_list():
    listed = re.findall(r"^\| `fuzz_(\w+)` \|", text_of("docs/testing.md"), re.MULTILINE)
    there = [name[len("fuzz_"):-len(".c")] for name in os.listdir(f"{ROOT}/test/fuzz") if re.fullmatch(r"fuzz_\w+\.c", name)]
    assert sorted(listed) == sorted(there)


def test_every_fuzz_target_has_seeds():
    for name in os.listdir(f"{ROOT}/test/fuzz"):
        if re.fullmatch(r"fuzz_\w+\.c", name):
            assert os.listdir(f"{ROOT}/test/fuzz/corpus/{name[len('fuzz_'):-len('.c')]}"), name
