"""CIF text with symmetry operations, straight from the Wyckoff gene: one line per orbit, no symmetry search.

The cell is the conventional one of the standard setting (International Tables, unique axis b, cell choice 1,
hexagonal axes, origin choice 2). A crystal without symmetry, or whose symmetry cannot be found, is written as P1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import numpy as np

from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal, FloatArray, Gene
from invdesign.crystallography.genes import decode_conventional, encode
from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.elements import symbol

TOLERANCES = (0.1, 0.01, 0.001)
"""Tolerances (Å) at which symmetry is looked for, the most generous first."""


def gene_of(crystal: Crystal, tolerances: Sequence[float] = TOLERANCES) -> Gene | None:
    """The crystal's own gene if it has one, otherwise the first that is found; None without any."""
    if crystal.gene is not None:
        return crystal.gene
    for symprec in tolerances:
        try:
            return encode(crystal, symprec)
        except ValueError:
            continue
    return None


def cif_text(crystal: Crystal, name: str = "", tolerances: Sequence[float] = TOLERANCES) -> str:
    """A crystal as CIF, with its symmetry operations where it has any.

    Args:
        crystal: any cell; its gene is used if it carries one.
        name: the data block's name (default: the formula).
        tolerances: Å, tried in turn for a crystal without a gene.
    """
    gene = gene_of(crystal, tolerances)
    return p1_text(crystal, name) if gene is None else gene_text(gene, name)


def gene_text(gene: Gene, name: str = "") -> str:
    """A gene as CIF: operations of the group, then one site per orbit.

    Raises:
        ValueError: if the gene is inconsistent.
    """
    crystal = decode_conventional(gene)
    table = wyckoff_table()
    positions = [table.index(gene.space_group, w) for w in gene.wyckoffs]
    counts = [int(table.multiplicity[p]) for p in positions]
    starts = np.cumsum([0, *counts[:-1]])
    sites = [
        (int(number), count, table.letter[position], crystal.frac_coords[start])
        for number, count, position, start in zip(gene.numbers, counts, positions, starts, strict=True)
    ]
    head = _cell_lines(crystal, name) + _group_lines(gene.space_group)
    return head + _site_lines(sites)


def p1_text(crystal: Crystal, name: str = "") -> str:
    """A crystal as CIF in the cell it has, without symmetry."""
    sites = [(int(z), 1, "a", xyz) for z, xyz in zip(crystal.numbers, crystal.frac_coords, strict=True)]
    return _cell_lines(crystal, name) + _group_lines(1) + _site_lines(sites)


def _cell_lines(crystal: Crystal, name: str) -> str:
    formula = reduced_formula(crystal.numbers)
    counts = sorted(Counter(symbol(int(z)) for z in crystal.numbers).items())
    keys = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    cell = [f"_cell_{k} {v:.8f}" for k, v in zip(keys, crystal.lattice_parameters, strict=True)]
    return "\n".join(
        [
            f"data_{(name or formula).replace(' ', '_')}",
            f"_chemical_formula_structural {formula}",
            f"_chemical_formula_sum '{' '.join(f'{s}{n}' for s, n in counts)}'",
            *cell,
            f"_cell_volume {crystal.volume:.8f}",
            "",
        ]
    )


@cache
def _group_lines(number: int) -> str:
    """Name, number and operations of a group; the operations are the maps of its general position."""
    table = wyckoff_table()
    general = table.index(number, table.count(number) - 1)
    first = int(table.map_start[general])
    maps = range(first, first + int(table.multiplicity[general]))
    operations = [operation_text(table.rotation[k], table.translation[k]) for k in maps]
    return "\n".join(
        [
            f"_symmetry_space_group_name_H-M '{hermann_mauguin(number)}'",
            f"_symmetry_Int_Tables_number {number}",
            f"_space_group_IT_number {number}",
            "loop_",
            " _symmetry_equiv_pos_site_id",
            " _symmetry_equiv_pos_as_xyz",
            *(f"  {k} '{text}'" for k, text in enumerate(operations, start=1)),
            "",
        ]
    )


@cache
def hermann_mauguin(number: int) -> str:
    """Extended Hermann-Mauguin symbol of the standard setting, e.g. `F d -3 m:2` or `P 1 21/c 1`."""
    import moyopy

    first = next(h for h in range(1, 531) if moyopy.HallSymbolEntry(hall_number=h).number == number)
    entries = []
    for hall in range(first, 531):
        entry = moyopy.HallSymbolEntry(hall_number=hall)
        if entry.number != number:
            break
        entries.append(entry)
    entry = next((e for e in entries if e.setting in ("2", "H", "b", "b1")), entries[0])
    text = entry.hm_full if 3 <= number <= 15 else entry.hm_short
    suffix = f":{entry.setting}" if entry.setting in ("2", "H") else ""
    return str(text).replace("_", "") + suffix


def operation_text(rotation: FloatArray, translation: FloatArray) -> str:
    """A symmetry operation in the notation of the International Tables, e.g. `-y+1/2, x, z+1/4`."""
    parts = []
    for row, shift in zip(rotation, translation, strict=True):
        terms = "".join(f"{'-' if k < 0 else '+'}{axis}" for k, axis in zip(row, "xyz", strict=True) if k)
        fraction = Fraction(float(shift) % 1.0).limit_denominator(24) % 1
        parts.append(terms.lstrip("+") + (f"+{fraction}" if fraction else ""))
    return ", ".join(parts)


def _site_lines(sites: Sequence[tuple[int, int, str, FloatArray]]) -> str:
    columns = (
        "type_symbol",
        "label",
        "site_symmetry_multiplicity",
        "Wyckoff_symbol",
        "fract_x",
        "fract_y",
        "fract_z",
        "occupancy",
    )
    lines = ["loop_", *(f" _atom_site_{column}" for column in columns)]
    for k, (number, count, letter, (x, y, z)) in enumerate(sites):
        name = symbol(number)
        lines.append(f"  {name} {name}{k} {count} {letter} {x:.10f} {y:.10f} {z:.10f} 1")
    return "\n".join([*lines, ""])
