"""Small outputs of VASP for tests, as `vasprun.xml` of a finished run holds them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from invdesign.crystal import Crystal
from invdesign.elements import symbol


def vasprun(
    crystal: Crystal,
    energy: float,
    labels: dict[str, str],
    stress: np.ndarray | None = None,
    encut: float = 520.0,
    converged: bool = True,
    exchange: float = 0.0,
) -> str:
    """The text of a vasprun.xml.

    Args:
        crystal: final cell.
        energy: eV per cell.
        labels: titles of the potentials by element, e.g. `PAW_PBE Ti_pv 07Sep2000`.
        stress: (3, 3) kbar, in VASP's sign.
        encut: eV.
        converged: whether the electrons have converged.
        exchange: share of exact exchange.
    """
    names = [symbol(z) for z in crystal.numbers.tolist()]
    kinds = list(dict.fromkeys(names))
    atoms = "".join(f"<rc><c>{n}</c><c>{kinds.index(n) + 1}</c></rc>" for n in names)
    types = "".join(
        f"<rc><c>{names.count(k)}</c><c>{k}</c><c>1.0</c><c>4.0</c><c>{labels[k]}</c></rc>" for k in kinds
    )
    inverse = np.linalg.inv(crystal.lattice).T
    structure = (
        f"<crystal>{_array('basis', crystal.lattice)}<i name='volume'>1.0</i>"
        f"{_array('rec_basis', inverse)}</crystal>"
        f"{_array('positions', crystal.frac_coords)}"
    )
    stress = np.zeros((3, 3)) if stress is None else stress
    step = f"<scstep><energy>{_energies(energy)}</energy></scstep>"
    steps = step * (1 if converged else 60)
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator><i name="program" type="string">vasp</i><i name="version" type="string">6.4.2</i>
  <i name="date" type="string">2024 01 01</i><i name="time" type="string">00:00:00</i></generator>
 <incar><i name="ENCUT">{encut}</i><i type="int" name="NSW">0</i><i type="int" name="NELM">60</i></incar>
 <kpoints><generation param="Gamma"><v type="int" name="divisions">1 1 1</v></generation>
  <varray name="kpointlist"><v>0 0 0</v></varray><varray name="weights"><v>1.0</v></varray></kpoints>
 <parameters><separator name="general"><i name="ENMAX">{encut}</i><i type="int" name="NELM">60</i>
  <i type="int" name="NSW">0</i><i type="int" name="IBRION">-1</i><i type="string" name="GGA">PE</i>
  <i type="int" name="ISPIN">1</i><i type="logical" name="LHFCALC">F</i>
  <i name="AEXX">{exchange}</i><i name="HFSCREEN">0.0</i><i type="logical" name="LDAU">F</i>
  </separator></parameters>
 <atominfo><atoms>{len(names)}</atoms><types>{len(kinds)}</types>
  <array name="atoms"><field type="string">element</field><field type="int">atomtype</field>
  <set>{atoms}</set></array>
  <array name="atomtypes"><field type="int">atomspertype</field><field type="string">element</field>
  <field>mass</field>
  <field>valence</field><field type="string">pseudopotential</field><set>{types}</set></array></atominfo>
 <structure name="initialpos">{structure}</structure>
 <calculation>{steps}<structure>{structure}</structure>
  {_array("forces", np.zeros((len(names), 3)))}{_array("stress", stress)}
  <energy>{_energies(energy)}</energy></calculation>
 <structure name="finalpos">{structure}</structure>
</modeling>
"""


def _array(name: str, rows: Sequence[Sequence[float]] | np.ndarray) -> str:
    lines = "".join(f"<v>{' '.join(f'{x:.10f}' for x in row)}</v>" for row in np.asarray(rows))
    return f"<varray name='{name}'>{lines}</varray>"


def _energies(energy: float) -> str:
    names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    return "".join(f"<i name='{name}'>{energy:.8f}</i>" for name in names)
