"""Component files: what a part is made for, as constraints, material indices and weights.

A component is a small YAML file, shipped in `configs/components` or the user's own:

    name: light_stiff_beam
    description: A beam of given bending stiffness and least mass.
    constraints: ["youngs_modulus>=50"]     # like targets of a query; judged by their probability
    forbid: [Co]                            # elements that must not occur
    radioactive: false                      # whether radioactive elements are allowed
    restricted: false                       # whether toxic elements restricted by law are allowed
    indices:
      - name: beam stiffness per mass
        powers: {youngs_modulus: 0.5, density: -1}   # the product E^0.5 / rho
        worst: 1.5                                   # desirability 0 at and below, in the properties' units
        best: 9.0                                    # desirability 1 at and above; linear in the log between them
        weight: 3.0
        source: Ashby, Materials Selection in Mechanical Design
        comparative: stiffer per mass

Quantities of an index are positive properties (`youngs_modulus`, …) and those of
`invdesign.properties.QUANTITIES` (`strength`, `thermal_conductivity`, `price`, …), in their units. Everything
is checked when it is loaded; an unknown key is an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from invdesign.elements import atomic_number
from invdesign.errors import ConflictError, InputError
from invdesign.properties import PROPERTIES
from invdesign.properties import QUANTITIES as ON_DEMAND
from invdesign.query import Target
from invdesign.settings import parse_yaml, read_yaml

T = TypeVar("T")

POSITIVE = tuple(name for name, p in PROPERTIES.items() if p.log or name == "pugh_ratio")
"""Properties that are always positive and may therefore stand in an index."""
QUANTITIES = (*POSITIVE, *ON_DEMAND)
"""What an index may multiply: positive properties, and the quantities that are estimated on demand."""


@dataclass(frozen=True)
class Index:
    """A material index: a product of powers, and what it is worth.

    Attributes:
        name: in words.
        powers: exponent by quantity; quantities are those of `QUANTITIES`.
        worst: value from which on, downhill, the desirability is 0.
        best: value from which on the desirability is 1; above or below `worst`.
        weight: exponent in the weighted geometric mean.
        source: where the index is derived.
        comparative: what a better material is, before `than`, e.g. `stiffer per mass`.
    """

    name: str
    powers: Mapping[str, float]
    worst: float
    best: float
    weight: float = 1.0
    source: str = ""
    comparative: str = ""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: naming the field, its value and what is allowed.
        """
        where = f"index {self.name!r}"
        _check_text("index: name", self.name)
        if not isinstance(self.powers, Mapping) or not self.powers:
            raise InputError(
                f"{where}: powers", self.powers, "a mapping such as {youngs_modulus: 0.5, density: -1}"
            )
        for quantity, power in self.powers.items():
            if quantity not in QUANTITIES:
                raise InputError(f"{where}: quantity", quantity, QUANTITIES)
            _check_number(f"{where}: power of {quantity}", power, -math.inf)
            if power == 0:
                raise InputError(f"{where}: power of {quantity}", power, "a number other than 0")
        _check_number(f"{where}: worst", self.worst, 0.0)
        _check_number(f"{where}: best", self.best, 0.0)
        _check_number(f"{where}: weight", self.weight, 0.0)
        if self.worst == self.best:
            raise InputError(f"{where}: best", self.best, "a value other than that of worst")


