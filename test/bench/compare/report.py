"""Tables for people: on the terminal, and between two marks of docs/performance.md."""

import pathlib

from . import statistics, targets
from .contestants import DIRECT, KINDS

BEGIN = "<!-- figures: begin; `make bench` writes what is between here and the end -->"
END = "<!-- figures: end -->"


def number(value):
    """Three digits that count; large ones whole."""
    if value is None:
        return "-"
    if value != 0 and abs(value) < 0.995:
        return f"{value:.3f}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"


def table(head, rows):
    """Markdown, in columns that a terminal shows straight."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [head, ["-" * w for w in widths], *rows]
    return "\n".join("| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths)) + " |" for line in lines)


def targets_table(rows):
    return table(["figure", "target", "measured (quartiles)", "", "unit", "ours", "best rival", "yardstick"],
                 [[r["title"], _target(r), _measured(r), _verdict(r), r["unit"], _ours(r), _rival(r), number(r["yardstick"])]
                  for r in rows])


def _target(row):
    sign = ">=" if row["at_least"] else "<="
    return f"{sign} {row['target']:g}" + (f" of {row['against']}" if row["against"] else f" {row['unit']}")


def _measured(row):
    if row["measured"] is None:
        return "-"
    low, high = row["quartiles"]
    return f"{number(row['measured'])} ({number(low)} to {number(high)})"


def _verdict(row):
    """With a ~ where the quartiles lie on both sides of the target."""
    low, high = row["quartiles"] or (None, None)
    return row["verdict"] + (" ~" if low is not None and low < row["target"] < high else "")


def _ours(row):
    return number(row["ours"]) + (f" (else {number(row['itself'])})" if row["itself"] is not None else "")


def _rival(row):
    return f"{number(row['rival'])} ({row['best_rival']})" if row["best_rival"] else "-"


def figures_table(results):
    """All medians of all proxies."""
    names = [name for name in KINDS if any(name in row for row in results.values.values())]
    keys = [key for key, row in results.values.items() if any(name in row for name in names)]
    rows = []
    for key in keys:
        figure, rival, yardstick = results.figures[key], results.best_rival(key), results.best_yardstick(key)
        rows.append([figure.title, figure.unit, *(number(results.median(key, n)) for n in names),
                     _ratio(results.ratio(key, rival)) + (f" {rival}" if rival else ""), _ratio(results.ratio(key, yardstick))])
    return table(["", "unit", *(n if n != DIRECT else "none" for n in names), "of the best rival", "of the yardstick"], rows)


def _ratio(spread):
    return "-" if spread is None else f"{number(spread.median)} ({number(spread.low)} to {number(spread.high)})"


def itself_table(results):
    """Figures that compare mc-proxy with itself."""
    rows = []
    for key, row in results.values.items():
        if row and not set(row) & set(KINDS):
            base, other = list(row)
            rows.append([results.figures[key].title, results.figures[key].unit, f"{number(statistics.median(row[base]))} ({base})",
                         f"{number(statistics.median(row[other]))} ({other})", _ratio(results.ratio(key, base, other))])
    return table(["mc-proxy against itself", "unit", "one", "other", "other / one"], rows) if rows else ""


def run_line(results):
    """What it was measured on."""
    meta = results.meta
    versions = ", ".join(f"{name} {version}" for name, version in meta["versions"].items())
    counts = "" if meta["scale"] == 1 else f", counts times {meta['scale']:g} and {meta['many']:,} routes instead of a million"
    rate = f" Latencies at {meta['rate']:,} connections a second." if meta.get("rate") else ""
    return (f"{meta['date']}: {results.rounds} rounds{counts}, {meta['cpus']} CPUs ({meta['cpu']}), Linux {meta['kernel']}, load average "
            f"before {meta['load_average']:.2f}, {'real-time' if meta['realtime'] else 'ordinary'} priority; {versions}.{rate}")


def failures_text(results):
    if not results.failures:
        return "No measurement failed."
    return "Failed, and not counted:\n\n" + "\n".join(
        f"- round {f['round']}, {f['scenario']}, {f['contestant']}: {f['why']}" for f in results.failures)


def everything(results, plots=()):
    parts = [run_line(results), targets_table(targets.judge(results)), figures_table(results), itself_table(results),
             failures_text(results), *(f"![{title}]({path})" for title, path in plots)]
    return "\n\n".join(part for part in parts if part)


def write_between_marks(path, text):
    """Replace what is between the marks of a page; a page without marks is an error."""
    page = pathlib.Path(path).read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no place for figures: {BEGIN}")
    pathlib.Path(path).write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
