"""The records that stages pass to each other. All frozen; results accumulate by `dataclasses.replace`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from invdesign.crystal import Crystal


class Status(StrEnum):
    """The three answers of a validator. UNKNOWN means *could not tell*: neither good news nor bad."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Verdict:
    """One validator's answer for one crystal.

    Attributes:
        name: the validator's name, e.g. `distances`.
        status: PASS, FAIL or UNKNOWN.
        reason: what was found, in words, for FAIL and UNKNOWN.
        value: the number that decided, if there is one (its unit is the validator's).
    """

    name: str
    status: Status
    reason: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Failure:
    """One item that could not be processed: a row with a reason, never a default in place of an answer."""

    stage: str
    reason: str
    item: str = ""


MEASURED = "feedback"
"""Source of a value that somebody measured, or computed from first principles, for that very crystal."""


@dataclass(frozen=True)
class Value:
    """A number with its standard deviation, its 90 % interval and its source.

    Attributes:
        mean: the central value (the median, for quantities modelled in log10), in the property's unit.
        std: one standard deviation, same unit.
        low: lower end of the calibrated 90 % interval, if known.
        high: upper end of it.
        source: what computed it: `surrogate:gate`, `surrogate:relaxed`, `potential:chgnet`, `formula:…`,
            `feedback`.
    """

    mean: float
    std: float
    low: float | None = None
    high: float | None = None
    source: str = ""


NEW_PROTOTYPE = "a structure type that training did not have"
"""Why a crystal may be out of distribution; one in eight known crystals of unseen chemical systems is for this
alone."""


@dataclass(frozen=True)
class Estimate:
    """A surrogate's answer for one crystal.

    Attributes:
        values: property name to value.
        distance: distance to the training data as a percentile of the training set's own distances, 0 to 1 and
            beyond; NaN where it cannot be computed.
        out_of_distribution: whether the crystal is out of distribution: unlike what the surrogate was trained on.
        failure: why there is no answer, in which case `values` is empty.
        metal_probability: probability that the band gap is zero; NaN where it is not known.
        ood_reason: what it has not seen, in words; empty if `out_of_distribution` is not set.
    """

    values: Mapping[str, Value]
    distance: float = float("nan")
    out_of_distribution: bool = False
    failure: str = ""
    metal_probability: float = float("nan")
    ood_reason: str = ""


@dataclass(frozen=True)
class Relaxation:
    """A relaxed crystal and what its potential says of exactly that structure.

    Attributes:
        crystal: the relaxed crystal (its `gene` is the relaxed gene where symmetry was kept).
        energy_per_atom: the potential's own energy of `crystal`, eV/atom.
        formation_energy: calibrated to the reference's scale, eV/atom; None where there is none, `note` says why.
        max_force: largest force left, eV/Å.
        steps: energy evaluations spent.
        converged: whether the force criterion was met.
        seconds: CPU seconds.
        rms_displacement: root-mean-square displacement of atoms from the start, Å, after scaling to one cell.
        volume_change: relaxed over initial volume, minus one.
        potential: name and version of the potential that decided.
        note: what a reader must know: why there is no formation energy, or that the potential does not hold the
            crystal together.
    """

    crystal: Crystal
    energy_per_atom: float
    formation_energy: Value | None
    max_force: float
    steps: int
    converged: bool
    seconds: float
    rms_displacement: float
    volume_change: float
    potential: str
    note: str = ""


@dataclass(frozen=True)
class Probe:
    """What a few calls of the potential say of a proposal, before any full relaxation.

    Attributes:
        crystal: the proposal after the few steps that these calls allowed.
        formation_energy: that a full relaxation would give, on the reference's scale, eV/atom.
        spread: standard deviation of what the relaxation may still change about it, eV/atom.
        gain: energy that the relaxation was expected to gain further, eV/atom.
        calls: of the potential.
        seconds: CPU seconds.
    """

    crystal: Crystal
    formation_energy: Value
    spread: float
    gain: float
    calls: int
    seconds: float


