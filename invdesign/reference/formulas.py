"""Reduced formulas without structures: what others have computed, and what has been made.

Two tables, made by `scripts/build_formulas.py`: formulas that the OQMD has computed (mostly hypothetical
prototypes), and targets of published synthesis recipes. A hit says that somebody has thought of the composition,
not that the crystal is the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, overload

from invdesign.tables import path_of, unreadable

COMPUTED_TABLE = "computed_formulas.parquet"
SYNTHESISED_TABLE = "synthesised_formulas.parquet"


class Formulas(Sequence[str]):
    """Sorted reduced formulas in one compact array; a look-up takes some microseconds."""

    def __init__(self, table: Any) -> None:
        """Take an Arrow table whose column `formula` is sorted."""
        self._table = table.combine_chunks()
        self._formulas = self._table.column("formula").chunk(0)

    def __len__(self) -> int:
        """Number of formulas."""
        return len(self._formulas)

    @overload
    def __getitem__(self, row: int) -> str: ...

    @overload
    def __getitem__(self, row: slice) -> list[str]: ...

    def __getitem__(self, row: int | slice) -> str | list[str]:
        """The formula in one row, or those in a slice."""
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        return str(self._formulas[row].as_py())

    def __contains__(self, formula: object) -> bool:
        """Whether a reduced formula (in pymatgen's convention) is in the table."""
        return isinstance(formula, str) and self._row(formula) is not None

    def get(self, formula: str, column: str) -> Any:
        """Value of a column beside a formula; None if it is not in the table."""
        row = self._row(formula)
        return None if row is None else self._table.column(column)[row].as_py()

    def _row(self, formula: str) -> int | None:
        row = bisect_left(self, formula)
        return row if row < len(self) and self[row] == formula else None


@lru_cache(maxsize=1)
def load_computed() -> Formulas:
    """Formulas that the OQMD has computed, read once per process.

    Raises:
        ReferenceMissingError: if the table is not there or cannot be read.
    """
    return _load(COMPUTED_TABLE)


@lru_cache(maxsize=1)
def load_synthesised() -> Formulas:
    """Targets of published recipes, with columns `recipes` (how many) and `doi` (of one); read once per process.

    Raises:
        ReferenceMissingError: if the table is not there or cannot be read.
    """
    return _load(SYNTHESISED_TABLE)


def _load(name: str) -> Formulas:
    import pyarrow.parquet as pq

    try:
        return Formulas(pq.read_table(path_of(name)))
    except (OSError, ValueError, KeyError) as error:
        raise unreadable(name, error) from None
