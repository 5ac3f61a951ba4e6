"""What the known crystals say of a query before a relaxation is spent."""

from __future__ import annotations

import numpy as np
import pytest

from invdesign.app.feasibility import FAR, LEAST, Feasibility, feasibility
from invdesign.query import Query
from invdesign.reference.local import load_known
from invdesign.reference.properties import load_properties


def count(name: str, low: float) -> int:
    """Known crystals within 0.2 eV/atom of the hull with a computed value from `low` on, counted anew."""
    table = load_properties()
    j = ("bulk_modulus", "shear_modulus", "band_gap").index(name)
    values = 10.0 ** table.values[:, j] if name != "band_gap" else table.values[:, j]
    near = ~(table.column("energy_above_hull") > 0.2)
    return int((table.sound[:, j] & near & (values >= low)).sum())


def test_counts_are_those_of_the_table() -> None:
    allowed = Query(targets=["bulk_modulus>=300"], elements=["radioactive", "noble_gases"], max_sites=40)
    everything = Query(targets=["bulk_modulus>=300"], max_sites=40)
    found = feasibility(everything)
    assert found.each == {"bulk_modulus>=300": found.all} and not found.widened
    assert 0 < found.stable <= found.all <= count("bulk_modulus", 300.0)
    assert feasibility(allowed).judged < found.judged


def test_what_exists_is_named_and_is_no_reason_to_warn() -> None:
    found = feasibility(Query(targets=["band_gap>=3", "bulk_modulus>=150"], exclude="O"))
    assert found.all >= 20 and not found.far and found.warning() == ""
    assert all(near.distance == 0.0 for near in found.nearest)
    assert all(near.values["band_gap"] >= 3 and near.values["bulk_modulus"] >= 150 for near in found.nearest)
    assert "known already" in found.lines()[1]


def test_what_is_nowhere_near_is_said_with_the_nearest() -> None:
    found = feasibility(Query(targets=["density<=2", "bulk_modulus>=500"]))
    assert found.all == 0 and found.far and found.nearest[0].distance > FAR
    assert found.each["density<=2"] > 50
    near = found.nearest[0]
    assert near.values["density"] > 2 and near.values["bulk_modulus"] < 500
    assert near.formula in found.warning() and "meet density<=2" in found.warning()
    distances = [n.distance for n in found.nearest]
    assert distances == sorted(distances)


@pytest.mark.parametrize(
    ("targets", "formula"),
    [
        (["vickers_hardness>=60"], "C"),
        (["youngs_modulus>=900"], "C"),
        (["poisson_ratio<=0.06", "bulk_modulus>=100"], "Be"),
        (["density>=22", "bulk_modulus>=350"], "Os"),
        (["price<=2", "melting_point>=3000"], "Al2O3"),
    ],
)
def test_derived_properties_and_quantities_are_judged(targets: list[str], formula: str) -> None:
    found = feasibility(Query(targets=targets, max_energy_above_hull=0.2))
    assert formula in [near.formula for near in found.nearest if near.distance == 0.0]


def test_elements_formula_prototype_and_size_are_respected() -> None:
    found = feasibility(Query(targets=["bulk_modulus>=200"], chemical_system="Hf-Ta-C-N", space_group="Fm-3m"))
    assert {near.formula for near in found.nearest if near.distance == 0.0} <= {"HfC", "HfN", "TaC", "TaN"}
    assert not found.widened and 4 <= found.judged < LEAST
    perovskites = feasibility(Query(prototype="perovskite"))
    known = load_known()
    assert 100 < perovskites.judged <= int((known.space_groups == 221).sum())
    assert feasibility(Query(formula="SrTiO3", n_sites=5)).judged == 1
    assert perovskites.lines() == [f"{perovskites.judged:,} known crystals with such elements, symmetry and size"]


def test_where_little_is_known_crystals_of_all_kinds_are_asked() -> None:
    found = feasibility(Query(targets=["bulk_modulus>=600"], formula="TiAl3N7"))
    assert found.widened and found.judged > 5000 and found.far
    possible = feasibility(Query(targets=["bulk_modulus>=200"], formula="TiAl3N7"))
    assert possible.widened and not possible.far


def test_extremes_and_custom_properties_are_not_judged() -> None:
    from invdesign.properties import custom_property

    prop = custom_property("my_value", "", 0.0, 1.0, False)
    query = Query(targets=["bulk_modulus=max", "my_value>=0.5"], properties=[prop], exclude="Co")
    found = feasibility(query)
    assert found.unjudged == ("my_value>=0.5",) and not found.far and found.each == {}


def test_one_wrong_value_makes_nothing_feasible() -> None:
    assert feasibility(Query(targets=["bulk_modulus>=600"])).far  # one compound's computed modulus is 514 GPa
    assert not Feasibility(0).far and np.isfinite(FAR)
