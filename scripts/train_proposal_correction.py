"""Make the correction of the gate: relax proposals of many queries, learn where the gate was wrong.

    python scripts/train_proposal_correction.py [--out FOLDER] [--work DIR] [--queries 60] [--seed 11] [--small]
    python scripts/train_proposal_correction.py --corrected --seed 12 …

For every random query a searcher asks, the autoencoder in the folder proposes, the gate chooses 22 proposals and
chance adds 10; all are relaxed (given up early at 0.3 eV/atom above the hull), and the second stage judges the
moduli of those that end near it. Results are lines of `DIR/relaxed_SEED.jsonl`, so that an interrupted run goes
on; all such files are learned from. With `--corrected` and another seed a second pass chooses with the correction
of the first. The figures beside the weights are of a split by chemical system.

The first pass takes proposals of the autoencoder without reward, because the reward needs a correction; the second
those of the rewarded one. 60 queries take about an hour of two cores.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from invdesign import build
from invdesign.chemistry.composition import chemical_system
from invdesign.crystal import Crystal, FloatArray
from invdesign.engine.pipeline import predict, propose, screen
from invdesign.engine.screening import acquire, select
from invdesign.engine.search import make_searcher
from invdesign.errors import TrainingError
from invdesign.evolution.judge import Judge
from invdesign.protocols import Reference, Surrogate
from invdesign.query import Query
from invdesign.records import Estimate, Evaluation, Failure, Relaxation, Value
from invdesign.serialize import from_plain, to_plain
from invdesign.surrogates import PROPOSAL_CORRECTION, load_gate, load_proposal_gate, weights_of
from invdesign.surrogates.inputs.cells import read_graphs
from invdesign.surrogates.proposal_correction import CUTS, ENERGY, LEAST, ProposalCorrection, learned, views
from invdesign.surrogates.scales import to_scale
from invdesign.training.rebuild import begin, built, digest, options, run
from invdesign.training.sheet import Sheet
from invdesign.uncertainty import modelled_std, probability_below

Said = dict[str, tuple[FloatArray, FloatArray]]
"""By property: (n,) means and spreads, eV/atom or log10."""
NEEDED = ("vae.safetensors", "hull.parquet", "known_crystals.parquet", "energy_scale_sevennet-0.json")
"""Tables that the relaxed proposals depend on besides the surrogates."""


@dataclass(frozen=True)
class Scale:
    """How much is relaxed.

    Attributes:
        queries: random queries.
        proposals, chosen, drawn: for each query: all, those chosen by the gate, those drawn by chance.
        judged: energy above hull up to which moduli of relaxed proposals are asked for, eV/atom.
        least: values below which a property is not corrected.
    """

    queries: int
    proposals: int
    chosen: int
    drawn: int
    judged: float
    least: int


FULL = Scale(queries=60, proposals=700, chosen=22, drawn=10, judged=0.15, least=LEAST)
SMALL = Scale(queries=3, proposals=100, chosen=5, drawn=5, judged=0.3, least=8)
GIVE_UP = 0.3
"""Energy above hull at which a relaxation is given up, eV/atom."""
LIMIT = 0.1
MODULI = ("bulk_modulus", "shear_modulus")


def random_query(rng: np.random.Generator) -> Query:
    """A query as a user might ask it: moduli, gaps, densities, energies, alone and in pairs."""

    def one(*values: float) -> str:
        return f"{rng.choice(values):g}"

    gap = float(rng.choice([0.5, 1.0, 2.0, 3.0]))
    kinds = [
        [f"bulk_modulus>={one(200, 250, 300)}"],
        [f"bulk_modulus>={one(200, 250)}", f"shear_modulus>={one(120, 150)}"],
        [f"shear_modulus>={one(100, 150)}", "density<=5"],
        [f"band_gap={gap:g}..{gap + 1:g}"],
        [f"bulk_modulus={one(50, 100, 150, 250)}"],
        ["formation_energy<=-2"],
        ["vickers_hardness>=20"],
        [f"density<={one(3, 4, 6)}", f"youngs_modulus>={one(100, 150, 200)}"],
    ]
    return Query(targets=kinds[int(rng.integers(len(kinds)))], n=20)


def proposals(query: Query, seed: int, parts: Any, scale: Scale) -> list[Evaluation]:
    """The gate's choice among the proposals for a query, and some at random."""
    searcher = make_searcher(query, parts.generators, seed, query.targets, 8)
    rows = [
        row
        for request in searcher.ask(scale.proposals)
        for row in propose(request, parts.generators[request.generator])[0]
    ]
    rows = predict(screen(rows, parts.screens), parts.gate, parts.reference, parts.derive)
    rows = acquire(rows, Judge(parts.gate, parts.reference, query.targets, LIMIT, parts.hardness), LIMIT)
    rng = np.random.default_rng(seed)
    marked, _ = select(rows, scale.chosen, [], rng)
    rest = [r for r in marked if not r.selected and not r.failed]
    drawn = [rest[int(k)] for k in rng.permutation(len(rest))[: scale.drawn]]
    return [r for r in marked if r.selected] + drawn


