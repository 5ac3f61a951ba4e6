"""What a searcher promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

from invdesign.protocols import Searcher
from invdesign.records import Candidate, Conditions, Estimate, Evaluation, Failure, Request, Value
from invdesign.testing.crystals import good_crystals
from invdesign.testing.outcome import Outcome, broken_if, outcomes

ROUNDS = 3


def check_searcher(searcher: Searcher, n: int = 24) -> list[Outcome]:
    """Whether a searcher asks for what it is told to, and goes on from the same story in the same way.

    Args:
        searcher: the part, before its first round; copies of it are tried.
        n: crystals that a round asks for.
    """

    def play(story: str = "good") -> list[list[Request]]:
        return _play(deepcopy(searcher), n, story)

    return outcomes(
        {
            "asks for together n crystals": lambda: _counts(play(), n),
            "every request has an id of its own and another seed": lambda: _ids(play()),
            "names a generator and its conditions": lambda: _named(play()),
            "the same story gives the same requests": lambda: broken_if(play() != play(), "they differ"),
            "goes on whatever it is told": lambda: _goes_on(play),
            "goes on from recorded requests as if it had asked": lambda: _recalls(searcher, n),
        }
    )


def _play(searcher: Searcher, n: int, story: str) -> list[list[Request]]:
    """The requests of some rounds, told as the story goes: good rows, failed rows or none."""
    asked = []
    for _ in range(ROUNDS):
        asked.append(searcher.ask(n))
        searcher.tell(_rows(asked[-1], story))
    return asked


def _rows(requests: Sequence[Request], story: str) -> list[Evaluation]:
    if story == "nothing":
        return []
    crystals, out = good_crystals(), []
    for request in requests:
        for k in range(request.n):
            crystal = crystals[(k + request.seed) % len(crystals)]
            row = Evaluation(Candidate(f"{request.id}-{k:05d}", crystal, request.id, request.generator))
            values = {"bulk_modulus": Value(150.0 + k, 10.0), "energy_above_hull": Value(0.01 * k, 0.03)}
            good = {"gate": Estimate(values), "acquisition": 1.0 / (1.0 + k)}
            bad = {"failure": Failure("screen", "atoms overlap")}
            out.append(Evaluation(row.candidate, **(bad if story == "failures" else good)))  # type: ignore[arg-type]
    return out


def _counts(asked: Sequence[Sequence[Request]], n: int) -> str:
    for number, requests in enumerate(asked):
        sizes = [request.n for request in requests]
        if sum(sizes) != n or min(sizes, default=0) < 1:
            return f"round {number} asks for {sizes}, not for {n}"
    return ""


def _ids(asked: Sequence[Sequence[Request]]) -> str:
    requests = [request for round_ in asked for request in round_]
    for what in ("id", "seed"):
        values = [getattr(request, what) for request in requests]
        if len(set(values)) < len(values):
            return f"{len(values)} requests with {len(set(values))} different {what}s"
    return ""


def _named(asked: Sequence[Sequence[Request]]) -> str:
    for request in (request for round_ in asked for request in round_):
        if not request.generator or not isinstance(request.conditions, Conditions):
            return f"request {request.id} of {request.generator!r} with {type(request.conditions).__name__}"
    return ""


def _goes_on(play: Callable[[str], list[list[Request]]]) -> str:
    for story in ("failures", "nothing"):
        if not all(play(story)):
            return f"asks for nothing more when told of {story}"
    return ""


def _recalls(searcher: Searcher, n: int) -> str:
    """Only a searcher that can be shown recorded requests can be resumed."""
    asker, shown = deepcopy(searcher), deepcopy(searcher)
    recall = getattr(shown, "recall", None)
    if not callable(recall):
        return "it has no method `recall`, so that an interrupted run cannot go on"
    for _ in range(ROUNDS - 1):
        requests = asker.ask(n)
        recall(requests)
        for each in (asker, shown):
            each.tell(_rows(requests, "good"))
    return broken_if(asker.ask(n) != shown.ask(n), "its next requests differ")