@dataclass(frozen=True)
class Conditions:
    """What a generator is asked for. Every field may be missing: `None` or empty means *free*.

    Attributes:
        properties: wanted values by property name, in the property's unit; any of bulk_modulus, shear_modulus,
            formation_energy, energy_above_hull, band_gap, density.
        space_groups: the allowed space group numbers.
        required: atomic numbers that must all be present.
        allowed: atomic numbers that may be present (None: any).
        forbidden: atomic numbers that must not be present.
        max_sites: largest number of atoms in the primitive cell.
        n_sites: wanted number of atoms in the primitive cell.
        guidance: classifier-free guidance weight; 1 is plain conditional sampling, more follows the
            conditions more closely at some cost of variety.
        temperature: sampling temperature of the discrete choices; 1 is the model's own.
        latent_centre: centre of the latent region to sample from (None: the prior).
        latent_scale: spread of the latent region, in units of the prior's.
    """

    properties: Mapping[str, float] = field(default_factory=dict)
    space_groups: frozenset[int] | None = None
    required: frozenset[int] = frozenset()
    allowed: frozenset[int] | None = None
    forbidden: frozenset[int] = frozenset()
    max_sites: int = 20
    n_sites: int | None = None
    guidance: float = 2.0
    temperature: float = 1.0
    latent_centre: tuple[float, ...] | None = None
    latent_scale: float = 1.0


@dataclass(frozen=True)
class Request:
    """One order of a searcher: `n` crystals of a generator under given conditions, from one seed."""

    id: str
    generator: str
    conditions: Conditions
    n: int
    seed: int


@dataclass(frozen=True)
class Candidate:
    """A crystal with its history.

    Attributes:
        id: unique within a run, deterministic: `<request id>-<index>`.
        crystal: as proposed (unrelaxed).
        request: the id of the request that it answers.
        generator: the generator's name.
        parents: ids or known materials that it was derived from.
    """

    id: str
    crystal: Crystal
    request: str
    generator: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Everything known of one candidate so far. A stage returns a copy with more fields filled.

    Attributes:
        candidate: what is evaluated.
        gate: surrogate estimate on the unrelaxed crystal.
        probe: a first look with the potential, if it was worth one.
        relaxation: the relaxed crystal, if it was worth a relaxation and that worked.
        energy_above_hull: eV/atom, after relaxation.
        estimate: surrogate estimate on the relaxed crystal, derived properties included.
        verdicts: every verdict by validator name; a later stage's verdict of the same name replaces an earlier.
        failure: the stage that could not process it, and why.
        selected: whether the gate chose it for relaxation.
        acquisition: the gate's priority score (higher first).
        score: the final desirability in [0, 1]; NaN until scored.
    """

    candidate: Candidate
    gate: Estimate | None = None
    probe: Probe | None = None
    relaxation: Relaxation | None = None
    energy_above_hull: Value | None = None
    estimate: Estimate | None = None
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    failure: Failure | None = None
    selected: bool = False
    acquisition: float = float("nan")
    score: float = float("nan")

    def __repr__(self) -> str:
        """Id, content of the cell, and how far it came."""
        state = "failed" if self.failed else "relaxed" if self.relaxation else "selected" if self.selected else ""
        hull = (
            "" if self.energy_above_hull is None else f"{self.energy_above_hull.mean:.3f} eV/atom above the hull"
        )
        score = f"score {self.score:.3f}" if self.score == self.score else ""
        about = ", ".join(part for part in (state or "proposed", hull, score) if part)
        return f"<Evaluation {self.candidate.id}: {self.crystal!r}, {about}>"

    @property
    def crystal(self) -> Crystal:
        """The best structure there is: relaxed if available, otherwise as proposed."""
        return self.relaxation.crystal if self.relaxation else self.candidate.crystal

    @property
    def failed(self) -> bool:
        """Whether a stage failed on it or any validator said FAIL."""
        return self.failure is not None or any(v.status is Status.FAIL for v in self.verdicts.values())
