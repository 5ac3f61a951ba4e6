"""What a ledger holds of relaxed crystals, read without the models that made it."""

from __future__ import annotations

from dataclasses import replace

from invdesign.engine.ledger import Ledger, Shard
from invdesign.records import Evaluation, Relaxation

STAGES = ("screen", "inspect", "gate", "place", "check", "unique", "estimate", "score")
"""Stages whose results are read, in their order: later ones replace the fields of earlier ones."""


def stored_rows(ledger: Ledger) -> list[Evaluation]:
    """Every crystal that was relaxed, with all that is recorded of it, in the order of rounds and ids.

    Raises:
        LedgerError: if a record cannot be read.
    """
    found: list[Evaluation] = []
    for number in range(ledger.rounds()):
        relaxed = {k: v for k, v in ledger.relaxations(number).items() if isinstance(v, Relaxation)}
        marks = ledger.shards(number)
        rows: list[Evaluation] = []
        for request in (*(r.id for r in ledger.requests(number)), f"e{number:03d}"):
            mine = [row for row in ledger.candidates(request)[0] if row.candidate.id in relaxed]
            shard = Shard(number, "screen", request)
            rows += ledger.load(shard, mine) if mine and shard in marks else mine
        for stage in STAGES[1:]:
            if Shard(number, stage) in marks:
                rows = ledger.load(Shard(number, stage), rows)
        found += [replace(row, selected=True, relaxation=relaxed[row.candidate.id]) for row in rows]
    for shard in ledger.shards(0):
        if shard.stage == "dynamics":  # of rows that were to be listed: the verdict, or what took their place
            found = ledger.load(shard, found)
    return found
