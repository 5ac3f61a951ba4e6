"""Settings of calculations: a value of another type, or one that is not finite, is one clear line."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from invdesign import relax
from invdesign.checks import check_types
from invdesign.errors import InputError
from invdesign.evolution.evolve import EvolutionSettings
from invdesign.relaxation.dynamics import ShakeSettings
from invdesign.relaxation.elastic import ElasticSettings
from invdesign.relaxation.minimise import RelaxSettings
from invdesign.relaxation.strength import StrengthSettings
from invdesign.testing import good_crystals
from invdesign.vibrations.molecular_dynamics import MDSettings
from invdesign.vibrations.settings import PhononSettings

CLASSES = (
    RelaxSettings, ShakeSettings, ElasticSettings, StrengthSettings, MDSettings, PhononSettings, EvolutionSettings,
)  # fmt: skip
WRONG: dict[str, tuple[object, ...]] = {
    "bool": ("yes", 1, None, 2.5),
    "int": ("3", 2.5, math.inf, math.nan, None, True, [1]),
    "float": ("0.1", math.inf, math.nan, None, True, [0.1], 10**400, np.array([0.1, 0.2])),
    "str": (3, None, ["npt"]),
    "tuple[float, ...]": ("0.1", 0.1, None, ["a"], [math.nan]),
    "Mapping[str, float]": ("exchange", 2.0, None, ["exchange"], {"exchange": "often"}, {"exchange": math.nan}),
}
CASES = [
    (kind, each.name, value)
    for kind in CLASSES
    for each in dataclasses.fields(kind)
    for value in WRONG.get(str(each.type), ())
]


@pytest.mark.parametrize(("kind", "name", "value"), CASES)
def test_a_value_of_another_type_is_refused_by_name(kind: type, name: str, value: object) -> None:
    with pytest.raises(InputError) as found:
        kind(**{name: value})
    message = str(found.value)
    assert "\n" not in message and (name in message or "exchange" in message)


def test_every_setting_is_covered() -> None:
    kinds = {str(each.type) for kind in CLASSES for each in dataclasses.fields(kind)}
    assert kinds - WRONG.keys() == {"CurvatureSettings"}


@pytest.mark.parametrize("kind", CLASSES)
def test_the_defaults_hold_what_they_say(kind: type) -> None:
    check_types(kind())


def test_whole_numbers_of_numpy_are_numbers() -> None:
    assert RelaxSettings(max_steps=np.int64(5), max_force=np.float32(0.1), pressure=2).max_steps == 5


def test_the_python_api_says_so_before_anything_is_relaxed() -> None:
    with pytest.raises(InputError, match=r"max_steps.*2\.5.*a whole number"):
        relax(good_crystals()[0], max_steps=2.5)
