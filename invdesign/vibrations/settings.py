"""How phonons are computed: everything that can change a result, except the potential."""

from __future__ import annotations

from dataclasses import dataclass

from invdesign.checks import check_types
from invdesign.errors import InputError


@dataclass(frozen=True)
class PhononSettings:
    """How to compute phonons.

    Attributes:
        relax: relax the crystal within its space group first; otherwise it is taken as it is.
        max_force: the crystal is relaxed below this force, eV/Å.
        max_stress: and below this stress, GPa.
        max_steps: energy evaluations of that relaxation.
        min_length: length of the shortest lattice vector of the supercell, Å.
        max_atoms: of the supercell; where the length needs more, the largest supercell below this is taken.
        displacement: of an atom from its place, Å.
        mesh: length (Å) that sets the mesh of q-points, as in phonopy: about `mesh` over the length of a vector.
        max_temperature: of the thermal properties, K.
        temperature_step: K.
        imaginary: a mode counts as imaginary below minus this frequency, THz.
        volumes: relative volumes of the quasi-harmonic approximation.
        min_volumes: that must have real modes alone for a thermal expansion.
        follow: how many unstable modes to follow, the most unstable first; 0 for none.
        amplitude: largest displacement along a mode that is followed, Å.
        gain: energy that a crystal must gain for a child to be reported, eV/atom.
        symprec: tolerance of the symmetry search, Å.
    """

    relax: bool = True
    max_force: float = 0.002
    max_stress: float = 0.05
    max_steps: int = 200
    min_length: float = 10.0
    max_atoms: int = 130
    displacement: float = 0.02
    mesh: float = 60.0
    max_temperature: float = 1000.0
    temperature_step: float = 10.0
    imaginary: float = 0.1
    volumes: tuple[float, ...] = (0.97, 0.985, 1.0, 1.015, 1.03, 1.045, 1.06)
    min_volumes: int = 5
    follow: int = 0
    amplitude: float = 0.15
    gain: float = 0.001
    symprec: float = 1e-3

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: naming the setting, its value and what is allowed.
        """
        check_types(self)
        volumes = tuple(self.volumes)
        if len(set(volumes)) < 5 or any(not 0.8 <= v <= 1.3 for v in volumes):
            raise InputError("volumes", volumes, "five or more different numbers from 0.8 to 1.3")
        if not 0 <= self.follow <= 20:
            raise InputError("follow", self.follow, "a whole number from 0 to 20")
        if self.temperature_step > self.max_temperature:
            raise InputError("temperature_step", self.temperature_step, "at most max_temperature")
        for name, value in vars(self).items():
            if name not in ("volumes", "follow", "relax") and not value > 0:
                raise InputError(name, value, "a positive number")
