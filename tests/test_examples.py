"""The examples run, at a small size with small parts, and what they show is so."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_parts import fake_parts
from test_campaign import EVOLUTION, QUERY, SIZES, fingerprint, finished

from invdesign import build
from invdesign.engine.campaign import Campaign
from invdesign.errors import InputError, LedgerError
from invdesign.evolution.moves import MOVES
from invdesign.records import Failure

EXAMPLES = Path(__file__).parent.parent / "examples"
SMALL = {"relaxations": 12, "sizes": SIZES, "evolution": EVOLUTION}


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "default_parts", lambda query, workers=None: fake_parts())


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text()
    names = [path.stem for path in EXAMPLES.glob("*.py") if path.stem != "loop"]
    assert len(names) == 4 and all(f'example("{name}")' in text for name in names)


def test_asking_and_telling_by_hand_finds_what_the_loop_finds(capsys: pytest.CaptureFixture[str]) -> None:
    result = example("ask_tell").main(**SMALL)
    assert capsys.readouterr().out.count("asked 4") == 3
    with Campaign(result.query, 0, fake_parts(), sizes=SIZES, evolution=EVOLUTION) as campaign:
        list(campaign)
        assert len(result)
        assert [found.id for found in campaign.result()] == [found.id for found in result]


def test_told_results_are_recorded_and_wrong_ones_refused(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    with Campaign(QUERY, 0, fake_parts(), ledger, sizes=SIZES, evolution=EVOLUTION) as campaign:
        with pytest.raises(InputError, match=r"ask\(\)"):
            campaign.tell({})
        rows = campaign.ask()
        assert [r.candidate.id for r in campaign.ask()] == [r.candidate.id for r in rows] and len(rows) == 4
        broken = {row.candidate.id: Failure("relax", "the queue was full") for row in rows}
        first, *_ = broken
        with pytest.raises(InputError, match=first):
            campaign.tell({name: value for name, value in broken.items() if name != first})
        with pytest.raises(InputError, match="nobody"):
            campaign.tell({**broken, "nobody": Failure("relax", "")})
        step = campaign.tell(broken)
        assert step.counts["selected"] == 4 and step.counts["relaxed"] == 0
    again = finished(ledger)[0]
    assert sum(row.failure is not None and "queue" in row.failure.reason for row in again.rows) == 4
    assert len(again.selected) == 12 and fingerprint(again) == fingerprint(finished(ledger)[0])


def test_an_objective_and_a_constraint_of_ones_own() -> None:
    module = example("objective")
    result = module.main(**SMALL)
    assert len(result) and all("small_cell" in found.item.row.verdicts for found in result)
    plain = Campaign(result.query, 0, fake_parts(), sizes=SIZES, evolution=EVOLUTION)
    list(plain)
    row = result[0].item.row
    assert 0.0 < module.stiff_and_light([row])[0] <= 1.0
    assert row.score < max(r.score for r in plain.accepted)  # the objective multiplies the score


def test_a_constraint_keeps_proposals_out_and_belongs_to_the_run(tmp_path: Path) -> None:
    class Never(example("objective").SmallCell):  # type: ignore[misc]
        def check(self, row: object) -> object:
            from invdesign.records import Status, Verdict

            return Verdict("small_cell", Status.FAIL, "too large")

    ledger = tmp_path / "ledger.sqlite"
    given = {"sizes": SIZES, "evolution": EVOLUTION}
    with Campaign(QUERY, 0, fake_parts(), ledger, constraints=[Never()], **given) as campaign:  # type: ignore[arg-type]
        step = campaign.step()
    assert step.counts["selected"] == 0
    with pytest.raises(LedgerError, match="settings"):
        finished(ledger)


def test_a_move_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invdesign.evolution.evolve.MOVES", MOVES)
    module = example("own_move")
    tried = []
    nitride = module.nitride
    module.nitride = lambda *given: tried.append(given) or nitride(*given)
    try:
        module.main(**SMALL)
    finally:
        MOVES.pop("nitride", None)
    made = [child for given in tried if (child := nitride(*given)) is not None]
    assert made and all(8 not in child.gene.numbers and 7 in child.gene.numbers for child in made)


def test_a_callback_stops_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = example("stop_early")
    result = module.main(relaxations=40, search="none")
    rounds = capsys.readouterr().out.count("round ")
    assert 1 <= rounds < 5 and len(result) >= module.ENOUGH
    assert result.record["relaxations"] == 8 * rounds
