"""The manual pages say what --help and the sample configuration say, all of it and nothing else."""

import glob
import os
import re
import shutil
import subprocess

import pytest

from lib.daemon import run_command
from lib.documents import problem_of

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


COMMANDS = [os.path.basename(path)[len("mc-proxy-"):-len(".1")] for path in PAGES if "mc-proxy-" in path]


@pytest.mark.parametrize("command", COMMANDS)
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


def ranges_of_the_program(tmp_path):
    """{(section, key): "10ms to 7d"}, of every key of the sample that is a number or a duration, as the program says it."""
    lines, place, section = [], {}, None
    for line in read(os.path.join(_ROOT, "config", "mc-proxy.ini.example")).splitlines():
        if match := re.match(r"\[(\w+)", line):
            section = match[1]
            lines.append(line)
        elif (match := re.match(r";?(\w+) = ", line)) and (section, match[1]) not in place.values():
            lines.append(f"{match[1]} = ?")
            place[len(lines)] = section, match[1]
    path = tmp_path / "wrong.ini"
    path.write_text("\n".join(lines) + "\n")
    said = run_command("check", "-c", str(path)).stderr
    expected = {place[int(number)]: text for number, text in re.findall(r"wrong\.ini:(\d+): .*; expected (.*)", said)}
    found = {key: re.search(r"a (?:number|duration) from (\S+) to (\w+)", text) for key, text in expected.items()}
    return {key: f"{match[1]} to {match[2]}" for key, match in found.items() if match}


def remark_of_the_sample(section, key):
    """The comment above a key, and its value."""
    text = read(os.path.join(_ROOT, "config", "mc-proxy.ini.example"))
    part = re.search(rf"^\[{section}.*?(?=^\[|\Z)", text, re.M | re.S)[0]
    remark, value = re.search(rf"((?:^#.*\n)+)(?:^;?\w+ = .*\n)*?^;?{key} = (.*)$", part, re.M).groups()
    return " ".join(remark.replace("#", " ").split()), value


def entry_of_the_page(section, key):
    part = read(os.path.join(_ROOT, "docs", "man", "mc-proxy.ini.5")).split(f".Ss Section {section}")[1]
    return " ".join(re.search(rf"^\.It Ic {key} Li =.*?(?=^\.It|^\.El)", part, re.M | re.S)[0].replace("\n.Cm ", " ").split())


def test_ranges_and_defaults_are_the_programs(tmp_path):
    """test_config.c holds the sample's values to the program's defaults; here the ranges, and both in the page."""
    ranges = ranges_of_the_program(tmp_path)
    assert len(ranges) >= 12, ranges
    for (section, key), span in ranges.items():
        remark, default = remark_of_the_sample(section, key)
        entry = entry_of_the_page(section, key)
        assert span in remark, (section, key, span, remark)
        assert span in entry, (section, key, span, entry)
        assert re.search(rf"[Dd]efault:? {default}\b", entry), (section, key, default, entry)


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


@pytest.mark.parametrize("path", PAGES, ids=os.path.basename)
def test_examples_are_commands_with_their_options(path):
    lines = re.findall(r"^[$#] ((?:.*\\e?\n)*.*)$", read(path), re.M)
    words = [re.split(r"[|>]", re.sub(r"\\e?\n", " ", line))[0].split() for line in lines]
    for line in [[word for word in one if word != "sudo"] for one in words]:
        if line[:1] == ["mc-proxy"]:
            assert problem_of(line[1:], lambda command: run_command(command, "--help").stdout) is None, line


def test_there_are_pages():
    assert len(PAGES) >= 9