def collect(scale: Scale, seed: int, file: Path, gate: Surrogate, workers: int | None) -> None:
    """Relax proposals until the file holds those of so many queries."""
    done = {line["query"] for line in lines(file)} if file.exists() else set()
    parts = build.default_parts(Query(n=20), gate=gate)
    relaxer = build.relaxer(workers=workers, ceiling=partial(build.ceiling, parts.reference, GIVE_UP))
    for number in range(scale.queries):
        query = random_query(np.random.default_rng((seed, number)))
        if number in done:
            continue
        rows = proposals(query, seed * 100_000 + number, parts, scale)
        crystals = [row.candidate.crystal for row in rows]
        pairs = [(i, r) for i, r in relaxer.relax_iter(crystals) if not isinstance(r, Failure)]
        relaxed = {i: r for i, r in pairs if r.formation_energy is not None}
        found = [record(seed, number, query, rows[i], r.formation_energy) for i, r in relaxed.items()]
        near = [k for k, r in enumerate(relaxed.values()) if close(r, parts.reference, scale.judged)]
        judged = parts.surrogate.predict([list(relaxed.values())[k].crystal for k in near])
        for k, estimate in zip(near, judged, strict=True):
            found[k] |= {name: estimate.values[name].mean for name in MODULI if name in estimate.values}
        with file.open("a") as stream:
            stream.write("".join(json.dumps(line) + "\n" for line in found))
        wishes = ", ".join(map(str, query.targets))
        print(f"query {number + 1} of {scale.queries}: {wishes}: {len(found)}", flush=True)
    relaxer.close()


def close(relaxed: Relaxation, reference: Reference, limit: float) -> bool:
    """Whether a relaxed crystal is near enough to the hull for its moduli to matter."""
    distance = reference.energy_above_hull(relaxed.crystal, relaxed.formation_energy)
    return distance is not None and distance.mean <= limit


def record(seed: int, number: int, query: Query, row: Evaluation, energy: Value) -> dict[str, Any]:
    """One line of the file."""
    return {
        "seed": seed,
        "query": number,
        "targets": [str(target) for target in query.targets],
        "crystal": to_plain(row.candidate.crystal),
        "selected": row.selected,
        "formation_energy": energy.mean,
    }


def lines(file: Path) -> Iterator[dict[str, Any]]:
    """What is recorded; a line that was not finished is left out."""
    with file.open() as stream:
        yield from (json.loads(line) for line in stream if line.endswith("\n"))


def figures(
    energy: tuple[FloatArray, FloatArray], truth: FloatArray, hull: FloatArray, chosen: np.ndarray[Any, Any]
) -> dict[str, float]:
    """How well formation energies (mean, std) tell which crystals relax to within the limit of the hull."""
    distance, stable = energy[0] - hull, truth - hull <= LIMIT
    pairs = [Value(float(m), float(s)) for m, s in zip(distance, energy[1], strict=True)]
    chance = np.clip([probability_below(LIMIT, value) for value in pairs], 1e-3, 1 - 1e-3)
    return {
        "mean_absolute_error": float(np.abs(energy[0] - truth).mean()),
        "roc_area": area(stable, -distance),
        "roc_area_of_chosen": area(stable[chosen], -distance[chosen]),
        "log_loss": float(-np.log(np.where(stable, chance, 1 - chance)).mean()),
        "expected_stable": float(np.mean(chance)),
        "stable": float(stable.mean()),
    }


