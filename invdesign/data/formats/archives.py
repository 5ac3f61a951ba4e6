"""Zip and tar archives and gzipped files, unpacked in memory: bounded, plain files only, no archives within
archives."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from invdesign.data.limits import HIGHEST_RATIO, LARGEST_ARCHIVE, LARGEST_TEXT, MOST_MEMBERS, check_size
from invdesign.errors import StructureReadError

Stream = io.BufferedReader
DAMAGE = (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, tarfile.TarError, NotImplementedError)
"""What the standard library raises on a damaged archive."""
_FREE = 2**20
_ENTRY = b"PK\x01\x02"


@dataclass(frozen=True)
class Member:
    """One file of an archive.

    Attributes:
        name: its path in the archive.
        size: packed bytes.
        problem: why it is not read, in words; empty if it is.
        open: opens it.
    """

    name: str
    size: int
    problem: str
    open: Callable[[], Stream]


class _Guarded(io.RawIOBase):
    """A stream of unpacked bytes that ends with an error where it is far larger than what it was packed into."""

    def __init__(self, source: IO[bytes], packed: int, most: int) -> None:
        self._source, self._packed, self._most, self._count = source, packed, most, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._source.read(len(buffer))
        except DAMAGE as error:
            raise StructureReadError(f"damaged archive: {error}") from None
        self._count += len(data)
        if self._count > max(_FREE, HIGHEST_RATIO * self._packed):
            raise StructureReadError(f"unpacks to more than {HIGHEST_RATIO} times its size")
        check_size(self._count, self._most)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()


def unzipped(stream: IO[bytes], packed: int, most: int = LARGEST_ARCHIVE) -> Stream:
    """The unpacked bytes of a gzipped stream of so many packed bytes."""
    return io.BufferedReader(_Guarded(cast(IO[bytes], gzip.GzipFile(fileobj=stream)), packed, most))


def read_all(stream: IO[bytes], most: int = LARGEST_TEXT) -> bytes:
    """All bytes of a stream.

    Raises:
        StructureReadError: if there are more than `most`.
    """
    content = stream.read(most + 1)
    check_size(len(content), most)
    return content


def zip_members(file: IO[bytes], size: int) -> Iterator[Member]:
    """The members of a zip archive, sorted by name.

    Raises:
        StructureReadError: if it is damaged or too large.
    """
    check_size(size, LARGEST_ARCHIVE)
    _check_entries(file)
    try:
        archive = zipfile.ZipFile(file)
    except DAMAGE as error:
        raise StructureReadError(f"damaged zip: {error}") from None
    room = [LARGEST_ARCHIVE]
    for info in sorted(archive.infolist(), key=lambda member: member.filename):
        if not info.is_dir():
            opener = partial(_opened, archive, info, room)
            yield Member(info.filename, info.compress_size, _zip_problem(info), opener)


def _check_entries(file: IO[bytes]) -> None:
    """Refuse a list of members that would take much memory, before it is read."""
    count, tail = 0, b""
    while chunk := file.read(2**22):
        count += (tail + chunk).count(_ENTRY)
        tail = chunk[1 - len(_ENTRY) :]
    file.seek(0)
    if count > MOST_MEMBERS:
        raise StructureReadError(f"more than {MOST_MEMBERS} members")


def _zip_problem(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "not a regular file"
    if info.flag_bits & 1:
        return "encrypted"
    if info.file_size > LARGEST_TEXT:
        return f"{info.file_size / 2**20:.0f} MiB unpacked is too large"
    return _name_problem(info.filename)


def _opened(archive: zipfile.ZipFile, info: zipfile.ZipInfo, room: list[int]) -> Stream:
    if room[0] <= 0:
        raise StructureReadError(f"the archive unpacks to more than {LARGEST_ARCHIVE / 2**20:.0f} MiB")
    room[0] -= info.file_size
    try:
        return io.BufferedReader(_Guarded(archive.open(info), info.compress_size, LARGEST_TEXT))
    except (*DAMAGE, RuntimeError) as error:
        raise StructureReadError(f"damaged zip: {error}") from None


def tar_members(stream: IO[bytes]) -> Iterator[Member]:
    """The members of a tar archive, in its order; each must be opened before the next is taken.

    Raises:
        StructureReadError: if it is damaged.
    """
    try:
        archive = tarfile.open(fileobj=stream, mode="r|")  # noqa: SIM115 - read to its end by the caller
        for count, info in enumerate(archive):
            archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every header
            if count >= MOST_MEMBERS:
                raise StructureReadError(f"more than {MOST_MEMBERS} members")
            if not info.isdir():
                yield Member(info.name, info.size, _tar_problem(info), lambda i=info: _extracted(archive, i))  # type: ignore[misc]
    except DAMAGE as error:
        raise StructureReadError(f"damaged tar archive: {error}") from None


def _tar_problem(info: tarfile.TarInfo) -> str:
    if not info.isreg() or info.issparse():
        return "not a regular file"
    if info.size > LARGEST_TEXT:
        return f"{info.size / 2**20:.0f} MiB unpacked is too large"
    return _name_problem(info.name)


def _extracted(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Stream:
    file = archive.extractfile(info)
    if file is None:
        raise StructureReadError("not a regular file")
    return cast(Stream, file)


def _name_problem(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in (path.parts or ("",))[0]:
        return "its path leads out of the archive"
    return ""


def open_file(path: Path) -> Stream:
    """A file on disk, opened for reading."""
    return path.open("rb")
