"""Puts the rows that EXHAUSTION_ROWS collected into docs/reliability.md, between its marks. Usage: reliability_table.py ROWS DOCUMENT"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from lib.figures import COLUMNS  # pylint: disable=wrong-import-position

BEGIN, END = "<!-- exhaustion: begin -->\n", "<!-- exhaustion: end -->\n"


def main(rows_path, document_path):
    with open(rows_path, encoding="utf-8") as f:
        rows = {cells[0]: cells for cells in map(json.loads, f)}  # of two measurements of one thing the later counts
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows.values()]
    table = "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
    with open(document_path, encoding="utf-8") as f:
        before, _, rest = f.read().partition(BEGIN)
    after = rest.partition(END)[2]
    with open(document_path, "w", encoding="utf-8") as f:
        f.write(before + BEGIN + table + END + after)


if __name__ == "__main__":
    main(*sys.argv[1:])
