"""Licences of everything in an environment: fails where one is not known to fit beside this project's MIT.

    python .ci/licences.py     # the environment of that python

Names come from the packages' own metadata (licence expression, classifiers, licence field, in this order).
Copyleft that ends at the library (LGPL, MPL) fits, because nothing of it is copied; GPL and AGPL do not.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import distributions

FITS = re.compile(
    r"\b(MIT(-0|-CMU)?|BSD|0BSD|Apache|ISC|MPL|Mozilla Public|LGPL\w*|Lesser General|PSF|PSFL|Python Software|"
    r"Unlicense|CC0|Zlib|HPND|CNRI|Historical Permission)\b",
    re.IGNORECASE,
)
DOES_NOT = re.compile(r"\bA?GPL|(?<!Lesser )General Public|Affero|Proprietary|Commercial", re.IGNORECASE)
BY_HAND = {
    "axe-playwright-python": "MIT",  # its licence file; the axe-core in it is MPL-2.0
    "graphemeu": "MIT",  # its licence file
    "matminer": "BSD-3-Clause-LBNL",  # its licence file
    "symfc": "BSD-3-Clause",  # its licence file
    "invdesign": "MIT",
}
"""Packages whose metadata say nothing that can be read, with what their licence file says."""


def licence(name: str, expression: str, classifiers: Iterable[str], field: str) -> str:
    """What a package's metadata say, in one line."""
    known = [text.split("::")[-1].strip() for text in classifiers if text.startswith("License ::")]
    named = expression or " / ".join(text for text in known if text != "OSI Approved")
    return named or field.strip().split("\n")[0][:80] or BY_HAND.get(name.lower(), "")


def fits(text: str) -> bool:
    """Whether one of the licences that are offered (A OR B, A / B) fits."""
    offered = re.split(r"\bor\b|/|;", text, flags=re.IGNORECASE)
    return any(FITS.search(each) and not DOES_NOT.search(FITS.sub("", each)) for each in offered)


def main() -> int:
    """Say what is found; 1 where a licence does not fit."""
    found = {}
    for each in distributions():
        about = each.metadata
        name = about["Name"]
        expression, field = about.get("License-Expression") or "", about.get("License") or ""
        text = licence(name, expression, about.get_all("Classifier") or [], field)
        found[name] = text if fits(text) else BY_HAND.get(name.lower(), text)
    wrong = {name: text for name, text in found.items() if not fits(text)}
    for name, text in sorted(wrong.items()):
        print(f"{name}: {text or 'no licence in its metadata'} does not fit, or is not known to", file=sys.stderr)
    kinds = Counter(found.values()).most_common(4)
    print(f"{len(found)} packages, {len(wrong)} with a licence that does not fit; most: {dict(kinds)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