def area(truth: np.ndarray[Any, Any], score: FloatArray) -> float:
    """Area under the ROC curve; NaN where all are of one kind."""
    return float(roc_auc_score(truth, score)) if 0 < truth.sum() < len(truth) else float("nan")


ABOUT = """\
What relaxations of generated crystals say about the gate: Gaussian processes of the differences between the
formation energy after relaxation and the gate's before, and between the moduli by the second stage on the relaxed
crystal and the gate's before (`invdesign/surrogates/proposal_correction.py`)."""
MORE = """\
Proposals of the autoencoder: {proposals} for {queries} queries drawn at random, by seed: {by_seed}. Of these
{chosen_by_gate} were chosen by the gate (seeds after the first: with the correction of the seeds before), the rest
by chance; proposals of the first seed are of the autoencoder before it was rewarded. Moduli: of {judged} that
ended within {near} eV/atom of the hull. Relaxed with {potential}, given up early above {give_up} eV/atom.
Corrected: {corrected}.

| on unseen chemical systems; stable: within {limit} eV/atom of the hull | gate alone | with correction |
| --- | --- | --- |
{rows}"""


def main() -> None:
    parser = options(__doc__, data=False, small=True)
    parser.add_argument("--queries", type=int, help="random queries (60); 0: learn from what is there")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--work", type=Path, default=Path("correction"), help="folder of relaxed proposals")
    parser.add_argument("--corrected", action="store_true", help="choose with the correction in the folder")
    parser.add_argument("--workers", type=int, help="processes for relaxations (one per core)")
    args = begin(parser)
    args.work.mkdir(parents=True, exist_ok=True)
    scale = SMALL if args.small else FULL
    scale = scale if args.queries is None else replace(scale, queries=args.queries)
    data = built(*NEEDED, weights_of("gate"), weights_of("relaxed"))
    if args.corrected:
        data |= {f"{PROPOSAL_CORRECTION} before": built(PROPOSAL_CORRECTION)[PROPOSAL_CORRECTION]}
    if scale.queries:
        gate = load_proposal_gate() if args.corrected else load_gate()
        collect(scale, args.seed, args.work / f"relaxed_{args.seed}.jsonl", gate, args.workers)
    files = sorted(args.work.glob("relaxed_*.jsonl"))
    out = args.out / PROPOSAL_CORRECTION
    notes = learn([line for file in files for line in lines(file)], args.seed, out, scale)
    data |= {file.name: digest(file)[:12] for file in files}
    sheet(notes, args, data).write(out)
    print(f"{out}: {notes['proposals']} proposals, {notes['corrected']}")


def sheet(notes: Mapping[str, Any], args: Any, data: dict[str, str]) -> Sheet:
    """The data sheet."""
    before, after = notes["gate_alone"], notes["with_correction"]
    rows = [f"| {name.replace('_', ' ')} | {before[name]:.3f} | {after[name]:.3f} |" for name in before]
    first, *others = notes["by_seed"]
    script = "python scripts/train_proposal_correction.py"
    again = [f"`{script} --corrected --seed {seed}`" for seed in others]
    error = "mean_absolute_error"
    return Sheet(
        about=ABOUT,
        script=", then ".join([f"`{script} --seed {first}`", *again]),
        data=data,
        split="figures: five folds by chemical system; the correction itself: all proposals",
        seed=f"{', '.join(notes['by_seed'])}, of queries and proposals; {args.seed} of the basis points",
        metrics=f"mean absolute error of the formation energy on unseen chemical systems: {before[error]:.3f} "
        f"eV/atom by the gate alone, {after[error]:.3f} with the correction",
        commit=args.commit,
        licence="relaxations by this project; the gate: Materials Project, CC BY 4.0.",
        more=MORE.format(
            rows="\n".join(rows),
            give_up=GIVE_UP,
            limit=LIMIT,
            **{k: v for k, v in notes.items() if k != "by_seed"},
            by_seed=", ".join(f"{seed}: {n}" for seed, n in notes["by_seed"].items()),
        ),
    )


