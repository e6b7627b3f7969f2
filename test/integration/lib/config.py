"""Configurations for the daemon under test."""

import dataclasses
import os

from lib.ports import free_port, require_ipv6


@dataclasses.dataclass
class Listener:
    """A [listener] section. routes are the texts behind `route =`; options are further keys."""

    routes: list = dataclasses.field(default_factory=list)
    name: str = "main"
    port: int = dataclasses.field(default_factory=free_port)
    host: str = "127.0.0.1"
    options: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if ":" in self.host:
            require_ipv6()

    @property
    def addr(self):
        return f"{self.host}:{self.port}"

    def text(self):
        lines = [f"[listener {self.name}]", f"addr = {self.addr}"]
        lines += [f"{key} = {value}" for key, value in self.options.items()]
        lines += [f"route = {route}" for route in self.routes]
        return "\n".join(lines) + "\n"


def config_text(directory, listeners, **sections):
    """
    A configuration with its database in directory. sections are dicts by section name, on top of what suits tests: one worker,
    short time-outs, access lines.
    """
    merged = {
        "server": {"workers": 1},
        "database": {"path": os.path.join(directory, "mc-proxy.db")},
        "log": {"level": "debug", "access": "true"},
        "proxy": {"hello_timeout": "10s", "connect_timeout": "2s", "shutdown_timeout": "5s"},
    }
    for section, keys in sections.items():
        merged.setdefault(section, {}).update(keys)
    text = ""
    for section, keys in merged.items():
        text += f"[{section}]\n"
        for key, value in keys.items():
            values = value if isinstance(value, list) else [value]
            text += "".join(f"{key} = {v}\n" for v in values)
    return text + "".join(listener.text() for listener in listeners)
