"""`invdesign benchmark generation`: the same measurements for every generator, from the same code and seed.

Crystals are sampled without conditions, checked as they are, and the first of them relaxed and placed above the
hull. Every result is a line of a journal beside the output file, so a run that is stopped goes on where it was.
Rates carry their denominators and Wilson's 95 % intervals; an item that failed counts in every denominator.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from invdesign import build
from invdesign.benchmarking import cdvae, metrics
from invdesign.benchmarking.cdvae import Prints
from invdesign.benchmarking.charts import generation_page
from invdesign.benchmarking.metrics import KNOWN, Cutoffs, Fingerprints, Judged, Rate, Template, rate
from invdesign.chemistry.composition import chemical_system, reduced_formula
from invdesign.crystal import Crystal, FloatArray, Gene
from invdesign.crystallography.genes import decode, primitive_sites, protostructure
from invdesign.crystallography.symmetry import space_group
from invdesign.data.split import by_chemical_system
from invdesign.engine.parts import EachRelaxer
from invdesign.errors import InputError, OutputError
from invdesign.progress import Progress, quiet
from invdesign.protocols import Generator, KnowsPhases, Reference, Validator
from invdesign.query import CRYSTAL_SYSTEMS
from invdesign.records import Candidate, Conditions, Evaluation, Failure, Relaxation, Status
from invdesign.reference.known import KnownCrystal
from invdesign.report import export
from invdesign.serialize import from_plain, to_plain

REFERENCE_SIZE = 2000
"""Known crystals that distributions are compared with."""
SYMPREC = 0.1
QUICK = {"n": 100, "relax": 12}
CDVAE_SETTINGS = (
    f"at most {cdvae.STRUCTURE_CUTOFF:g} in structure and {cdvae.COMPOSITION_CUTOFF:g} in composition "
    "(CDVAE's thresholds for MP-20), compositions scaled by the reference crystals"
)
CDVAE_MISSING = (
    "COV-R and COV-P are left out, they need matminer: pip install -c constraints.txt 'invdesign[benchmark]'"
)
T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        generators: names of generators, or `known` for known crystals.
        n: samples of each.
        seed: of every random choice.
        relax: how many of the samples of each, from the first on, are relaxed.
        max_sites: largest number of atoms in the primitive cell.
        max_energy_above_hull: of the known crystals that serve as reference, eV/atom.

    Raises:
        InputError: if a number is out of range or there is no generator.
    """

    generators: tuple[str, ...]
    n: int = 100
    seed: int = 0
    relax: int = 100
    max_sites: int = 20
    max_energy_above_hull: float = 0.1

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not self.generators or len(set(self.generators)) < len(self.generators):
            raise InputError("generators", ",".join(self.generators), "different names, separated by commas")
        if not 1 <= self.n <= 1_000_000:
            raise InputError("n", self.n, "1 to 1000000")
        if not 0 <= self.relax <= self.n:
            raise InputError("relax", self.relax, f"0 to n = {self.n}")


@dataclass(frozen=True)
class Bench:
    """The parts that measure.

    Attributes:
        generator: makes a generator of a name.
        known: all known crystals.
        reference: hull and known crystals.
        relaxer: relaxes, with the energy on the scale of the hull.
        distances: validator of the geometry.
        charge_balance: validator of the composition.
        uniqueness: makes a validator that remembers what it was shown.
        about: versions, potential, hull and matcher, for the record.
        prints: makes the fingerprints of CDVAE's coverage; None leaves it out.
    """

    generator: Callable[[str], Generator]
    known: Sequence[KnownCrystal]
    reference: Reference
    relaxer: EachRelaxer
    distances: Validator
    charge_balance: Validator
    uniqueness: Callable[[], Validator]
    about: Mapping[str, Any] = field(default_factory=dict)
    prints: Callable[[Sequence[Crystal]], Iterator[tuple[int, Prints]]] | None = None


@dataclass(frozen=True)
class Sample:
    """One item of a generator; no crystal if it could not be made."""

    crystal: Crystal | None
    failure: str = ""


@dataclass(frozen=True)
class Sampling:
    """What sampling took.

    Attributes:
        start_seconds: CPU seconds until the first crystal, loading included.
        cpu_seconds: for all samples.
        wall_seconds: for all samples.
        draws: what became of the generator's own draws, where it counts them.
    """

    start_seconds: float
    cpu_seconds: float
    wall_seconds: float
    draws: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """What is seen of a crystal as it was made; statuses as words, `known` the id of the same known crystal."""

    distances: str
    charge_balance: str
    smact: bool
    cdvae_structure: bool
    cdvae_composition: bool
    lemat_distances: bool
    space_group: int | None
    known: str
    problem: str = ""


