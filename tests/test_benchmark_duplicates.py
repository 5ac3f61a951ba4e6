"""Planted duplicates are the same crystal, near misses are another one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from invdesign.benchmarking.speed_crystals import known
from invdesign.crystal import Gene
from invdesign.crystallography.genes import decode
from invdesign.crystallography.matching import reduced, same
from invdesign.crystallography.symmetry import primitive


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parent.parent / "benchmarks" / "duplicates.py"
    spec = importlib.util.spec_from_file_location("benchmark_duplicates", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


KINDS = ("supercell", "origin", "strain", "order of sites", "enantiomorph", "setting")
QUARTZ = Gene(152, (0, 2), (14, 8), (0.47, 0.413, 0.266, 0.119), (4.916, 5.405))


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_duplicate_is_another_description_of_the_same_crystal(script: ModuleType, kind: str) -> None:
    quartz, rng = decode([QUARTZ])[0], np.random.default_rng(0)
    changed = script.KINDS[kind](quartz, rng)
    assert set(script.KINDS) == set(KINDS) and changed.gene is None
    assert not np.array_equal(changed.frac_coords, quartz.frac_coords) or kind == "strain"
    assert same(reduced(quartz), reduced(changed))
    if kind != "strain":
        assert changed.volume / changed.n_sites == pytest.approx(quartz.volume / quartz.n_sites)


def test_near_misses_have_other_primitive_cells(script: ModuleType) -> None:
    for pairs in (script.exchanged(6, np.random.default_rng(0)), script.phases(20, np.random.default_rng(0))):
        found = list(pairs)
        assert len(found) >= 2
        for crystal, other in found:
            assert primitive(crystal).n_sites != primitive(other).n_sites
            counts = [np.unique(c.numbers, return_counts=True)[1] / c.n_sites for c in (crystal, other)]
            assert np.allclose(*counts)


def test_a_duplicate_that_is_missed_is_named(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    found = script.planted(6, np.random.default_rng(0))
    assert found["found"]["count"] == found["found"]["of"] == 6 and not found["missed"]
    name = known(6, script.CELLS, np.random.default_rng(0))[0].source
    monkeypatch.setitem(
        script.KINDS, "supercell", lambda c, rng: decode([Gene(225, (0, 1), (3, 3), (), (9.0,))])[0]
    )
    found = script.planted(6, np.random.default_rng(0))
    assert found["missed"] == [f"{name} (supercell)"] and found["by_kind"]["supercell"]["value"] == 0.0