@dataclass(frozen=True)
class Component:
    """What a part asks of its material. See the module for the file's form.

    Attributes:
        name: the component's name.
        description: one sentence.
        constraints: bounds on properties, as text or `Target`.
        indices: material indices.
        forbid: symbols that must not occur.
        radioactive: whether radioactive elements are allowed.
        restricted: whether elements whose compounds are toxic and restricted by law are allowed.
        min_probability: a candidate that meets a constraint with less than this probability is rejected.
        target_weight: weight of each target of the query in the score.
        constraint_weight: weight of each constraint.
        stability_weight: weight of the distance to the convex hull.
    """

    name: str
    description: str = ""
    constraints: tuple[Target, ...] = ()
    indices: tuple[Index, ...] = ()
    forbid: tuple[str, ...] = ()
    radioactive: bool = False
    restricted: bool = False
    min_probability: float = 0.1
    target_weight: float = 2.0
    constraint_weight: float = 1.0
    stability_weight: float = 1.0
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Normalise and check every field.

        Raises:
            InputError: naming the field, its value and what is allowed.
            ConflictError: if two constraints contradict each other.
        """
        where = f"component {self.name}"
        _check_text(f"{where}: name", self.name)
        constraints = tuple(c if isinstance(c, Target) else Target.parse(str(c)) for c in _items(self.constraints))
        for constraint in constraints:
            if constraint.goal:
                raise InputError(f"{where}: constraint", str(constraint), "a bound such as density<=5, no extreme")
        _check_bounds(where, constraints)
        object.__setattr__(self, "constraints", constraints)
        object.__setattr__(self, "indices", tuple(_index(where, item) for item in _items(self.indices)))
        names = [index.name for index in self.indices]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"{where}: index", name, "a name of its own for each index")
        object.__setattr__(self, "forbid", tuple(str(s) for s in _items(self.forbid)))
        for symbol in self.forbid:
            atomic_number(symbol)
        for name in ("radioactive", "restricted"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{where}: {name}", getattr(self, name), "true or false")
        for name in ("min_probability", "target_weight", "constraint_weight", "stability_weight"):
            _check_number(f"{where}: {name}", getattr(self, name), -1e-12)
        if self.min_probability >= 1.0:
            raise InputError(f"{where}: min_probability", self.min_probability, "0 to below 1")


def component_names() -> list[str]:
    """Names of the shipped components."""
    folder = resources.files("invdesign.configs.components")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_component(name_or_path: str | Path | Component) -> Component:
    """Load a shipped component by name, or a component file by its path.

    Raises:
        InputError: if there is no such component, or its file does not hold one.
    """
    if isinstance(name_or_path, Component):
        return name_or_path
    text = str(name_or_path)
    is_path = isinstance(name_or_path, Path) or text.endswith((".yaml", ".yml"))
    if is_path:
        path = Path(text)
        if not path.is_file():
            raise InputError("component", text, "an existing file, or one of " + ", ".join(component_names()))
        return _component(read_yaml(path, "component file"), text)
    if text not in component_names():
        raise InputError("component", text, [*component_names(), "or the path of a .yaml file"])
    file = resources.files("invdesign.configs.components").joinpath(f"{text}.yaml")
    return _component(parse_yaml(file.read_text("utf-8"), "component file", text), text)


def _component(data: Mapping[str, Any], source: str) -> Component:
    return _build(Component, {"name": Path(source).stem, **data, "source": source}, f"component {source}")


def _index(where: str, item: object) -> Index:
    if isinstance(item, Index):
        return item
    if not isinstance(item, Mapping):
        raise InputError(f"{where}: index", item, "a mapping with name, powers, worst, best")
    return _build(Index, item, f"{where}: index")


def _build(kind: type[T], data: Mapping[str, Any], where: str) -> T:
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            raise InputError(f"{where}: key", key, known)
    try:
        return kind(**data)
    except TypeError as error:
        missing = str(error).rsplit(": ", maxsplit=1)[-1]
        raise InputError(where, dict(data), f"also the keys {missing}") from None


def _items(value: object) -> Sequence[Any]:
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        return value
    raise InputError("component file: list", value, "a list")


def _check_bounds(where: str, constraints: Sequence[Target]) -> None:
    """See that the bounds on each property leave something."""
    for name in dict.fromkeys(c.name for c in constraints):
        low = max((c.low for c in constraints if c.name == name and c.low is not None), default=-math.inf)
        high = min((c.high for c in constraints if c.name == name and c.high is not None), default=math.inf)
        if low > high:
            raise ConflictError(
                f"{where}: constraints on {name} contradict each other: at least {low:g} and at most {high:g}"
            )


def _check_number(what: str, value: object, above: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not value > above:  # type: ignore[arg-type, operator]
        allowed = "a number" if math.isinf(above) else f"a number above {max(above, 0.0):g}"
        raise InputError(what, value, allowed)


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise InputError(what, value, "a text")