def learn(found: list[dict[str, Any]], seed: int, out: Path, scale: Scale) -> dict[str, Any]:
    """Fit on all lines, judge on folds by chemical system, write the weights and return the figures.

    A property of which too few values are known is not corrected.

    Raises:
        TrainingError: if there are too few proposals.
    """
    gate, reference = load_gate(), build.reference()
    crystals = [from_plain(Crystal, line["crystal"]) for line in found]
    distances = [reference.energy_above_hull(c, Value(0.0, 0.0)) for c in crystals]
    kept = [i for i, d in enumerate(distances) if d is not None]
    found, crystals = [found[i] for i in kept], [crystals[i] for i in kept]
    if len(found) < scale.least:
        raise TrainingError(f"{len(found)} relaxed proposals are too few to learn from; at least {scale.least}")
    hull = np.array([-d.mean for d in distances if d is not None])
    chosen = np.array([line["selected"] for line in found])
    graphs, _ = read_graphs(crystals)
    assert graphs is not None
    raw = gate.model.raw(graphs)
    seen = views(raw, gate.model.memory)
    truth = {n: to_scale(n, np.array([line.get(n, np.nan) for line in found], dtype=np.float64)) for n in CUTS}
    truth = {n: values for n, values in truth.items() if np.isfinite(values).sum() >= scale.least / 0.8}
    before = said(gate.model.estimates(graphs, raw=raw))
    residuals = {name: truth[name] - before[name][0] for name in truth}
    systems = [chemical_system(c.numbers) for c in crystals]
    learn_on = partial(learned, gate=gate.model, seed=seed, least=scale.least)
    after = unseen(seen, residuals, before, systems, learn_on)
    notes = {
        "proposals": len(found),
        "judged": sum(MODULI[0] in line for line in found),
        "near": scale.judged,
        "chosen_by_gate": int(chosen.sum()),
        "queries": len({(line["seed"], line["query"]) for line in found}),
        "by_seed": dict(Counter(str(line["seed"]) for line in found)),
        "potential": build.relaxer().potential,
        "corrected": ", ".join(name.replace("_", " ") for name in truth),
        "split": "five folds by chemical system",
        "script": "scripts/train_proposal_correction.py",
        "gate_alone": figures(before[ENERGY], truth[ENERGY], hull, chosen) | errors(before, truth),
        "with_correction": figures(after[ENERGY], truth[ENERGY], hull, chosen) | errors(after, truth),
    }
    learn_on(seen, residuals, notes=notes).save(out)
    return notes


def said(estimates: Sequence[Estimate]) -> Said:
    """Mean and spread of each property that can be corrected, eV/atom or log10."""
    out = {}
    for name in CUTS:
        values = [e.values[name] for e in estimates]
        spread = [modelled_std(v, log=name in MODULI) for v in values]
        out[name] = to_scale(name, np.array([v.mean for v in values])), np.array(spread)
    return out


def unseen(
    seen: FloatArray,
    residuals: dict[str, FloatArray],
    before: Said,
    systems: Sequence[str],
    learn: Callable[[FloatArray, Mapping[str, FloatArray]], ProposalCorrection],
) -> Said:
    """Corrected answers, each by what was learned without its chemical system."""
    after = {name: (np.zeros(len(seen)), np.zeros(len(seen))) for name in residuals}
    for train, test in GroupKFold(5).split(seen, groups=systems):
        correction = learn(seen[train], {n: r[train] for n, r in residuals.items()})
        for name, part in correction.corrections.items():
            mean, after[name][1][test] = part.residual(seen[test])
            after[name][0][test] = before[name][0][test] + mean
    return after


def errors(answers: Said, truth: dict[str, FloatArray]) -> dict[str, float]:
    """Mean and mean absolute error of log10 moduli against the second stage on the relaxed crystal."""
    out = {}
    for name in (name for name in MODULI if name in truth):
        wrong = answers[name][0] - truth[name]
        out[f"log10_{name}_bias"] = float(np.nanmean(wrong))
        out[f"log10_{name}_mean_absolute_error"] = float(np.nanmean(np.abs(wrong)))
    return out


if __name__ == "__main__":
    run(main)
