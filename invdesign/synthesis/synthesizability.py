"""A score of synthesizability: how probable it is that a compound can be made, learnt from what has been made.

Databases say which crystals are known from experiment; of the others nobody says that they cannot be made. So the
score learns from positive and unlabelled examples (C. Elkan and K. Noto, KDD 2008, 213): boosted trees give the
probability g(x) that a crystal is listed as made, calibrated on chemical systems left out, and

    P(can be made | x) = g(x) / c,   at most 1,   c = P(listed | can be made)

where c is the share of the crystals that are listed in the bin of the highest g, in which nearly all can be made
(best-bin estimation, S. Garg et al., NeurIPS 2021). A crystal is described by composition, symmetry, energy above
hull, and counts of known crystals that hold the same pairs of elements or have its prototype; a formula alone by
its composition and the pairs. The score never fails a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from invdesign.crystal import Crystal, FloatArray
from invdesign.records import Value
from invdesign.synthesis.described import LAST, Described, Known, composition_inputs, described_genes, inputs
from invdesign.synthesis.formulas import Amounts
from invdesign.synthesis.inputs import shares
from invdesign.synthesis.trees import Trees
from invdesign.tables import read_arrays

TABLE = "synthesizability.npz"
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
"""Gauss-Hermite quadrature over the error of the energy above hull."""


@dataclass(frozen=True)
class Synthesizability:
    """The score of one compound.

    Attributes:
        probability: that it can be made, 0 to 1, by learning from positive and unlabelled crystals; NaN without
            evidence.
        listed: that a database would list it as made; NaN without evidence.
        of: what was judged: `crystal`, or `composition` where structure and energy are not known. The latter is
            the mean over the crystals that were computed of such compositions, most of them not the stable one.
        no_evidence: why there is no score; empty if there is one.
    """

    probability: float
    listed: float
    of: str
    no_evidence: str = ""


@dataclass(frozen=True, eq=False)
class Head:
    """Trees with their calibration.

    Attributes:
        trees: log-odds of being listed as made.
        slope: of the calibrated log-odds (J. Platt, 1999).
        intercept: of them.
        frequency: c, the probability that what can be made is listed.
    """

    trees: Trees
    slope: float
    intercept: float
    frequency: float

    def listed(self, rows: FloatArray) -> FloatArray:
        """(n,) calibrated probability of being listed as made."""
        return self.calibrated(self.trees.log_odds(rows))

    def calibrated(self, log_odds: FloatArray) -> FloatArray:
        """(n,) probabilities from the trees' log-odds."""
        return np.asarray(1.0 / (1.0 + np.exp(-(self.slope * log_odds + self.intercept))))

    def made(self, listed: FloatArray) -> FloatArray:
        """(n,) probability that a compound can be made, from that of being listed."""
        return np.minimum(listed / self.frequency, 1.0)


@dataclass(frozen=True, eq=False)
class Model:
    """The score.

    Attributes:
        known: counts over the crystals of the training.
        crystal: for crystals with their energies.
        composition: for formulas.
    """

    known: Known
    crystal: Head
    composition: Head

    def of_crystals(self, crystals: Described, spread: FloatArray | None = None) -> FloatArray:
        """(n,) probability of being listed as made, the mean over the error of the energy above hull.

        Args:
            crystals: n of them.
            spread: (n,) standard deviation of the energy above hull, eV/atom (None: no error).
        """
        if spread is None:
            return self.crystal.listed(inputs(crystals, self.known))
        at = [crystals.energies + node * spread for node in _NODES]
        found = [self.crystal.listed(inputs(crystals.at(energies), self.known)) for energies in at]
        return np.asarray(np.average(np.stack(found), axis=0, weights=_WEIGHTS))


@cache
def load_model() -> Model:
    """The shipped table; read once.

    Raises:
        ReferenceMissingError: if it is not there or cannot be read.
    """
    arrays = read_arrays(TABLE)
    known = Known(
        arrays["pairs"].astype(np.float64),
        arrays["prototypes"],
        arrays["prototype_counts"].astype(np.float64),
        float(arrays["share"]),
    )
    crystal, composition = (
        Head(Trees.of_arrays(arrays, name), *(float(number) for number in arrays[f"{name}_calibration"]))
        for name in ("crystal", "composition")
    )
    return Model(known, crystal, composition)


def score_crystals(
    crystals: Sequence[Crystal], energies: Sequence[Value | None], model: Model | None = None
) -> list[Synthesizability]:
    """Scores of crystals; of the composition alone where no gene or no energy is known.

    Args:
        crystals: relaxed ones.
        energies: above hull, eV/atom, with their errors; None where not known.
        model: another than the shipped one.

    Raises:
        ReferenceMissingError: if the table is missing.
    """
    model = model or load_model()
    found = _of_fractions(np.array([_fractions(c) for c in crystals]).reshape(-1, LAST + 1), model)
    rows = [
        k
        for k, (crystal, energy) in enumerate(zip(crystals, energies, strict=True))
        if crystal.gene is not None and energy is not None and not found[k].no_evidence
    ]
    if not rows:
        return found
    values = [value for k in rows if (value := energies[k]) is not None]
    genes = [gene for k in rows if (gene := crystals[k].gene) is not None]
    listed = model.of_crystals(
        described_genes(genes, [value.mean for value in values]), np.array([value.std for value in values])
    )
    for k, one, made in zip(rows, listed.tolist(), model.crystal.made(listed).tolist(), strict=True):
        found[k] = Synthesizability(made, one, "crystal")
    return found


def score_formula(amounts: Amounts, model: Model | None = None) -> Synthesizability:
    """The score of a composition whose crystal is not known.

    Args:
        amounts: of its elements.
        model: another than the shipped one.

    Raises:
        ReferenceMissingError: if the table is missing.
    """
    return _of_fractions(_by_number(amounts), model or load_model())[0]


def _by_number(amounts: Amounts) -> FloatArray:
    """(1, 104) atomic fractions; elements beyond the table count in the last column, of which nothing is known."""
    row = np.zeros((1, LAST + 1))
    listed = shares([amounts])
    row[:, 1 : listed.shape[1] + 1] = listed
    row[0, 0] = max(0.0, 1.0 - float(row.sum()))
    return np.where(row > 1e-9, row, 0.0)


def _fractions(crystal: Crystal) -> FloatArray:
    numbers = np.where(crystal.numbers > LAST, 0, crystal.numbers)
    return np.bincount(numbers, minlength=LAST + 1) / len(numbers)


def _of_fractions(fractions: FloatArray, model: Model) -> list[Synthesizability]:
    reasons = model.known.lacking(fractions)
    listed = model.composition.listed(composition_inputs(fractions, model.known))
    return [
        Synthesizability(float("nan"), float("nan"), "composition", reason)
        if reason
        else Synthesizability(made, one, "composition")
        for reason, one, made in zip(
            reasons, listed.tolist(), model.composition.made(listed).tolist(), strict=True
        )
    ]


def in_words(found: Synthesizability) -> str:
    """The score in a phrase."""
    if found.no_evidence:
        return f"no evidence: {found.no_evidence}"
    return f"{100 * found.probability:.0f} % (of the {found.of}; not a chance of success in the furnace)"


def columns(found: Synthesizability) -> Mapping[str, float | str]:
    """The columns of a table of candidates."""
    if found.no_evidence:
        return {"synthesizability_note": f"no evidence: {found.no_evidence}"}
    return {"synthesizability": found.probability, "synthesizability_note": f"of the {found.of}"}
