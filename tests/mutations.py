"""Central formulas and rules, each with a fault that must not go unnoticed and the test that notices it.

    python tests/mutations.py

copies the tree, puts one fault after the other into the copy, and runs the named test file on it: a table of which
test caught which fault. `docs/testing.md` is this table.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
HOMES = {
    "generators": "invdesign/generators",
    "validators": "invdesign/validators",
    "configs": "invdesign/configs",
}


@dataclass(frozen=True)
class Mutation:
    """A fault.

    Attributes:
        rule: what it breaks, in words.
        file: where, from the top of the tree.
        right: the text that stands there, once.
        wrong: what it becomes.
        test: the test that fails then: file and function.
    """

    rule: str
    file: str
    right: str
    wrong: str
    test: str


MUTATIONS = (
    Mutation(
        "energy above hull: formation energy less that of the lowest mixture",
        "invdesign/reference/local.py",
        "mean=formation_energy.mean - mixture.energy,",
        "mean=formation_energy.mean + mixture.energy,",
        "tests/test_reference.py::test_energy_above_hull_carries_the_uncertainty_and_may_be_negative",
    ),
    Mutation(
        "the hull: a phase enters while it lowers the mixture",
        "invdesign/reference/hull.py",
        "if reduced[entering] > -_OPTIMAL:",
        "if reduced[entering] < _OPTIMAL:",
        "tests/test_reference.py::test_hull_by_hand",
    ),
    Mutation(
        "Born's criterion: the smallest eigenvalue is positive",
        "invdesign/mechanics/tensors.py",
        "return self.eigenvalues[0] > 0.0",
        "return self.eigenvalues[-1] > 0.0",
        "tests/test_mechanics.py::test_born_finds_each_cubic_instability",
    ),
    Mutation(
        "Voigt's shear modulus",
        "invdesign/mechanics/tensors.py",
        "+ 3.0 * np.trace(c[3:, 3:])) / 15.0",
        "+ 2.0 * np.trace(c[3:, 3:])) / 15.0",
        "tests/test_mechanics.py::test_summary_of_diamond_and_copper",
    ),
    Mutation(
        "Reuss's shear modulus",
        "invdesign/mechanics/tensors.py",
        "- 4.0 * off + 3.0",
        "- 3.0 * off + 3.0",
        "tests/test_mechanics.py::test_summary_of_diamond_and_copper",
    ),
    Mutation(
        "probability that a target holds: spread in log10, not in natural logarithms",
        "invdesign/uncertainty.py",
        "return math.log10(value.high / value.low) / (2.0 * Z90)",
        "return math.log(value.high / value.low) / (2.0 * Z90)",
        "tests/test_uncertainty.py::test_a_measured_value_keeps_its_error",
    ),
    Mutation(
        "order of selection: the chance of stability counts",
        "invdesign/engine/pipeline.py",
        "chance = target_probability(targets, rows[i].estimate) * stable",
        "chance = target_probability(targets, rows[i].estimate)",
        "tests/test_pipeline.py::test_score_is_a_chance_and_zero_for_rejects",
    ),
    Mutation(
        "decoding of genes: every atom of an orbit by its own map",
        "invdesign/crystallography/genes.py",
        "maps = table.map_start[positions][orbit] + within",
        "maps = table.map_start[positions][orbit] + 0 * within",
        "tests/test_genes.py::test_textbook_crystals_return",
    ),
    Mutation(
        "one key for equal genes: the smallest over all choices of origin",
        "invdesign/crystallography/genes.py",
        "return gene.space_group, min(tuple",
        "return gene.space_group, max(tuple",
        "tests/test_genes.py::test_equivalent_genes_are_the_same_crystal",
    ),
    Mutation(
        "charge balance: the charges sum to zero",
        "invdesign/chemistry/charge_states.py",
        "= {0: (0.0, ())}",
        "= {1: (0.0, ())}",
        "tests/test_validators.py::test_charge_balance_passes_salts_and_mixed_valence",
    ),
    Mutation(
        "charge balance: the charges are common in known compounds",
        "validators/charge_balance.py",
        "if found is not None and math.exp(found[0]) >= rule.least_likely:",
        "if found is not None:",
        "tests/test_charge_states.py::test_uncommon_charges_fail_and_are_named",
    ),
    Mutation(
        "novelty: a known crystal of the same formula and structure is found",
        "invdesign/reference/known.py",
        "if known is not None and same(structure, known):",
        "if known is not None and not same(structure, known):",
        "tests/test_reference.py::test_known_salt_is_found_in_any_cell_and_volume",
    ),
    Mutation(
        "uniqueness: the same crystal under another id is a duplicate",
        "validators/uniqueness.py",
        "if name != row.candidate.id and same(own.structure, other.structure)",
        "if name == row.candidate.id and same(own.structure, other.structure)",
        "tests/test_validators.py::test_uniqueness_fails_the_second_of_a_kind_only",
    ),
    Mutation(
        "calibration: the conformal quantile has rank ceil((n + 1) level)",
        "invdesign/surrogates/calibrate.py",
        "rank = int(np.ceil((len(scores) + 1) * level))",
        "rank = int(np.floor(len(scores) * level))",
        "tests/test_surrogates_parts.py::test_conformal_quantile_by_hand",
    ),
    Mutation(
        "hardness of Mazhnik and Oganov",
        "invdesign/mechanics/formulas.py",
        "- 8.5 * nu + 19.5 * nu**2",
        "- 8.5 * nu + 15.9 * nu**2",
        "tests/test_mechanics.py::test_formulas_give_the_golden_values",
    ),
    Mutation(
        "density: atomic mass units per Å³ in g/cm³",
        "invdesign/mechanics/derive.py",
        "/ crystal.volume * GRAM_PER_CM3)",
        "/ crystal.volume)",
        "tests/test_mechanics.py::test_derive_adds_every_derived_property",
    ),
)


def copy_tree(folder: Path) -> Path:
    """What git tracks of the tree, as it stands, with the packages where an installed invdesign has them."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True)
    for name in listed.stdout.split("\0"):
        source = ROOT / name
        if name and source.is_file():
            first, _, rest = name.partition("/")
            for target in {folder / name, folder / HOMES[first] / rest} if first in HOMES else {folder / name}:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
    return folder


