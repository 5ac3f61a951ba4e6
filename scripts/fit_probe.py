"""Make `probe.json`: what a first look at a proposal with few calls of the potential is worth.

Run: python scripts/fit_probe.py [--out FOLDER] [--per-query 40] [--seed 21] [--work FILE.jsonl] [--small]

For some queries the search among candidates proposes crystals, and the autoencoder as many. Each is looked at with
one, two, three and four calls, and relaxed in full. By bins of the gain that the quadratic model still expects,
the median and the spread of *relaxed energy less energy of the first look and gain* become the model. The rank
correlation of the gate and of each number of calls with the energy above hull after relaxation goes into the data
sheet; it is measured with the model of the other queries. Lines of `--work` are kept, so that an interrupted run
goes on. An hour on two cores.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from invdesign import build
from invdesign.crystal import Crystal
from invdesign.engine.campaign import Campaign
from invdesign.engine.pipeline import propose, screen
from invdesign.engine.search import seed_of
from invdesign.evolution.evolve import EvolutionSettings
from invdesign.query import Query
from invdesign.records import Failure, Request
from invdesign.relaxation.probe import TABLE, Looked, ProbeModel
from invdesign.training.rebuild import begin, built, digest, options, run
from invdesign.training.sheet import Sheet

CALLS = (1, 2, 3, 4)
EDGES = (0.003, 0.01, 0.03, 0.1)
LEAST_SPREAD = (0.005, 0.01, 0.02, 0.04, 0.1)
"""Standard deviations (eV/atom) below which no bin is trusted, and those of a bin with fewer than `IN_BIN`
crystals."""
IN_BIN = 8
QUERIES: tuple[dict[str, Any], ...] = (
    {"targets": ["bulk_modulus>=200"]},
    {"targets": ["band_gap>=2"]},
    {"targets": ["shear_modulus>=100"], "exclude": ["B"]},
    {"targets": ["density<=5", "bulk_modulus>=80"]},
    {"targets": ["band_gap=0.5..2"]},
    {"targets": ["formation_energy<=-1.5"]},
)
NEEDED = (
    "vae.safetensors",
    "surrogate_gate.safetensors",
    "proposal_correction.safetensors",
    "known_properties.npz",
    "hull.parquet",
    "energy_scale_sevennet-0.json",
)
"""Tables that the proposals and their energies depend on."""


@dataclass(frozen=True)
class Scale:
    """How many queries there are, crystals for each, and how the search among candidates is set."""

    queries: int
    per_query: int
    search: EvolutionSettings


FULL = Scale(len(QUERIES), 40, EvolutionSettings(generations=6, children=400))
SMALL = Scale(2, 4, EvolutionSettings(generations=2, children=60))
ABOUT = """\
From a first look at a proposal (one to four calls of `{potential}` in symmetry-adapted coordinates) to the energy
after a full relaxation: for each number of calls, by bins of the gain that the quadratic model still expects
(`edges`, eV/atom), the median and the robust standard deviation of the relaxed energy less that of the first look
and the gain (`shift`, `spread`, eV/atom)."""
MORE = """\
{n} proposals of {queries} queries (half of the search among candidates, half of the autoencoder; seed {seed}), of
which {stable:.0%} end within 0.1 eV/atom of the hull. With the model of the other queries:

| stage | rank correlation with the energy above hull after relaxation | MAE, eV/atom | ROC area of stable |
| --- | --- | --- | --- |
{table}

