"""Ways there and back: gene and crystal, CIF, records, queries as mappings, other libraries' types."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import crystals, genes, queries, targets
from strategies.crystals import bare

from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.cif import cif_text, gene_text, p1_text
from invdesign.crystallography.genes import canonical, decode, decode_conventional, encode, protostructure
from invdesign.crystallography.symmetry import space_group
from invdesign.data.convert import (
    from_ase,
    from_pymatgen,
    from_row,
    lattice_from_parameters,
    to_ase,
    to_pymatgen,
)
from invdesign.data.read import read_crystals
from invdesign.query import Query, Target
from invdesign.records import Candidate, Conditions, Estimate, Evaluation, Failure, Request, Status, Value, Verdict
from invdesign.serialize import from_plain, to_plain
from invdesign.testing.crystals import identical

SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much]
few = settings(max_examples=20, deadline=None, suppress_health_check=SLOW)
some = settings(few, max_examples=60)
any_float = st.floats(allow_nan=True, allow_infinity=True)
text = st.text(max_size=12)

# genes


@some
@given(genes())
def test_a_gene_comes_back_from_its_crystal(gene: Gene) -> None:
    """As an equal gene, or, where the atoms happen to have more symmetry, as one of that group."""
    (crystal,) = decode([gene])
    found = encode(bare(crystal), symprec=1e-3)
    assert identical(decode([found])[0], crystal)
    assert found.space_group == space_group(crystal, 1e-3)
    if found.space_group == gene.space_group and len(found.wyckoffs) == len(gene.wyckoffs):
        assert protostructure(found) == protostructure(gene)


@some
@given(genes())
def test_the_canonical_gene_is_its_own(gene: Gene) -> None:
    once = canonical(gene)
    again = canonical(once)
    assert again.wyckoff_sequence == once.wyckoff_sequence == protostructure(gene)
    assert again.free_coords == pytest.approx(once.free_coords, abs=1e-5)
    assert sorted(again.numbers) == sorted(gene.numbers)


@few
@given(genes())
def test_the_conventional_cell_is_the_same_crystal(gene: Gene) -> None:
    assert identical(decode_conventional(gene), decode([gene])[0])


# CIF


def read_back(content: str) -> Crystal:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.cif"
        path.write_text(content)
        (found,) = read_crystals(path)
    assert isinstance(found, Crystal), found
    return found


@some
@given(genes())
def test_a_gene_comes_back_from_its_cif(gene: Gene) -> None:
    (crystal,) = decode([gene])
    found = read_back(gene_text(gene))
    assert identical(found, crystal)
    assert found.volume / found.n_sites == pytest.approx(crystal.volume / crystal.n_sites, rel=1e-6)


@few
@given(crystals(with_gene=False))
def test_a_crystal_comes_back_from_its_cif_with_and_without_symmetry(crystal: Crystal) -> None:
    assert identical(read_back(p1_text(crystal)), crystal)
    assert identical(read_back(cif_text(crystal, tolerances=(1e-3,))), crystal)


@few
@given(genes(groups=st.integers(16, 230)))
def test_a_cif_keeps_the_space_group_for_an_outside_reader(gene: Gene) -> None:
    from pymatgen.io.cif import CifParser

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*rounded to ideal values")  # 1/3 and 2/3, which six digits are
        (structure,) = CifParser.from_str(gene_text(gene)).parse_structures(primitive=False)
    # pymatgen's own tolerance for translations, 0.25 Å, is wide enough for a crystal that is almost smaller
    assert identical(from_pymatgen(structure.get_primitive_structure(tolerance=0.01)), decode([gene])[0])


# records


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(to_plain(value)))


def equal(a: object, b: object) -> bool:
    """Equal, with NaN equal to NaN."""
    return repr(to_plain(a)) == repr(to_plain(b))


@some
@given(crystals())
def test_a_crystal_keeps_every_bit(crystal: Crystal) -> None:
    back = from_plain(Crystal, through_json(crystal))
    for name in ("lattice", "numbers", "frac_coords"):
        assert np.array_equal(getattr(back, name), getattr(crystal, name))
    assert (back.gene, back.source) == (crystal.gene, crystal.source)


values = st.builds(Value, any_float, any_float, st.none() | any_float, st.none() | any_float, text)
estimates = st.builds(
    Estimate,
    st.dictionaries(st.sampled_from(["bulk_modulus", "band_gap", "mine"]), values),
    any_float,
    st.booleans(),
)
numbers = st.frozensets(st.integers(1, 103), max_size=4)
conditions = st.builds(
    Conditions,
    properties=st.dictionaries(st.sampled_from(["density", "band_gap"]), any_float),
    space_groups=st.none() | st.frozensets(st.integers(1, 230), max_size=3),
    required=numbers,
    allowed=st.none() | numbers,
    forbidden=numbers,
    guidance=st.floats(0, 4),
    latent_centre=st.none() | st.lists(st.floats(-3, 3), max_size=3).map(tuple),
)


@some
@given(st.one_of(values, estimates, conditions, st.builds(Failure, text, text, text)))
def test_a_record_comes_back_from_plain_types(record: Any) -> None:
    back = from_plain(type(record), through_json(record))
    assert type(back) is type(record) and equal(back, record)


@some
@given(conditions, st.integers(1, 1000), st.integers(0, 2**63 - 1))
def test_a_request_comes_back_equal(asked: Conditions, n: int, seed: int) -> None:
    request = Request("r000-00", "vae", asked, n, seed)
    assert equal(from_plain(Request, through_json(request)), request)


@few
@given(crystals(), estimates, st.sampled_from(Status), any_float)
def test_an_evaluation_comes_back(crystal: Crystal, estimate: Estimate, status: Status, score: float) -> None:
    verdicts: Mapping[str, Verdict] = {"charge_balance": Verdict("charge_balance", status, "because", 0.5)}
    row = Evaluation(Candidate("a", crystal, "r", "vae", ("p",)), estimate, verdicts=verdicts, score=score)
    back = from_plain(Evaluation, through_json(row))
    assert equal(back, row) and back.verdicts["charge_balance"].status is status


def test_what_no_record_holds_is_refused() -> None:
    with pytest.raises(TypeError, match="object has no plain form"):
        to_plain({"a": object()})


# targets and queries


@some
@given(targets())
def test_a_target_comes_back_from_its_text(target: Target) -> None:
    assert Target.parse(str(target)) == target


@some
@given(queries())
def test_a_query_comes_back_from_a_mapping(query: Query) -> None:
    assert Query.from_dict(query.to_dict()) == query


@some
@given(queries())
def test_a_query_comes_back_from_json_and_yaml(query: Query) -> None:
    assert Query.from_dict(json.loads(json.dumps(query.to_dict()))) == query
    assert Query.from_dict(yaml.safe_load(yaml.safe_dump(query.to_dict()))) == query


# other libraries' types


@few
@given(crystals(with_gene=False))
def test_a_crystal_comes_back_from_other_types(crystal: Crystal) -> None:
    for back in (from_pymatgen(to_pymatgen(crystal)), from_ase(to_ase(crystal))):
        assert back.numbers.tolist() == crystal.numbers.tolist()
        assert back.lattice == pytest.approx(crystal.lattice, abs=1e-9)
        apart = back.frac_coords - crystal.frac_coords
        assert apart - np.round(apart) == pytest.approx(np.zeros_like(apart), abs=1e-9)


@some
@given(crystals(with_gene=False))
def test_a_lattice_comes_back_from_its_parameters(crystal: Crystal) -> None:
    lattice = lattice_from_parameters(crystal.lattice_parameters)
    assert lattice @ lattice.T == pytest.approx(crystal.lattice @ crystal.lattice.T, rel=1e-7, abs=1e-7)


@few
@given(crystals(with_gene=False))
def test_a_crystal_comes_back_from_a_row_of_a_table(crystal: Crystal) -> None:
    row = {
        "lattice": crystal.lattice.tolist(),
        "atomic_numbers": crystal.numbers.tolist(),
        "frac_coords": crystal.frac_coords.tolist(),
    }
    back = from_row(row)
    assert np.array_equal(back.lattice, crystal.lattice) and np.array_equal(back.numbers, crystal.numbers)
    assert identical(back, crystal)