def places(tree: Path, file: str) -> list[Path]:
    """Where a file of the tree stands in the copy."""
    first, _, rest = file.partition("/")
    return [tree / file, *([tree / HOMES[first] / rest] if first in HOMES else [])]


def passes(tree: Path, *tests: str) -> bool:
    """Whether tests of the copy pass, on the copy."""
    env = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0


def survives(tree: Path, mutation: Mutation) -> bool:
    """Whether the test of a mutation passes in spite of it."""
    found = places(tree, mutation.file)
    right = found[0].read_text(encoding="utf-8")
    if right.count(mutation.right) != 1:
        raise RuntimeError(f"{mutation.file}: {mutation.right!r} stands there {right.count(mutation.right)} times")
    for path in found:
        path.write_text(right.replace(mutation.right, mutation.wrong), encoding="utf-8")
    try:
        return passes(tree, mutation.test)
    finally:
        for path in found:
            path.write_text(right, encoding="utf-8")


def rows() -> Iterator[str]:
    """The table of `docs/testing.md`."""
    yield "| rule | the fault | test that fails |"
    yield "| --- | --- | --- |"
    for m in MUTATIONS:
        yield f"| {m.rule} | `{m.right}` becomes `{m.wrong}` in `{m.file}` | `{m.test}` |"


def main() -> int:
    """Print what became of every fault; 1 if one was not noticed."""
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_tree(Path(folder))
        if not passes(tree, *dict.fromkeys(m.test for m in MUTATIONS)):
            print("the tests fail without a fault, too")
            return 1
        unnoticed = 0
        for mutation in MUTATIONS:
            lives = survives(tree, mutation)
            unnoticed += lives
            print(f"{'NOT NOTICED' if lives else 'caught'}: {mutation.rule} ({mutation.test})", flush=True)
    return int(unnoticed > 0)


if __name__ == "__main__":
    sys.exit(main())
