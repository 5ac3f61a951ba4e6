"""Numbers as people write them: digits by the error, units in headings, ratios and chances in words.

For the terminal, the report and tables that people read; files for machines keep all digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from invdesign.properties import get_property
from invdesign.records import Status, Value

FRACTIONS = {0.5: "half", 1 / 3: "a third of", 0.25: "a quarter of", 0.2: "a fifth of"}
"""Ratios that have a word; `half the`, `a third of the`."""


def with_error(mean: float, std: float, unit: str = "") -> str:
    """A number with its standard deviation: `0.21 ± 0.03`, `271 ± 22 GPa`, `1,230 ± 120`.

    The error has one significant digit, or two where the first is 1 or 2 (Particle Data Group's habit,
    simplified), and the number ends at the same place. Without an error the number has three significant
    digits.
    """
    tail = f" {unit}" if unit else ""
    if not math.isfinite(mean):
        return "unknown"
    if not math.isfinite(std) or std <= 0.0:
        return significant(mean) + tail
    decimals = _decimals(std)
    number, error = _fixed(mean, decimals), _fixed(std, decimals)
    return f"{number} ± {error}{tail}"


def value_text(name: str, value: Value, unit: bool = True) -> str:
    """A property's value with its error, and the unit if asked for."""
    return with_error(value.mean, value.std, get_property(name).unit if unit else "")


def rounded(mean: float, std: float) -> tuple[str, str]:
    """A number and its error as `with_error` rounds them, without separators: what a cell of a CSV holds.

    Without an error the number has six significant digits and the error is as it is.
    """
    if not math.isfinite(mean):
        return "", ""
    if not math.isfinite(std) or std <= 0.0:
        return f"{mean:.6g}", "" if math.isnan(std) else f"{std:g}"
    decimals = _decimals(std)
    return _fixed(mean, decimals).replace(",", ""), _fixed(std, decimals).replace(",", "")


def significant(x: float, digits: int = 3) -> str:
    """A number to some significant digits: `0.0123`, `45.7`, `12,300`, `1.5e-9`."""
    if not math.isfinite(x):
        return "unknown"
    if x == 0.0:
        return "0"
    place = math.floor(math.log10(abs(float(f"{x:.{digits - 1}e}"))))
    if not -4 < place < 7:
        mantissa, exponent = f"{x:.{digits - 1}e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return _fixed(x, digits - 1 - place)


def heading(name: str) -> str:
    """What stands over a column: `bulk modulus K (GPa)`, `Poisson's ratio ν`."""
    prop = get_property(name)
    label = prop.label if prop.symbol in prop.label else f"{prop.label} {prop.symbol}"
    return f"{label} ({prop.unit})" if prop.unit else label


def percent(chance: float) -> str:
    """A probability: `73 %`, `more than 99 %`, `less than 1 %`."""
    if 0.01 <= chance <= 0.99:
        return f"{chance:.0%}".replace("%", " %")
    return "more than 99 %" if chance > 0.5 else "less than 1 %"


def times(ratio: float) -> str:
    """A ratio before a noun: `about the same`, `20 % more`, `three times the`, `half the`, `a third of the`.

    Rounded to what a person would say: below a tenth nothing is said, up to double in percent, then in times.
    """
    if not math.isfinite(ratio) or ratio <= 0.0:
        return "an unknown"
    if 1 / 1.1 < ratio < 1.1:
        return "about the same"
    if 1.1 <= ratio < 1.9:
        return f"{round(20 * (ratio - 1)) * 5} % more"
    if ratio >= 1.9:
        words = {2: "twice the", 3: "three times the", 4: "four times the", 5: "five times the"}
        return words.get(round(ratio), f"{_round_two(ratio)} times the")
    nearest = min(FRACTIONS, key=lambda f: abs(math.log(ratio / f)))
    if abs(math.log(ratio / nearest)) < 0.15:
        return f"{FRACTIONS[nearest]} the"
    if ratio > 0.55:
        return f"{round(20 * (1 - ratio)) * 5} % less"
    return f"1/{_round_two(1 / ratio)} of the"


STATUS_WORDS: Mapping[Status, str] = {
    Status.PASS: "passed",
    Status.FAIL: "failed",
    Status.UNKNOWN: "could not be decided",
}


def verdict_text(name: str, status: Status, reason: str = "") -> str:
    """A verdict in words: `charge balance could not be decided (metallic)`."""
    return f"{name.replace('_', ' ')} {STATUS_WORDS[status]}{f' ({reason})' if reason else ''}"


def _decimals(std: float) -> int:
    """Decimal places at which a number with this error ends; negative: tens, hundreds, …"""
    mantissa, exponent = f"{std:.1e}".split("e")
    if float(mantissa) < 3.0:
        return 1 - int(exponent)
    return -int(f"{std:.0e}".split("e")[1])


def _fixed(x: float, decimals: int) -> str:
    rounded = round(x, decimals)
    text = f"{rounded:,.{max(decimals, 0)}f}"
    return text.removeprefix("-") if float(rounded) == 0.0 else text


def _round_two(x: float) -> str:
    return significant(x, 2) if x >= 10 else f"{x:.1f}".removesuffix(".0")