@dataclass(frozen=True)
class Relaxed:
    """What relaxation found; units as in `invdesign.records.Relaxation`."""

    crystal: Crystal | None
    failure: str = ""
    energy_above_hull: float | None = None
    energy_above_hull_std: float | None = None
    space_group: int | None = None
    known: str = ""
    rms_displacement: float = float("nan")
    volume_change: float = float("nan")
    converged: bool = False
    seconds: float = 0.0


class Journal:
    """Results as they come, one JSON line each, after a header that says what they belong to."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        """Open a journal or begin one; a line that a killed process left unfinished is cut off.

        Raises:
            OutputError: if it cannot be written, or belongs to another benchmark.
        """
        self._path = path
        self._rows: dict[tuple[str, str, int], Any] = {}
        head = json.loads(json.dumps(header))
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            whole = text[: text.rfind("\n") + 1]
            if whole != text:
                path.write_text(whole, encoding="utf-8")
            if not whole:
                path.write_text(json.dumps(head) + "\n", encoding="utf-8")
        except UnicodeDecodeError:
            raise OutputError(f"{path} is no journal of a benchmark; remove it or rename --out") from None
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from None
        lines = self._read(whole)
        if lines and lines[0] != head:
            other = sorted(k for k in head.keys() | lines[0].keys() if head.get(k) != lines[0].get(k))
            raise OutputError(f"{path} is of a benchmark with other {', '.join(other)}; remove it or rename --out")
        for kind, name, index, row in lines[1:]:
            self._rows[kind, name, index] = row

    def _read(self, text: str) -> list[Any]:
        try:
            lines = [json.loads(line) for line in text.splitlines()]
            sound = all(isinstance(line, list) and len(line) == 4 for line in lines[1:])
        except ValueError:
            sound = False
        if not sound or (lines and not isinstance(lines[0], dict)):
            raise OutputError(f"{self._path} is no journal of a benchmark; remove it or rename --out")
        return lines

    def get(self, kind: type[T], name: str, index: int = 0) -> T | None:
        """A recorded result, or None."""
        row = self._rows.get((kind.__name__, name, index))
        return None if row is None else from_plain(kind, row)

    def put(self, name: str, *rows: tuple[int, Any]) -> None:
        """Record results of one generator, all or none of them."""
        lines = []
        for index, record in rows:
            row = to_plain(record)
            self._rows[type(record).__name__, name, index] = row
            lines.append(json.dumps([type(record).__name__, name, index, row]) + "\n")
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write("".join(lines))
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written: {error.strerror}") from None


def generation(
    plan: Plan, out: Path, workers: int | None = None, progress: Progress = quiet, bench: Bench | None = None
) -> dict[str, Any]:
    """Measure generators and write the record as JSON, a table in Markdown, charts, and the journal beside them.

    Args:
        plan: what is measured.
        out: `FILE.json`; the table becomes `FILE.md`, the charts `FILE.html`, the journal `FILE.jsonl`.
        workers: processes for relaxations (None: one per core).
        progress: is told how far each stage has come.
        bench: the parts (None: the shipped ones).

    Returns:
        What was written as JSON.

    Raises:
        InputError: if there is no such generator.
        OutputError: if a file cannot be written, or the journal is of another benchmark.
    """
    check_output(out)
    own = bench is None
    bench = default_bench(plan, workers) if bench is None else bench
    journal = Journal(out.with_suffix(".jsonl"), {"plan": to_plain(plan), **bench.about})
    with closing(bench.relaxer, own):
        real = draw_known(bench.known, plan, REFERENCE_SIZE)
        for name in dict.fromkeys((*plan.generators, KNOWN)):
            sample(name, plan, bench, real, journal)
            check(name, plan, bench, journal, progress)
            if name in plan.generators:
                relax(name, plan, bench, journal, progress)
            crystals = dict(enumerate(real) if name == KNOWN else recorded(name, plan.n, journal))
            take_prints(name, crystals, bench, journal, progress)
    record = summarise(plan, bench, real, journal)
    export.write_json(record, out)
    write_text(markdown(record), out.with_suffix(".md"))
    write_text(generation_page(record), out.with_suffix(".html"))
    return record


def check_output(out: Path) -> None:
    """Make sure that the record, and its table and journal beside it, have a place before any work.

    Raises:
        InputError: if the file is not called `*.json`: the other names are made from it.
        OutputError: if it cannot be written.
    """
    if out.suffix != ".json":
        raise InputError("out", str(out), "a file name that ends in .json")
    export.writable_file(out)


def write_text(text: str, path: Path) -> None:
    """Write a file beside the record.

    Raises:
        OutputError: if it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None


