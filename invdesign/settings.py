"""Training settings: records whose fields all have defaults, filled from a mapping such as a YAML file's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from invdesign.errors import InputError

T = TypeVar("T")

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
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(what, str(path), f"a readable YAML file ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(what, str(path), f"valid YAML ({error})") from None
    if not isinstance(data, dict):
        raise InputError(what, str(path), "a mapping such as {n: 20}")
    return {str(key): value for key, value in data.items()}
