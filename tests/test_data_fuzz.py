"""Any file at all: no traceback, no hang, no large memory; a sound file in the same call is always read."""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from crystal_files import CASES, POSCAR, VASPRUN, caesium_chloride
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from invdesign.crystal import Crystal
from invdesign.data.convert import to_ase, to_pymatgen
from invdesign.data.limits import MOST_ATOMS
from invdesign.data.read import read_crystals, read_table
from invdesign.records import Failure

NEIGHBOUR = CASES / "good_neighbour.json"
MEMORY, SECONDS = 2**30, 10
NAMES = (
    "x.cif",
    "POSCAR",
    "x.xyz",
    "x.json",
    "x.jsonl",
    "x.csv",
    "x.db",
    "x.parquet",
    "x.zip",
    "x.tar.gz",
    "vasprun.xml",
)


def check(path: Path) -> int:
    """Read a file beside a good one; the number of crystals in it."""
    items = list(read_crystals([path, NEIGHBOUR]))
    assert isinstance(items[-1], Crystal) and items[-1].source == str(NEIGHBOUR)
    assert len(items) > 1, "nothing was said of the file"
    for item in items[:-1]:
        if isinstance(item, Failure):
            assert item.stage == "read" and item.reason and "\n" not in item.reason and len(item.reason) <= 200
        else:
            assert 1 <= item.n_sites <= MOST_ATOMS
            assert np.isfinite(item.lattice).all() and np.isfinite(item.frac_coords).all()
    list(read_table(path))
    return sum(isinstance(item, Crystal) for item in items[:-1])