@contextmanager
def closing(relaxer: object, own: bool) -> Iterator[None]:
    """Let go of the worker processes of a relaxer at the end, unless somebody else owns it."""
    try:
        yield
    finally:
        close = getattr(relaxer, "close", None)
        if own and close is not None:
            close()


def default_bench(plan: Plan, workers: int | None = None) -> Bench:
    """The shipped parts.

    Raises:
        InputError: if there is no such generator.
        ReferenceMissingError: if a table is missing.
    """
    from invdesign.reference.local import load_known

    check_names(plan.generators, KNOWN)
    relaxer = build.relaxer(workers=workers)
    smact = build.versions()["smact"]
    about = measured_with(relaxer.potential) | {
        "smact": f"{smact}, default settings: Pauling's rule, alloys valid, ICSD24 (consensus 3)",
        "space_groups": f"spglib, symprec {SYMPREC} Å",
    }
    return Bench(
        generator=build.generator,
        known=load_known(),
        reference=build.reference(),
        relaxer=relaxer,
        distances=build.validator("distances"),
        charge_balance=build.validator("charge_balance"),
        uniqueness=lambda: build.validator("uniqueness"),
        about=about,
        prints=partial(cdvae.prints, workers=workers) if cdvae.version() else None,
    )


def check_names(names: Iterable[str], *more: str) -> None:
    """Refuse a generator that does not exist before anything is loaded.

    Raises:
        InputError: if a name is neither in the generators' table, nor `module:Class`, nor among `more`.
    """
    allowed = (*build.generator_names(), *more)
    for name in names:
        if ":" not in name and name not in allowed:
            raise InputError("generator", name, allowed)


def measured_with(potential: str) -> dict[str, Any]:
    """What a result depends on besides the plan: versions, weights, potential, tables, matcher."""
    from invdesign.reference.known import TABLE
    from invdesign.reference.local import FORMULA_TABLE, HULL_TABLE

    return {
        "versions": build.versions(),
        "weights": build.checksums(),
        "potential": potential,
        "hull": f"{HULL_TABLE} {_digest(HULL_TABLE)}, formation energies on the MP2020 scale",
        "known_crystals": f"{TABLE} {_digest(TABLE)}, {FORMULA_TABLE} {_digest(FORMULA_TABLE)}",
        "matcher": "pymatgen StructureMatcher: ltol 0.2, stol 0.3, angle_tol 5, primitive, scaled, either order",
    }


def _digest(table: str) -> str:
    return hashlib.sha256(resources.files("invdesign.tables").joinpath(table).read_bytes()).hexdigest()[:12]


def draw_known(known: Sequence[KnownCrystal], plan: Plan, most: int) -> list[Crystal]:
    """Up to `most` different known crystals of the plan's size and stability, in random order."""
    rows = np.random.default_rng(plan.seed).permutation(len(known))
    chosen: list[KnownCrystal] = []
    for row in rows:
        if len(chosen) == most:
            break
        crystal = known[int(row)]
        if _is_reference(crystal, plan):
            chosen.append(crystal)
    return [replace(c, source=k.id) for c, k in zip(decode([k.gene for k in chosen]), chosen, strict=True)]


def _is_reference(known: KnownCrystal, plan: Plan) -> bool:
    return known.within(plan.max_energy_above_hull) and primitive_sites(known.gene) <= plan.max_sites


def sample(name: str, plan: Plan, bench: Bench, real: Sequence[Crystal], journal: Journal) -> None:
    """Record the samples of a generator, if they are not yet recorded."""
    if journal.get(Sampling, name) is not None:
        return
    if name == KNOWN:
        journal.put(name, *enumerate(map(Sample, real[: plan.n])), (0, Sampling(0.0, 0.0, 0.0)))
        return
    conditions = Conditions(max_sites=plan.max_sites)
    rows, took = draw(lambda: bench.generator(name), plan.n, plan.seed, conditions)
    journal.put(name, *enumerate(rows), (0, took))


def draw(
    make: Callable[[], Generator], n: int, seed: int, conditions: Conditions
) -> tuple[list[Sample], Sampling]:
    """`n` items of a generator, and what they took."""
    start = time.process_time()
    maker = make()
    list(maker.propose(1, np.random.default_rng(seed + 1), conditions))
    clock, wall = time.process_time(), time.perf_counter()
    items = list(maker.propose(n, np.random.default_rng(seed), conditions))
    took = time.process_time() - clock, time.perf_counter() - wall
    draws = dict(getattr(maker, "counts", {}))
    rows = [Sample(None, i.reason) if isinstance(i, Failure) else Sample(i) for i in items]
    return rows, Sampling(clock - start, *took, draws)


