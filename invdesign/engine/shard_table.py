"""The file of one shard: every candidate as a row of a parquet table, what became of them in its metadata.

A file is written whole or not at all, and each page of it has a checksum, so that a shard is either there as it
was computed or is computed again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import Gene
from invdesign.crystallography.genes import primitive_sites
from invdesign.engine.shards import Batch, Counts, formula_of, key_of
from invdesign.errors import OutputError

if TYPE_CHECKING:
    import pyarrow as pa

    from invdesign.records import Evaluation

META = b"invdesign"
"""Key of a file's metadata under which the counts stand, and what the shard is of."""
NAMES = ("id", "generator", "request", "formula", "rejected")
GENE = ("space_group", "wyckoffs", "numbers", "free_coords", "free_lattice")
"""Columns of the gene."""
FIXED = (*NAMES, "n_sites", "protostructure", "log_chance", *GENE)
"""Columns beside the properties."""


class ShardFileError(Exception):
    """A file is not that of this shard, or is damaged: the shard has to be computed again."""


def schema(properties: Sequence[str]) -> pa.Schema:
    """The columns of a file, the properties that the gate answers among them."""
    import pyarrow as pa

    few = pa.dictionary(pa.int16(), pa.string())
    return pa.schema(
        [
            ("id", pa.string()),
            ("generator", few),
            ("request", few),
            ("formula", pa.string()),
            ("rejected", few),
            ("n_sites", pa.int16()),
            ("protostructure", pa.int64()),
            ("log_chance", pa.float64()),
            ("space_group", pa.uint8()),
            ("wyckoffs", pa.list_(pa.uint8())),
            ("numbers", pa.list_(pa.uint8())),
            ("free_coords", pa.list_(pa.float64())),
            ("free_lattice", pa.list_(pa.float64())),
            *((name, pa.float32()) for name in properties),
        ]
    )


def columns(batch: Batch) -> dict[str, Any]:
    """A batch as columns."""
    genes = [row.candidate.crystal.gene for row in batch.rows]
    about = {
        "id": [row.candidate.id for row in batch.rows],
        "generator": [row.candidate.generator for row in batch.rows],
        "request": [row.candidate.request for row in batch.rows],
        "formula": [formula_of(row) for row in batch.rows],
        "rejected": batch.rejected,
        "n_sites": [_sites(row) for row in batch.rows],
        "protostructure": [0 if gene is None else key_of(gene) for gene in genes],
        "log_chance": [None if np.isnan(value) else value for value in batch.log_chance.tolist()],
    }
    gene = {name: [None if g is None else getattr(g, name) for g in genes] for name in GENE}
    means = {n: [None if np.isnan(v) else v for v in values.tolist()] for n, values in batch.means.items()}
    return about | gene | means


def _sites(row: Evaluation) -> int:
    crystal = row.candidate.crystal
    return crystal.n_sites if crystal.gene is None else primitive_sites(crystal.gene)


def encoded(batches: Sequence[pa.Table], counts: Counts, about: Mapping[str, Any]) -> bytes:
    """The file of a shard.

    Args:
        batches: its candidates, from `table`.
        counts: what became of them.
        about: what the shard is of: the same must be asked of `decoded`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [n for n in dict.fromkeys(name for t in batches for name in t.column_names) if n not in FIXED]
    whole = schema(names)
    found = [pa.table({n: _column(t, n, whole) for n in whole.names}, schema=whole) for t in batches]
    joined = pa.concat_tables(found) if found else whole.empty_table()
    meta = json.dumps({"about": dict(about), "counts": counts.to_dict()})
    stream = io.BytesIO()
    pq.write_table(
        joined.replace_schema_metadata({META: meta}), stream, compression="zstd", write_page_checksum=True
    )
    return stream.getvalue()


def table(batch: Batch) -> pa.Table:
    """A batch as a table, a hundredth of the size of its records."""
    import pyarrow as pa

    found = columns(batch)
    whole = schema([name for name in found if name not in FIXED])
    return pa.table(found, schema=whole)


def _column(part: pa.Table, name: str, whole: pa.Schema) -> Any:
    import pyarrow as pa

    return part[name] if name in part.column_names else pa.nulls(part.num_rows, whole.field(name).type)


@dataclass(frozen=True, eq=False)
class Part:
    """The file of a shard, read.

    Attributes:
        table: one row per candidate.
        counts: what became of them, as `Counts.to_dict` gives it.
    """

    table: pa.Table
    counts: Mapping[str, Any]

    @property
    def log_chance(self) -> NDArray[np.float64]:
        """(n,) logarithms of the chances; NaN for candidates that were left out."""
        return np.asarray(self.table["log_chance"].to_numpy(zero_copy_only=False), dtype=np.float64)

    @property
    def keys(self) -> NDArray[np.int64]:
        """(n,) of the protostructures."""
        return np.asarray(self.table["protostructure"].to_numpy(), dtype=np.int64)

    @property
    def ids(self) -> list[str]:
        """(n,) of the candidates."""
        found: list[str] = self.table["id"].to_pylist()
        return found

    def row(self, place: int) -> dict[str, Any]:
        """Everything that is known of a candidate."""
        (found,) = self.table.slice(place, 1).to_pylist()
        return {k: v for k, v in found.items() if v is not None}


def decoded(source: bytes | Path, about: Mapping[str, Any]) -> Part:
    """The file of a shard, from its bytes or its path.

    Raises:
        ShardFileError: if it is not that of the shard that is asked for, or is damaged.
        FileNotFoundError: if there is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        data = source.read_bytes() if isinstance(source, Path) else source
        found = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True).read()
        meta = json.loads((found.schema.metadata or {}).get(META, b"{}"))
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException, ValueError) as error:
        raise ShardFileError(f"damaged ({' '.join(str(error).split())[:100]})") from None
    if meta.get("about") != dict(about) or not set(FIXED) <= set(found.column_names):
        raise ShardFileError("of another screen")
    return Part(found, meta["counts"])


def write_part(data: bytes, path: Path) -> None:
    """Write the file of a shard, whole or not at all, and see that it is on the disk.

    Raises:
        OutputError: if it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None


def gene_of_row(row: Mapping[str, Any]) -> Gene:
    """The gene of a row of the table."""
    return Gene(
        int(row["space_group"]),
        tuple(row["wyckoffs"]),
        tuple(row["numbers"]),
        tuple(row["free_coords"]),
        tuple(row["free_lattice"]),
    )
