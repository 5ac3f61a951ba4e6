"""Explanations add up, agree with exchanging elements, find the crystals that are known, and reach every face."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_report import RUN, table
from test_surrogates import textbook
from test_surrogates_parts import GENES, PEROVSKITE

import invdesign
from invdesign import build
from invdesign.cli import run
from invdesign.crystallography.genes import decode
from invdesign.elements import symbol
from invdesign.errors import InputError, ReferenceMissingError
from invdesign.report.export import explanation_columns, write_cifs
from invdesign.report.page import render
from invdesign.surrogates import load_gate, load_relaxed
from invdesign.surrogates.explain import nearest
from invdesign.surrogates.explain.explanation import Explanation, explain
from invdesign.surrogates.explain.gradients import FAMILIES, family
from invdesign.surrogates.explain.nearest import _positions_of, labelled_for, load_labelled
from invdesign.surrogates.explain.substitutes import exchange_odds, replaced, substitutes
from invdesign.surrogates.inputs.dataset import graphs_of_genes
from invdesign.surrogates.inputs.features import feature_names
from invdesign.surrogates.scales import shown


@pytest.fixture(scope="module")
def known() -> dict[str, Explanation]:
    cells = textbook()
    return dict(zip(cells, load_gate().explain(list(cells.values())), strict=True))


@pytest.fixture(scope="module")
def others() -> list[Explanation]:
    return explain(load_gate().model, decode(GENES))


def test_both_sums_end_at_the_value(known, others):
    for explanation in [*known.values(), *others]:
        for name, why in explanation.reasons.items():
            assert why.substitutes + sum(c.value for c in why.elements.values()) == pytest.approx(why.value)
            by_feature = why.average + why.surroundings + sum(why.features.values())
            assert by_feature == pytest.approx(why.value, abs=0.005)  # a finite number of steps along the line
            mean = explanation.estimate.values[name].mean
            if name in ("bulk_modulus", "formation_energy"):
                assert why.value == pytest.approx(np.log10(mean) if why.log10 else mean)


def test_sites_of_an_element_add_up_to_it(others):
    for gene, explanation in zip(GENES, others, strict=True):
        for why in explanation.reasons.values():
            assert [s.element for s in why.sites] == [symbol(z) for z in gene.numbers]
            for element, total in why.elements.items():
                parts = [s.contribution.value for s in why.sites if s.element == element]
                assert sum(parts) == pytest.approx(total.value)
    assert [s.wyckoff for s in others[1].reasons["bulk_modulus"].sites] == ["1a", "1b", "3d"]


def test_contributions_agree_with_exchanging_the_element(others):
    """The sign is that of the predicted loss, and the size goes with it."""
    model, told, lost = load_gate().model, [], []
    for gene, explanation in zip(GENES, others, strict=True):
        swaps = substitutes(gene, 32, np.random.default_rng(5))
        for z in set(gene.numbers):
            made = [replaced(gene, tuple(s[z] if n == z else n for n in gene.numbers)) for s in swaps]
            raw = shown(model.properties, model.raw(graphs_of_genes([gene, *made])).mean)
            for j, name in enumerate(model.properties):
                told.append(explanation.reasons[name].elements[symbol(z)].value)
                lost.append(raw[0, j] - raw[1:, j].mean())
    clear = np.abs(lost) > 0.1
    assert clear.sum() >= 15
    assert (np.sign(told) == np.sign(lost))[clear].mean() > 0.9
    assert np.corrcoef(told, lost)[0, 1] > 0.9


def test_chemistry_that_is_known(known):
    """Carbon stiffens a carbide, diamond is stiffer than its substitutes, oxygen opens the gap of MgO."""
    assert known["TiC"].reasons["bulk_modulus"].elements["C"].value > 0.05
    assert known["diamond"].reasons["shear_modulus"].elements["C"].value > 0.2
    assert known["MgO"].reasons["band_gap"].elements["O"].value > 1.0
    assert known["MgO"].reasons["formation_energy"].elements["O"].value < -0.5


def test_the_nearest_crystal_of_a_known_one_is_itself(known):
    expected = {"diamond": ("mp-66", 435), "TiC": ("mp-631", 252), "Si": ("mp-149", 89), "W": ("mp-91", 304)}
    for name, (material, modulus) in expected.items():
        first, *rest = known[name].nearest
        assert (first.id, round(first.distance, 1)) == (material, 0.0)
        assert first.values["bulk_modulus"] == pytest.approx(modulus, rel=0.08)  # other vintages of the same value
        assert all(0.1 < r.distance < 3.0 for r in rest)
        assert [r.distance for r in rest] == sorted(r.distance for r in rest)
    assert known["TiC"].nearest[0].space_group == 225 and known["TiC"].nearest[0].experimental is True


def test_one_at_a_time_is_the_same_as_all_at_once(known):
    alone = load_gate().explain([textbook()["TiC"]])[0]
    for name, why in alone.reasons.items():
        other = known["TiC"].reasons[name]
        assert why.value == pytest.approx(other.value, abs=1e-4)
        assert why.features == pytest.approx(other.features, abs=1e-3)
        for element, contribution in why.elements.items():
            assert contribution.value == pytest.approx(other.elements[element].value, abs=1e-4)
    assert [n.id for n in alone.nearest] == [n.id for n in known["TiC"].nearest]


def test_failures_stand_in_their_rows(known):
    salt = textbook()["NaCl"]
    squashed = replace(salt, lattice=salt.lattice * 0.3)
    first, second = load_gate().explain([squashed, salt])
    assert "Å³" in first.failure and not first.reasons and not first.nearest
    assert explanation_columns(first) == {}
    assert not second.failure and second.nearest[0].id == known["NaCl"].nearest[0].id
    assert load_gate().explain([]) == []


def test_substitutes_are_others_and_follow_the_mined_exchanges():
    swaps = substitutes(PEROVSKITE, 400, np.random.default_rng(0))
    for choice in swaps:
        assert not set(choice.values()) & set(PEROVSKITE.numbers)
        assert len(set(choice.values())) == 3
    sulphur = np.mean([choice[8] == 16 for choice in swaps])
    assert sulphur == pytest.approx(exchange_odds()[8, 16], abs=0.06)  # what other elements took is left out
    assert exchange_odds().sum(axis=1) == pytest.approx(np.ones(104))


def test_exchanged_crystals_fill_the_volume_of_their_elements():
    bigger = replaced(PEROVSKITE, (56, 22, 16))
    volumes = [c.volume for c in decode([PEROVSKITE, bigger])]
    assert 1.2 < volumes[1] / volumes[0] < 2.5
    assert replaced(PEROVSKITE, PEROVSKITE.numbers).free_lattice == pytest.approx(PEROVSKITE.free_lattice)


def test_every_feature_has_a_family():
    assert {family(name) for name in feature_names()} == {*FAMILIES, "symmetry"}
    assert family("mean_mass_density") == "cohesion of the pure elements"
    assert family("most_mass") == "place in the periodic table"
    with pytest.raises(ValueError, match="smell"):
        family("mean_smell")


def test_stored_positions_are_those_of_the_gate():
    stored, model = load_labelled(), load_gate().model
    assert stored.gate == model.checksum and labelled_for(model).positions is not None
    rows = np.arange(0, len(stored.ids), 500)
    found = _positions_of(model, stored.ids[rows])
    assert found == pytest.approx(stored.positions[rows], abs=0.02)  # half precision
    assert np.isfinite(stored.labels[:, :2]).all()


def test_a_table_that_cannot_be_read_is_an_error(monkeypatch):
    monkeypatch.setattr(nearest, "TABLE", "none.npz")
    with pytest.raises(ReferenceMissingError, match=r"none\.npz"):
        load_labelled()


def test_the_second_stage_is_explained_through_its_gate():
    relaxed, cell = load_relaxed(), textbook()["MgO"]
    found = relaxed.explain([cell])[0]
    for name in ("bulk_modulus", "formation_energy"):
        why, value = found.reasons[name], found.estimate.values[name]
        assert value.source == "surrogate:relaxed" and why.second_stage != 0.0
        told = np.log10(value.mean) if why.log10 else value.mean
        assert why.value + why.second_stage == pytest.approx(told)
    with pytest.raises(InputError, match="gate"):
        explain(relaxed.model, [cell])


def test_columns_say_it_in_words(known):
    columns = explanation_columns(known["TiC"])
    assert columns["bulk_modulus_by_element"].startswith("Ti +") and columns["bulk_modulus_by_element"][-1] == "%"
    assert columns["bulk_modulus_by_site"].startswith("Ti 4a +")
    assert "surroundings +" in columns["shear_modulus_by_feature"]
    assert columns["nearest"].startswith("TiC mp-631 (225): K 25") and columns["nearest_distance"] < 0.1
    assert "%" not in columns["formation_energy_by_element"]


def test_what_a_potential_said_is_not_explained_by_the_surrogate(known):
    values = dict(known["TiC"].estimate.values)
    values["formation_energy"] = replace(values["formation_energy"], source="potential:chgnet")
    other = replace(known["TiC"], estimate=replace(known["TiC"].estimate, values=values))
    columns = explanation_columns(other)
    assert "formation_energy_by_element" not in columns and "bulk_modulus_by_element" in columns


def test_the_report_shows_them():
    rows = table(2)
    rows["bulk_modulus_by_element"] = ["Ti +12 %; B <20 %", None]
    rows["nearest"] = ["TiB2 mp-1145 (191): K 251", None]
    page = render(rows, RUN)
    assert page.count('<span class="chip">Ti +12\N{NO-BREAK SPACE}%</span>') == 1
    assert page.count('<span class="chip">B &lt;20\N{NO-BREAK SPACE}%</span>') == 1
    assert page.count("Nearest known crystals") == 1 and "mp-1145" in page


def test_the_command_line_explains_only_when_asked(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(build, "surrogate", lambda name: load_gate())
    write_cifs([textbook()["TiC"], textbook()["W"]], tmp_path)
    for flags, wanted in (([], False), (["--explain"], True)):
        out = tmp_path / "out.csv"
        assert run(["predict", str(tmp_path / "cif"), "--out", str(out), "--force", *flags]) == 0
        rows = pd.read_csv(out)
        assert ("bulk_modulus_by_element" in rows) == wanted and ("nearest" in rows) == wanted
    assert rows["nearest"].str.split().str[1].tolist() == ["mp-631", "mp-91"]


def test_from_python(monkeypatch):
    monkeypatch.setattr(build, "surrogate", lambda name: load_gate())
    found = invdesign.explain(textbook()["TiC"])
    assert found.nearest[0].formula == "TiC" and "youngs_modulus" in found.estimate.values
    assert found.reasons["bulk_modulus"].second_stage == pytest.approx(0.0, abs=1e-6)
