"""Electronegativities on Pauling's scale: the one place for both editions that the field uses.

They differ for few elements, but there by much (W 1.7 and 2.36, Pb 1.8 and 2.33, Au 2.4 and 2.54): Allred took
bond energies of high oxidation states. Rules on ions use Pauling's, in which PbTe and WTe2 have a cation and an
anion; the order of elements in a formula and similarity on a site use Allred's, as pymatgen does.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from invdesign.crystal import FloatArray
from invdesign.tables import read_json

_NAN = float("nan")
_ALLRED = (
    2.20, _NAN, 0.98, 1.57, 2.04, 2.55, 3.04, 3.44, 3.98, _NAN, 0.93, 1.31, 1.61, 1.90, 2.19, 2.58, 3.16,
    _NAN, 0.82, 1.00, 1.36, 1.54, 1.63, 1.66, 1.55, 1.83, 1.88, 1.91, 1.90, 1.65, 1.81, 2.01, 2.18, 2.55, 2.96,
    3.00, 0.82, 0.95, 1.22, 1.33, 1.60, 2.16, 1.90, 2.20, 2.28, 2.20, 1.93, 1.69, 1.78, 1.96, 2.05, 2.10, 2.66,
    2.60, 0.79, 0.89, 1.10, 1.12, 1.13, 1.14, 1.13, 1.17, 1.20, 1.20, 1.10, 1.22, 1.23, 1.24, 1.25, 1.10, 1.27,
    1.30, 1.50, 2.36, 1.90, 2.20, 2.20, 2.28, 2.54, 2.00, 1.62, 2.33, 2.02, 2.00, 2.20, 2.20, 0.70, 0.90, 1.10,
    1.30, 1.50, 1.38, 1.36, 1.28, 1.30, 1.30, 1.30, 1.30, 1.30, 1.30, 1.30, 1.30, 1.30,
    *(_NAN,) * 15,
)  # fmt: skip


@cache
def pauling() -> FloatArray:
    """(119,) by atomic number, NaN where there is none: the values that mendeleev and SMACT tabulate.

    Pauling, The Nature of the Chemical Bond (1960).
    """
    column = read_json("element_data.json")["electronegativity"]
    return _frozen([_NAN, *(_NAN if value is None else value for value in column)])


@cache
def allred() -> FloatArray:
    """(119,) by atomic number, NaN where there is none: the values that pymatgen tabulates.

    Allred, J. Inorg. Nucl. Chem. 17, 215 (1961).
    """
    return _frozen([_NAN, *_ALLRED])


def _frozen(values: list[float]) -> FloatArray:
    table = np.array(values, dtype=np.float64)
    table.setflags(write=False)
    return table
