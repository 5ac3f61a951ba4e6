"""Write the table *What to expect* of the README from the records in `benchmarks/results`.

Run: python docs/generate/readme.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from generate.templates import render

README = Path(__file__).parents[2] / "README.md"
TABLE = Path(__file__).with_name("figures.md")
BEGIN, END = "<!-- figures: python docs/generate/readme.py -->\n", "<!-- end of figures -->\n"


def filled(text: str) -> str:
    """The README's text with its table made anew.

    Raises:
        ValueError: if the marks around the table are missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the README lacks the marks around its table of figures")
    table = render(TABLE.read_text(encoding="utf-8"))
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
