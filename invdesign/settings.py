"""YAML files of plain values, and training settings: records whose fields all have defaults, filled from such
files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from invdesign.errors import InputError, shortened

T = TypeVar("T")

LARGEST_YAML = 2**16
"""Most bytes of a YAML file: a query has some hundreds, and PyYAML takes a second for this many."""
_LONGEST_NUMBER = 100
MAY_BE_ZERO = ("seed", "warmup", "kl_warmup")
"""Whole-numbered training settings that may be 0."""


def settings_of(kind: type[T], values: object, also: Sequence[str] = ()) -> T:
    """A record of training settings from a mapping such as a YAML file's; what is missing has its default.

    Args:
        kind: a dataclass whose fields all have defaults.
        values: by field; numbers must be of their default's kind, and none negative.
        also: further names that the caller allows, for the message.

    Raises:
        InputError: if a key is unknown or a value is not valid.
    """
    values = mapping_of(values)
    defaults = {f.name: getattr(kind(), f.name) for f in fields(kind)}  # type: ignore[arg-type]
    for key in sorted(set(values) - set(defaults)):
        raise InputError("training setting", key, [*defaults, *also])
    return kind(**{key: _setting(key, value, defaults[key]) for key, value in values.items()})


def mapping_of(values: object) -> dict[str, Any]:
    """Training settings as a dictionary of its own.

    Raises:
        InputError: if they are no mapping.
    """
    if not isinstance(values, Mapping):
        raise InputError("training settings", values, "a mapping such as {epochs: 20}")
    return {str(key): value for key, value in values.items()}


def _setting(name: str, value: Any, default: object) -> Any:
    """A value of the kind of its default; YAML reads 2e-3 as text, which is taken as the number it is."""
    what = f"training setting {name}"
    if isinstance(default, float):
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not (math.isfinite(number) and number >= 0.0):
            raise InputError(what, value, "a number from 0")
        return number
    if isinstance(default, int) or (default is None and value is not None):
        least = 0 if name in MAY_BE_ZERO else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(what, value, f"a whole number from {least}")
    elif isinstance(default, str) and not isinstance(value, str):
        raise InputError(what, value, "a text")
    elif isinstance(default, Mapping) and not isinstance(value, Mapping):
        raise InputError(what, value, "a mapping")
    return value


def read_yaml(path: Path, what: str = "settings") -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        InputError: if it cannot be read or holds something else.
    """
    try:
        if not path.is_file() and path.exists():
            raise InputError(what, str(path), "a readable YAML file (not a regular file)")
        with path.open("rb") as file:
            content = file.read(LARGEST_YAML + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(what, str(path), f"a readable YAML file ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(what, str(path), f"valid YAML ({error})") from None
    return parse_yaml(text, what, str(path))


def parse_yaml(text: str, what: str, source: str) -> dict[str, Any]:
    """A mapping in YAML, of texts, numbers, true, false, null, lists and mappings alone.

    Dates are texts, an alias may stand for a single value and not for a list or mapping, a key may stand once.

    Args:
        text: the YAML.
        what: what it is, for the error.
        source: where it comes from, for the error.

    Raises:
        InputError: if it is too large, no such YAML, or no mapping.
    """
    import yaml

    if len(text) > LARGEST_YAML:
        raise InputError(what, source, f"a YAML file of at most {LARGEST_YAML} bytes")
    try:
        data = yaml.load(text, _loader())
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(what, source, f"valid YAML ({shortened(str(error.problem))}{line})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(what, source, f"valid YAML ({shortened(str(error))})") from None
    if not isinstance(data, dict):
        raise InputError(what, source, "a mapping such as {n: 20}")
    return {str(key): value for key, value in data.items()}


@cache
def _loader() -> Any:
    """PyYAML's safe loader without dates, binary data, sets, merged keys, and aliases of lists and mappings."""
    import yaml

    names = ("null", "bool", "int", "float", "str", "seq", "map")
    kept = tuple(f"tag:yaml.org,2002:{name}" for name in names)

    class PlainLoader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML wants it
            letter: [(tag, pattern) for tag, pattern in resolvers if tag in kept]
            for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }
        yaml_constructors = {  # noqa: RUF012
            tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag in kept or tag is None
        }

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                event = self.peek_event()  # type: ignore[no-untyped-call]
                node = self.anchors.get(event.anchor)
                if node is not None and not isinstance(node, yaml.ScalarNode):
                    raise yaml.composer.ComposerError(
                        None, None, "an alias of a list or mapping is not allowed", event.start_mark
                    )
            return super().compose_node(parent, index)

        def flatten_mapping(self, node: Any) -> None:
            """Take `<<` for a key like any other."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            found = super().construct_mapping(node, deep)
            if len(found) != len(node.value):
                raise yaml.constructor.ConstructorError(None, None, "a key stands twice", node.start_mark)
            return found

        def construct_yaml_int(self, node: Any) -> Any:
            if len(node.value) > _LONGEST_NUMBER:
                raise yaml.constructor.ConstructorError(
                    None, None, f"a whole number of {len(node.value)} digits", node.start_mark
                )
            return super().construct_yaml_int(node)

    PlainLoader.add_constructor(kept[2], PlainLoader.construct_yaml_int)
    return PlainLoader
