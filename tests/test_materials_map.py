"""The map of materials space: its table, and where crystals are placed on it."""

from __future__ import annotations

import numpy as np
import pytest

from invdesign.chemistry.families import anion_class
from invdesign.crystallography.genes import decode
from invdesign.elements import atomic_number
from invdesign.reference.local import load_known
from invdesign.report.materials_map import COLOURS, FAMILIES, load_map, places
from invdesign.surrogates import load_gate


def test_the_table_is_whole() -> None:
    table = load_map()
    n = len(table.ids)
    assert n > 10_000 and table.xy.shape == (n, 2) and np.isfinite(table.xy).all() and len(set(table.ids)) == n
    assert set(table.families) <= set(COLOURS) and set(FAMILIES.values()) == set(COLOURS)
    assert table.label_sizes.sum() == pytest.approx(1.0)
    for text, (x, y) in zip(table.label_texts, table.label_xy, strict=True):
        assert text.split(":")[0] in COLOURS
        assert (
            table.xy[:, 0].min() <= x <= table.xy[:, 0].max() and table.xy[:, 1].min() <= y <= table.xy[:, 1].max()
        )


@pytest.mark.parametrize("formula", ["TiC", "NaCl"])
def test_families_are_those_of_the_formulas(formula: str) -> None:
    table = load_map()
    rows = np.flatnonzero(table.formulas == formula)
    numbers = {"TiC": ("Ti", "C"), "NaCl": ("Na", "Cl")}[formula]
    expected = FAMILIES[anion_class(map(atomic_number, numbers))]
    assert len(rows) and {table.families[k] for k in table.kinds[rows]} == {expected}


def test_neighbours_on_the_map_share_a_family_far_more_often_than_chance() -> None:
    table = load_map()
    rows = np.random.default_rng(0).choice(len(table.ids), 300, replace=False)
    distance = ((table.xy[rows, None] - table.xy[None]) ** 2).sum(axis=2)
    nearest = np.argsort(distance, axis=1)[:, 1:6]
    shared = (table.kinds[nearest] == table.kinds[rows, None]).mean()
    chance = ((np.bincount(table.kinds) / len(table.kinds)) ** 2).sum()
    assert shared > 0.5 * (1.0 + chance)


def test_a_known_crystal_is_placed_where_it_stands_and_what_cannot_be_read_nowhere() -> None:
    table, known = load_map(), load_known()
    row_of = {known.id(row): row for row in range(len(known))}
    chosen = np.random.default_rng(1).choice(len(table.ids), 5, replace=False)
    crystals = [decode([known[row_of[f"mp-{table.ids[i]}"]].gene])[0] for i in chosen]
    found = places(crystals, load_gate().model)
    for place, i in zip(found, chosen, strict=True):
        assert place is not None and np.hypot(*(np.array(place) - table.xy[i])) < 1.0
    assert places([], load_gate().model) == []
