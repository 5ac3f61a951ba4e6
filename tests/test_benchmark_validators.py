"""The benchmark of validators: classes of compounds, and stoichiometries with their counts exchanged."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from invdesign.elements import atomic_number
from invdesign.stoichiometry import parse_formula


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parent.parent / "benchmarks" / "validators.py"
    spec = importlib.util.spec_from_file_location("benchmark_validators", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def composition(text: str) -> dict[int, int]:
    return {atomic_number(name): int(n) for name, n in parse_formula(text).items()}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("TiO2", "oxide"), ("NaCl", "halide"), ("CsPbI3", "halide"), ("ZnS", "chalcogenide"),
        ("Bi2Te3", "chalcogenide"), ("TiN", "nitride"), ("WC", "carbide"), ("NiAl", "intermetallic"),
        ("Mg2Ge", "Zintl phase"), ("NaTl", "Zintl phase"), ("Ca3P2", "Zintl phase"), ("Nb3Sn", "intermetallic"),
        ("TiB2", "boride"), ("CoSb3", "intermetallic"), ("Fe", "element"),
    ],
)  # fmt: skip
def test_a_compound_is_of_the_class_that_a_chemist_would_name(script: ModuleType, text: str, name: str) -> None:
    assert script.class_of(set(composition(text))) == name


def test_counts_are_given_to_the_elements_in_another_order(script: ModuleType) -> None:
    rng = np.random.default_rng(0)
    assert script.exchanged(((8, 2), (22, 1)), rng) == ((8, 1), (22, 2))
    assert script.exchanged(((11, 1), (17, 1)), rng) is None
    drawn = {script.exchanged(((8, 3), (22, 1), (56, 1)), rng) for _ in range(20)}
    assert drawn == {((8, 1), (22, 3), (56, 1)), ((8, 1), (22, 1), (56, 3))}


def test_answers_are_counted_by_class_with_shuffled_ones_apart(script: ModuleType) -> None:
    cells = [
        np.repeat(list(c), list(c.values()))
        for c in map(composition, ("Al2O3", "Al4O6", "MgCl2", "NiAl", "NaCl2"))
    ]
    found = script.by_class(cells, 0)
    assert next(iter(found)) == "all" and found["all"]["n"] == 4  # corundum counts once
    assert found["oxide"] == {
        "n": 1, "pass": 1.0, "fail": 0.0, "unknown": 0.0,
        "of_shuffled": 1, "shuffled": {"pass": 0.0, "fail": 1.0, "unknown": 0.0},
    }  # fmt: skip
    assert found["halide"]["pass"] == found["halide"]["fail"] == 0.5  # MgCl2 and NaCl2
    assert found["intermetallic"]["unknown"] == 1.0 and found["intermetallic"]["of_shuffled"] == 0
    assert "| oxide | 1 | 100.0 / 0.0 / 0.0 | 0.0 / 100.0 / 0.0 |" in script.class_table(found)