def seeds() -> dict[str, bytes]:
    """A sound file of every format by name, and the cases."""
    found = {path.name: path.read_bytes() for path in sorted(CASES.iterdir()) if path.suffix != ".yaml"}
    crystal = caesium_chloride()
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write_all(crystal, folder)
        found |= {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return found


def _write_all(crystal: Crystal, folder: Path) -> None:
    from ase.db import connect
    from ase.io import write

    structure = to_pymatgen(crystal)
    (folder / "s.cif").write_text(structure.to(fmt="cif", symprec=0.01))
    (folder / "p1.cif").write_text(structure.to(fmt="cif") + "\n" + structure.to(fmt="cif"))
    (folder / "s_POSCAR").write_text(POSCAR)
    (folder / "vasprun.xml").write_text(VASPRUN)
    write(folder / "s.extxyz", [to_ase(crystal)] * 3, format="extxyz")
    (folder / "s.json").write_text(json.dumps([structure.as_dict()] * 2))
    (folder / "s.jsonl").write_text(
        json.dumps(structure.as_dict()) + "\n" + json.dumps({"structure": structure.as_dict()})
    )
    for target in ("s.db", "rows.json"):
        with connect(folder / target) as database:
            database.write(to_ase(crystal), bulk_modulus=18.0)
    row = {"lattice_parameters": [4.12, 4.12, 4.12, 90, 90, 90], "atomic_numbers": [55, 17]}
    frame = pd.DataFrame([row | {"frac_coords": [0, 0, 0, 0.5, 0.5, 0.5], "bulk_modulus": 18.0}] * 3)
    frame.to_parquet(folder / "s.parquet")
    frame.to_csv(folder / "s.csv", index=False)
    pd.DataFrame({"cif": [structure.to(fmt="cif")] * 2}).to_csv(folder / "cif.csv", index=False)
    with zipfile.ZipFile(folder / "s.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/POSCAR", POSCAR)
        archive.writestr("b.cif", structure.to(fmt="cif"))
    with tarfile.open(folder / "s.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("a/POSCAR")
        info.size = len(POSCAR)
        tar.addfile(info, io.BytesIO(POSCAR.encode()))
    (folder / "s.cif.gz").write_bytes(gzip.compress(structure.to(fmt="cif").encode()))


def test_the_seeds_are_read(tmp_path: Path) -> None:
    """What is mutated below is sound, so that the mutations reach beyond the first check."""
    own = {name: content for name, content in seeds().items() if not (CASES / name).exists()}
    assert len(own) >= 14
    for name, content in own.items():
        (tmp_path / name).write_bytes(content)
        assert check(tmp_path / name) >= 1, name


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(NAMES), st.binary(max_size=400))
@example("x.json", b"[[[[")
@example("x.csv", b"frac_coords,lattice,atomic_numbers\n" + b'"' * 99)
@example("x.xyz", b"\xef")
@example("x.jsonl", b"\xef")
@example("x.xyz", b"1\nLattice=[[1,2],3] Properties=::::\n\n")
def test_random_bytes(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    check(tmp_path / name)


WORDS = st.sampled_from(
    [
        "loop_",
        "data_",
        "_atom_site_label",
        "_atom_site_fract_x",
        "_atom_site_fract_y",
        "_atom_site_fract_z",
        "_cell_length_a",
        "_cell_length_b",
        "_cell_length_c",
        "_cell_angle_beta",
        "_symmetry_equiv_pos_as_xyz",
        "'x,y,z'",
        "'-x,y+1/2,-z'",
        "Fe1",
        "O",
        "0.25",
        "1e308",
        "-1",
        "?",
        ".",
        "'",
        '"',
        ";",
        "\n",
        "\n;",
        "5",
        "90",
        "_space_group_IT_number",
        "225",
        "save_",
        "stop_",
        "_space_group_name_H-M_alt",
        "'F m -3 m'",
        "#",
        "global_",
        "\0",
        "é",
    ]
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORDS, max_size=60))
def test_words_of_a_cif_in_any_order(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "x.cif").write_text(" ".join(words))
    check(tmp_path / "x.cif")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(["Fe", "Na", "x", "data_"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "lattice",
                    "sites",
                    "matrix",
                    "species",
                    "element",
                    "occu",
                    "abc",
                    "xyz",
                    "structure",
                    "data",
                    "columns",
                    "atoms",
                    "lattice_mat",
                    "coords",
                    "elements",
                    "cartesian",
                    "numbers",
                    "positions",
                    "cell",
                    "pbc",
                    "basis",
                    "attributes",
                    "lattice_vectors",
                    "species_at_sites",
                    "cartesian_site_positions",
                    "__ndarray__",
                    "ids",
                    "nextid",
                    "1",
                    "cif",
                    "atomic_numbers",
                    "frac_coords",
                    "lattice_parameters",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=40,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON)
def test_any_json(tmp_path: Path, document: object) -> None:
    (tmp_path / "x.json").write_text(json.dumps(document))
    check(tmp_path / "x.json")


NUMBERS = (
    b"1e308",
    b"-1",
    b"0",
    b"nan",
    b"inf",
    b"99999999999",
    b"1" * 400,
    b"0.333",
    b"1e-300",
    b"'",
    b"",
    b"2147483648",
)


def mutated(rng: np.random.Generator, content: bytes, others: list[bytes]) -> bytes:
    """A file with one to four changes: bits, slices, numbers, lines, or a piece of another file."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if not data:
            break
        at, end = sorted(int(k) for k in rng.integers(0, len(data) + 1, 2))
        end = min(end, at + 200)
        other = others[rng.integers(len(others))]
        kind = rng.integers(9)
        if kind == 0:
            data[at % len(data)] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del data[at:end]
        elif kind == 2:
            data[at:at] = data[at:end]
        elif kind == 3:
            data[at:at] = bytes(rng.integers(0, 256, int(rng.integers(1, 20)), dtype=np.uint8))
        elif kind == 4:
            data = data[:at]
        elif kind == 5:
            data = _changed_number(rng, data)
        elif kind == 6:
            lines = bytes(data).split(b"\n")
            k = int(rng.integers(len(lines)))
            data = bytearray(
                b"\n".join([*lines[:k], *([lines[k]] * int(10 ** rng.uniform(0, 4))), *lines[k + 1 :]])
            )
        elif kind == 7:
            start = int(rng.integers(0, len(other) + 1))
            data[at:at] = other[start : start + 300]
        else:
            data[at:at] = (b"[", b"{", b"(", b"\n", b" ", b"9", b"<a>", b"_")[rng.integers(8)] * int(
                10 ** rng.uniform(1, 4.5)
            )
        del data[5_000_000:]
    return bytes(data)


def _changed_number(rng: np.random.Generator, data: bytearray) -> bytearray:
    import re

    found = list(re.finditer(rb"-?\d+\.?\d*", data))
    if not found:
        return data
    match = found[rng.integers(len(found))]
    return data[: match.start()] + NUMBERS[rng.integers(len(NUMBERS))] + data[match.end() :]


def mutations(seed: int, start: int, stop: int) -> Iterator[tuple[int, str, bytes]]:
    """Mutated files by index, each made from its own random numbers."""
    files = seeds()
    names, contents = list(files), list(files.values())
    for index in range(start, stop):
        rng = np.random.default_rng((seed, index))
        k = int(rng.integers(len(names)))
        yield index, names[k], mutated(rng, contents[k], contents)


def in_a_process(work: Callable[[], None]) -> str:
    """Run in a forked process of at most `MEMORY` more bytes; what went wrong, in words."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            work()
        except BaseException as error:  # whatever it is, the parent is told
            os.write(writer, f"{type(error).__name__}: {error}"[:2000].encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        message = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return message or (f"ended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address space is limited on Linux alone")
def test_thousands_of_mutated_files(tmp_path: Path) -> None:
    """10,000 files; each in time and memory, or its index and name are told."""
    count, step = int(os.environ.get("INVDESIGN_MUTATIONS", "10000")), 200
    current = tmp_path / "current"
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]

    def work(start: int) -> Callable[[], None]:
        def batch() -> None:
            for index, name, content in mutations(0, start, min(start + step, count)):
                current.write_text(f"{index} {name}")
                used = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime)
                resource.setrlimit(resource.RLIMIT_CPU, (used + SECONDS, hard))  # only root may raise a hard limit
                path = tmp_path / name
                path.write_bytes(content)
                check(path)
                path.unlink()

        return batch

    problems = [
        f"{current.read_text()}: {message}"
        for start in range(0, count, step)
        if (message := in_a_process(work(start)))
    ]
    assert problems == []


def test_the_mutator_changes_files() -> None:
    made = list(mutations(0, 0, 50))
    sound = seeds()
    assert sum(content != sound[name] for _, name, content in made) > 45
    assert len({name for _, name, _ in made}) > 15
    assert in_a_process(lambda: None) == ""
    assert "ValueError: broken" in in_a_process(lambda: (_ for _ in ()).throw(ValueError("broken")))
    assert "MemoryError" in in_a_process(lambda: bytearray(2 * MEMORY) and None)
