"""What a paragraph of synthesis names: materials, steps, temperatures, durations and gases, found by rules.

A material is a formula that can be read, a name such as `barium carbonate` or `alumina`, or an element by name. A
step is a word such as `calcined`. Quantities of a rate (`5 °C/min`) or a pressure are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from invdesign.chemistry.element_features import element_features
from invdesign.elements import SYMBOLS
from invdesign.errors import InputError
from invdesign.synthesis.formulas import parse_formula, without_water

TRIVIAL = {
    "alumina": "Al2O3", "silica": "SiO2", "titania": "TiO2", "zirconia": "ZrO2", "magnesia": "MgO",
    "hafnia": "HfO2", "ceria": "CeO2", "yttria": "Y2O3", "graphite": "C", "carbon black": "C", "carbon": "C",
    "acetylene black": "C", "quartz": "SiO2",
}  # fmt: skip
_STATES = {"Fe": 3, "Co": 2, "Ni": 2, "Mn": 2, "Cu": 2, "Pb": 2, "Sn": 2, "Eu": 3, "Cr": 3, "Ce": 3, "Ti": 4}
"""Charge of the cation of salts that a name leaves open."""
_OXIDES = {"Fe": "Fe2O3", "Co": "Co3O4", "Mn": "MnO2", "Pb": "PbO", "Sn": "SnO2", "Ce": "CeO2", "Pr": "Pr6O11",
           "Tb": "Tb4O7", "V": "V2O5", "Cr": "Cr2O3", "Cu": "CuO"}  # fmt: skip
_ANIONS = {"oxide": ("O", 2), "carbonate": ("CO3", 2), "nitrate": ("NO3", 1), "acetate": ("CH3COO", 1),
           "hydroxide": ("OH", 1), "chloride": ("Cl", 1), "fluoride": ("F", 1), "sulfide": ("S", 2),
           "sulphide": ("S", 2), "oxalate": ("C2O4", 2), "nitride": ("N", 3), "sulfate": ("SO4", 2)}  # fmt: skip
_COUNTED = {"monoxide": "O", "dioxide": "O2", "trioxide": "O3", "disulfide": "S2"}
_UNITS = {"In", "As", "At", "I", "He", "No", "Be", "Am", "Os", "Po", "Ho", "Pa"}
"""Symbols that are words or units: no material by themselves."""
GASES = {
    "air": r"\bair\b", "hydrogen": r"\bH2\b|\bhydrogen\b|\bforming gas\b", "oxygen": r"\bO2\b|\boxygen\b",
    "ammonia": r"\bNH3\b|\b(?:in|flowing|under) ammonia\b", "argon": r"\bAr\b|\bargon\b",
    "nitrogen": r"\bN2\b|\bnitrogen\b(?!-filled)", "vacuum": r"\bvacuum\b|\bevacuated\b",
}  # fmt: skip
KINDS = {
    "heating": r"calcin(?:ed|ation|ing|ated)|(?:pre-?)?sinter(?:ed|ing)|anneal(?:ed|ing)|(?:pre|re)?heated"
               r"|heating(?! rate)|heat[- ]treat(?:ed|ment)|(?:pre|re)?fired|firing|melt(?:ed|ing)|furnace(?!,)"
               r"|hot[- ]press(?:ed|ing)|nitrid(?:ed|ing)|carburi[sz](?:ed|ing)|reacting|reacted|crystalli[sz]ed",
    "mixing": r"(?:inter)?mix(?:ed|ing)|blend(?:ed|ing)|homogeni[sz](?:ed|ing)|stirr(?:ed|ing)",
    "grinding": r"(?:re)?ground|(?:re-?)?grind(?:ing|ed)?|(?:re-?)?mill(?:ed|ing)|crush(?:ed|ing)|pulveri[sz]ed",
    "dissolving": r"dissolv(?:ed|ing)",
    "drying": r"(?:pre-)?dried|drying|evaporat(?:ed|ion|ing)",
    "shaping": r"press(?:ed|ing)|pelleti[sz](?:ed|ing)|compact(?:ed|ing)",
    "cooling": r"cool(?:ed|ing)|quench(?:ed|ing)",
    "washing": r"wash(?:ed|ing)|rins(?:ed|ing)",
}  # fmt: skip
_IMPLIED = {"grinding": r"\bmortar\b", "mixing": r"\b(?:turbula|shaker|mixer)\b"}
"""Words that stand for a step in a sentence that names none of its kind."""
_STEP = re.compile("|".join(rf"(?P<{kind}>\b(?:{words})\b)" for kind, words in KINDS.items()), re.I)
_SKIPPED = re.compile(r"(?:before|prior to|as|cold[- ])\s*$", re.I)
_NUMBER = r"\d+(?:\.\d+)?"
_TEMPERATURE = re.compile(
    rf"(?:(?P<low>{_NUMBER})\s*(?:°\s?C|K)?\s*(?:-|–|to|and)\s*)?(?P<t>{_NUMBER})\s*(?P<unit>°\s?C|℃|ºC|K)"
    r"(?![\w/])(?!\s*/|\s*min)"
)
_TIME = re.compile(rf"(?P<n>{_NUMBER})\s*(?P<unit>hours?|hrs?|h|minutes?|mins?|days?|d|weeks?|s)\b(?!\s*/)")
_HOURS = {"h": 1.0, "m": 1.0 / 60.0, "d": 24.0, "w": 168.0, "s": 1.0 / 3600.0}
_VESSEL = re.compile(r"[ -](?:crucible|ball|boat|tube|ampoule|media|jar|lid|vial|mortar|rich|filled)")
_FORMULA = re.compile(r"(?<![\w°.])\(?[A-Z](?:[A-Za-z0-9().\[\]]|[·•⋅*](?=[\dxnH]))*")


@dataclass(frozen=True)
class Material:
    """A material that a text names.

    Attributes:
        start: place of its first character.
        end: place behind its last.
        formula: without water of hydration.
        named: whether it was given by name.
    """

    start: int
    end: int
    formula: str
    named: bool = False


@dataclass(frozen=True)
class Event:
    """A step or a quantity that a text names.

    Attributes:
        start: place of its first character.
        kind: one of `KINDS`, or `temperature` (°C), `hours`, `gas`.
        word: as it stands in the text.
        value: of a quantity.
    """

    start: int
    kind: str
    word: str
    value: float = 0.0


@cache
def element_names() -> dict[str, str]:
    """Name of an element, in lower case and both spellings, to its symbol."""
    from pymatgen.core import Element

    found = {Element(symbol).long_name.lower(): symbol for symbol in SYMBOLS[:103]}
    return found | {"aluminium": "Al", "sulphur": "S", "caesium": "Cs", "zirconyl": "Zr", "ammonium": "N"}


@cache
def _names() -> re.Pattern[str]:
    salts = "|".join([*_ANIONS, *_COUNTED, "pentoxide", "sesquioxide"])
    metals = "|".join(sorted(element_names(), key=len, reverse=True))
    return re.compile(
        rf"\b(?P<trivial>{'|'.join(sorted(TRIVIAL, key=len, reverse=True))})\b"
        rf"|\b(?P<metal>{metals})(?:\s*\([IV]+\))?(?:\s+(?P<salt>{salts})s?)?\b",
        re.I,
    )


def materials(text: str) -> list[Material]:
    """Materials of a text in order, but for what vessels and tools are made of."""
    found = [each for each in (*_formulas(text), *_by_name(text)) if not _VESSEL.match(text, each.end)]
    return sorted(found, key=lambda each: each.start)


def _formulas(text: str) -> Iterator[Material]:
    for match in _FORMULA.finditer(text):
        word = match.group().rstrip(".")
        start = match.start()
        if re.fullmatch(r"\([^()]+\)", word):
            word, start = word[1:-1], start + 1
        while word.startswith("(") and word.count("(") > word.count(")"):
            word, start = word[1:], start + 1
        while word.endswith(")") and word.count(")") > word.count("("):
            word = word[:-1]
        before = text[max(0, start - 8) : start]
        if formula := _readable(word, before):
            yield Material(start, start + len(word), formula)


def _readable(word: str, before: str) -> str:
    """The formula of a word without its water; empty if it is none."""
    try:
        amounts = parse_formula(word)
    except InputError:
        return ""
    if word in ("Ar", "O2", "N2", "H2", "NH3"):
        return ""  # a gas
    if len(amounts) == 1 and (word in _UNITS or word not in SYMBOLS or re.search(r"\d\s*[°º]?\s?$", before)):
        return ""
    if re.fullmatch(r"[A-Z]{2,}", word) and word not in ("BN", "WC", "SiC", "NO", "PN", "BP", "VN", "VC", "CO"):
        return ""  # an abbreviation
    return without_water(word) if set(amounts) - {"H", "O"} or len(amounts) == 1 else ""


def _by_name(text: str) -> Iterator[Material]:
    for match in _names().finditer(text):
        if match["trivial"]:
            formula = TRIVIAL[match["trivial"].lower()]
        else:
            formula = named_formula(match["metal"].lower(), (match["salt"] or "").lower())
        if formula:
            yield Material(match.start(), match.end(), formula, True)


def named_formula(metal: str, salt: str) -> str:
    """The formula of a compound by name, empty if it is not known; an element for an empty `salt`.

    Args:
        metal: name of an element in lower case, or `zirconyl`.
        salt: such as `oxide`, `dioxide`, `carbonate`.
    """
    symbol = element_names()[metal]
    if metal == "zirconyl":
        return "ZrO(NO3)2" if salt == "nitrate" else ""
    if not salt:
        return "" if symbol in ("N", "O", "H", "Ar", "He", "C") else symbol
    if salt in _COUNTED:
        return symbol + _COUNTED[salt]
    if salt in ("pentoxide", "sesquioxide"):
        return f"{symbol}2O{5 if salt == 'pentoxide' else 3}"
    if salt == "oxide" and symbol in _OXIDES:
        return _OXIDES[symbol]
    anion, charge = _ANIONS[salt]
    common = element_features().column("oxidation_common")[SYMBOLS.index(symbol) + 1]
    state = _STATES.get(symbol, round(float(common)))
    return "" if state < 1 else _salt(symbol, state, anion, charge)


def _salt(symbol: str, state: int, anion: str, charge: int) -> str:
    from math import gcd

    divisor = gcd(state, charge)
    metals, anions = charge // divisor, state // divisor
    tail = (
        anion if anions == 1 else f"({anion}){anions}" if len(anion) > 2 or anion == "OH" else f"{anion}{anions}"
    )
    return f"{symbol}{metals if metals > 1 else ''}{tail}"


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Start and text of each sentence."""
    start = 0
    for match in re.finditer(r"(?<=[.;!?])\s+(?=[A-Z0-9])|\n+", text):
        yield start, text[start : match.start()]
        start = match.end()
    yield start, text[start:]