def check(name: str, plan: Plan, bench: Bench, journal: Journal, progress: Progress) -> None:
    """Record what is seen of every sample as it was made."""
    for index, crystal in recorded(name, plan.n, journal):
        if journal.get(Check, name, index) is None:
            journal.put(name, (index, _checked(crystal, bench, compare=name != KNOWN)))
        progress(f"check {name}", index + 1, plan.n)


def recorded(name: str, n: int, journal: Journal) -> Iterator[tuple[int, Crystal]]:
    """The recorded samples that are crystals, with their places among the `n` that were asked for."""
    for index in range(n):
        row = journal.get(Sample, name, index)
        if row is not None and row.crystal is not None:
            yield index, row.crystal


def _checked(crystal: Crystal, bench: Bench, compare: bool) -> Check:
    row = Evaluation(Candidate("", crystal, "", ""))
    known, problem = match(crystal, bench.reference) if compare else (crystal.source, "")
    return Check(
        distances=bench.distances.check(row).status.value,
        charge_balance=bench.charge_balance.check(row).status.value,
        smact=metrics.smact_valid(crystal.numbers),
        cdvae_structure=metrics.cdvae_structure_valid(crystal),
        cdvae_composition=metrics.cdvae_composition_valid(crystal.numbers),
        lemat_distances=metrics.lemat_distances_valid(crystal),
        space_group=space_group(crystal, SYMPREC),
        known=known,
        problem=problem,
    )


def match(crystal: Crystal, reference: Reference) -> tuple[str, str]:
    """Id of the same known crystal or nothing, and why that could not be told."""
    try:
        known = reference.match(crystal) or ""
    except ValueError as error:
        return "", str(error)
    if not known and isinstance(reference, KnowsPhases) and reference.phase_without_crystal(crystal.numbers):
        return "", "known formula, its structure is not in the package"
    return known, ""


def relax(name: str, plan: Plan, bench: Bench, journal: Journal, progress: Progress) -> None:
    """Relax the first samples and record each as it is done."""
    todo = [(i, c) for i, c in recorded(name, plan.relax, journal) if journal.get(Relaxed, name, i) is None]
    for done, (place, result) in enumerate(bench.relaxer.relax_iter([crystal for _, crystal in todo]), start=1):
        journal.put(name, (todo[place][0], _placed(result, bench.reference)))
        progress(f"relax {name}", done, len(todo))


def _placed(result: Relaxation | Failure, reference: Reference) -> Relaxed:
    if isinstance(result, Failure):
        return Relaxed(None, result.reason)
    formation = result.formation_energy
    energy = None if formation is None else reference.energy_above_hull(result.crystal, formation)
    known, problem = match(result.crystal, reference)
    return Relaxed(
        crystal=result.crystal,
        failure=problem,
        energy_above_hull=None if energy is None else energy.mean,
        energy_above_hull_std=None if energy is None else energy.std,
        space_group=space_group(result.crystal, SYMPREC),
        known=known,
        rms_displacement=result.rms_displacement,
        volume_change=result.volume_change,
        converged=result.converged,
        seconds=result.seconds,
    )


def take_prints(
    name: str, crystals: Mapping[int, Crystal], bench: Bench, journal: Journal, progress: Progress
) -> None:
    """Record the fingerprints of CDVAE's coverage, of crystals by their places, that are not yet recorded."""
    if bench.prints is None:
        return
    todo = [(i, c) for i, c in crystals.items() if journal.get(Prints, name, i) is None]
    for done, (place, found) in enumerate(bench.prints([crystal for _, crystal in todo]), start=1):
        journal.put(name, (todo[place][0], found))
        progress(f"fingerprints {name}", done, len(todo))


@dataclass(frozen=True)
class Background:
    """What is known that samples are compared with.

    Attributes:
        groups: known crystals of the plan's size and stability by space group.
        templates: templates of known crystals, of those that a sample could share.
        protostructures: canonical protostructures of known crystals of the samples' formulas.
        split: `train`, `valid` or `test` by id, of the known crystals of the plan's size and stability.
        crystals: known crystals drawn at random.
        fingerprints: of these.
    """

    groups: Mapping[int, int]
    templates: frozenset[Template]
    protostructures: frozenset[Any]
    split: Mapping[str, str]
    crystals: Sequence[Crystal]
    fingerprints: Fingerprints

    @classmethod
    def of(
        cls,
        known: Sequence[KnownCrystal],
        plan: Plan,
        samples: Iterable[Crystal],
        real: Sequence[Crystal],
    ) -> Background:
        """One pass over all known crystals."""
        samples = list(samples)
        formulas = {reduced_formula(c.numbers) for c in samples}
        shapes = {(c.gene.space_group, len(c.gene.wyckoffs)) for c in samples if c.gene}
        groups: Counter[int] = Counter()
        templates, protostructures, systems = set(), set(), dict[str, str]()
        for row in known:
            gene = row.gene
            if (gene.space_group, len(gene.wyckoffs)) in shapes:
                templates.add(metrics.template(gene))
                if row.formula in formulas:
                    protostructures.add(protostructure(gene))
            if _is_reference(row, plan):
                groups[gene.space_group] += 1
                systems[row.id] = chemical_system(gene.numbers)
        split = dict(zip(systems, by_chemical_system(systems.values()).tolist(), strict=True))
        return cls(groups, frozenset(templates), frozenset(protostructures), split, real, fingerprints(real))


