"""The proposal correction goes on learning from finished runs, where that makes it better."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_parts import FakeRelaxer, fake_parts
from test_campaign import SIZES

from invdesign import build
from invdesign.app.learn import learn
from invdesign.cli import run
from invdesign.crystal import Crystal
from invdesign.engine.campaign import Campaign
from invdesign.errors import InputError, OutputError
from invdesign.query import Query
from invdesign.records import Failure, Relaxation, Value
from invdesign.surrogates import load_proposal_gate
from invdesign.surrogates.correction_update import extended, folds, judged, updated
from invdesign.surrogates.proposal_correction import ENERGY, Correction, fit

POTENTIAL = "sevennet-0 of a test"


class Offset(FakeRelaxer):
    """Relaxations that end a constant above what the corrected gate says, with a little noise."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by, self.gate = by, load_proposal_gate()

    def _one(self, crystal: Crystal) -> Relaxation | Failure:
        said = self.gate.predict([crystal])[0].values["formation_energy"].mean
        noise = np.random.default_rng(crystal.numbers).normal(0.0, 0.02)
        energy = said + self.by + float(noise)
        return Relaxation(crystal, energy, Value(energy, 0.03), 0.01, 7, True, 0.5, 0.1, 0.03, POTENTIAL)


def finished_run(folder: Path, by: float, seed: int = 0) -> Path:
    parts = replace(
        fake_parts(), relaxer=Offset(by), surrogate=load_proposal_gate(), provenance={"potential": POTENTIAL}
    )
    query = Query(targets=["bulk_modulus>=100"], n=4, relaxations=36, search="none")
    sizes = replace(SIZES, proposals=6, probes=0.0)
    with Campaign(query, seed, parts, folder / "ledger.sqlite", sizes=sizes) as campaign:
        list(campaign)
    return folder


@pytest.fixture(autouse=True)
def potential(monkeypatch: pytest.MonkeyPatch) -> None:
    class Named:
        potential = POTENTIAL

    monkeypatch.setattr(build, "relaxer", lambda *_: Named())


class Gate:
    """What `fit` asks of a gate."""

    properties = ("formation_energy",)


@pytest.fixture(scope="module")
def old() -> Correction:
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(300, 4))
    return fit(seen, np.sin(seen[:, 0]) + rng.normal(0, 0.05, 300), Gate(), basis=60)  # type: ignore[arg-type]


def test_a_larger_basis_changes_nothing_by_itself(old: Correction) -> None:
    rng = np.random.default_rng(1)
    grown = extended(old, rng.normal(size=(20, 4)) * 2.0)
    assert grown.whiten.shape[1] > old.whiten.shape[1]
    places = rng.normal(size=(50, 4)) * 2.0
    assert np.allclose(grown.residual(places)[0], old.residual(places)[0], atol=1e-9)
    assert np.allclose(grown.residual(places)[1], old.residual(places)[1], rtol=1e-6)


def test_an_update_is_what_fitting_on_both_gives() -> None:
    """On a basis that spans the crystals, Bayes' rule in two steps is that in one."""
    rng = np.random.default_rng(4)
    seen, residual = rng.normal(size=(150, 3)), rng.normal(size=150)
    first = fit(seen[:120], residual[:120], Gate(), basis=120, least=10)  # type: ignore[arg-type]
    wide = extended(first, (seen[120:] - first.centre) / first.scale)
    features, beyond = wide.features(seen)
    assert beyond.max() < 1e-3 * first.amplitude**2 + 1e-2
    weighted = features / (first.noise**2 + beyond)[:, None]
    covariance = np.linalg.inv(weighted.T @ features + np.eye(features.shape[1]))
    both = replace(wide, covariance=covariance, weights=covariance @ weighted.T @ (residual - first.offset))
    new = updated(first, seen[120:], residual[120:])
    places = rng.normal(size=(40, 3))
    assert np.allclose(new.residual(places)[0], both.residual(places)[0], atol=0.02)
    assert np.allclose(new.residual(places)[1], both.residual(places)[1], atol=0.02)