def events(sentence: str) -> list[Event]:
    """Steps and quantities of a sentence in order."""
    found = [
        Event(m.start(), str(m.lastgroup), m.group().lower())
        for m in _STEP.finditer(sentence)
        if not _skipped(sentence, m)
    ]
    for kind, words in _IMPLIED.items():
        match = re.search(words, sentence, re.I)
        if match and not any(each.kind == kind or each.kind == "grinding" for each in found):
            found.append(Event(match.start(), kind, match.group().lower()))
    for m in _TEMPERATURE.finditer(sentence):
        value = float(m["t"]) if m["low"] is None else (float(m["low"]) + float(m["t"])) / 2.0
        found.append(Event(m.start(), "temperature", m.group(), value - 273.0 if m["unit"] == "K" else value))
    for m in _TIME.finditer(sentence):
        found.append(Event(m.start(), "hours", m.group(), float(m["n"]) * _HOURS[m["unit"][0]]))
    for gas, words in GASES.items():
        found += [Event(m.start(), "gas", gas) for m in re.finditer(words, sentence)]
    return sorted(found, key=lambda each: each.start)


def _skipped(sentence: str, match: re.Match[str]) -> bool:
    """Whether a step only places another in time (`before firing`), or is part of a name."""
    word = match.group().lower()
    before = sentence[: match.start()]
    if re.search(r"(?:before|prior to)\s*$", before, re.I) and word.endswith("ing"):
        return True
    return word == "furnace" and bool(re.search(r"\b(?:with|in) the\s*$", before, re.I)) and "°" not in sentence
