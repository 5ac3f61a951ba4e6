"""Validators of crystals: one file each, one line each in the table.

A validator has a `name` and `check(row: Evaluation) -> Verdict`. To add one, write a file and add its line, which
says when it judges and what it is made with (`invdesign.catalogue`).
"""

from __future__ import annotations

from invdesign.catalogue import ValidatorPart

_HERE = "invdesign.validators"

VALIDATORS: dict[str, ValidatorPart] = {
    "distances": ValidatorPart(
        f"{_HERE}.distances:Distances",
        "no atoms on top of each other, no crushed or flat cell",
        ("screen", "check"),
    ),
    "charge_balance": ValidatorPart(
        f"{_HERE}.charge_balance:ChargeBalance", "known oxidation states can sum to zero", ("screen", "check")
    ),
    "symmetry": ValidatorPart(
        f"{_HERE}.symmetry:Symmetry", "the space group asked for is the one found", ("inspection", "check")
    ),
    "uniqueness": ValidatorPart(f"{_HERE}.uniqueness:Uniqueness", "the same did not come before", ("uniqueness",)),
    "novelty": ValidatorPart(
        f"{_HERE}.novelty:Novelty", "not among the known crystals", ("inspection", "check"), ("reference",)
    ),
    "polytype": ValidatorPart(
        f"{_HERE}.polytype:Polytype",
        "not another stacking of a known crystal",
        ("inspection", "check"),
        ("reference",),
    ),
    "disorder": ValidatorPart(
        f"{_HERE}.disorder:Disorder",
        "not an ordered version of a solid solution",
        ("inspection", "check"),
        ("reference",),
    ),
    "stability": ValidatorPart(
        f"{_HERE}.stability:Stability", "close enough to the convex hull", ("check",), ("limit", "reference")
    ),
    "dynamics": ValidatorPart(
        f"{_HERE}.dynamics:Dynamics",
        "comes back when it is shaken and relaxed without symmetry",
        ("listing",),
        ("relaxer",),
    ),
}
"""Name to part, from cheap to dear: the order in which they judge."""
