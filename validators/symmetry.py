"""Symmetry: the space group that was asked for is the one that spglib finds, before and after relaxation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from invdesign.crystallography.symmetry import space_group
from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.records import Evaluation, Status, Verdict


@dataclass(frozen=True)
class Symmetry:
    """Compares the gene's space group with spglib's, at several tolerances.

    What was asked for is the space group of the gene of the crystal *as proposed*; what is looked at is the
    best structure there is, so after a relaxation the verdict says whether the symmetry was kept. PASS: found
    at every tolerance, or risen by relaxation to one group of more operations that is found at every tolerance
    (the reason says so). FAIL: at none. UNKNOWN: at some only. Where no group was asked for (a crystal that
    somebody else made), PASS says that one group is found at every tolerance, UNKNOWN that it depends on the
    tolerance or that none is found. `Verdict.value` is the group found at the first tolerance.

    Attributes:
        tolerances: spglib's `symprec`, Å. 0.1 is that of the Materials Project's labels.
    """

    name: ClassVar[str] = "symmetry"
    tolerances: tuple[float, ...] = (0.1, 0.01)

    def check(self, row: Evaluation) -> Verdict:
        """Judge the row's best structure."""
        gene = row.candidate.crystal.gene
        found = [space_group(row.crystal, symprec) for symprec in self.tolerances]
        value = None if found[0] is None else float(found[0])
        seen = ", ".join(
            f"{group or 'none'} at {symprec:g} Å" for group, symprec in zip(found, self.tolerances, strict=True)
        )
        if gene is None:
            if len(set(found)) == 1 and found[0]:
                return Verdict(self.name, Status.PASS, value=value)
            return Verdict(self.name, Status.UNKNOWN, f"found {seen}", value)
        agree = [group == gene.space_group for group in found]
        if all(agree):
            return Verdict(self.name, Status.PASS, value=value)
        if row.relaxation and len(set(found)) == 1 and found[0] and order(found[0]) > order(gene.space_group):
            return Verdict(
                self.name, Status.PASS, f"rose from {gene.space_group} to {found[0]} on relaxation", value
            )
        stage = "after relaxation " if row.relaxation else ""
        status = Status.UNKNOWN if any(agree) else Status.FAIL
        return Verdict(self.name, status, f"asked {gene.space_group}, {stage}found {seen}", value)


def order(group: int) -> int:
    """Number of operations of a space group modulo its translations: points of the general position."""
    table = wyckoff_table()
    return int(table.primitive_multiplicity[table.group_start[group] - 1])
