"""Validators of crystals: one file each, one line each in the table.

A validator has a `name` and `check(row: Evaluation) -> Verdict`. To add one, write a file and add its line.
"""

from __future__ import annotations

VALIDATORS: dict[str, str] = {
    "distances": "invdesign.validators.distances:Distances",
    "charge_balance": "invdesign.validators.charge_balance:ChargeBalance",
    "symmetry": "invdesign.validators.symmetry:Symmetry",
    "uniqueness": "invdesign.validators.uniqueness:Uniqueness",
    "novelty": "invdesign.validators.novelty:Novelty",
    "disorder": "invdesign.validators.disorder:Disorder",
    "stability": "invdesign.validators.stability:Stability",
}
"""Name to `module:class`, from cheap to dear; `novelty` and `disorder` are given a reference."""