def summarise(plan: Plan, bench: Bench, real: Sequence[Crystal], journal: Journal) -> dict[str, Any]:
    """All figures from what the journal holds."""
    names = list(dict.fromkeys((*plan.generators, KNOWN)))
    samples = [c for name in names if name != KNOWN for _, c in recorded(name, plan.n, journal)]
    background = Background.of(bench.known, plan, samples, real)
    return {
        "benchmark": "generation",
        "plan": to_plain(plan),
        **bench.about,
        "reference": (
            f"{sum(background.groups.values())} known crystals of at most {plan.max_energy_above_hull:g} eV/atom "
            f"above the hull and {plan.max_sites} sites; distributions against {len(real)} of them"
        ),
        "coverage_cutoffs": to_plain(Cutoffs()),
        "cdvae_coverage": CDVAE_SETTINGS if bench.prints is not None else CDVAE_MISSING,
        "generators": {name: _figures(name, plan, bench, background, journal) for name in names},
    }


def _figures(name: str, plan: Plan, bench: Bench, background: Background, journal: Journal) -> dict[str, Any]:
    """All figures of one generator."""
    made = dict(recorded(name, plan.n, journal))
    checks = {i: row for i in made if (row := journal.get(Check, name, i)) is not None}
    asked = min(plan.n, len(background.crystals)) if name == KNOWN else plan.n
    figures: dict[str, Any] = {
        "asked": asked,
        "made": len(made),
        "validity": _validity(list(checks.values()), asked),
        "symmetry": _symmetry(made, checks, background),
        "distribution": _distribution(list(made.values()), background.crystals)
        | _coverage(name, list(made.values()), asked, background),
        "cdvae": _cdvae(name, made, checks, asked, background, journal),
    }
    if name != KNOWN:
        figures["novelty"] = _novelty(made, checks, asked, bench, background)
    if name in plan.generators and plan.relax:
        relaxed = {i: r for i in range(plan.relax) if (r := journal.get(Relaxed, name, i)) is not None}
        figures["relaxed"] = _relaxed_figures(made, relaxed, plan.relax, bench)
    took = journal.get(Sampling, name)
    if name != KNOWN and took is not None:
        figures["speed"] = _speed(took, plan, figures.get("relaxed"))
    return figures


def _validity(checks: Sequence[Check], asked: int) -> dict[str, Any]:
    charge = Counter(c.charge_balance for c in checks)
    rates = {
        "distances": rate((c.distances == Status.PASS.value for c in checks), asked),
        **{f"charge_balance_{s.value}": Rate(charge[s.value], asked) for s in Status},
        "smact": rate((c.smact for c in checks), asked),
        "cdvae_structure": rate((c.cdvae_structure for c in checks), asked),
        "cdvae_composition": rate((c.cdvae_composition for c in checks), asked),
        "cdvae_valid": rate((c.cdvae_structure and c.cdvae_composition for c in checks), asked),
        "lemat_distances": rate((c.lemat_distances for c in checks), asked),
    }
    return {key: value.to_dict() for key, value in rates.items()}


def _symmetry(made: Mapping[int, Crystal], checks: Mapping[int, Check], background: Background) -> dict[str, Any]:
    found = [row.space_group for row in checks.values()]
    groups = [group for group in found if group is not None]
    as_written = [row.space_group == gene.space_group for i, row in checks.items() if (gene := made[i].gene)]
    return {
        "p1": rate(group == 1 for group in found).to_dict(),
        "as_the_gene_says": rate(as_written, len(found)).to_dict(),
        "space_group_total_variation": metrics.total_variation(Counter(groups), background.groups),
        "wyformer_space_group_chi2": metrics.wyformer_space_group_chi2(groups, background.groups),
        "groups_that_occur": len(set(groups)),
        "crystal_systems": {
            system: rate((group in members for group in groups), len(found)).to_dict()
            for system, members in CRYSTAL_SYSTEMS.items()
        },
    }


