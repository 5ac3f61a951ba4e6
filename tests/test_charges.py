"""Charge balance of well-known compounds: salts, mixed valence, polyanions, Zintl phases, metals.

The right verdict is that of a textbook (Greenwood and Earnshaw, Chemistry of the Elements), not of the code."""

from __future__ import annotations

import pytest
from test_validators import formula, row

from invdesign.chemistry.composition import chemical_system, reduced_formula
from invdesign.chemistry.families import anion_class
from invdesign.elements import atomic_number
from invdesign.records import Status
from invdesign.stoichiometry import parse_formula
from invdesign.validators.charge_balance import ChargeBalance, polyanion


def verdict(text: str) -> tuple[Status, str]:
    counts = parse_formula(text)
    found = ChargeBalance().check(row(formula(" ".join(f"{name}{n}" for name, n in counts.items()))))
    return found.status, found.reason


SALTS = """
NaCl KBr LiF CsI AgCl CuCl HgCl2 MgO CaO BaO ZnO FeO MnO NiO CoO CuO Cu2O Ag2O SnO SnO2 PbO PbO2 TiO2 ZrO2 HfO2
CeO2 ThO2 UO2 SiO2 GeO2 Al2O3 Ga2O3 In2O3 Cr2O3 Fe2O3 V2O5 Nb2O5 Ta2O5 MoO3 WO3 ReO3 Re2O7 OsO4 B2O3 P2O5 As2O3
Sb2O5 Bi2O3 TeO2 SO3 CaF2 AlF3 UF6 SF6 TiCl4 FeCl3 PCl5 ZnS CdSe HgTe PbS SnS2 FeS2 MoS2 Bi2Te3 GaAs InP AlN BN
GaN Si3N4 TiN Li3N Ca3N2 LaN SrTiO3 BaTiO3 PbTiO3 LaAlO3 LaMnO3 BiFeO3 NaNbO3 KTaO3 CaCO3 Na2CO3 CaSO4 KNO3
NaClO4 KMnO4 K2Cr2O7 MgAl2O4 ZnFe2O4 LiCoO2 LiFePO4 Li4Ti5O12 Mg2SiO4 MgSiO3 ZrSiO4 Y3Al5O12 CaWO4 La2CuO4
LiNbO3 CuFeS2 NaBH4 LiH CaH2 LiAlH4 NH4Cl Ca5P3O13H Na2O2 K2O2 BaO2 Li2O2 CaC2 Mg2Si Na2S2
"""
UNBALANCED = "NaCl2 MgCl Na3Cl AlO2 NaF2 CaO3 Al3O KCl2 Mg2O BaF3 SiF5 NaBr3 AlN2 LiCl3 Cs2F NaN2"
METALLIC = "NaTl NaPb LiAl Mg3Sb2 Ca14AlSb11 Na3Bi Mg2Sn NiAl TiAl3 CuZn Nb3Sn Cu3Au SmCo5 LaNi5 Mg Fe Si C"
MIXED = "Fe3O4 Mn3O4 Co3O4 Pb3O4 Pr6O11 Tb4O7 U3O8 Ti4O7 V3O5 V6O13 LiMn2O4 Fe7S8 Sn2S3 Eu3S4 Sb2O4 CsAuCl3 W18O49"


@pytest.mark.parametrize("text", SALTS.split())
def test_compounds_that_balance(text: str) -> None:
    assert verdict(text)[0] is Status.PASS


@pytest.mark.parametrize("text", MIXED.split())
def test_mixed_valence(text: str) -> None:
    assert verdict(text)[0] is Status.PASS


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("KO2", "superoxide"), ("NaO2", "superoxide"), ("RbO2", "superoxide"), ("CsO2", "superoxide"),
        ("CaO4", "superoxide"), ("KO3", "ozonide"), ("CsO3", "ozonide"), ("NaN3", "azide"), ("KN3", "azide"),
        ("BaN6", "azide"), ("K2S5", "polysulfide"), ("BaS3", "polysulfide"), ("Na2S4", "polysulfide"),
        ("K2S3", "polysulfide"), ("Cs2S6", "polysulfide"), ("K2Se3", "polyselenide"), ("Cs2Te5", "polytelluride"),
        ("CsI3", "triiodide"), ("RbI3", "triiodide"),
    ],
)  # fmt: skip
def test_polyanions_of_alkali_and_alkaline_earth_metals(text: str, kind: str) -> None:
    """An oxygen of KO2 has the charge -1/2: no oxidation state of an atom says so."""
    status, reason = verdict(text)
    assert status is Status.PASS and kind in reason


@pytest.mark.parametrize("text", ["KO4", "NaN2", "K2S7", "NaI2", "NaBr3", "TiO3", "KCl3", "Na2O3", "MgN3"])
def test_what_is_no_polyanion(text: str) -> None:
    assert not polyanion({atomic_number(name): n for name, n in parse_formula(text).items()})


@pytest.mark.parametrize("text", UNBALANCED.split())
def test_formulas_that_no_charges_explain(text: str) -> None:
    assert verdict(text)[0] is Status.FAIL


@pytest.mark.parametrize("text", METALLIC.split())
def test_metals_elements_and_zintl_phases_of_metals_alone_are_not_judged(text: str) -> None:
    assert verdict(text)[0] is Status.UNKNOWN


@pytest.mark.parametrize(
    ("text", "written", "system", "family"),
    [
        ("Ti2Al2N4", "TiAlN2", "Al-N-Ti", "nitride"), ("Na2O2", "Na2O2", "Na-O", "oxide"),
        ("K4O4", "K2O2", "K-O", "oxide"),
        ("O4", "O2", "O", "element"), ("Ca3P2O8", "Ca3(PO4)2", "Ca-O-P", "oxide"),
        ("C6H6", "HC", "C-H", "carbide"),
        ("Mg2Si", "Mg2Si", "Mg-Si", "silicide"), ("SnTe", "SnTe", "Sn-Te", "telluride"),
        ("Fe4S8", "FeS2", "Fe-S", "sulfide"),
        ("NiAl", "AlNi", "Al-Ni", "intermetallic"), ("LiH", "LiH", "H-Li", "hydride"),
        ("SiC", "SiC", "C-Si", "carbide"),
        ("BN", "BN", "B-N", "nitride"), ("GaAs", "GaAs", "As-Ga", "arsenide"),
        ("CaF2", "CaF2", "Ca-F", "fluoride"),
        ("ZrB2", "ZrB2", "B-Zr", "boride"), ("Al2S3O12", "Al2(SO4)3", "Al-O-S", "oxide"),
        ("InP", "InP", "In-P", "phosphide"),
        ("H2O", "H2O", "H-O", "oxide"), ("Cs2O2", "Cs2O2", "Cs-O", "oxide"), ("N2", "N2", "N", "element"),
        ("CO2", "CO2", "C-O", "oxide"), ("TiC", "TiC", "C-Ti", "carbide"),
        ("CsPbI3", "CsPbI3", "Cs-I-Pb", "iodide"),
    ],
)  # fmt: skip
def test_how_compounds_are_written_and_named(text: str, written: str, system: str, family: str) -> None:
    """The conventions of the Materials Project for formulas, and the anion's name for the family."""
    import re

    pairs = [(name, int(n or 1)) for name, n in re.findall(r"([A-Z][a-z]?)(\d*)", text)]
    numbers = [atomic_number(name) for name, n in pairs for _ in range(n)]
    assert (reduced_formula(numbers), chemical_system(numbers), anion_class(numbers)) == (written, system, family)