A full relaxation takes {steps:.1f} calls on average."""


def main() -> None:
    parser = options(__doc__, data=False, small=True)
    parser.add_argument("--per-query", type=int, help="crystals for each query (40)")
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--work", type=Path, default=Path("probe.jsonl"), help="file of what was measured")
    args = begin(parser)
    scale = SMALL if args.small else FULL
    args.work.parent.mkdir(parents=True, exist_ok=True)
    for number in range(scale.queries):
        if not any(line["query"] == number for line in lines(args.work)):
            found = measured(number, args.per_query or scale.per_query, args.seed, scale.search)
            with args.work.open("a") as file:
                file.writelines(json.dumps(line) + "\n" for line in found)
    found, out = list(lines(args.work)), args.out / TABLE
    models = {str(calls): fitted(found, calls) for calls in CALLS}
    out.write_text(json.dumps({"models": models, "seed": args.seed}, indent=1) + "\n")
    data = built(*NEEDED) | {args.work.name: digest(args.work)[:12]}
    sheet(found, args.seed, data, args.commit).write(out)
    print(f"{out}: {len(found)} proposals")


def lines(work: Path) -> Iterator[dict[str, Any]]:
    """What earlier calls have measured."""
    if work.exists():
        yield from map(json.loads, work.read_text().splitlines())


def measured(number: int, n: int, seed: int, search: EvolutionSettings) -> list[dict[str, Any]]:
    """First looks at, and relaxations of, proposals for one query; one line for each that could be relaxed."""
    crystals, campaign = proposals(Query(**QUERIES[number], n=8, relaxations=n), n, seed, search)
    judged = campaign.judge().judge(crystals)
    hull = campaign.judge().hull_energies(crystals)
    relaxer = build.relaxer()
    out: list[dict[str, Any]] = [
        {"query": number, "sites": c.n_sites, "gate": float(e)}
        for c, e in zip(crystals, judged.hull_mean, strict=True)
    ]
    with relaxer:
        for calls in CALLS:
            for i, looked in relaxer.look_iter(crystals, calls):
                if isinstance(looked, Looked):
                    energy = relaxer.scale.formation_energy(looked.crystal, looked.energy_per_atom).mean
                    out[i][str(calls)] = [energy - float(hull[i]), looked.gain, looked.seconds]
            print(f"query {number}: {calls} calls", flush=True)
        for i, done in relaxer.relax_iter(crystals):
            if not isinstance(done, Failure) and done.converged and done.formation_energy is not None:
                out[i] |= {"relaxed": done.formation_energy.mean - float(hull[i]), "steps": done.steps}
    return [line for line in out if "relaxed" in line and all(str(c) in line for c in CALLS)]


def proposals(query: Query, n: int, seed: int, search: EvolutionSettings) -> tuple[list[Crystal], Campaign]:
    """Half of the search, half of the autoencoder, all of which pass the screens."""
    campaign = Campaign(query, seed, build.default_parts(query), evolution=search)
    assert campaign.search is not None
    (request, *_) = campaign.searcher.ask(4 * n)
    request = Request(request.id, request.generator, request.conditions, 2 * n, seed_of(seed, "probe"))
    drawn = screen(propose(request, campaign.parts.generators["vae"])[0], campaign.screens)
    sound = [row.candidate.crystal for row in drawn if not row.failed][: n // 2]
    rows, _ = campaign.search.propose("e", 4 * n, (), (), None, seed)
    evolved = [row.candidate.crystal for row in screen(rows, campaign.screens) if not row.failed]
    order = np.random.default_rng(seed).permutation(len(evolved))[: n - len(sound)]
    return [*sound, *(evolved[i] for i in order)], campaign


def fitted(found: Sequence[dict[str, Any]], calls: int) -> dict[str, list[float]]:
    """The model of one number of calls."""
    gain = np.array([line[str(calls)][1] for line in found])
    off = np.array([line["relaxed"] - line[str(calls)][0] + line[str(calls)][1] for line in found])
    shift, spread = [], []
    for k, least in enumerate(LEAST_SPREAD):
        here = off[np.digitize(gain, EDGES) == k]
        enough = len(here) >= IN_BIN
        shift.append(float(np.median(here)) if enough else 0.0)
        scatter = 1.4826 * float(np.median(np.abs(here - shift[-1]))) if enough else least
        spread.append(max(scatter, least))
    return {"edges": list(EDGES), "shift": shift, "spread": spread}


def sheet(found: Sequence[dict[str, Any]], seed: int, data: dict[str, str], commit: str) -> Sheet:
    """The data sheet, with what each stage is worth for queries that its model has not seen."""
    truth = np.array([line["relaxed"] for line in found])
    rows = [figures("gate with its proposal correction", np.array([line["gate"] for line in found]), truth)]
    for calls in CALLS:
        answer = np.zeros(len(found))
        for number in {line["query"] for line in found}:
            model = ProbeModel(calls, **_tuples(fitted([x for x in found if x["query"] != number], calls)))
            for i, line in enumerate(found):
                if line["query"] == number:
                    energy, gain, seconds = line[str(calls)]
                    answer[i] = model.relaxed(Looked(None, energy, gain, calls, seconds))[0]  # type: ignore[arg-type]
        rows.append(figures(f"{calls} call{'s' * (calls > 1)}", answer, truth))
    more = MORE.format(
        n=len(found),
        queries=len({line["query"] for line in found}),
        seed=seed,
        stable=float((truth <= 0.1).mean()),
        table="\n".join(rows),
        steps=float(np.mean([line["steps"] for line in found])),
    )
    name, rank, error, _ = rows[2].strip("| ").split(" | ")
    return Sheet(
        about=ABOUT.format(potential=build.relaxer().potential),
        script="python scripts/fit_probe.py",
        data=data,
        split="figures: the query of a crystal left out; the model itself: all queries",
        seed=f"{seed}, of queries and proposals",
        metrics=f"{len(found)} proposals; {name}: rank correlation {rank}, MAE {error} eV/atom",
        commit=commit,
        licence="relaxations by this project with SevenNet-0.",
        more=more,
    )


def figures(name: str, answer: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> str:
    """One row of the table."""
    from scipy.stats import spearmanr
    from sklearn.metrics import roc_auc_score

    rank, stable = float(spearmanr(answer, truth)[0]), truth <= 0.1
    area = float(roc_auc_score(stable, -answer)) if 0 < stable.sum() < len(stable) else float("nan")
    return f"| {name} | {rank:.2f} | {np.abs(answer - truth).mean():.3f} | {area:.2f} |"


def _tuples(model: dict[str, list[float]]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(values) for name, values in model.items()}


if __name__ == "__main__":
    run(main)