def _distribution(crystals: Sequence[Crystal], real: Sequence[Crystal]) -> dict[str, Any]:
    return {
        "elements_total_variation": metrics.total_variation(
            metrics.element_shares(crystals), metrics.element_shares(real)
        ),
        "elements_that_occur": len({z for c in crystals for z in c.numbers.tolist()}),
        **{f"{key}_wasserstein": metrics.wasserstein(of(crystals), of(real)) for key, of in _FEATURES.items()},
        "quantiles": {key: quantiles(of(crystals)) for key, of in _FEATURES.items()},
    }


def quantiles(values: Sequence[float]) -> list[float]:
    """The least value, 49 between that part the values in fiftieths, and the largest; nothing of nothing."""
    return [float(q) for q in np.quantile(values, np.linspace(0.0, 1.0, 51))] if values else []


def fingerprints(crystals: Sequence[Crystal]) -> Fingerprints:
    """What coverage is judged by, of the crystals that the gate surrogate can read.

    Composition: mean, spread, least and most over the atoms of each column of the table of elements. Structure:
    the same of five numbers around each atom that know of chemistry only the sizes of atoms: nearest-neighbour and
    bond lengths over covalent radii, smooth coordination number, share of like neighbours, steepness of shells.
    """
    from invdesign.chemistry.element_features import element_features
    from invdesign.surrogates.gate import read_graphs
    from invdesign.surrogates.inputs.features import feature_names

    graphs, _ = read_graphs(crystals)
    names = feature_names()
    table = np.zeros((0, len(names))) if graphs is None else graphs.features.astype(np.float64)
    kinds = ("mean", "spread", "least", "most")
    columns = [
        [names.index(f"{kind}_{column}") for kind in kinds for column in chosen]
        for chosen in (element_features().columns, _SURROUNDINGS)
    ]
    return Fingerprints(table[:, columns[0]], table[:, columns[1]])


_SURROUNDINGS = ("nearest_ratio", "bond_ratio", "coordination", "like_neighbours", "steepness")


def _coverage(
    name: str, crystals: Sequence[Crystal], asked: int, background: Background
) -> dict[str, dict[str, float]]:
    """How much of the known crystals the samples come near, and how many samples are near a known crystal."""
    reference = background.fingerprints
    if name == KNOWN:  # they are the first of the reference: compare them with the others
        reference = fingerprints(background.crystals[len(crystals) :])
    recall, precision = metrics.covered(fingerprints(crystals), reference)
    rates = {"coverage_recall": rate(recall), "coverage_precision": rate(precision, asked)}
    return {key: value.to_dict() for key, value in rates.items()}


def _cdvae(
    name: str,
    made: Mapping[int, Crystal],
    checks: Mapping[int, Check],
    asked: int,
    background: Background,
    journal: Journal,
) -> dict[str, Any]:
    """CDVAE's metrics beyond validity: Wasserstein distances of valid samples, and coverage if it can be had.

    Known crystals are compared with the other ones.
    """
    first = len(made) if name == KNOWN else 0
    real = background.crystals[first:]
    valid = [c for i, c in made.items() if checks[i].cdvae_structure and checks[i].cdvae_composition]
    figures: dict[str, Any] = {
        "d_rho": metrics.wasserstein(_densities(valid), _densities(real)),
        "d_elem": metrics.wasserstein(*(_FEATURES["n_elements"](crystals) for crystals in (valid, real))),
        "d_energy": metrics.wasserstein(_formation_energies(valid), _formation_energies(real)),
    }
    ours = [row for i in made if (row := journal.get(Prints, name, i)) is not None]
    others = range(first, len(background.crystals))
    theirs = [row for i in others if (row := journal.get(Prints, KNOWN, i)) is not None]
    if len(ours) < len(made) or not theirs:
        return figures
    found = cdvae.coverage(cdvae.table(ours), cdvae.table(theirs))
    rates = {"cov_recall": rate(found.recall), "cov_precision": rate(found.precision, asked)}
    return figures | {key: value.to_dict() for key, value in rates.items()} | found.distances


def _formation_energies(crystals: Sequence[Crystal]) -> list[float]:
    """Formation energies (eV/atom) by the gate surrogate, of the crystals that it can read."""
    from invdesign.surrogates import load_gate

    estimates = load_gate().predict(crystals)
    return [e.values["formation_energy"].mean for e in estimates if "formation_energy" in e.values]


def _densities(crystals: Sequence[Crystal]) -> list[float]:
    from invdesign.mechanics.formulas import density

    return [density(c) for c in crystals]


