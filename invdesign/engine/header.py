"""What a ledger belongs to, and the marks of finished work in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from invdesign.errors import LedgerError


@dataclass(frozen=True)
class Header:
    """What a ledger belongs to; resuming with another is refused.

    Attributes:
        query: the query, as `Query.to_dict` writes it.
        seed: seed of the run.
        version: version of invdesign.
        parts: names and versions of the models and the potential, by part.
        settings: the sizes of rounds and other settings of the campaign.
    """

    query: Mapping[str, Any]
    seed: int
    version: str
    parts: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def query_hash(self) -> str:
        """SHA-256 of the query's canonical JSON."""
        return hashlib.sha256(dumps(self.query, sort=True).encode()).hexdigest()

    def stored(self) -> dict[str, str]:
        """The texts that a ledger keeps, by key."""
        return {
            "query": dumps(self.query, sort=True),
            "query_hash": self.query_hash,
            "seed": str(self.seed),
            "version": self.version,
            "parts": dumps(self.parts, sort=True),
            "settings": dumps(self.settings, sort=True),
        }

    @classmethod
    def from_stored(cls, stored: Mapping[str, str], where: str) -> Header:
        """The header of a ledger from its texts.

        Raises:
            LedgerError: if they are damaged.
        """
        try:
            header = cls(
                query=json.loads(stored["query"]),
                seed=int(stored["seed"]),
                version=stored["version"],
                parts=json.loads(stored["parts"]),
                settings=json.loads(stored["settings"]),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise LedgerError(f"{where}: the ledger's header is damaged ({error})") from None
        if not all(isinstance(part, Mapping) for part in (header.query, header.parts, header.settings)):
            raise LedgerError(f"{where}: the ledger's header is damaged")
        return header

    def compare(self, other: Header, where: str) -> None:
        """Refuse a header other than this one, the ledger's own.

        Raises:
            LedgerError: naming what differs.
        """
        if self.version != other.version:
            raise LedgerError(
                f"{where}: the run was made by invdesign {self.version}, this is {other.version}; start a new run"
            )
        if self.query_hash != other.query_hash:
            keys = sorted({*self.query, *other.query})
            changed = [k for k in keys if _plain(self.query.get(k)) != _plain(other.query.get(k))]
            raise LedgerError(
                f"{where}: the run answers another query (different: {', '.join(changed) or 'order'}); "
                "start a new run"
            )
        for what in ("seed", "settings", "parts"):
            old, new = _plain(getattr(self, what)), _plain(getattr(other, what))
            if old != new:
                raise LedgerError(f"{where}: the run has {what} {old}, not {new}; start a new run")


@dataclass(frozen=True)
class Shard:
    """The mark of finished work: a stage of a round, for one request (or the whole round: `""`)."""

    round: int
    stage: str
    request: str = ""


def dumps(data: Any, sort: bool = False) -> str:
    """JSON without spaces."""
    return json.dumps(data, sort_keys=sort, separators=(",", ":"), ensure_ascii=False)


def _plain(data: Any) -> Any:
    return json.loads(json.dumps(data, sort_keys=True))
