"""From a potential's energy to the formation energy on the reference's scale.

The scale is that of the Materials Project with its MP2020 corrections (A. Wang et al., Sci. Rep. 11, 15496, 2021):
formation energies are only comparable after an energy per element is taken off and empirical terms for anions and
for transition metals in oxides and fluorides are added. Both are linear in the composition, so a linear model per
potential, fitted on known crystals, takes its total energies there and removes its mean error per element as well.
`scripts/fit_energy_scale.py` makes the tables.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np

from invdesign.chemistry.composition import integer_composition
from invdesign.chemistry.electronegativity import pauling
from invdesign.crystal import Crystal, FloatArray
from invdesign.elements import atomic_number, symbol
from invdesign.errors import ReferenceMissingError
from invdesign.records import Value
from invdesign.tables import folder, path_of
from invdesign.uncertainty import Z90

ANIONS = ("H", "N", "O", "F", "Si", "S", "Cl", "Se", "Br", "Sb", "Te", "I")
"""Elements that MP2020 corrects where they are anions."""
HUBBARD = ("V", "Cr", "Mn", "Fe", "Co", "Ni", "Mo", "W")
"""Elements that the Materials Project computes with a Hubbard U in oxides and fluorides."""
TERMS = (*(f"{name} anion" for name in ANIONS), "O peroxide", "O superoxide", *(f"{name} +U" for name in HUBBARD))
"""The empirical terms; each counts atoms per atom of the crystal."""

MP2020 = {
    "H anion": -0.179, "N anion": -0.361, "O anion": -0.687, "F anion": -0.462, "Si anion": 0.071,
    "S anion": -0.503, "Cl anion": -0.614, "Se anion": -0.472, "Br anion": -0.534, "Sb anion": -0.192,
    "Te anion": -0.422, "I anion": -0.379, "O peroxide": -0.465, "O superoxide": -0.161,
    "V +U": -1.7, "Cr +U": -1.999, "Mn +U": -1.668, "Fe +U": -2.256, "Co +U": -1.638, "Ni +U": -2.541,
    "Mo +U": -3.202, "W +U": -4.438,
}  # fmt: skip
"""The published MP2020 corrections, eV per atom of the kind."""

OXYGEN = {
    "oxide": "O anion",
    "hydroxide": "O anion",
    "peroxide": "O peroxide",
    "superoxide": "O superoxide",
}
"""Term of the oxygen by pymatgen's name for the kind of compound; an ozonide is not corrected."""


@dataclass(frozen=True)
class Agreement:
    """How to put two potentials' formation energies of one crystal together.

    Attributes:
        weight: share of the second potential in the mean.
        base: the first potential's standard deviation counts times this,
        slope: and the difference of the two times this; added in squares.
        interval: half width of the 90 % interval in standard deviations.
        notes: the error figures.
    """

    weight: float
    base: float
    slope: float
    interval: float
    notes: Mapping[str, Any] = field(default_factory=dict)

    def combine(self, first: Value, second: Value) -> Value:
        """The weighted mean, with a standard deviation that grows where the potentials disagree."""
        mean = (1.0 - self.weight) * first.mean + self.weight * second.mean
        std = math.hypot(self.base * first.std, self.slope * (first.mean - second.mean))
        reach = self.interval * std
        return Value(mean, std, mean - reach, mean + reach, source=f"{first.source} with {second.source}")


