"""Small crystals and files for the tests of the readers."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from invdesign.crystal import Crystal
from invdesign.data.read import read_crystals
from invdesign.records import Failure

POSCAR = "t\n1.0\n4.12 0 0\n0 4.12 0\n0 0 4.12\nCs Cl\n1 1\nDirect\n0 0 0\n.5 .5 .5\n"
VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <atominfo><atoms> 2 </atoms><types> 2 </types>
  <array name="atoms"><field type="string">element</field><field type="int">atomtype</field>
   <set><rc><c>Cs</c><c> 1</c></rc><rc><c>Cl</c><c> 2</c></rc></set></array>
  <array name="atomtypes"><set><rc><c> 1</c><c>Cs</c></rc></set></array>
 </atominfo>
 <structure name="initialpos"><crystal><varray name="basis"><v>9 0 0</v><v>0 9 0</v><v>0 0 9</v></varray>
  <varray name="rec_basis"><v>1 0 0</v><v>0 1 0</v><v>0 0 1</v></varray></crystal>
  <varray name="positions"><v>0 0 0</v><v>.5 .5 .5</v></varray></structure>
 <calculation><structure><crystal><varray name="basis"><v>8 0 0</v><v>0 8 0</v><v>0 0 8</v></varray></crystal>
  <varray name="positions"><v>0 0 0</v><v>.5 .5 .5</v></varray></structure>
  <varray name="forces"><v>7 7 7</v><v>7 7 7</v></varray></calculation>
 <structure name="finalpos"><crystal>
  <varray name="basis"><v> 4.12 0 0 </v><v> 0 4.12 0 </v><v> 0 0 4.12 </v></varray>
  <varray name="rec_basis"><v>1 0 0</v><v>0 1 0</v><v>0 0 1</v></varray></crystal>
  <varray name="positions"><v>0 0 0</v><v>.5 .5 .5</v></varray>
 </structure>
</modeling>
"""

CASES = Path(__file__).parent / "data" / "cases"


def caesium_chloride(a: float = 4.12) -> Crystal:
    return Crystal(np.eye(3) * a, np.array([55, 17]), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]))


def skewed() -> Crystal:
    """A crystal whose lattice is not symmetric, so that a transposed one is another."""
    lattice = np.array([[4.0, 0.1, 0.2], [1.1, 5.0, -0.3], [0.4, 2.0, 6.0]])
    return Crystal(lattice, np.array([22, 5, 5]), np.array([[0.0, 0, 0], [0.3, 0.4, 0.6], [0.7, 0.1, 0.2]]))


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def one(path: Path) -> Crystal:
    (found,) = read_crystals(path)
    assert isinstance(found, Crystal), found
    return found


def reason(path: Path) -> str:
    started = time.process_time()
    (found,) = read_crystals(path)
    assert isinstance(found, Failure), found
    assert time.process_time() - started < 1.0
    assert "\n" not in found.reason and len(found.reason) <= 200
    return found.reason


def assert_same(ours: Crystal, theirs: Crystal) -> None:
    np.testing.assert_allclose(ours.lattice, theirs.lattice, atol=1e-6)
    np.testing.assert_array_equal(ours.numbers, theirs.numbers)
    delta = ours.frac_coords - theirs.frac_coords
    np.testing.assert_allclose(delta, np.rint(delta), atol=1e-6)
