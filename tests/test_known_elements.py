"""A query with an element that a part does not know is refused at once, and the part is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from invdesign import build
from invdesign.app.design import design
from invdesign.app.elements import check_elements, known_elements
from invdesign.errors import InputError
from invdesign.query import Query

MISSING = (84, 85, 86, 87, 88)


@pytest.fixture(scope="module")
def known() -> dict[str, frozenset[int]]:
    return known_elements()


def test_every_part_knows_the_same_elements(known: dict[str, frozenset[int]]) -> None:
    parts = {"the potential sevennet-0", "its energy scale", "the convex hull", "the surrogates"}
    assert set(known) == parts | {f"the generator {name}" for name in build.generator_names()}
    for part, elements in known.items():
        assert elements == frozenset(range(1, 95)) - set(MISSING), part


@pytest.mark.parametrize(
    "query", [Query(required=["Po", "O"]), Query(elements=["O", "Po"]), Query(chemical_system="O-Po")]
)
def test_an_unknown_element_is_refused_with_the_parts(query: Query, known: dict[str, frozenset[int]]) -> None:
    with pytest.raises(InputError) as caught:
        check_elements(query, known)
    message = str(caught.value)
    assert message.startswith(
        "elements: 'Po' is not valid; allowed: H to Pu except Po, At, Rn, Fr, Ra (not known to"
    )
    assert "the potential sevennet-0" in message and "the generator vae" in message
    assert len(message) < 300


def test_only_the_part_that_lacks_it_is_named(known: dict[str, frozenset[int]]) -> None:
    with pytest.raises(InputError, match=r"\(not known to the convex hull\)"):
        check_elements(Query(required=["W"]), {**known, "the convex hull": known["the convex hull"] - {74}})
    check_elements(Query(required=["W", "O"], exclude=["Po"]), known)


def test_design_refuses_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Po"):
        design(Query(required=["Po", "O"]), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