@dataclass(frozen=True)
class EnergyScale:
    """Linear map from a potential's energy per atom to the formation energy per atom.

    formation = energy - sum_el x_el · elements[el] + sum_k f_k · terms[k], with x the atomic fractions and f of
    :func:`terms_of`. Its standard deviation is `floor`, the fractions' mean of `spread`, and the uncertainty of
    rarely seen coefficients, added in squares.

    Attributes:
        potential: the potential that it belongs to, with its version.
        elements: eV/atom by symbol.
        terms: eV per atom of the kind, by name of :data:`TERMS`.
        floor: standard deviation that every crystal has, eV/atom.
        spread: standard deviation by element, eV/atom.
        unsure: standard deviation of each element's own coefficient, eV/atom.
        interval: half width of the 90 % interval in standard deviations, from crystals held out.
        seconds: by short name of a second potential, the fields of an :class:`Agreement` with it.
        notes: what it was fitted on and how well it did.
    """

    potential: str
    elements: Mapping[str, float]
    terms: Mapping[str, float]
    floor: float
    spread: Mapping[str, float]
    unsure: Mapping[str, float]
    interval: float
    seconds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, potential: str | Path) -> Self:
        """Read the shipped scale of a potential, or one from a JSON file.

        Args:
            potential: a name for which a scale is shipped (see :func:`shipped`), or a path to a `.json` file.

        Raises:
            ReferenceMissingError: if there is none, or the file is not a scale.
        """
        name = str(potential)
        source = Path(name) if name.endswith(".json") else path_of(f"energy_scale_{name}.json")
        try:
            return cls(**json.loads(source.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise ReferenceMissingError(
                f"there is no energy scale for the potential {name!r} (shipped: {', '.join(shipped())}); "
                "fit one with scripts/fit_energy_scale.py and give its path as scale"
            ) from None
        except (ValueError, TypeError) as error:
            raise ReferenceMissingError(f"{source}: not an energy scale: {error}") from error

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def formation_energy(self, crystal: Crystal, energy_per_atom: float) -> Value:
        """Formation energy of a crystal, eV/atom, from the potential's energy of it.

        Raises:
            ValueError: if it holds an element that the scale does not know.
        """
        shares = fractions(crystal)
        missing = [symbol(z) for z in shares if symbol(z) not in self.elements]
        if missing:
            raise ValueError(f"the energy scale of {self.potential} does not know {', '.join(missing)}")
        mean = energy_per_atom - sum(x * self.elements[symbol(z)] for z, x in shares.items())
        mean += sum(count * self.terms[name] for name, count in terms_of(crystal).items())
        variance = self.floor**2
        for z, share in shares.items():
            variance += share * self.spread[symbol(z)] ** 2 + (share * self.unsure[symbol(z)]) ** 2
        std = math.sqrt(variance)
        reach = self.interval * std
        return Value(mean, std, mean - reach, mean + reach, source=f"potential:{self.potential}")

    def agreement(self, second: EnergyScale) -> Agreement:
        """How to put this potential's formation energies together with those of a second one.

        Raises:
            ReferenceMissingError: if that has not been fitted.
        """
        name = second.potential.partition(" ")[0]
        if name not in self.seconds:
            fitted = ", ".join(self.seconds) or "none"
            raise ReferenceMissingError(f"{self.potential} has no agreement with {name} (fitted: {fitted})")
        return Agreement(**self.seconds[name])


def published(potential: str, references: Mapping[str, float], corrected: bool = False) -> EnergyScale:
    """The scale by definition, fitted to no potential: reference energies and MP2020 corrections.

    Good for any potential trained on PBE energies of the Materials Project. Its standard deviation, 0.06 eV/atom,
    is what potentials of that kind show on new compounds.

    Args:
        potential: its name in results.
        references: eV/atom of each element in its reference state, uncorrected, by symbol.
        corrected: whether the potential's energies contain the corrections already.
    """
    nothing = dict.fromkeys(references, 0.0)
    terms = dict.fromkeys(TERMS, 0.0) if corrected else MP2020
    rounded = {name: round(energy, 4) for name, energy in references.items()}
    return EnergyScale(potential, rounded, terms, 0.06, nothing, nothing, Z90)


def shipped() -> list[str]:
    """Names of the potentials for which a scale is in the package."""
    return sorted(path.stem.removeprefix("energy_scale_") for path in folder().glob("energy_scale_*.json"))


def fractions(crystal: Crystal) -> dict[int, float]:
    """Atomic fraction by atomic number."""
    numbers, counts = np.unique(crystal.numbers, return_counts=True)
    return {int(z): int(n) / crystal.n_sites for z, n in zip(numbers, counts, strict=True)}


def terms_of(crystal: Crystal) -> dict[str, float]:
    """Atoms of each kind of :data:`TERMS` per atom of the crystal; kinds that do not occur are left out.

    The rules are those by which the Materials Project corrected the energies of the reference (A. Wang et al.,
    Sci. Rep. 11, 15496, 2021), as in pymatgen's `MaterialsProject2020Compatibility` with
    `strict_anions="no_check"`:

    - All oxygen of a compound is of one kind. It is an oxide where any O-H is shorter than 1.02 Å; else a
      superoxide where any O-O is shorter than 1.49 Å, but an ozonide (no correction) where one oxygen has two such
      bonds; else a peroxide where any O-O is shorter than 1.64 Å; else an oxide.
    - Sulfur counts unless the nearest neighbours of any sulfur are more electronegative than it (sulfates).
    - Another anion counts where its oxidation state, guessed from the composition, is negative, or where no
      element is more electronegative.
    - Transition metals count in compounds whose most electronegative element is O or F.
    """
    present = fractions(crystal)
    if len(present) < 2:
        return {}
    share = {symbol(z): x for z, x in present.items()}
    kinds = [(f"{name} anion", name) for name in sorted(_anions(integer_composition(crystal.numbers)))]
    if share.keys() & {"O", "S"}:
        kinds += _oxygen_and_sulfur(crystal)
    if _most_electronegative(share) in ("O", "F"):
        kinds += [(f"{name} +U", name) for name in HUBBARD if name in share]
    return {kind: share[name] for kind, name in kinds}


def _oxygen_and_sulfur(crystal: Crystal) -> list[tuple[str, str]]:
    """The terms of oxygen and sulfur, which depend on distances, each with its element."""
    from pymatgen.analysis.structure_analyzer import oxide_type, sulfide_type
    from pymatgen.core import Structure

    structure = Structure(crystal.lattice, crystal.numbers, crystal.frac_coords)
    term = OXYGEN.get(str(oxide_type(structure)))
    found = [(term, "O")] if term else []
    return [*found, ("S anion", "S")] if sulfide_type(structure) else found


@lru_cache(maxsize=16_384)
def _guessed_anions(composition: tuple[tuple[int, int], ...]) -> frozenset[str]:
    """Elements other than oxygen and sulfur that are anions, judged by the composition alone."""
    from pymatgen.core import Composition

    amounts = {symbol(z): count for z, count in composition}
    try:
        guesses = Composition(amounts).oxi_state_guesses(max_sites=-20)
    except ValueError:  # more than 20 atoms in the formula: the Materials Project makes no guess then
        guesses = ()
    states = guesses[0] if guesses else {}
    found = {name for name in amounts if states.get(name, 0) < 0} | {_most_electronegative(amounts)}
    return frozenset(found & set(ANIONS) - {"O", "S"})


def _anions(composition: Mapping[int, int]) -> frozenset[str]:
    return _guessed_anions(tuple(composition.items()))


def _most_electronegative(names: Iterable[str]) -> str:
    """The element of largest Pauling electronegativity; of equal ones (H and Pd) the last in the alphabet."""
    order = _electronegativity()
    return max(names, key=lambda name: (order[atomic_number(name)], name))


@cache
def _electronegativity() -> FloatArray:
    """Pauling electronegativity by atomic number, 0 where there is none."""
    return np.nan_to_num(pauling(), nan=0.0)


def design_row(crystal: Crystal, elements: Sequence[str]) -> FloatArray:
    """The regressors of a crystal: minus the fraction of each element, then the terms; (n_elements + n_terms,)."""
    shares = fractions(crystal)
    counts = terms_of(crystal)
    return np.array(
        [-shares.get(atomic_number(name), 0.0) for name in elements] + [counts.get(t, 0.0) for t in TERMS]
    )
