"""Physical constants and conversions of units: the exact values of the SI of 2019, and CODATA 2018 for the rest.

Everywhere else lengths are in Å, energies in eV, moduli and stresses in GPa, masses in g/mol (the same number as
atomic mass units per atom), densities in g/cm³.
"""

from __future__ import annotations

ELEMENTARY_CHARGE = 1.602176634e-19
"""C; also J in one eV."""
BOLTZMANN = 1.380649e-23
"""J/K."""
HBAR = 1.054571817e-34
"""J s."""
AVOGADRO = 6.02214076e23
"""1/mol."""
ATOMIC_MASS = 1.66053906660e-27
"""kg in one atomic mass unit."""

GPA = ELEMENTARY_CHARGE * 1e30 * 1e-9
"""GPa in one eV/Å³: 160.2176634."""
GRAM_PER_CM3 = ATOMIC_MASS * 1e3 / 1e-24
"""g/cm³ in one atomic mass unit per Å³: 1.66053906660."""
ANGSTROM3_PER_CM3_PER_MOL = 1e24 / AVOGADRO
"""Å³ per atom in a molar volume of 1 cm³/mol: 1.66053907."""
