"""The shipped reference: the convex hull and the known crystals, for every claim of stability and novelty."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from invdesign.chemistry.composition import chemical_system, reduced_formula
from invdesign.crystal import Crystal, FloatArray
from invdesign.elements import symbol
from invdesign.records import Value
from invdesign.reference.disorder import Ordering, possible_disorder
from invdesign.reference.formulas import load_computed, load_synthesised
from invdesign.reference.hull import Hull
from invdesign.reference.known import KnownCrystal, KnownCrystals
from invdesign.tables import path_of, unreadable

HULL_TABLE = "hull.parquet"
FORMULA_TABLE = "known_formulas.parquet"


class LocalReference:
    """The hull and the known crystals of the package's own tables; needs no network.

    Tables are read when they are first needed, once per process.
    """

    def energy_above_hull(self, crystal: Crystal, formation_energy: Value | None) -> Value | None:
        """Formation energy minus the lowest mixture of known phases at the crystal's composition.

        Zero for a phase on the hull, negative for a crystal below it (a new phase that would be stable, or a lower
        polymorph of a known one).

        Args:
            crystal: only its composition is used.
            formation_energy: on the scale of the hull (MP2020), eV/atom.

        Returns:
            eV/atom, with the spread and the interval of the formation energy; None if an element has no reference,
            or without a formation energy.
        """
        mixture = load_hull().mixture(crystal.numbers)
        if mixture is None or formation_energy is None:
            return None
        low, high = formation_energy.low, formation_energy.high
        return Value(
            mean=formation_energy.mean - mixture.energy,
            std=formation_energy.std,
            low=None if low is None else low - mixture.energy,
            high=None if high is None else high - mixture.energy,
            source=formation_energy.source,
        )

    def hull_energy(self, numbers: Iterable[int]) -> float | None:
        """Formation energy of the hull at the composition of these atoms, eV/atom; None without reference."""
        mixture = load_hull().mixture(numbers)
        return None if mixture is None else mixture.energy

    def hull_energies(self, compositions: Sequence[tuple[tuple[int, int], ...]]) -> FloatArray:
        """(n,) formation energies of the hull, eV/atom, NaN without reference; see `Hull.energies`."""
        return load_hull().energies(compositions)

    def decomposition(self, numbers: Iterable[int]) -> list[tuple[str, float]]:
        """Known phases that this composition would decompose into, with their share of the atoms."""
        mixture = load_hull().mixture(numbers)
        return [] if mixture is None else list(zip(mixture.phases, mixture.fractions, strict=True))

    def match(self, crystal: Crystal) -> str | None:
        """Id of a known crystal that is the same (see `invdesign.crystallography.matching`), or None.

        Raises:
            ValueError: if the cell cannot be reduced for comparison, or no known crystal holds one of its elements
                (Po, as the Materials Project's relaxations leave it out).
        """
        strange = sorted(set(crystal.numbers.tolist()) - load_known().elements)
        if strange:
            raise ValueError(f"no crystal with {', '.join(map(symbol, strange))} is among the known ones")
        return load_known().match(crystal)

    def phase_without_crystal(self, numbers: Iterable[int]) -> bool:
        """Whether a phase of this formula is known of which no crystal is among the known ones (as MgO)."""
        return reduced_formula(numbers) in load_formulas()

    def known_formula(self, numbers: Iterable[int]) -> bool:
        """Whether any known phase has the reduced formula of these atoms, its crystal at hand or not."""
        formula = reduced_formula(numbers)
        return load_known().has_formula(formula) or formula in load_formulas()

    def phases_of_system(self, numbers: Iterable[int]) -> int:
        """Number of known formulas with exactly these elements, with a crystal at hand or without."""
        system = chemical_system(list(numbers))
        return len(load_known().formulas_of_system(system)) + load_formulas_by_system().get(system, 0)

    def recipe_without_crystal(self, numbers: Iterable[int]) -> str | None:
        """DOI of a published recipe with this target, if no known crystal of the formula is known from experiment.

        Somebody has then made the composition, and which structure it took is not known here.
        """
        formula = reduced_formula(list(numbers))
        found = None if load_known().made(formula) else load_synthesised().get(formula, "doi")
        return None if found is None else str(found)

    def computed_elsewhere(self, numbers: Iterable[int]) -> bool:
        """Whether the OQMD has computed this formula, in whatever structure."""
        return reduced_formula(list(numbers)) in load_computed()

    def known_genes(self) -> Iterator[KnownCrystal]:
        """Every known crystal with its gene, in order of formula."""
        return iter(load_known())

    def polytype(self, crystal: Crystal) -> str | None:
        """Id of a known crystal of the same formula of which a crystal is a polytype, or None."""
        return load_known().polytype(crystal)

    def possible_disorder(self, crystal: Crystal) -> Ordering | None:
        """How the crystal may be one ordering of a disordered alloy, or None (see
        `invdesign.reference.disorder`)."""
        return possible_disorder(crystal, load_known())


def known_phase(numbers: Iterable[int], space_group: int) -> bool:
    """Whether a known crystal has the reduced formula of these atoms and this space group."""
    return load_known().has_phase(reduced_formula(numbers), space_group)


@lru_cache(maxsize=1)
def load_known() -> KnownCrystals:
    """The known crystals, read once per process."""
    return KnownCrystals.load()


@lru_cache(maxsize=1)
def load_hull() -> Hull:
    """The hull, read once per process.

    Raises:
        ReferenceMissingError: if its table is not there or cannot be read.
    """
    table = _columns(HULL_TABLE)
    compositions = [dict(zip(*row, strict=True)) for row in zip(table["numbers"], table["counts"], strict=True)]
    return Hull(table["formula"], compositions, table["formation_energy"])


@lru_cache(maxsize=1)
def load_formulas() -> frozenset[str]:
    """Reduced formulas of the known phases without a crystal among the known ones, read once per process.

    Raises:
        ReferenceMissingError: if the table is not there or cannot be read.
    """
    return frozenset(_columns(FORMULA_TABLE)["formula"])


@lru_cache(maxsize=1)
def load_formulas_by_system() -> dict[str, int]:
    """Number of formulas of `load_formulas` by chemical system, read once per process."""
    elements = (re.findall("[A-Z][a-z]?", formula) for formula in load_formulas())
    return Counter("-".join(sorted(set(found))) for found in elements)


def _columns(name: str) -> dict[str, list[Any]]:
    """The columns of a shipped table."""
    import pyarrow.parquet as pq

    try:
        columns: dict[str, list[Any]] = pq.read_table(path_of(name)).to_pydict()
    except (OSError, ValueError) as error:
        raise unreadable(name, error) from None
    return columns
