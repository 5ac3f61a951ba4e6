"""Records as plain JSON types and back, exactly: floats keep every bit, NaN stays NaN.

One pair of functions for every frozen record of the words layer, driven by its type annotations, so that a
field that is added to a record is stored without a word here.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Turn a record, or anything a record holds, into dicts, lists, strings and numbers.

    Raises:
        TypeError: if a value is of a kind that no record holds.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {name: to_plain(getattr(value, name)) for name in _types(type(value))}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(to_plain(item) for item in value)
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no plain form")


def from_plain(kind: type[T], data: Any) -> T:
    """Read what `to_plain` wrote of a record of type `kind`.

    Raises:
        KeyError, TypeError, ValueError: if the data are not those of such a record.
    """
    return typing.cast(T, _read(kind, data))


def read_field(kind: type, name: str, data: Any) -> Any:
    """Read what `to_plain` wrote of the field `name` of a record of type `kind`."""
    return _read(_types(kind)[name], data)


@lru_cache(maxsize=64)
def _types(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def _read(kind: Any, data: Any) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if data is None else _read(next(a for a in args if a is not type(None)), data)
    if origin is np.ndarray:
        return np.asarray(data)
    if origin is frozenset:
        return frozenset(_read(args[0], item) for item in data)
    if origin is tuple:
        return _read_tuple(args, data)
    if origin is not None and issubclass(origin, Mapping):
        return {key: _read(args[1], item) for key, item in data.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        known = _types(kind)
        return kind(**{name: _read(known[name], item) for name, item in data.items()})
    return kind(data)


def _read_tuple(kinds: tuple[Any, ...], data: Any) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_read(kinds[0], item) for item in data)
    return tuple(_read(kind, item) for kind, item in zip(kinds, data, strict=True))
