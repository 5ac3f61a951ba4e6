"""Kinds of anions in measured structures: oxide, peroxide, superoxide, hydroxide, sulfide, sulfate.

Structures are those of the literature (Abrahams and Kalnajs 1954 and 1955, Tallman and others 1957, Foeppl 1957,
Zigan and Rothbauer 1967, Hawthorne and Ferguson 1975), what each is, any textbook says."""

from __future__ import annotations

import pytest
from test_data_cif import SYMBOL, cif, crystal

from invdesign.potentials.energy_scale import MP2020, terms_of


def cube(a: float) -> tuple[float, ...]:
    return (a, a, a, 90, 90, 90)


def square(a: float, c: float, gamma: float = 90) -> tuple[float, ...]:
    return (a, a, c, 90, 90, gamma)


KINDS = {
    "KO2": ("I 4/m m m", square(4.033, 6.699), "K1 K 0 0 0\nO1 O 0 0 .4012", {"O superoxide": 2 / 3}),
    "NaO2": ("P a -3", cube(5.46), "Na1 Na .5 .5 .5\nO1 O .0705 .0705 .0705", {"O superoxide": 2 / 3}),
    "BaO2": ("I 4/m m m", square(3.8154, 6.8513), "Ba1 Ba 0 0 0\nO1 O 0 0 .3905", {"O peroxide": 2 / 3}),
    "Na2O2": ("P -6 2 m", square(6.208, 4.469, 120), "Na1 Na .2955 0 0\nNa2 Na .632 0 .5\nO1 O 1/3 2/3 .332\n"
              "O2 O 0 0 .168", {"O peroxide": 0.5}),
    "Li2O2": ("P 63/m m c", square(3.183, 7.7258, 120), "Li1 Li 0 0 0\nLi2 Li 1/3 2/3 .75\nO1 O 1/3 2/3 .1497",
              {"O peroxide": 0.5}),
    "Li2O": ("F m -3 m", cube(4.619), "O1 O 0 0 0\nLi1 Li .25 .25 .25", {"O anion": 1 / 3}),
    "brucite": ("P -3 m 1", square(3.142, 4.766, 120), "Mg1 Mg 0 0 0\nO1 O 1/3 2/3 .2203\nH1 H 1/3 2/3 .4203",
                {"O anion": 0.4}),
    "wustite": ("F m -3 m", cube(4.33), "Fe1 Fe 0 0 0\nO1 O .5 .5 .5", {"O anion": 0.5, "Fe +U": 0.5}),
    "WO3": ("P m -3 m", cube(3.78), "W1 W 0 0 0\nO1 O .5 0 0", {"O anion": 0.75, "W +U": 0.25}),
    "FeF2": ("P 42/m n m", square(4.7035, 3.3056), "Fe1 Fe 0 0 0\nF1 F .3003 .3003 0",
             {"F anion": 2 / 3, "Fe +U": 1 / 3}),
    "pyrite": ("P a -3", cube(5.4179), "Fe1 Fe 0 0 0\nS1 S .3851 .3851 .3851", {"S anion": 2 / 3}),
    "metacinnabar": ("F -4 3 m", cube(5.852), "Hg1 Hg 0 0 0\nS1 S .25 .25 .25", {"S anion": 0.5}),
    "anhydrite": ("A m m a", (6.993, 6.995, 6.245, 90, 90, 90), "Ca1 Ca .75 0 .3476\nS1 S .25 0 .1556\n"
                  "O1 O .25 .1699 .0162\nO2 O .0819 0 .2975", {"O anion": 2 / 3}),
    "CrN": ("F m -3 m", cube(4.15), "Cr1 Cr 0 0 0\nN1 N .5 .5 .5", {"N anion": 0.5}),
    "LiH": ("F m -3 m", cube(4.08), "Li1 Li 0 0 0\nH1 H .5 .5 .5", {"H anion": 0.5}),
    "CaCl2": ("P n n m", (6.24, 6.43, 4.20, 90, 90, 90), "Ca1 Ca 0 0 0\nCl1 Cl .275 .325 0", {"Cl anion": 2 / 3}),
    "altaite": ("F m -3 m", cube(6.462), "Pb1 Pb 0 0 0\nTe1 Te .5 .5 .5", {"Te anion": 0.5}),
    "InSb": ("F -4 3 m", cube(6.479), "In1 In 0 0 0\nSb1 Sb .25 .25 .25", {"Sb anion": 0.5}),
    "Mg2Si": ("F m -3 m", cube(6.351), "Si1 Si 0 0 0\nMg1 Mg .25 .25 .25", {"Si anion": 1 / 3}),
    "SiC": ("F -4 3 m", cube(4.3596), "Si1 Si 0 0 0\nC1 C .25 .25 .25", {}),
    "CaC2": ("I 4/m m m", square(3.886, 6.378), "Ca1 Ca 0 0 0\nC1 C 0 0 .4068", {}),
    "TiC": ("F m -3 m", cube(4.327), "Ti1 Ti 0 0 0\nC1 C .5 .5 .5", {}),
    "NiAl": ("P m -3 m", cube(2.88), "Ni1 Ni 0 0 0\nAl1 Al .5 .5 .5", {}),
}  # fmt: skip
"""Symbol, cell and sites; and the corrected atoms per atom by kind (Wang et al., Sci. Rep. 11, 15496 (2021))."""


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_anions(name: str) -> None:
    symbol, cell, sites, expected = KINDS[name]
    found = terms_of(crystal(cif({SYMBOL: symbol}, sites, cell)))
    assert found == pytest.approx(expected)
    assert found.keys() <= MP2020.keys()
