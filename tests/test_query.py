"""A query: each way of asking is read to one form, contradictions are said at once, crystals are held to it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invdesign.answers import answers_of
from invdesign.chemistry import element_data
from invdesign.crystal import Crystal
from invdesign.crystallography.prototypes import gene_prototypes
from invdesign.element_classes import CLASSES, class_or_symbol, expanded
from invdesign.elements import SYMBOLS, symbol
from invdesign.engine.search import conditions_of
from invdesign.engine.wishes import MatchesQuery, completed, prototype_key, resolved
from invdesign.errors import ConflictError, InputError, InvdesignError
from invdesign.query import WISHES, Query, Target, as_query
from invdesign.records import Candidate, Estimate, Evaluation, Status, Value
from invdesign.reference.local import load_known
from invdesign.report.export import plain_cif
from invdesign.space_groups import CRYSTAL_SYSTEMS
from invdesign.space_groups import SYMBOLS as GROUPS
from invdesign.stoichiometry import anonymous_formula, parse_anonymous, parse_formula
from invdesign.structure_types import STRUCTURE_TYPES, Prototype
from invdesign.testing import good_crystals

SALT, CSCL, TIB2, SRTIO3, COPPER, QUARTZ = good_crystals()


def objection(query: Query, crystal: Crystal) -> str:
    verdict = MatchesQuery(resolved(query)).check(Evaluation(Candidate("x", crystal, "", "test")))
    assert (verdict.status is Status.FAIL) == bool(verdict.reason)
    return verdict.reason


@pytest.mark.parametrize(
    ("wishes", "crystal", "words"),
    [
        ({"formula": "MgO"}, SALT, ""),
        ({"formula": "Mg4O4"}, SALT, ""),
        ({"formula": "SrTiO3"}, SALT, "element not allowed: Mg"),
        ({"formula": "Ti2B"}, TIB2, "TiB2 is not Ti2B"),
        ({"anonymous_formula": "AB2"}, TIB2, ""),
        ({"anonymous_formula": "X2Y"}, TIB2, ""),
        ({"anonymous_formula": "ABX3"}, SRTIO3, ""),
        ({"anonymous_formula": "AB"}, TIB2, "TiB2 is not of the stoichiometry AB"),
        ({"n_elements": 3}, SRTIO3, ""),
        ({"n_elements": "2..4"}, SRTIO3, ""),
        ({"n_elements": 3}, SALT, "2 elements, not 3 to 3"),
        ({"n_elements": "2..4"}, COPPER, "1 elements, not 2 to 4"),
        ({"n_sites": 9}, QUARTZ, ""),
        ({"n_sites": 8}, QUARTZ, "9 sites, more than 8"),
        ({"min_sites": 6}, SRTIO3, "5 sites, fewer than 6"),
        ({"max_sites": 4}, SRTIO3, "5 sites, more than 4"),
        ({"space_group": "Fm-3m"}, SALT, ""),
        ({"space_group": "Pm-3m,hexagonal"}, TIB2, ""),
        ({"space_group": ["cubic", 12]}, TIB2, "space group 191 not asked for"),
        ({"exclude": "alkaline earths"}, SALT, "element not allowed: Mg"),
        ({"exclude": "alkali metals, toxic"}, SALT, ""),
        ({"elements": "transition_metals,B"}, TIB2, ""),
        ({"elements": "halogens,Mg"}, SALT, "element not allowed: O"),
        ({"chemical_system": "Sr-Ti-O-N"}, SRTIO3, ""),
        ({"chemical_system": "Sr-Ti-O-N", "all_elements": True}, SRTIO3, "element missing: N"),
        ({"chemical_system": "Sr-Ti-O", "all_elements": True}, SRTIO3, ""),
        ({"prototype": "perovskite"}, SRTIO3, ""),
        ({"prototype": "Rock salt"}, SALT, ""),
        ({"prototype": "rock_salt"}, CSCL, "prototype 221_b_a, not 225_a_b"),
        ({"like": "225_b_a"}, SALT, ""),
        ({"like": "ABC3_cP5_221_b_a_c:Ti-Sr-O"}, SRTIO3, ""),
        ({"like": "221_a_b_c", "formula": "SrTiO3"}, replace(SRTIO3, gene=None), ""),
    ],
)
def test_a_crystal_is_held_to_what_was_asked(wishes: dict[str, object], crystal: Crystal, words: str) -> None:
    assert objection(Query(**wishes), crystal) == words  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"formula": "Ti2(AlN"}, "such as TiAlN2"),
        ({"formula": "Xy2"}, "element in formula Xy2: 'Xy'"),
        ({"formula": "TiN0"}, "such as TiAlN2"),
        ({"anonymous_formula": "AbX3"}, "such as AB2"),
        ({"formula": "TiAlN2", "exclude": "Al"}, "Al is both wanted and excluded"),
        ({"formula": "TiAlN2", "elements": "Ti,N"}, "Al is required but not among the allowed"),
        ({"formula": "TiAlN2", "anonymous_formula": "ABX3"}, "not of the stoichiometry ABX3"),
        ({"formula": "TiAlN2", "n_elements": 2}, "3 elements"),
        ({"formula": "TiAlN2", "n_elements": "4..5"}, "at least 4 elements are wanted, but 3"),
        ({"formula": "TiAlN2", "n_sites": 6}, "no cell of 6 atoms holds whole formula units"),
        ({"anonymous_formula": "ABX3", "max_sites": 4}, "no cell of 1 to 4 atoms"),
        ({"anonymous_formula": "ABX3", "min_sites": 6, "max_sites": 9}, "no cell of 6 to 9 atoms"),
        ({"anonymous_formula": "ABX3", "n_elements": "4..5"}, "which n_elements excludes"),
        ({"n_elements": "4..2"}, "lower number first"),
        ({"n_elements": "few"}, "a range such as"),
        ({"n_elements": 0}, "from 1 to 12"),
        ({"n_elements": [1, 2, 3]}, "a range such as"),
        ({"elements": "Ti,N", "n_elements": 3}, "at least 3 elements are wanted, but 2"),
        ({"min_sites": 9, "max_sites": 8}, "larger than max_sites"),
        ({"n_sites": 9, "max_sites": 8}, "not between 1"),
        ({"n_sites": 41}, "from 1 to 40"),
        ({"n_sites": "9"}, "a whole number"),
        ({"space_group": "Fm-3x"}, "such as Fm-3m"),
        ({"space_group": "225,"}, "such as Fm-3m"),
        ({"space_group": True}, "such as Fm-3m"),
        ({"exclude": "lantanides"}, "did you mean lanthanides?"),
        ({"required": "lanthanides"}, "a chemical symbol"),
        ({"required": "Ce", "exclude": "lanthanides"}, "Ce is both wanted and excluded"),
        ({"elements": "halogens", "exclude": "halogens"}, "no element is left"),
        ({"all_elements": True}, "needs a chemical system"),
        ({"all_elements": "yes", "chemical_system": "Ti-N"}, "true or false"),
        ({"chemical_system": "Li-Fe-P-O", "all_elements": True, "n_elements": "2..3"}, "4 elements are required"),
        ({"chemical_system": "Ti-N", "all_elements": True, "exclude": "N"}, "both wanted and excluded"),
        ({"prototype": "perovskit"}, "did you mean perovskite?"),
        ({"prototype": "perovskite", "like": "221_a_b_d"}, "give one of them"),
        ({"prototype": "perovskite", "space_group": "hexagonal"}, "space group 221, which space_group leaves out"),
        ({"like": 3}, "a label such as"),
        ({"like": "231_a"}, "a label such as"),
        ({"keep": "Si,N"}, "needs a structure to start from"),
        ({"start": 3}, "a structure file"),
        ({"start": [{"space_group": 225}]}, "a structure file"),
        ({"search": "luck"}, "optuna, none"),
        ({"n": 0}, "from 1 to 100000"),
        ({"n": True}, "a whole number"),
        ({"max_energy_above_hull": float("nan")}, "0 to 5 eV/atom"),
        ({"hardness_load": "heavy"}, "0.05 to 50"),
        ({"component": 3}, "as text"),
        ({"generator": ""}, "as text"),
    ],
)
def test_what_cannot_be_is_one_clear_line(wishes: dict[str, object], words: str) -> None:
    with pytest.raises(InvdesignError) as error:
        Query(**wishes)  # type: ignore[arg-type]
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"prototype": "perovskite", "formula": "TiN"}, "of the stoichiometry ABC3, not TiN"),
        ({"prototype": "perovskite", "max_sites": 4}, "5 atoms in its primitive cell, not 1 to 4"),
        ({"prototype": "rock_salt", "n_elements": 3}, "2 elements, which contradicts"),
        ({"prototype": "rock_salt", "required": "Ti,N,O"}, "2 elements, which contradicts"),
        ({"like": "225_a_z"}, "Wyckoff positions of space group 225, of which there are 12"),
    ],
)
def test_what_a_prototype_cannot_have_is_said_before_a_run(wishes: dict[str, object], words: str) -> None:
    with pytest.raises(InvdesignError, match=words):
        resolved(Query(**wishes))  # type: ignore[arg-type]


def test_a_larger_prototype_sets_the_size() -> None:
    assert resolved(Query(prototype="pyrochlore")).max_sites == 22
    assert conditions_of(completed(Query(prototype="pyrochlore"))).n_sites == 22


def test_a_prototype_by_example_and_a_seed_are_read_when_a_run_starts(tmp_path: Path) -> None:
    path = tmp_path / "SrTiO3.cif"
    path.write_text(plain_cif(SRTIO3)[0])
    asked = Query(like=str(path), start=[path, QUARTZ.gene], keep="O")
    assert asked.wanted_prototype is None and asked.start == (str(path), QUARTZ.gene)
    query = resolved(asked)
    assert str(query.like) == "221_a_b_d" or prototype_key(query.like) == prototype_key(
        Prototype.parse("221_a_b_d")
    )
    assert [gene.space_group for gene in query.start] == [221, 152]
    assert Query.from_dict(json.loads(json.dumps(query.to_dict()))) == query == resolved(query)
    assert (
        objection(asked, replace(SRTIO3, numbers=np.array([56, 40, 16, 16, 16]), gene=None))
        == "element missing: O"
    )
    with pytest.raises(ConflictError, match="keep Ti: the crystal to start from holds O, Si"):
        resolved(Query(start=QUARTZ, keep="Ti"))
    assert Query(start=QUARTZ, keep="Si").required_elements == ("Si",)


def test_files_that_hold_no_one_crystal_are_one_line(tmp_path: Path) -> None:
    text = plain_cif(SALT)[0]
    (tmp_path / "two.cif").write_text(text + "\n" + text.replace("data_MgO", "data_other"))
    (tmp_path / "none.cif").write_text("nonsense")
    for name in ("two.cif", "none.cif", "missing.cif"):
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            resolved(Query(like=str(tmp_path / name)))
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            resolved(Query(start=str(tmp_path / name)))


def test_generators_are_told_what_they_understand() -> None:
    conditions = conditions_of(completed(Query(formula="SrTiO3", exclude="toxic")))
    assert (
        {symbol(z) for z in conditions.required}
        == {symbol(z) for z in conditions.allowed or ()}
        == {"Sr", "Ti", "O"}
    )
    assert {"Pb", "Rn", "U"} <= {symbol(z) for z in conditions.forbidden}
    conditions = conditions_of(Query(prototype="perovskite", chemical_system="Ba-Ti-O-S", all_elements=False))
    assert conditions.space_groups == {221} and conditions.n_sites == 5
    assert conditions_of(Query(n_sites=7, space_group="cubic,62")).space_groups == {62, *CRYSTAL_SYSTEMS["cubic"]}
    assert conditions_of(Query(exclude="halogens")).allowed is None


# tables


def test_classes_of_elements_are_those_of_the_element_data() -> None:
    table = element_data.table()
    for name, column in (("radioactive", table.radioactive), ("critical", table.eu_critical)):
        assert set(CLASSES[name]) == {symbol(z) for z in range(1, 119) if column[z]}, name
    assert set(CLASSES["toxic"]) == {symbol(z) for z in range(1, 119) if table.restricted[z]}


def test_classes_of_elements_are_those_of_the_periodic_table() -> None:
    from pymatgen.core import Element

    def among(test: str) -> set[str]:
        return {s for s in SYMBOLS[:103] if getattr(Element(s), test)}

    assert set(CLASSES["lanthanides"]) == among("is_lanthanoid")
    assert set(CLASSES["actinides"]) == among("is_actinoid")
    assert set(CLASSES["rare_earths"]) == among("is_lanthanoid") | {"Sc", "Y"}
    assert set(CLASSES["alkali_metals"]) == among("is_alkali")
    assert set(CLASSES["alkaline_earth_metals"]) == among("is_alkaline")
    groups = {3: "transition_metals", 15: "pnictogens", 16: "chalcogens", 17: "halogens", 18: "noble_gases"}
    for group, name in groups.items():
        if group > 3:
            assert set(CLASSES[name]) & set(SYMBOLS[:103]) == {
                s for s in SYMBOLS[:103] if Element(s).group == group
            }
    d_block = {s for s in SYMBOLS if 3 <= Element(s).group <= 12} - {"La", "Ac", "Lu", "Lr"}
    d_block -= {s for s in SYMBOLS if Element(s).is_lanthanoid or Element(s).is_actinoid}
    assert set(CLASSES["transition_metals"]) - {"Cn"} == d_block - {"Cn"}
    assert set(CLASSES["platinum_group"]) == {"Ru", "Rh", "Pd", "Os", "Ir", "Pt"}


def test_a_class_has_several_spellings() -> None:
    for spelling in ("rare earths", "Rare-earth", "rare_earths", "RARE EARTH"):
        assert class_or_symbol(spelling, "x") == "rare_earths"
    assert class_or_symbol("alkali", "x") == "alkali_metals" and class_or_symbol("Co", "x") == "Co"
    assert expanded(["N", "halogens", "B"])[:4] == ("B", "N", "F", "Cl")


def test_symbols_of_space_groups_are_spglibs() -> None:
    import spglib

    types = [spglib.get_spacegroup_type(hall) for hall in range(530, 0, -1)]
    assert {t.number: t.international_short.replace("_", "") for t in types} == dict(enumerate(GROUPS, start=1))
    for number, name in enumerate(GROUPS, start=1):
        assert Query(space_group=name).space_group == number
        assert Query(space_group=f"{name[0]} {name[1:].lower()}").space_group == number
    assert Query(space_group="Fm3m,Cmca, P6_3/m m c").space_group == (225, 64, 194)


@pytest.mark.parametrize("name", STRUCTURE_TYPES)
def test_each_structure_type_is_that_of_its_example(name: str) -> None:
    kind, known = STRUCTURE_TYPES[name], load_known()
    key = prototype_key(kind.prototype)
    genes = [known[row].gene for row in known.rows_of_formula(kind.example)]
    assert genes, kind.example
    assert key in gene_prototypes(genes).tolist()
    assert str(kind.prototype) == kind.label


def test_labels_of_prototypes_go_there_and_back() -> None:
    known = load_known()
    for row in range(0, len(known), 997):
        gene = known[row].gene
        prototype = Prototype.parse(str(Prototype.of(gene)))
        assert prototype == Prototype.of(gene)
        assert prototype_key(prototype) == int(gene_prototypes([gene])[0])


# reading


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("TiAlN2", {"Ti": 1, "Al": 1, "N": 2}),
        ("Ca3(PO4)2", {"Ca": 3, "P": 2, "O": 8}),
        ("Mg(B(NH2)3)2", {"Mg": 1, "B": 2, "N": 6, "H": 12}),
        ("Ti 2 Al2 N_4", {"Ti": 1, "Al": 1, "N": 2}),
        ("CoO", {"Co": 1, "O": 1}),
        ("COO", {"C": 1, "O": 2}),
    ],
)
def test_formulas_are_read(text: str, counts: dict[str, int]) -> None:
    assert parse_formula(text) == counts


def test_anonymous_formulas_are_read_whatever_their_letters() -> None:
    assert parse_anonymous("ABX3") == parse_anonymous("X3YZ") == parse_anonymous("A2B2C6") == (1, 1, 3)
    assert anonymous_formula((3, 1, 1)) == "ABC3"


NAMES = st.sampled_from([*SYMBOLS[:60], *CLASSES])


@settings(max_examples=60, deadline=None)
@given(
    exclude=st.lists(NAMES, max_size=4),
    groups=st.lists(st.one_of(st.integers(1, 230), st.sampled_from([*CRYSTAL_SYSTEMS, *GROUPS])), max_size=3),
    counts=st.tuples(st.integers(1, 6), st.integers(1, 6)).map(lambda pair: tuple(sorted(pair))),
    target=st.floats(0.2, 600.0),
    n=st.integers(1, 1000),
)
def test_a_query_survives_json(
    exclude: list[str], groups: list[object], counts: tuple[int, int], target: float, n: int
) -> None:
    query = Query(
        targets=[Target.parse(f"bulk_modulus={target:.6g}")], exclude=exclude, space_group=groups or None,
        n_elements=counts, n=n,
    )  # fmt: skip
    assert Query.from_dict(json.loads(json.dumps(query.to_dict()))) == query
    assert eval(repr(query), {"Query": Query}) == query  # its repr is how to make it


def test_every_field_is_a_wish_or_says_how_to_look() -> None:
    names = {f.name for f in fields(Query)}
    assert set(WISHES) < names
    assert Query().is_empty and Query(n=3, generator="gan", relaxations=9, max_sites=30).is_empty
    for name, value in (("exclude", "Co"), ("min_sites", 3), ("component", "cutting_tool"), ("formula", "TiN")):
        assert not Query(**{name: value}).is_empty  # type: ignore[arg-type]


def test_a_query_shows_what_was_said() -> None:
    query = Query(targets=["bulk_modulus>=250"], exclude="toxic", n_elements=3)
    assert repr(query) == "Query(targets=['bulk_modulus>=250'], exclude=['toxic'], n_elements=[3, 3])"
    assert "of 3 elements" in query.in_words() and "<td>n_elements</td>" in query._repr_html_()
    assert repr(Query()) == "Query()"


def test_a_query_is_made_of_a_mapping_or_of_wishes() -> None:
    assert as_query({"n": 3}, {"exclude": "Co"}) == Query(n=3, exclude="Co")
    assert as_query(Query(n=3, exclude="Co"), {"n_sites": 30}) == Query(n=3, exclude="Co", n_sites=30)
    with pytest.raises(InputError, match="a query such as Query"):
        as_query("bulk_modulus>=250")
    with pytest.raises(InputError, match=r"query key: 'target' .*did you mean targets\?"):
        as_query(None, {"target": []})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Target("nonsense", 250), "property: 'nonsense'"),
        (lambda: Target("bulk_modulos", 250), "did you mean bulk_modulus?"),
        (lambda: Target("bulk_modulus"), "a bound or an extreme"),
        (lambda: Target("bulk_modulus", "stiff"), "0.1 to 700 GPa"),  # type: ignore[arg-type]
        (lambda: Target("bulk_modulus", 9000), "0.1 to 700 GPa"),
        (lambda: Target("bulk_modulus", 300, 200), "lower bound first"),
        (lambda: Target("bulk_modulus", goal="most"), "max, min"),
        (lambda: Target("bulk_modulus", 3, goal="max"), "a bound or an extreme"),
        (lambda: Target(3, 3), "property: 3"),  # type: ignore[arg-type]
        (lambda: Query(targets="bulk_modulus>=250"), "a list"),
        (lambda: Query(n="20"), "a whole number"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_type_is_the_line_of_the_shell(make: object, words: str) -> None:
    with pytest.raises(InputError) as error:
        make()  # type: ignore[operator]
    assert words in str(error.value)


def test_a_value_is_met_within_a_tenth_and_without_bound_where_the_property_ends() -> None:
    assert str(Target.parse("bulk_modulus=200")) == "bulk_modulus=180..220"
    assert Target.parse("energy_above_hull=0").holds(-0.1) and not Target.parse("energy_above_hull=0").holds(0.06)
    assert Target.parse("poisson_ratio=0.5").high is None
    assert Target.parse(str(Target.parse("bulk_modulus=33.3"))) == Target.parse("bulk_modulus=33.3")


def test_price_and_other_quantities_may_be_targets_of_the_search() -> None:
    from invdesign.evolution.joint import formula_hardness, log_target_chance

    values = {"bulk_modulus": Value(160.0, 8.0), "shear_modulus": Value(130.0, 8.0), "band_gap": Value(4.0, 0.5)}
    answers = answers_of([Estimate(values)])
    price = element_data.price_per_kg([12, 8])

    def chance(*targets: str) -> float:
        return float(log_target_chance(answers, [SALT], [Target.parse(t) for t in targets], formula_hardness)[0])

    assert chance(f"price<={2 * price:g}") == pytest.approx(0.0)
    assert chance(f"price<={0.5 * price:g}") < -100.0
    assert chance("melting_point>=1000") > -1.0 > -20.0 > chance("melting_point<=300")  # magnesia melts at 3125 K
    both = chance("bulk_modulus>=150", f"price<={2 * price:g}")
    assert both == pytest.approx(chance("bulk_modulus>=150"))
