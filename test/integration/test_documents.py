"""What documents name exists: files, tests, headings of links, and every fuzz target in its list."""

import os
import re

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCUMENTS = ["README.md", "SECURITY.md"] + sorted(f"docs/{name}" for name in os.listdir(f"{ROOT}/docs") if name.endswith(".md"))
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
    return sorted(name for name in named if not exists(name))


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


@pytest.mark.parametrize("path", ["SECURITY.md", "docs/reliability.md", "docs/security.md", "docs/testing.md"])
def test_what_is_named_exists(path):
    assert not missing_files(text_of(path))


def test_a_name_that_leads_nowhere_is_seen():
    assert missing_files("see `common/nothing.c`, `unit.test_nothing`, `integration.nothing` and `common/address.c`") == [
        "common/nothing.c", "test/integration/test_nothing.py", "test/unit/test_nothing.c"]


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
