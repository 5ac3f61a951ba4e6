"""Figures of `invdesign benchmark generation`: rates of samples and relaxations, and distances of distributions.

Rates carry their denominators and Wilson's 95 % intervals; an item that failed counts in every denominator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from invdesign.benchmarking import cdvae, metrics
from invdesign.benchmarking.cdvae import Prints
from invdesign.benchmarking.figures.numbers import cell, median, quantiles
from invdesign.benchmarking.journal import Journal
from invdesign.benchmarking.metrics import KNOWN, Cutoffs, Fingerprints, Judged, Rate, Template, rate
from invdesign.benchmarking.samples import Bench, Check, Plan, Relaxed, Sampling, is_reference, recorded
from invdesign.chemistry.composition import chemical_system, reduced_formula
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import protostructure
from invdesign.data.split import by_chemical_system
from invdesign.query import CRYSTAL_SYSTEMS
from invdesign.records import Candidate, Evaluation, Status
from invdesign.reference.known import KnownCrystal
from invdesign.serialize import to_plain

CDVAE_SETTINGS = (
    f"at most {cdvae.STRUCTURE_CUTOFF:g} in structure and {cdvae.COMPOSITION_CUTOFF:g} in composition "
    "(CDVAE's thresholds for MP-20), compositions scaled by the reference crystals"
)
CDVAE_MISSING = (
    "COV-R and COV-P are left out, they need matminer: pip install -c constraints.txt 'invdesign[benchmark]'"
)


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
            if is_reference(row, plan):
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


def fingerprints(crystals: Sequence[Crystal]) -> Fingerprints:
    """What coverage is judged by, of the crystals that the gate surrogate can read.

    Composition: mean, spread, least and most over the atoms of each column of the table of elements. Structure:
    the same of five numbers around each atom that know of chemistry only the sizes of atoms: nearest-neighbour and
    bond lengths over covalent radii, smooth coordination number, share of like neighbours, steepness of shells.
    """
    from invdesign.chemistry.element_features import element_features
    from invdesign.surrogates.inputs.cells import read_graphs
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
    from invdesign.mechanics.derive import density

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
