"""The final structure of a VASP calculation (vasprun.xml), read as a stream; a file that was cut off is
refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO
from xml.parsers import expat

import numpy as np

from invdesign.crystal import Crystal
from invdesign.data.convert import checked, element_number
from invdesign.data.items import Item, attempt
from invdesign.data.limits import MOST_ATOMS
from invdesign.errors import StructureReadError

_CHUNK = 2**20
_DEEPEST, _LONGEST_TEXT = 50, 10_000
_VECTORS = ("basis", "positions")


@dataclass
class _Reader:
    """What the parser has seen: the elements, and the vectors of the last structure."""

    path: list[tuple[str, str]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    elements: list[str] = field(default_factory=list)
    vectors: dict[str, list[str]] = field(default_factory=dict)
    last: dict[str, list[str]] = field(default_factory=dict)
    is_final: bool = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.path.append((name, attributes.get("name", "")))
        self.text = []
        if len(self.path) > _DEEPEST:
            raise StructureReadError("XML nested too deeply")
        if name == "structure" and not self.is_final:
            self.vectors = {}

    def characters(self, text: str) -> None:
        if self.path and self.path[-1][0] in ("v", "c"):
            self.text.append(text)
            if len(self.text) > _LONGEST_TEXT or len(text) > _LONGEST_TEXT:
                raise StructureReadError("XML with an overlong text")

    def end(self, name: str) -> None:
        place = self.path[-2] if len(self.path) > 1 else ("", "")
        if (
            name == "v"
            and place[1] in _VECTORS
            and ("structure" in (p[0] for p in self.path))
            and not self.is_final
        ):
            self._add(self.vectors.setdefault(place[1], []))
        elif name == "c" and ("array", "atoms") in self.path:
            self._add(self.elements)
        elif name == "structure" and not self.is_final:
            self.last, self.is_final = self.vectors, self.path[-1][1] == "finalpos"
        self.path.pop()

    def _add(self, texts: list[str]) -> None:
        if len(texts) > 2 * MOST_ATOMS:
            raise StructureReadError(f"more than {MOST_ATOMS} atoms")
        texts.append("".join(self.text))


def read_vasprun(stream: IO[bytes], source: str) -> Iterator[Item]:
    """The final structure, or why it cannot be read."""
    yield attempt(lambda: _crystal(stream, source), source)


def _crystal(stream: IO[bytes], source: str) -> Crystal:
    reader, parser = _Reader(), expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartDoctypeDeclHandler = _refuse
    parser.buffer_text = True
    try:
        while chunk := stream.read(_CHUNK):
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise StructureReadError(f"the XML is damaged or cut off: {error}") from None
    if not reader.last:
        raise StructureReadError("no structure in the file")
    names = [text.strip() for text in reader.elements[::2]]
    basis, positions = (_numbers(reader.last.get(key, ())) for key in _VECTORS)
    if basis.shape != (3, 3) or positions.shape != (len(names), 3):
        raise StructureReadError(f"the final structure has {len(positions)} positions for {len(names)} atoms")
    return checked(basis, [element_number(name) for name in names], positions, source)


def _numbers(rows: Sequence[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([[float(word) for word in row.split()] for row in rows], dtype=float)


def _refuse(*_: object) -> None:
    raise StructureReadError("XML with a document type of its own")