def test_it_learns_what_is_new_and_keeps_what_is_old(old: Correction) -> None:
    rng = np.random.default_rng(2)
    far = rng.normal(size=(60, 4)) * 0.3 + np.array([0.0, 8.0, 0.0, 0.0])
    new = updated(old, far[:40], np.full(40, 0.7))
    assert np.abs(new.residual(far[40:])[0] - 0.7).mean() < 0.1 < np.abs(old.residual(far[40:])[0] - 0.7).mean()
    assert (new.residual(far[40:])[1] < old.residual(far[40:])[1]).all()
    near = 0.5 * rng.normal(size=(50, 4))
    assert np.abs(new.residual(near)[0] - old.residual(near)[0]).max() < 0.05


def test_noise_is_no_help(old: Correction) -> None:
    rng = np.random.default_rng(3)
    seen = rng.normal(size=(80, 4))
    systems = [str(k % 20) for k in range(80)]
    truth = old.residual(seen)[0]
    assert not judged(ENERGY, old, seen, truth + rng.normal(0, 0.05, 80), systems).helps
    assert judged(ENERGY, old, seen, truth + 0.4, systems).helps


def test_folds_keep_chemical_systems_together() -> None:
    systems = ["a", "b", "a", "c", "d", "e", "f", "f"]
    for train, test in folds(systems):
        assert not {systems[i] for i in train} & {systems[i] for i in test}
        assert sorted([*train, *test]) == list(range(8))


def test_runs_that_disagree_with_the_correction_change_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = finished_run(tmp_path / "run", 0.35), tmp_path / "mine.safetensors"
    assert run(["learn", str(folder), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "formation_energy: mean absolute error 0.3" in text and "updated" in text and f"wrote {out}" in text
    crystals = sampled(folder)
    before, after = (errors(load_proposal_gate(path), crystals, 0.35) for path in (None, out))
    assert after < 0.5 * before
    with pytest.raises(OutputError, match="--force"):
        learn([folder], out)
    with pytest.raises(InputError, match="0 of them not learned from before"):
        learn([folder], tmp_path / "again.safetensors", correction=out)
    assert build._proposal_gate(Query(correction=out)).correction.notes["learned_from"]  # type: ignore[attr-defined]


def sampled(folder: Path) -> list[Crystal]:
    from invdesign.engine.ledger import Ledger
    from invdesign.engine.stored import stored_rows

    with Ledger.read(folder / "ledger.sqlite") as ledger:
        return [row.candidate.crystal for row in stored_rows(ledger)]


def errors(gate: object, crystals: Sequence[Crystal], by: float) -> float:
    said = [e.values["formation_energy"].mean for e in gate.predict(crystals)]  # type: ignore[attr-defined]
    truth = [e.values["formation_energy"].mean + by for e in load_proposal_gate().predict(crystals)]
    return float(np.abs(np.array(said) - np.array(truth)).mean())


def test_runs_that_agree_with_it_change_nothing(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "run", 0.0)
    found = learn([folder], tmp_path / "mine.safetensors")
    assert found.path is None and not (tmp_path / "mine.safetensors").exists()
    assert found.lines[-1].startswith("nothing is written") and found.crystals > 20


def test_other_potentials_and_folders_without_a_run_are_a_line(tmp_path: Path) -> None:
    other = tmp_path / "other"
    sizes = replace(SIZES, probes=0.0)
    with Campaign(
        Query(targets=["bulk_modulus>=100"], relaxations=3, search="none"),
        0, fake_parts(), other / "ledger.sqlite", sizes=sizes,
    ) as campaign:  # fmt: skip
        list(campaign)
    with pytest.raises(InputError, match=r"relaxed with fake 1, not with .*there is no ledger"):
        learn([other, tmp_path / "nowhere"], tmp_path / "out.safetensors")
