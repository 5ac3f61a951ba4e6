"""Keys of prototypes: the same for the same prototype only, whatever the elements, the order and the origin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from invdesign.benchmarking.metrics import template
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.prototypes import gene_prototypes
from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.generators.random_genes import RandomGenerator
from invdesign.records import Conditions


@pytest.fixture(scope="module")
def genes() -> list[Gene]:
    found = RandomGenerator.load().propose(400, np.random.default_rng(3), Conditions())
    return [c.gene for c in found if isinstance(c, Crystal) and c.gene is not None]


def relabelled(gene: Gene, change: int) -> Gene:
    """The gene after a change of origin and axes that maps its group on itself, as far as positions go."""
    table = wyckoff_table()
    first, last = table.normalizer_start[gene.space_group - 1 : gene.space_group + 1]
    letters = table.normalizer_permutation[first + change % (last - first), list(gene.wyckoffs)]
    return replace(gene, wyckoffs=tuple(int(w) for w in letters))


def test_keys_are_equal_where_templates_are(genes: list[Gene]) -> None:
    keys, templates = gene_prototypes(genes).tolist(), [repr(template(gene)) for gene in genes]
    assert len(set(templates)) > 100
    assert len(set(keys)) == len(set(templates)) == len(set(zip(keys, templates, strict=True)))


def test_order_elements_and_origin_do_not_matter(genes: list[Gene]) -> None:
    keys = gene_prototypes(genes)
    others = [tuple(z % 103 + 1 for z in gene.numbers[::-1]) for gene in genes]
    turned = [replace(g, wyckoffs=g.wyckoffs[::-1], numbers=z) for g, z in zip(genes, others, strict=True)]
    assert np.array_equal(gene_prototypes(turned), keys)
    for change in (1, 2, 5):
        assert np.array_equal(gene_prototypes([relabelled(g, change) for g in genes]), keys)


def test_which_positions_share_an_element_matters() -> None:
    perovskite = Gene(221, (0, 1, 2), (38, 22, 8), (), (3.9,))
    others = [
        replace(perovskite, numbers=(38, 38, 8)),
        replace(perovskite, numbers=(38, 8, 8)),
        replace(perovskite, space_group=225),
        replace(perovskite, wyckoffs=(0, 1, 3)),
    ]
    keys = gene_prototypes([perovskite, *others])
    assert len({int(k) for k in keys[:4]}) == 4
    assert keys[4] == keys[0] == gene_prototypes([relabelled(perovskite, 1)])[0]
