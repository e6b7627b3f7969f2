"""The manual pages say what --help and the sample configuration say, all of it and nothing else."""

import glob
import os
import re
import shutil
import subprocess

import pytest

from lib.daemon import run_command

_ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PAGES = sorted(glob.glob(os.path.join(_ROOT, "docs", "man", "*.[0-9]")))


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def page_of(command):
    found = [path for path in PAGES if re.fullmatch(rf"mc-proxy-{command}\.\d", os.path.basename(path))]
    assert len(found) == 1, command
    return read(found[0])


def section_of_help(command, title):
    lines = run_command(command, "--help").stdout.splitlines()
    if title not in lines:
        return []
    begin = lines.index(title) + 1
    return lines[begin:lines.index("", begin) if "" in lines[begin:] else len(lines)]


def commands():
    lines = run_command("--help").stdout.splitlines()
    begin = lines.index("Commands:") + 1
    return [line.split()[0] for line in lines[begin:lines.index("", begin)]]


def options_of_help(command):
    """{("-c", "--config", "FILE"), ...}"""
    pattern = re.compile(r" +(?:(-\w), )?(--[\w-]+)(?: ([A-Z]+))?  ")
    return {pattern.match(line).groups() for line in section_of_help(command, "Options:")}


def options_of_page(text):
    short = r"Fl (\w)(?: Ar \w+)? , "
    pattern = re.compile(rf"^\.It (?:{short})?Fl -([\w-]+)(?: Ar (\w+))?$", re.M)
    return {(f"-{letter}" if letter else None, f"--{name}", argument or None) for letter, name, argument in pattern.findall(text)}


def test_every_command_has_a_page_and_is_in_the_overview():
    overview = read(os.path.join(_ROOT, "docs", "man", "mc-proxy.1"))
    for command in commands():
        assert f".It Cm {command}\n" in overview
        if command != "version":
            page_of(command)


@pytest.mark.parametrize("command", ["server", "check", "status", "routes", "firewall", "listeners", "connections", "tail", "snapshot"])
def test_options_and_actions_are_those_of_the_help(command):
    assert command in commands()
    text = page_of(command)
    assert options_of_help(command) and options_of_page(text) == options_of_help(command)
    actions = [line.split("  ")[1].strip() for line in section_of_help(command, "Actions:")]
    described = re.findall(r"^\.It Cm ([a-z-]+(?: (?:Ar|Op Ar) [A-Z ]+)?)$", text.split(".Sh DESCRIPTION")[1].split("options are")[0], re.M)
    described = [re.sub(r"Op Ar (\w+)", r"[\1]", one).replace("Ar ", "") for one in described]
    assert [one for one in described if one.split()[0] in {a.split()[0] for a in actions}] == actions


def test_keys_are_those_of_the_sample_configuration():
    sample, section = {}, None
    for line in read(os.path.join(_ROOT, "config", "mc-proxy.ini.example")).splitlines():
        if match := re.fullmatch(r"\[(\w+).*\]", line):
            section = match[1]
        elif match := re.match(r";?(\w+) = ", line):
            sample.setdefault(section, set()).add(match[1])
    described = {}
    for part in read(os.path.join(_ROOT, "docs", "man", "mc-proxy.ini.5")).split(".Ss Section ")[1:]:
        described[part.split()[0]] = set(re.findall(r"^\.It Ic (\w+) Li =", part, re.M))
    assert described == sample


def test_pages_that_are_referred_to_are_there():
    names = {tuple(os.path.basename(path).rsplit(".", 1)) for path in PAGES}
    for path in PAGES:
        for name, section in re.findall(r"^\.Xr (mc-proxy\S*) (\d)", read(path), re.M):
            assert (name, section) in names, f"{path}: {name}({section})"


@pytest.mark.parametrize("path", PAGES, ids=os.path.basename)
def test_mandoc_finds_nothing_wrong(path):
    assert shutil.which("mandoc"), "the Debian package mandoc is missing"
    done = subprocess.run(["mandoc", "-T", "lint", path], capture_output=True, text=True, check=False)
    # Whether other pages are installed is no matter of ours.
    problems = [line for line in done.stdout.splitlines() if "referenced manual not found" not in line]
    assert not problems, "\n".join(problems)


def test_there_are_pages():
    assert len(PAGES) >= 9
