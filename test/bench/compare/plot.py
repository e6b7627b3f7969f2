"""Bars for each proxy, as SVG by gnuplot."""

import pathlib
import subprocess

from .contestants import OURS, RIVALS, YARDSTICK, YARDSTICKS

COLOURS = {OURS: "#1f6feb", "haproxy": "#e07b39", "nginx": "#3a9d5d", "sniproxy": "#9467bd", YARDSTICK: "#999999"}
CPU = ["short", "short1800", "turn16", "turn1000", "turn16k", "turn16k1000", "download", "upload", "blocked"]
MEMORY = ["idle", "idle_most", "route_memory"]
LATENCY = ["added_p50", "added_p99", "added_p999"]


def draw_all(results, folder):
    """[(title, file's name)] of the plots that there are figures for."""
    plots = [
        ("cpu.svg", "CPU time of each proxy, mc-proxy = 1 (lower is better)", CPU, True, False),
        ("memory.svg", "Memory in bytes (lower is better)", MEMORY, False, True),
        ("latency.svg", "Added latency in microseconds at 30 % load (lower is better)", LATENCY, False, False),
    ]
    done = []
    for filename, title, keys, is_relative, is_logarithmic in plots:
        keys = [key for key in keys if results.median(key, OURS)]
        if keys:
            pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
            draw(pathlib.Path(folder) / filename, script(results, title, keys, is_relative, is_logarithmic))
            done.append((title, filename))
    return done


def draw(path, text):
    subprocess.run(["gnuplot"], input=f"set output '{path}'\n" + text, text=True, check=True)


def _value(results, key, name, is_relative):
    value = results.median(key, results.best_yardstick(key) if name in YARDSTICKS else name)
    if value is None:
        return "?"
    return f"{value / results.median(key, OURS) if is_relative else value:.4g}"


def script(results, title, keys, is_relative, is_logarithmic):
    """What gnuplot is told, but for the file."""
    names = [n for n in (OURS, *RIVALS, YARDSTICK) if any(_value(results, key, n, is_relative) != "?" for key in keys)]
    lines = [
        "set terminal svg size 1000,420 font 'sans,12' background 'white'", f"set title {_quoted(title)}",
        "set style data histogram", "set style histogram clustered gap 1", "set style fill solid 0.9", "set boxwidth 0.9 relative",
        "set grid ytics", "set key outside right", "set xtics scale 0", "set datafile missing '?'", "set auto x",
        "set logscale y" if is_logarithmic else "set yrange [0:*]", "$figures << EOD", " ".join(["figure", *map(_quoted, names)]),
    ]
    for key in keys:
        label = results.figures[key].title.replace(", ", "\\n").replace("added latency ", "")
        lines.append(" ".join([_quoted(label), *(_value(results, key, n, is_relative) for n in names)]))
    columns = ", ".join(f"$figures using {i + 2}{':xtic(1)' if i == 0 else ''} title {_quoted(n)} linecolor rgb '{COLOURS[n]}'"
                        for i, n in enumerate(names))
    return "\n".join([*lines, "EOD", f"plot {columns}", ""])


def _quoted(text):
    return '"' + text.replace('"', "'") + '"'
