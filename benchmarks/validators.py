"""Rates of every validator on real crystals, and on broken ones as a control.

    python benchmarks/validators.py --data DIR [-n 2000] [--seed 0] [--only NAME ...] [--out FILE.json]

Draws n crystals with at most 40 sites from DIR/crystals.parquet, reduces each to its gene and decodes it (as a
proposal would be), and prints the share of PASS, FAIL and UNKNOWN as JSON and as a Markdown table. The control for
`distances` and `symmetry` is the same cell with its atoms at random places, for `charge_balance` the same crystal
with its elements permuted. `stability` is given the crystal's own formation energy with no uncertainty. `polytype`
is asked whether the crystal is one of *another* known crystal: each FAIL of a real phase is one that a run would
refuse.

`charge_balance` is also asked of every composition of DIR/crystals.parquet that is known from experiment with at
most 40 sites, by class of compounds, and of the same elements with their counts in another order, with shares of
oxidation states that were learnt from other chemical systems.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pymatgen.core import Lattice

from invdesign.benchmarking.run import write_record
from invdesign.chemistry.composition import integer_composition, reduced_formula
from invdesign.chemistry.families import anion_class
from invdesign.chemistry.oxidation import metals
from invdesign.crystal import Crystal
from invdesign.crystallography.genes import decode, encode
from invdesign.crystallography.matching import reduced, same
from invdesign.crystallography.polytypes import alike, surroundings
from invdesign.elements import atomic_numbers
from invdesign.protocols import Validator
from invdesign.records import Candidate, Evaluation, Status, Value
from invdesign.reference.local import LocalReference, load_known
from invdesign.training.charge_states import learn
from invdesign.validators import VALIDATORS
from invdesign.validators.charge_balance import ChargeBalance
from invdesign.validators.disorder import Disorder
from invdesign.validators.distances import Distances
from invdesign.validators.novelty import Novelty
from invdesign.validators.polytype import Polytype
from invdesign.validators.stability import Stability
from invdesign.validators.symmetry import Symmetry
from invdesign.validators.uniqueness import Uniqueness

HALIDES, CHALCOGENIDES = ("fluoride", "chloride", "bromide", "iodide"), ("sulfide", "selenide", "telluride")
CLASSES = {
    **dict.fromkeys(HALIDES, "halide"),
    **dict.fromkeys(CHALCOGENIDES, "chalcogenide"),
    **dict.fromkeys(("germanide", "antimonide"), "intermetallic"),
}
"""Classes of compounds that take in several families of `anion_class`; the others keep their name."""
ELECTROPOSITIVE = atomic_numbers(["Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "Sr", "Ba", "Eu", "Yb"])
ZINTL = atomic_numbers(["Al", "Ga", "In", "Tl", "Si", "Ge", "Sn", "Pb", "P", "As", "Sb", "Bi"])
"""A Zintl phase is made of both of these and of nothing else: an electropositive metal, and elements of groups 13
to 15 that form polyanions."""

Composition = tuple[tuple[int, int], ...]
"""Atomic number and count of every element, reduced."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds crystals.parquet")
    parser.add_argument("-n", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    names = [name for name in VALIDATORS if name != "dynamics"]  # that has a script of its own
    parser.add_argument("--only", nargs="+", default=names, choices=names)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    options = parser.parse_args()
    crystals = pd.read_parquet(options.data / "crystals.parquet").query("n_sites <= 40")
    table = crystals.sample(min(options.n, len(crystals)), random_state=options.seed)
    rows, groups = real_rows(table)
    result = {
        "protocol": {"n": len(rows), "seed": options.seed, "data": "crystals.parquet, at most 40 sites"},
        "rates": rates(rows, groups, options.only, options.seed),
    }
    if "charge_balance" in options.only:
        experimental = crystals[crystals.experimental == True]  # noqa: E712
        result["compositions"] = by_class(experimental.atomic_numbers, options.seed)
    text = json.dumps(result, indent=1)
    print(text)
    print(markdown(result["rates"]))
    if "compositions" in result:
        print(class_table(result["compositions"]))
    if options.out:
        write_record(
            options.out,
            result,
            options.seed,
            ("hull.parquet", "known_crystals.parquet", "wyckoff.npz", "charge_states.npz"),
        )


def real_rows(table: pd.DataFrame) -> tuple[list[Evaluation], dict[str, np.ndarray[Any, Any]]]:
    """Rows as the pipeline would make them, and the masks of the groups to report apart."""
    reference, rows = LocalReference(), []
    for record in table.itertuples():
        lattice = Lattice.from_parameters(*record.lattice_parameters).matrix
        source = Crystal(lattice, record.atomic_numbers, np.asarray(record.frac_coords).reshape(-1, 3))
        crystal = decode([encode(source)], source=record.material_id)[0]
        energy = record.formation_energy_per_atom
        above = None if np.isnan(energy) else reference.energy_above_hull(crystal, Value(energy, 0.0))
        candidate = Candidate(record.material_id, crystal, "", "")
        rows.append(Evaluation(candidate, energy_above_hull=above))
    groups = {
        "all": np.ones(len(rows), dtype=bool),
        "experimental": (table.experimental == True).to_numpy(),  # noqa: E712
        "within 0.1 eV/atom": (table.energy_above_hull <= 0.1).to_numpy(),
    }
    return rows, groups


class Others:
    """The known crystals without the one that is asked about and those that are the same."""

    def polytype(self, crystal: Crystal) -> str | None:
        """Id of another known crystal of which the crystal is a polytype, or None."""
        known, mine = load_known(), reduced(crystal)
        around = surroundings(mine)
        for row, other in known.structures(known.rows_of_formula(reduced_formula(crystal.numbers))):
            if other is None or known.id(row) == crystal.source or not alike(around, surroundings(other)):
                continue
            if not same(mine, other):
                return known.id(row)
        return None


def rates(
    rows: list[Evaluation], groups: dict[str, np.ndarray[Any, Any]], names: list[str], seed: int
) -> dict[str, Any]:
    """Shares of the three answers by validator and group, with the controls and the time for one crystal."""
    reference = LocalReference()
    controls: dict[str, Callable[[Crystal, np.random.Generator], Crystal]] = {
        "distances": scattered, "symmetry": scattered, "charge_balance": permuted,
    }  # fmt: skip
    validators: list[Validator] = [
        Distances(), ChargeBalance(), Symmetry(), Stability(), Uniqueness(), Novelty(reference),
        Polytype(Others()), Disorder(reference),
    ]  # fmt: skip
    found: dict[str, Any] = {}
    for validator in (validator for validator in validators if validator.name in names):
        rng = np.random.default_rng(seed)
        validator.check(rows[0])
        if isinstance(validator, Uniqueness):
            validator.reset()
        start = time.process_time()
        verdicts = [validator.check(row) for row in rows]
        seconds = time.process_time() - start
        answers = np.array([verdict.status for verdict in verdicts])
        entry: dict[str, Any] = {name: shares(answers[mask]) for name, mask in groups.items()}
        if validator.name in controls:
            broken = (with_crystal(row, controls[validator.name](row.crystal, rng)) for row in rows)
            entry["control"] = shares([validator.check(row).status for row in broken])
        entry["ms"] = round(1000 * seconds / len(rows), 2)
        entry["reasons"] = common_reasons(verdict.reason for verdict in verdicts)
        found[validator.name] = entry
    return found


def class_of(elements: set[int]) -> str:
    """The class of compounds that a set of elements belongs to."""
    if elements <= ELECTROPOSITIVE | ZINTL and elements & ELECTROPOSITIVE and elements & ZINTL:
        return "Zintl phase"
    family = anion_class(elements)
    return CLASSES.get(family, family)


def by_class(cells: Iterable[np.ndarray[Any, Any]], seed: int) -> dict[str, Any]:
    """Answers of `charge_balance` by class of compounds: of real compositions, and with their counts exchanged.

    Args:
        cells: atomic numbers of the atoms of each crystal; every reduced composition counts once.
        seed: of the exchange.

    Returns:
        For each class, the most frequent first, and for `all`: `n`, shares of the answers for real compositions,
        `of_shuffled` and shares for `shuffled` ones. Shuffled are the compositions that hold a non-metal and have
        different counts: the counts are given to the elements in another order, drawn at random.
    """
    rng = np.random.default_rng(seed)
    real: dict[str, list[str]] = {"all": []}
    shuffled: dict[str, list[str]] = {"all": []}
    compositions = sorted({tuple(integer_composition(cell).items()) for cell in cells})
    rules = halves(compositions, seed)
    for composition in compositions:
        elements, rule = {number for number, _ in composition}, rules[system_of(composition)]
        where = ("all", class_of(elements))
        for name in where:
            real.setdefault(name, []).append(judged(composition, rule))
        other = exchanged(composition, rng)
        if other is not None and not elements <= metals():
            for name in where:
                shuffled.setdefault(name, []).append(judged(other, rule))
    order = sorted(real, key=lambda name: -len(real[name]))
    return {
        name: {
            "n": len(real[name]),
            **shares(real[name]),
            "of_shuffled": len(shuffled.get(name, ())),
            "shuffled": shares(shuffled.get(name, ())),
        }
        for name in order
    }


def system_of(composition: Composition) -> tuple[int, ...]:
    return tuple(number for number, _ in composition)


def halves(compositions: list[Composition], seed: int) -> dict[tuple[int, ...], ChargeBalance]:
    """For every chemical system the rule whose shares were learnt from the half of them that it is not in."""
    systems = sorted({system_of(each) for each in compositions})
    half = dict(zip(systems, (np.random.default_rng(seed).random(len(systems)) < 0.5).tolist(), strict=True))
    rules = {
        left_out: ChargeBalance(states=learn(each for each in compositions if half[system_of(each)] != left_out))
        for left_out in (False, True)
    }
    return {system: rules[half[system]] for system in systems}


def judged(composition: Composition, rule: ChargeBalance) -> str:
    """The answer of `charge_balance`; it looks at nothing but the composition."""
    numbers = np.repeat([z for z, _ in composition], [n for _, n in composition])
    cell = Crystal(np.eye(3) * 10.0, numbers, np.zeros((len(numbers), 3)))
    return str(rule.check(Evaluation(Candidate("", cell, "", ""))).status)


def exchanged(composition: Composition, rng: np.random.Generator) -> Composition | None:
    """The counts given to the elements in another order; None where every order is the same."""
    counts = tuple(n for _, n in composition)
    others = sorted({order for order in permutations(counts) if order != counts})
    if not others:
        return None
    drawn = others[int(rng.integers(len(others)))]
    return tuple(zip((z for z, _ in composition), drawn, strict=True))


def class_table(found: dict[str, Any]) -> str:
    """One line per class: PASS / FAIL / UNKNOWN in per cent, real and shuffled."""
    lines = ["| class | n | real | shuffled |", "| --- | --- | --- | --- |"]
    for name, entry in found.items():
        cells = (" / ".join(f"{100 * each[s]:.1f}" for s in Status) for each in (entry, entry["shuffled"]))
        lines.append(f"| {name} | {entry['n']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def shares(answers: Iterable[str]) -> dict[str, float]:
    counts = Counter(str(answer) for answer in answers)
    total = sum(counts.values())
    return {str(status): round(counts[str(status)] / max(total, 1), 4) for status in Status}


def common_reasons(reasons: Iterable[str]) -> dict[str, int]:
    words = (reason for reason in reasons if reason and not any(char.isdigit() for char in reason))
    return dict(Counter(words).most_common(5))


def with_crystal(row: Evaluation, crystal: Crystal) -> Evaluation:
    return replace(row, candidate=replace(row.candidate, crystal=crystal))


def scattered(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """The same cell and gene with every atom at a random place."""
    return replace(crystal, frac_coords=rng.random((crystal.n_sites, 3)))


def permuted(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """The same crystal with its elements exchanged for each other."""
    elements = np.unique(crystal.numbers)
    shuffled = dict(zip(elements.tolist(), rng.permutation(elements).tolist(), strict=True))
    return replace(crystal, numbers=np.array([shuffled[z] for z in crystal.numbers.tolist()]))


def markdown(found: dict[str, Any]) -> str:
    """One line per validator: PASS / FAIL / UNKNOWN in per cent."""
    columns = ("all", "experimental", "within 0.1 eV/atom", "control")
    lines = ["| validator | " + " | ".join(columns) + " | ms |", "| --- |" + " --- |" * (len(columns) + 1)]
    for name, entry in found.items():
        given = (entry.get(column, {}).values() for column in columns)
        cells = " | ".join(" / ".join(f"{100 * share:.1f}" for share in values) for values in given)
        lines.append(f"| `{name}` | {cells} | {entry['ms']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
