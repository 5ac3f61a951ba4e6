"""The search among candidates keeps to what the query asks for beside its targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_evolution import chemistry

from invdesign import build
from invdesign.chemistry.composition import integer_composition
from invdesign.crystal import Gene
from invdesign.crystallography.genes import decode, protostructure, protostructure_hash
from invdesign.crystallography.prototypes import gene_prototypes
from invdesign.engine.campaign import Campaign
from invdesign.engine.candidates import CandidateSearch
from invdesign.evolution.evolve import EvolutionSettings
from invdesign.evolution.parents import KnownPool, Wanted
from invdesign.query import Query
from invdesign.records import Candidate, Evaluation, Status
from invdesign.reference.local import load_known

SMALL = EvolutionSettings(generations=2, children=60, parents=60)
SPINEL = Gene(227, (0, 3, 4), (12, 13, 8), (0.2624,), (8.08,))


def found(query: Query, n: int = 12) -> tuple[CandidateSearch, list[Evaluation]]:
    campaign = Campaign(query, 3, build.default_parts(query), evolution=SMALL)
    assert campaign.search is not None
    return campaign.search, campaign.search.propose("e", n, (), (), None, 3)[0]


@pytest.mark.parametrize(
    "wishes",
    [
        {"formula": "TiAlN2"},
        {"anonymous_formula": "ABX3", "exclude": ["O"]},
        {"prototype": "perovskite"},
        {"n_elements": 4, "space_group": "cubic"},
        {"required": ["Li", "S"]},
        {"chemical_system": "Hf-Ta-C-N", "all_elements": True},
        {"n_sites": 8, "elements": ["Ti", "Al", "N", "C"]},
    ],
    ids=lambda wishes: next(iter(wishes)),
)
def test_every_candidate_is_what_was_asked_and_new(wishes: dict[str, Any]) -> None:
    query = Query(targets=["bulk_modulus>=100"], n=4, relaxations=8, **wishes)
    search, rows = found(query)
    assert rows
    for row in rows:
        assert search._cheap[0].check(row).status is Status.PASS, search._cheap[0].check(row)
    known = KnownPool().protostructures
    hashes = [protostructure_hash(protostructure(row.candidate.crystal.gene)) for row in rows]
    assert not np.isin(hashes, known).any() and len(set(hashes)) == len(hashes)


def test_a_kept_sublattice_stays_and_the_start_is_not_proposed() -> None:
    query = Query(targets=["bulk_modulus>=100"], start=[SPINEL], keep=["O"], n=4, relaxations=8)
    search, rows = found(query)
    assert rows
    for row in rows:
        gene = row.candidate.crystal.gene
        assert gene is not None and gene.space_group == 227
        assert [w for w, z in zip(gene.wyckoffs, gene.numbers, strict=True) if z == 8] == [4]
        assert set(gene.numbers) != {12, 13, 8}
    rocksalt = Evaluation(Candidate("x", decode([Gene(225, (0, 1), (12, 8), (), (4.2,))])[0], "r", "vae"))
    assert "sublattice of O" in search._cheap[0].check(rocksalt).reason


def test_known_crystals_are_counted_by_stoichiometry_as_by_hand() -> None:
    known, rng = load_known(), np.random.default_rng(0)
    rows = rng.integers(0, len(known), 200)
    for row in rows:
        counts = integer_composition(known.numbers(int(row)))
        assert known.n_elements[row] == len(counts)
        assert known.of_stoichiometry(tuple(sorted(counts.values())))[row]
    assert not known.of_stoichiometry((1, 1, 3))[known.n_elements != 3].any()


def test_parents_are_of_the_stoichiometry_and_prototype() -> None:
    from invdesign.evolution.joint import formula_hardness

    perovskite = Gene(221, (0, 1, 2), (38, 22, 8), (), (3.9,))
    key = int(gene_prototypes([perovskite])[0])
    wanted = Wanted(stoichiometry=(1, 1, 3), prototype=key)
    members = KnownPool().parents(wanted, chemistry(), formula_hardness, 40)
    assert len(members) == 40 and all(m.gene.space_group == 221 for m in members)
    assert (gene_prototypes([m.gene for m in members]) == key).all()