_FEATURES: dict[str, Callable[[Sequence[Crystal]], list[float]]] = {
    "density": _densities,
    "n_elements": lambda crystals: [float(len(set(c.numbers.tolist()))) for c in crystals],
    "n_sites": lambda crystals: [float(c.n_sites) for c in crystals],
    "n_orbits": lambda crystals: [float(len(c.gene.wyckoffs)) for c in crystals if c.gene],
}
"""Numbers whose distributions are compared: density in g/cm³, elements, sites of the primitive cell, orbits."""


def _novelty(
    made: Mapping[int, Crystal], checks: Mapping[int, Check], asked: int, bench: Bench, background: Background
) -> dict[str, Any]:
    genes = [c.gene for c in made.values() if c.gene is not None]
    compared = [row for row in checks.values() if not row.problem]
    found = {row.known for row in compared if row.known}
    rates = {
        "unique": rate(_unique(list(made.values()), bench), asked),
        "gene": rate((protostructure(g) not in background.protostructures for g in genes), asked),
        "template": rate((metrics.template(g) not in background.templates for g in genes), asked),
        "structure": rate((not row.known for row in compared), asked),
        **_rediscovered(found, background.split),
    }
    return {key: value.to_dict() for key, value in rates.items()} | {
        "not_comparable": len(checks) - len(compared),
        "known_crystals_found": len(found),
    }


def _rediscovered(found: set[str], split: Mapping[str, str]) -> dict[str, Rate]:
    """Of the known crystals of the plan's size and stability, how many distinct ones are among the samples.

    Held out are those of chemical systems that no model of the project was trained on.
    """
    sizes = Counter(split.values())
    seen = Counter(split[i] for i in found if i in split)
    return {
        "held_out_rediscovered": Rate(seen["test"], sizes["test"]),
        "training_rediscovered": Rate(seen["train"], sizes["train"]),
    }


def _unique(crystals: Sequence[Crystal], bench: Bench) -> list[bool]:
    """Whether each is the first of those that are the same."""
    judge = bench.uniqueness()
    rows = (Evaluation(Candidate(str(i), crystal, "", "")) for i, crystal in enumerate(crystals))
    return [judge.check(row).status is Status.PASS for row in rows]


def _relaxed_figures(
    made: Mapping[int, Crystal], relaxed: Mapping[int, Relaxed], asked: int, bench: Bench
) -> dict[str, Any]:
    done = {i: row for i, row in relaxed.items() if row.crystal is not None}
    flags = dict(zip(done, _unique([c for row in done.values() if (c := row.crystal)], bench), strict=True))
    judged = [
        Judged(row.energy_above_hull, flags.get(i, False), not row.known and not row.failure, row.space_group)
        for i, row in relaxed.items()
    ]
    judged += [Judged(None, False, False, None)] * (asked - len(judged))
    kept = [row.space_group == _group(made[i].gene) for i, row in done.items()]
    energies = [row.energy_above_hull for row in done.values() if row.energy_above_hull is not None]
    sun, metasun = metrics.lemat_sun(judged)
    rates = {
        "succeeded": Rate(len(done), asked),
        "placed": Rate(len(energies), asked),
        "converged": rate((row.converged for row in done.values()), asked),
        "space_group_kept": rate(kept, asked),
        "stable_at_0.1": metrics.stable(judged, 0.1),
        "stable_at_0": metrics.stable(judged, 0.0),
        "unique": rate((j.unique for j in judged), asked),
        "novel": rate((j.novel for j in judged), asked),
        "sun_at_0.1": metrics.mattergen_sun(judged, 0.1),
        "sun_at_0": metrics.mattergen_sun(judged, 0.0),
        "wyformer_ssun_at_0.08": metrics.wyformer_ssun(judged),
        "lemat_sun": sun,
        "lemat_metasun": metasun,
        "known": rate((bool(row.known) for row in done.values()), asked),
    }
    return (
        {"asked": asked}
        | {key: value.to_dict() for key, value in rates.items()}
        | {
            "median_energy_above_hull": median(energies),
            "energy_above_hull_quantiles": quantiles(energies),
            "mean_rms_displacement": _mean(row.rms_displacement for row in done.values()),
            "median_rms_displacement": median([row.rms_displacement for row in done.values()]),
            "mean_volume_change": _mean(row.volume_change for row in done.values()),
            "cpu_seconds": sum(row.seconds for row in relaxed.values()),
        }
    )


def _group(gene: Gene | None) -> int | None:
    return None if gene is None else gene.space_group


def median(values: Sequence[float] | FloatArray) -> float:
    """The median; NaN of nothing."""
    return float(np.median(values)) if len(values) else float("nan")


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else float("nan")


