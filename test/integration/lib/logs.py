"""Reading the daemon's log lines: logfmt and JSON."""

import datetime
import json
import re

_PAIR = re.compile(r'\s*([A-Za-z0-9_.]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)')


def parse_logfmt(line):
    """A logfmt line as a dict of strings; ValueError if it is none."""
    fields, at = {}, 0
    line = line.rstrip("\n")
    while at < len(line):
        match = _PAIR.match(line, at)
        if match is None:
            raise ValueError(f"not logfmt at column {at}: {line!r}")
        key, value = match.groups()
        if value.startswith('"'):
            value = re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", _unescape, value[1:-1])
        if key in fields:
            raise ValueError(f"{key} is there twice: {line!r}")
        fields[key] = value
        at = match.end()
    return fields


def _unescape(match):
    code = match.group(1)
    if code[0] in "xu" and len(code) > 1:
        return chr(int(code[1:], 16))
    return {"n": "\n", "t": "\t", "r": "\r"}.get(code, code)


def parse_line(line):
    """A log line of either format as a dict of strings; None for a line that is neither (a panic, another program)."""
    try:
        if line.startswith("{"):
            return {key: _text(value) for key, value in json.loads(line).items()}
        return parse_logfmt(line) if line.startswith("time=") else None
    except ValueError:
        return None


def _text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def time_of(fields):
    """Of a line, in seconds since 1970."""
    return datetime.datetime.fromisoformat(fields["time"].replace("Z", "+00:00")).timestamp()


def is_access(fields):
    """Is this the line of a finished connection?"""
    return fields is not None and all(key in fields for key in ("listener", "client", "reason", "bytes_in", "bytes_out"))
