"""A promise and whether it was kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """One promise.

    Attributes:
        promise: what the part promises.
        problem: how it broke the promise; empty if it kept it.
    """

    promise: str
    problem: str = ""

    def __str__(self) -> str:
        """One line."""
        return f"FAIL  {self.promise}: {self.problem}" if self.problem else f"ok    {self.promise}"


def outcomes(promises: Mapping[str, Callable[[], str]]) -> list[Outcome]:
    """Try every promise: a function that says how it is broken, or nothing. An exception breaks it, too."""
    found = []
    for promise, test in promises.items():
        try:
            problem = test()
        except Exception as error:  # whatever a foreign part does is an outcome of its test
            problem = f"{type(error).__name__}: {error}"
        found.append(Outcome(promise, problem))
    return found


def broken_if(broken: bool, problem: str) -> str:
    """The problem, if there is one."""
    return problem if broken else ""