def _speed(took: Sampling, plan: Plan, relaxed: Mapping[str, Any] | None) -> dict[str, Any]:
    """Samples a second, and what one success costs: its share of sampling and all relaxations."""
    speed: dict[str, Any] = {
        "start_cpu_seconds": took.start_seconds,
        "samples_per_cpu_second": plan.n / max(took.cpu_seconds, 1e-9),
        "samples_per_second": plan.n / max(took.wall_seconds, 1e-9),
    }
    if relaxed is not None:
        successes = relaxed["sun_at_0.1"]["count"]
        spent = took.cpu_seconds * plan.relax / plan.n + relaxed["cpu_seconds"]
        speed["cpu_seconds_per_sun_crystal"] = spent / successes if successes else None
    return speed


_ROWS: tuple[tuple[str, str, str], ...] = (
    ("made", "", "samples made"),
    ("validity", "distances", "distances sound"),
    ("validity", "smact", "SMACT valid (default settings)"),
    ("validity", "cdvae_valid", "valid as in CDVAE"),
    ("symmetry", "p1", "P1"),
    ("symmetry", "as_the_gene_says", "space group as written"),
    ("symmetry", "space_group_total_variation", "space groups, total variation"),
    ("symmetry", "wyformer_space_group_chi2", "space groups, χ² as in WyFormer"),
    ("novelty", "unique", "unique"),
    ("novelty", "gene", "new gene"),
    ("novelty", "template", "new template"),
    ("novelty", "structure", "new structure"),
    ("novelty", "held_out_rediscovered", "held-out known crystals rediscovered"),
    ("novelty", "training_rediscovered", "training crystals rediscovered"),
    ("distribution", "coverage_recall", "coverage of known crystals, recall"),
    ("distribution", "coverage_precision", "coverage, precision"),
    ("cdvae", "cov_recall", "COV-R of CDVAE (MP-20 thresholds)"),
    ("cdvae", "cov_precision", "COV-P of CDVAE"),
    ("cdvae", "amsd_precision", "AMSD-P of CDVAE"),
    ("cdvae", "amcd_precision", "AMCD-P of CDVAE"),
    ("cdvae", "d_rho", "d_ρ of CDVAE (g/cm³)"),
    ("cdvae", "d_elem", "d_elem of CDVAE"),
    ("cdvae", "d_energy", "d_E of CDVAE (eV/atom, by the gate)"),
    ("distribution", "elements_total_variation", "elements, total variation"),
    ("distribution", "density_wasserstein", "density, Wasserstein (g/cm³)"),
    ("distribution", "n_elements_wasserstein", "number of elements, Wasserstein"),
    ("distribution", "n_sites_wasserstein", "sites, Wasserstein"),
    ("relaxed", "asked", "relaxations"),
    ("relaxed", "stable_at_0.1", "stable at 0.1 eV/atom"),
    ("relaxed", "sun_at_0.1", "S.U.N. at 0.1 eV/atom"),
    ("relaxed", "sun_at_0", "S.U.N. at 0 eV/atom"),
    ("relaxed", "median_energy_above_hull", "median energy above hull (eV/atom)"),
    ("relaxed", "space_group_kept", "space group kept"),
    ("relaxed", "mean_rms_displacement", "mean RMS displacement (Å)"),
    ("speed", "samples_per_cpu_second", "samples per CPU second"),
    ("speed", "cpu_seconds_per_sun_crystal", "CPU seconds per S.U.N. crystal"),
)
"""Section, figure and title of the rows of the table."""


def markdown(record: Mapping[str, Any]) -> str:
    """The record's main figures as a table, rates in percent with their 95 % intervals."""
    found: Mapping[str, Any] = record["generators"]
    plan = record["plan"]
    lines = [
        f"{plan['n']} samples each, {plan['relax']} relaxed, seed {plan['seed']}. {record['reference']}.",
        "Rates in percent with 95 % intervals; what failed counts in every denominator.",
        "",
        "| | " + " | ".join(found) + " |",
        "| --- |" + " ---: |" * len(found),
    ]
    for section, key, title in _ROWS:
        cells = [
            cell(figures.get(section) if not key else figures.get(section, {}).get(key))
            for figures in found.values()
        ]
        if any(cells):
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    keys = ("potential", "hull", "matcher", "smact", "cdvae_coverage")
    notes = [f"{key}: {record[key]}" for key in keys if key in record]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def cell(value: Any) -> str:
    """A figure in a table: a rate in percent with its interval, a number, or nothing."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        if not value["of"]:
            return ""
        share, low, high = (100 * value[key] for key in ("value", "low", "high"))
        digits = 0 if high >= 10.0 else 1 if high >= 1.0 else 2
        return f"{share:.{max(1, digits)}f} ({low:.{digits}f}–{high:.{digits}f})"
    return f"{value:d}" if isinstance(value, int) else f"{value:.3g}"
