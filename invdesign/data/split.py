"""Training, validation and test sets that share no chemical system, the same for every model of the project.

Polymorphs, and one crystal under two names, would leak between sets that are drawn crystal by crystal. Here a hash
of the chemical system decides, so adding rows moves none of the others, and a model trained elsewhere by the same
rule has never seen this test set.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from invdesign.errors import InputError, TrainingError

NAMES = ("train", "valid", "test")
_NAMED = 3
"""How many leaking groups an error names."""


def by_chemical_system(
    systems: Iterable[str], fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
) -> NDArray[np.str_]:
    """Assign every row to a set by its chemical system alone.

    The fractions hold for the chemical systems, and for the rows only on average.

    Args:
        systems: (n_rows,) chemical systems such as `B-Ti`; the order of the symbols does not matter.
        fractions: shares of train, valid and test; they add up to one.
        seed: salt of the hash. All models of the project use 0; another gives an independent split.

    Returns:
        (n_rows,) of `train`, `valid`, `test`.

    Raises:
        InputError: if the fractions are not three shares of one, or a system is empty.
    """
    shares = [float(f) for f in fractions]
    if len(shares) != len(NAMES) or min(shares) < 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-9):
        raise InputError("fractions", tuple(fractions), "three numbers from 0 to 1 that add up to 1")
    edges = np.cumsum(shares[:-1])
    rows = [str(s) for s in systems]
    chosen = {s: NAMES[int(np.searchsorted(edges, _position(s, seed), side="right"))] for s in set(rows)}
    return np.array([chosen[s] for s in rows], dtype="<U5")


def assert_no_leakage(splits: Sequence[str] | NDArray[np.str_], **groups: Iterable[Hashable]) -> None:
    """Prove that no group stands in two sets.

        assert_no_leakage(splits, chemical_system=frame.chemical_system, formula=frame.formula)

    Args:
        splits: (n_rows,) the set of each row.
        **groups: by name, (n_rows,) the group of each row.

    Raises:
        TrainingError: if a group stands in two sets; the message names the group and its sets.
        InputError: if no groups are given, or one has another number of rows: that would prove nothing.
    """
    if not groups:
        raise InputError("groups", groups, "at least one column, such as chemical_system=…")
    sets = [str(s) for s in splits]
    for name, labels in groups.items():
        column = list(labels)
        if len(column) != len(sets):
            raise InputError(name, f"{len(column)} rows", f"as many as there are splits, {len(sets)}")
        where: dict[Hashable, set[str]] = {}
        for label, chosen in zip(column, sets, strict=True):
            where.setdefault(label, set()).add(chosen)
        leaks = [f"{label} ({', '.join(sorted(s))})" for label, s in where.items() if len(s) > 1]
        if leaks:
            shown = "; ".join(leaks[:_NAMED]) + ("; …" if len(leaks) > _NAMED else "")
            raise TrainingError(f"{len(leaks)} of {len(where)} {name} groups stand in more than one set: {shown}")


def _position(system: str, seed: int) -> float:
    """Where a chemical system falls in [0, 1): the first 53 bits of a salted SHA-256."""
    symbols = sorted(part for part in system.replace(" ", "").split("-") if part)
    if not symbols:
        raise InputError("chemical system", system, "symbols joined by -, such as B-Ti")
    digest = hashlib.sha256(f"{seed}:{'-'.join(symbols)}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53
