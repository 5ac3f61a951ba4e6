"""Component files as people write them: what is read, and what is refused by the name of the field."""

from __future__ import annotations

from pathlib import Path

import pytest

from invdesign.errors import InvdesignError
from invdesign.selection.components import Component, load_component

INDEX = "indices:\n  - {name: a, powers: {youngs_modulus: 1}, worst: 1, best: 2}\n"


def loaded(text: str, folder: Path) -> Component:
    path = folder / "part.yaml"
    path.write_text(text)
    return load_component(path)


@pytest.mark.parametrize(
    "text",
    [INDEX, INDEX + "  - {name: b, powers: {density: -1}, worst: 3, best: 2}\n",
    "constraints: ['density≤5 g/cm3']",
     "constraints: [density>=2, density<=4]", "forbid: ['No', Co]", "radioactive: yes", "min_probability: 0",
     "name: mine",
     INDEX.replace("youngs_modulus: 1", "youngs_modulus: 0.5, density: -1")],
)  # fmt: skip
def test_files_that_are_read(text: str, tmp_path: Path) -> None:
    part = loaded(text, tmp_path)
    assert part.name == ("mine" if "name: mine" in text else "part")
    assert part.source.endswith("part.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a mapping"), ("3", "a mapping"), ("[]", "a mapping"), ("name: [a]", "name"), ("bogus: 1", "'bogus'"),
        ("on: x", "'True'"), ("constraints: density>=8", "a list"), ("constraints: [density=max]", "no extreme"),
        ("constraints: [3]", "target: '3'"), ("constraints: [null]", "target"),
        ("constraints: ['density<=5 kg']", "'kg'"),
        ("constraints: [density>=8, density<=4]",
        "constraints on density contradict each other: at least 8 and at most 4"),
        ("constraints: [stiffness>=8]", "'stiffness'"), ("forbid: [No]", "'False'"), ("forbid: [xx]", "'xx'"),
        ("forbid: Co", "a list"), ("radioactive: 'yes'", "true or false"), ("restricted: 1", "true or false"),
        ("min_probability: 1", "0 to below 1"), ("min_probability: .nan", "nan"),
        ("target_weight: -1", "target_weight: -1"),
        ("stability_weight: '2'", "'2'"), ("indices: [3]", "index: 3"),
        ("indices: [{}]", "'name', 'powers', 'worst'"),
        (INDEX.replace("1}", "0}"), "a number other than 0"), (INDEX.replace("1}", ".inf}"), "inf"),
        (INDEX.replace("1}", "'1'}"), "'1'"), (INDEX.replace("1}", "true}"), "True"),
        (INDEX.replace("worst: 1", "worst: 0"), "worst: 0"),
        (INDEX.replace("best: 2", "best: 1"), "other than that of worst"),
        (INDEX.replace("best: 2", "best: .nan"), "nan"),
        (INDEX.replace("best: 2", "best: 2, weight: -1"), "weight: -1"),
        (INDEX.replace("youngs_modulus", "poisson_ratio"), "quantity"),
        (INDEX.replace("youngs_modulus", "__class__"), "'__class__'"),
        (INDEX.replace("name: a", "name: 3"), "name: 3"),
        (INDEX.replace("name: a", "name: ''"), "name: ''"), (INDEX.replace("name: a, ", ""), "'name'"),
        (INDEX + "  - {name: a, powers: {density: 1}, worst: 3, best: 2}\n", "a name of its own"),
        (INDEX.replace("best: 2", "best: 2, formula: os.system('x')"), "'formula'"),
    ],
)  # fmt: skip
def test_files_that_are_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvdesignError) as error:
        loaded(text, tmp_path)
    assert words in str(error.value) and "\n" not in str(error.value)
