"""Queries as people type them: signs, units, names, ranges, lists; read, or refused in one line."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from invdesign.errors import InvdesignError
from invdesign.query import Query, Target
from invdesign.stoichiometry import parse_anonymous, parse_formula


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("bulk_modulus>=250", "bulk_modulus>=250"), ("  bulk_modulus  >=  250  ", "bulk_modulus>=250"),
        ("bulk_modulus≥250", "bulk_modulus>=250"), ("bulk_modulus≤250", "bulk_modulus<=250"),
        ("bulk_modulus>=250GPa", "bulk_modulus>=250"), ("bulk_modulus>= 250 GPa", "bulk_modulus>=250"),
        ("bulk_modulus>=2.5e2 gpa", "bulk_modulus>=250"), ("bulk_modulus>=2.5E+2", "bulk_modulus>=250"),
        ("bulk_modulus>=.25e3", "bulk_modulus>=250"), ("bulk_modulus>=+250", "bulk_modulus>=250"),
        ("Bulk_Modulus>=250", "bulk_modulus>=250"), ("bulk modulus>=250", "bulk_modulus>=250"),
        ("Bulk-modulus >= 250", "bulk_modulus>=250"), ("bulk_modulus=MAX", "bulk_modulus=max"),
        ("bulk_modulus = Min", "bulk_modulus=min"), ("bulk_modulus=250..300 GPa", "bulk_modulus=250..300"),
        ("bulk_modulus=250…300", "bulk_modulus=250..300"), ("bulk_modulus=250 .. 300", "bulk_modulus=250..300"),
        ("formation_energy<=−1", "formation_energy<=-1"),
        ("formation_energy<=–1.5 eV/atom", "formation_energy<=-1.5"),
        ("formation_energy=-2..-1", "formation_energy=-2..-1"),
        ("formation_energy=−2…−1", "formation_energy=-2..-1"),
        ("band_gap=1.1..1.4eV", "band_gap=1.1..1.4"), ("band_gap>=1 eV", "band_gap>=1"),
        ("band_gap=0..0", "band_gap=0..0"),
        ("density<=5 g/cm3", "density<=5"), ("density<=5 g/cm³", "density<=5"), ("price<=10 USD/kg", "price<=10"),
        ("thermal_conductivity>=20 W/(m K)", "thermal_conductivity>=20"),
        ("thermal_conductivity>=20 W/(m·K)", "thermal_conductivity>=20"),
        ("melting_point>=2000K", "melting_point>=2000"),
        ("fracture_toughness>=3 MPa m^0.5", "fracture_toughness>=3"),
        ("energy_above_hull<=0", "energy_above_hull<=0"),
        ("bulk_modulus=200", "bulk_modulus=180..220"), ("formation_energy=-1", "formation_energy=-1.1..-0.9"),
        ("poisson_ratio=-0.3", "poisson_ratio=-0.33..-0.27"), ("band_gap=0", "band_gap<=0.05"),
    ],
)  # fmt: skip
def test_targets_are_read(typed: str, meant: str) -> None:
    assert str(Target.parse(typed)) == meant
    assert Query(targets=[typed]).targets == (Target.parse(meant),)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("bulk_modulus>250", "name>=v"), ("bulk_modulus=>250", "name>=v"), ("bulk_modulus==250", "name>=v"),
        ("bulk_modulus=250-300", "name>=v"), ("bulk_modulus=250–300", "name>=v"),
        ("bulk_modulus=250±10", "name>=v"),
        ("bulk_modulus=1,000", "name>=v"), ("bulk_modulus=2,5", "name>=v"), ("bulk_modulus>=1_000", "name>=v"),
        ("250<=bulk_modulus", "name>=v"), ("200<=bulk_modulus<=300", "name>=v"), ("max bulk_modulus", "name>=v"),
        ("bulk_modulus>=", "name>=v"), ("=250", "name>=v"), ("", "name>=v"), ("bulk_modulus", "name>=v"),
        ("band_gap=1..", "name>=v"), ("band_gap=..3", "name>=v"), ("bulk_modulus>=inf", "name>=v"),
        ("bulk_modulus>=nan", "name>=v"), ("bulk_modulus>=250;rm -rf /", "name>=v"), ("<script>", "name>=v"),
        ("formation_energy<= - 1", "name>=v"), ("bulk_modulus>=250 and density<=5", "name>=v"),
        ("bulk_modulus>=250 MPa", "unit of target bulk_modulus: 'MPa'"), ("bulk_modulus>=0x10", "unit"),
        ("band_gap>=1 meV", "'meV'"), ("density<=5000 kg/m3", "'kg/m3'"),
        ("poisson_ratio<=0.3 GPa", "without a unit"),
        ("melting_point>=2000 °C", "name>=v"), ("price<=10 EUR", "'EUR'"), ("bulk_modulus>=250 %", "'%'"),
        ("bulk_modulus=300..250", "lower bound first"), ("formation_energy=-1..-2", "lower bound first"),
        ("bulk_modulus>=1e999", "0.1 to 700 GPa"), ("bulk_modulus>=-5", "0.1 to 700 GPa"),
        ("density=0", "0.05 to 30"),
        ("band_gap=-1", "0 to 20 eV"), ("energy_above_hull<=-0.1", "0 to 5 eV/atom"),
        ("poisson_ratio=0.6", "-1 to 0.5"),
        ("young_modulus>=300", "did you mean youngs_modulus?"),
        ("bulk_modulus_vrh>=250", "did you mean bulk_modulus?"),
        ("stiffness>=3", "'stiffness'"), ("K>=250", "property"),
    ],
)  # fmt: skip
def test_targets_are_refused_in_one_line(typed: str, words: str) -> None:
    for make in (lambda: Target.parse(typed), lambda: Query(targets=[typed])):
        with pytest.raises(InvdesignError) as error:
            make()
        assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "typed", [None, 3, 2.5, True, ["bulk_modulus>=250"], {"bulk_modulus": 250}, b"bulk_modulus>=250",
              datetime.date(2020, 1, 1)]
)  # fmt: skip
def test_targets_of_a_wrong_type(typed: Any) -> None:
    with pytest.raises(InvdesignError, match="target"):
        Query(targets=[typed])


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("TiAlN₂", {"Ti": 1, "Al": 1, "N": 2}), ("Ca₃(PO₄)₂", {"Ca": 3, "P": 2, "O": 8}),
        ("Ti Al N2", {"Ti": 1, "Al": 1, "N": 2}), ("Ti2(AlN)2", {"Ti": 1, "Al": 1, "N": 1}),
        ("Mg3Al2(SiO4)3", {"Mg": 3, "Al": 2, "Si": 3, "O": 12}), ("Fe3O4", {"Fe": 3, "O": 4}), ("Ho", {"Ho": 1}),
        ("HO", {"H": 1, "O": 1}), ("CO", {"C": 1, "O": 1}), ("Co", {"Co": 1}), ("SiC", {"Si": 1, "C": 1}),
        ("SIC", {"S": 1, "I": 1, "C": 1}), ("((((Ti))))2", {"Ti": 1}),
        ("Ca(B(OH)4)2", {"Ca": 1, "B": 2, "O": 8, "H": 8}),
        ("Al2(SO4)3", {"Al": 2, "S": 3, "O": 12}), ("KAl(SO4)2", {"K": 1, "Al": 1, "S": 2, "O": 8}),
        ("Ti1000N", {"Ti": 1000, "N": 1}), ("NaClNaCl", {"Na": 1, "Cl": 1}),
    ],
)  # fmt: skip
def test_formulas(text: str, counts: dict[str, int]) -> None:
    assert parse_formula(text) == counts


@pytest.mark.parametrize(
    "text",
    ["tialn2", "TIALN2", "Ti[AlN]2", "Ti{AlN}2", "TiO2·H2O", "TiO2*H2O", "CaSO4.2H2O", "Li0.5CoO2", "Fe2O3-x",
    "Fe2+",
     "Fe³⁺", "O2-", "Ti0N", "TiN-1", "Ti(N", "TiN)", "()", "Ti()2", "Ti(N)0", "Ti1001N",
     "Ti99999999999999999999", "D2O",
     "Xx", "", "  ", "-", "Ti,N", "Ti-N", "TiN1.0", "2TiN", "T" * 5000, "(" * 5000, None, 3, True, ["TiO2"]],
)  # fmt: skip
def test_what_is_no_formula(text: Any) -> None:
    with pytest.raises(InvdesignError) as error:
        parse_formula(text)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("AB", (1, 1)),
        ("A2B3", (2, 3)),
        ("AB2C4", (1, 2, 4)),
        ("A(BC)2", (1, 2, 2)),
        ("A2B2", (1, 1)),
        ("AB₂", (1, 2)),
    ],
)
def test_anonymous_formulas(text: str, counts: tuple[int, ...]) -> None:
    assert parse_anonymous(text) == counts


@pytest.mark.parametrize("text", ["a2b3", "1:2", "AB0", "Ab", "", None, 3, "A-B", "A()B"])
def test_what_is_no_stoichiometry(text: Any) -> None:
    with pytest.raises(InvdesignError, match="anonymous_formula"):
        parse_anonymous(text)


@pytest.mark.parametrize(
    ("wishes", "same"),
    [
        ({"elements": "Ti, N"}, {"elements": ["Ti", "N"]}), ({"elements": "Ti;N"}, {"elements": ["Ti", "N"]}),
        ({"elements": "Ti N"}, {"elements": ["Ti", "N"]}), ({"elements": "Ti,,N,Ti"}, {"elements": ["Ti", "N"]}),
        ({"elements": "Ti–N"}, {"elements": ["Ti", "N"]}), ({"elements": ""}, {}), ({"elements": None}, {}),
        ({"exclude": "Rare-Earth"}, {"exclude": ["rare_earths"]}), ({"exclude": "Ti N toxic"},
        {"exclude": ["Ti", "N", "toxic"]}),
        ({"chemical_system": "Ti,N"}, {"chemical_system": "Ti-N"}), ({"chemical_system": "Ti–N"},
        {"chemical_system": "Ti-N"}),
        ({"chemical_system": ["Ti", "N"]}, {"chemical_system": "Ti-N"}), ({"n_elements": "2…4"},
        {"n_elements": (2, 4)}),
        ({"n_elements": " 2 .. 4 "}, {"n_elements": (2, 4)}), ({"n_elements": "3"}, {"n_elements": 3}),
        ({"space_group": "Fm−3m"}, {"space_group": 225}), ({"space_group": "F m -3 m"}, {"space_group": 225}),
        ({"space_group": "P2_1/c"}, {"space_group": 14}), ({"space_group": "225, 227"},
        {"space_group": [225, 227]}),
        ({"space_group": "Cubic"}, {"space_group": "cubic"}), ({"space_group": "P-1"}, {"space_group": 2}),
        ({"search": None}, {"search": "none"}), ({"prototype": "Rock Salt"}, {"prototype": "rock_salt"}),
    ],
)  # fmt: skip
def test_other_wishes_are_read(wishes: dict[str, Any], same: dict[str, Any]) -> None:
    assert Query(**wishes) == Query(**same)


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"elements": ","}, "elements: ','"), ({"exclude": ";"}, "exclude"),
        ({"elements": "titanium"}, "'titanium'"),
        ({"elements": "ti,n"}, "'ti'"), ({"elements": 22}, "22"), ({"elements": {"Ti": 1}}, "a list"),
        ({"elements": [None]}, "None"), ({"elements": [False]}, "write 'No'"), ({"elements": [["Ti"]]}, "Ti"),
        ({"exclude": "D"}, "'D'"), ({"exclude": "noble"}, "'noble'"), ({"chemical_system": "TiN"}, "'TiN'"),
        ({"chemical_system": "Ti-*"}, "'*'"), ({"n_elements": "2-4"}, "'2-4'"), ({"n_elements": "2,4"}, "'2,4'"),
        ({"n_elements": 2.0}, "2.0"), ({"n_elements": []}, "[]"), ({"n_elements": "-1"}, "'-1'"),
        ({"n_elements": True}, "True"),
        ({"space_group": 0}, "'0'"), ({"space_group": -1}, "'-1'"), ({"space_group": 225.0}, "'225.0'"),
        ({"space_group": "195-230"}, "'195-230'"), ({"space_group": "m-3m"}, "'m-3m'"),
        ({"space_group": "isometric"}, "isometric"),
        ({"n": 1.0}, "1.0"), ({"n": -1}, "-1"), ({"n": 10**9}, "100000"), ({"n": float("nan")}, "nan"),
        ({"max_energy_above_hull": -0.1}, "0 to 5"), ({"max_energy_above_hull": None}, "None"),
        ({"max_energy_above_hull": "0.1"}, "'0.1'"), ({"relaxations": 2.5}, "2.5"),
        ({"hardness_load": 0}, "0.05 to 50"),
        ({"dynamics": "no"}, "true or false"), ({"dynamics": 0}, "true or false"),
        ({"search": "Evolution"}, "did you mean evolution"),
        ({"search": False}, "False"), ({"sampler": None}, "tpe"), ({"component": ""}, "component"),
        ({"generator": None}, "None"),
        ({"component": datetime.date(2020, 1, 1)}, "component"), ({"formula": 12345}, "12345"),
        ({"formula": True}, "True"),
        ({"targets": "density<=4"}, "a list"), ({"targets": {"density": 4}}, "a list"),
        ({"correction": 5}, "path of a file"),
        ({"validators": "novelty"}, "a list"), ({"keep": "Ti"}, "needs a structure"),
        ({"min_sites": 50}, "1 to 40"),
        ({"formula": "TiO2", "n_sites": 4}, "no cell of 4 atoms"),
        ({"formula": "TiO2", "chemical_system": "Ti-N"}, "element O"),
        ({"formula": "TiO2", "required": "N"}, "element N"), ({"formula": "TiO2", "elements": "Ti"}, "element O"),
        ({"required": "Ti,N", "n_elements": 1}, "2 elements"),
        ({"min_sites": 10, "max_sites": 5}, "larger than max_sites"),
        ({"targets": ["density>=8", "density<=4"]}, "contradict"),
        ({"targets": ["density=max", "density=min"]}, "contradict"),
        ({"elements": "toxic", "exclude": "Be,As,Cd,Os,Hg,Tl,Pb"}, "no element is left"),
    ],
)  # fmt: skip
def test_other_wishes_are_refused_in_one_line(wishes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvdesignError) as error:
        Query(**wishes)
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("excluded", "said"),
    [
        ("toxic", "without toxic elements"),
        ("precious,Co", "without precious metals, Co"),
        ("rare_earths", "without rare earths"),
        ("platinum_group", "without platinum-group metals"),
    ],
)
def test_classes_of_elements_are_nouns_in_a_sentence(excluded: str, said: str) -> None:
    assert said in Query(targets=["density<=6"], exclude=excluded.split(",")).in_words()
