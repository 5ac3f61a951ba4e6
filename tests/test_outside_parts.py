"""Parts that invdesign does not ship: as `module:Class`, from a file, and by the entry points of a package."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_parts import fake_parts

from invdesign import build
from invdesign.catalogue import NEEDS, STAGES
from invdesign.cli import run
from invdesign.errors import InputError, LedgerError
from invdesign.generators import GENERATORS
from invdesign.query import Query
from invdesign.reference.local import LocalReference
from invdesign.validators import VALIDATORS

SOURCE = '''
"""Parts of a package of somebody else."""

from typing import ClassVar

from invdesign.crystal import Gene
from invdesign.crystallography.genes import decode
from invdesign.records import Failure, Status, Verdict


class RockSalt:
    """Rock salts alone."""

    conditioned_on: ClassVar = ("density",)

    def propose(self, n, rng, conditions):
        for _ in range(n):
            metal, anion = int(rng.choice((12, 20, 22, 38, 40))), int(rng.choice((6, 7, 8)))
            if {metal, anion} & conditions.forbidden:
                yield Failure("generate", "forbidden")
            else:
                yield decode([Gene(225, (0, 1), (metal, anion), (), (float(rng.uniform(4.0, 5.5)),))])[0]


class Light:
    """Nothing heavier than titanium."""

    name = "light"
    stages = ("screen", "check")

    def check(self, row):
        heavy = row.crystal.numbers.max() > 22
        return Verdict(self.name, Status.FAIL if heavy else Status.PASS, "heavy" if heavy else "")


class Placed:
    """Made with everything that there is."""

    name = "placed"
    needs = ("reference", "limit")

    def __init__(self, reference, limit):
        self.reference, self.limit = reference, limit

    def check(self, row):
        return Verdict(self.name, Status.PASS)


class Late(Light):
    stages = ("afterwards",)


class Greedy(Light):
    needs = ("everything",)


class Needy(Light):
    def __init__(self, something):
        self.something = something
'''


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package `acme` with parts, as its wheel would leave it in a folder of packages."""
    site = tmp_path / "site"
    info = site / "acme-1.2.dist-info"
    info.mkdir(parents=True)
    (site / "acme_parts.py").write_text(SOURCE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[invdesign.generators]\nsalts = acme_parts:RockSalt\nvae = acme_parts:RockSalt\n\n"
        "[invdesign.validators]\nlight = acme_parts:Light\nplaced = acme_parts:Placed\nlate = acme_parts:Late\n"
    )
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    yield site
    sys.modules.pop("acme_parts", None)


def test_a_package_offers_parts_by_entry_points(acme: Path) -> None:
    assert list(build.names_of("generator")) == ["salts", *GENERATORS] or "salts" in build.names_of("generator")
    assert build.families("light") == ["validator"]
    assert type(build.generator("salts")).__name__ == "RockSalt"
    part = build.generator_part("salts")
    assert (part.where, part.about, part.conditioned_on) == (
        "acme_parts:RockSalt",
        "Rock salts alone.",
        ("density",),
    )
    assert build.validator_part("light").stages == ("screen", "check")
    assert "salts" not in build.generators(build.MIXTURE)


def test_a_package_cannot_take_a_shipped_name(acme: Path) -> None:
    assert build.names_of("generator")["vae"] == GENERATORS["vae"].where


def test_validators_from_outside_judge_at_the_stages_of_their_class(acme: Path) -> None:
    assert "light" not in build.validator_names(["screen"])
    assert build.validator_names(["screen"], ["light", "placed"])[-1] == "light"
    assert build.validator_names(["check"], ["light", "placed"])[-2:] == ["light", "placed"]
    assert "light" not in build.validator_names(["inspection"], ["light"])
    known = LocalReference()
    placed = build.validator("placed", known, limit=0.25)
    assert placed.reference is known and placed.limit == 0.25  # type: ignore[attr-defined]


