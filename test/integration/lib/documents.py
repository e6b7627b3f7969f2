"""What documents say, taken out of their text."""

import re
import shlex


def commands(text):
    """Every mc-proxy command line, of code blocks and within sentences, as words behind the program's name."""
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M) for line in block.splitlines()]
    lines += [line for block in re.findall(r"^```console\n(.*?)^```", text, re.S | re.M) for line in re.findall(r"^\$ (.*)$", block, re.M)]
    lines += re.findall(r"`(mc-proxy [^`\n]+)`", text)
    for line in lines:
        if not re.search(r"(?:^|[\s/])mc-proxy ", line):
            continue
        yield from _commands_of_line(line)


def _commands_of_line(line):
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&>")
    lexer.whitespace_split = True
    words = []
    for word in [*lexer, ";"]:
        if word.strip("|;&>"):
            words.append(word)
            continue
        if words[:1] == ["sudo"]:
            words.pop(0)
        if len(words) > 1 and re.fullmatch(r"(?:[\w.]*/)*mc-proxy", words[0]):
            yield words[1:]
        words = []


def problem_of(words, help_of):
    """What is wrong with a command line, or None; help_of(command) is what its --help prints."""
    usage = help_of(words[0])
    if not usage:
        return f"there is no command {words[0]}"
    actions = re.search(r"^Actions:\n(.*?)\n\n", usage, re.S | re.M)
    if actions and len(words) > 1 and not words[1].startswith("-"):  # some commands have a default action
        if not re.search(rf"^  {re.escape(words[1])}\b", actions.group(1), re.M):
            return f"there is no action {words[1]}"
    for option in (word for word in words if re.match("--?[a-z]", word)):
        if not re.search(rf"(^|[\s,]){re.escape(option)}(?![\w-])", usage, re.M):
            return f"there is no option {option}"
    return None