def test_every_shipped_validator_has_stages_and_needs_that_there_are() -> None:
    for name, part in VALIDATORS.items():
        assert part.stages and set(part.stages) <= set(STAGES), name
        assert set(part.needs) <= set(NEEDS), name
        assert part.about
    assert build.validator_names(["screen"]) == ["distances", "charge_balance"]
    assert build.validator_names(["inspection"]) == ["symmetry", "novelty", "polytype", "disorder"]
    assert build.validator_names(["uniqueness"]) == ["uniqueness"]
    assert build.validator_names(["listing"]) == ["dynamics"]
    stable = build.validator_names(["check"])
    assert stable == ["distances", "charge_balance", "symmetry", "novelty", "polytype", "disorder", "stability"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"generator": "vea"}, ["'vea'", "did you mean vae?"]),
        ({"generator": "salt"}, ["'salt'", "did you mean salts?"]),
        ({"generator": "mixtur"}, ["did you mean mixture?"]),
        ({"generator": "acme_parts:Missing"}, ["acme_parts:Missing", "no attribute"]),
        ({"generator": "no_such_module:X"}, ["no_such_module:X", "No module named"]),
        ({"generator": "none.py:X"}, ["none.py:X", "there is no file"]),
        ({"validators": ["ligth"]}, ["'ligth'", "did you mean light?"]),
        ({"validators": ["late"]}, ["validator late: stages", "'afterwards'", "screen, inspection, check"]),
        ({"validators": ["acme_parts:Greedy"]}, ["needs", "'everything'", "reference, limit, relaxer"]),
    ],
)
def test_an_unknown_part_is_refused_with_the_list(query: dict[str, object], words: list[str], acme: Path) -> None:
    with pytest.raises(InputError) as error:
        build.check_names(Query(**query))  # type: ignore[arg-type]
    assert [word for word in words if word not in str(error.value)] == []


def test_a_part_that_cannot_be_made_is_one_line(acme: Path) -> None:
    with pytest.raises(InputError, match="without arguments"):
        build.validator("acme_parts:Needy")
    with pytest.raises(InputError, match="a method propose"):
        build.generator("acme_parts:Light")


def test_a_module_that_breaks_when_imported_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "wrong.py").write_text("def f(:\n")
    for file, error in (("broken", "ZeroDivisionError"), ("wrong", "SyntaxError")):
        with pytest.raises(InputError, match=error):
            build.generator(f"{tmp_path / file}.py:X")


@pytest.fixture
def partly_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fast parts, but for the generator and the screens that a query names."""

    def parts(query: Query, workers: int | None = None) -> object:
        named = tuple(build.validator(name) for name in query.validators)
        mine = build._outside_digests(query)
        return replace(fake_parts(), generators=build.generators(query.generator), screens=named, provenance=mine)

    monkeypatch.setattr(build, "default_parts", parts)


def test_a_design_run_takes_parts_from_a_file_and_is_held_to_them(
    partly_fake: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "mine.py"
    source.write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    parts = ["--generator", "mine.py:RockSalt", "--validator", "mine.py:Light"]
    args = ["--target", "density>=1", "-n", "2", "--relaxations", "4", "--search", "none", "--out", "run"]
    assert run(["design", *args, *parts]) == 0
    table = (tmp_path / "run" / "candidates.csv").read_text()
    assert "RockSalt" in table and "verdict_light" in table
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["funnel"]["screen"]["rejected"]["light"] > 0
    assert record["query"]["generator"] == f"{source}:RockSalt"
    (digest,) = {v for k, v in record["parts"].items() if "mine.py" in k}
    assert len(digest) == 12
    monkeypatch.chdir(tmp_path.parent)
    assert run(["resume", str(tmp_path / "run")]) == 0
    source.write_text(SOURCE + "\n# another version\n")
    with pytest.raises(LedgerError, match="mine"):
        from invdesign.app.design import resume

        resume(tmp_path / "run")


def test_generate_takes_a_class_of_a_module(acme: Path, tmp_path: Path) -> None:
    out = tmp_path / "samples"
    assert run(["generate", "acme_parts:RockSalt", "-n", "3", "--out", str(out)]) == 0
    assert (out / "candidates.csv").read_text().count(",225,") == 3
