"""Universal interatomic potentials by name, each as an ASE calculator.

Those in :data:`POTENTIALS` carry their weights in their wheels, so that they load offline. Any other ASE
calculator plugs in as `package.module:factory`, a callable without arguments that returns the calculator.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, cast

from invdesign.crystal import Crystal
from invdesign.errors import InputError, MissingDependencyError, ReferenceMissingError

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

DEFAULT = "sevennet-0"


@dataclass(frozen=True)
class Potential:
    """A potential that can be named.

    Attributes:
        name: as the user writes it.
        package: the distribution that brings it (its version goes into every result).
        module: what must be importable.
        load: makes the calculator; heavy.
    """

    name: str
    package: str
    module: str
    load: Callable[[], Calculator]

    @property
    def version(self) -> str:
        """Name with the version of its package, e.g. `chgnet (chgnet 0.4.2)`."""
        try:
            return f"{self.name} ({self.package} {metadata.version(self.package)})"
        except metadata.PackageNotFoundError:
            return self.name


def find(name: str) -> Potential:
    """Look a potential up without loading it.

    Args:
        name: one of :data:`POTENTIALS`, or `package.module:factory`.

    Raises:
        InputError: if the name is neither, or the module of a plug-in cannot be found.
        MissingDependencyError: if the potential's package is not installed.
    """
    if name in POTENTIALS:
        potential = POTENTIALS[name]
        if importlib.util.find_spec(potential.module) is None:
            raise MissingDependencyError(potential.package, None)
        return potential
    module, colon, factory = name.partition(":")
    if not (colon and module and factory):
        raise InputError("potential", name, [*POTENTIALS, "package.module:factory"])
    with contextlib.suppress(ImportError, ValueError):
        if importlib.util.find_spec(module) is not None:
            return Potential(name, module.partition(".")[0], module, partial(_plugin, name))
    raise InputError("potential", name, f"a factory in an installed module; there is no module {module}")


def load(name: str) -> Calculator:
    """Make the calculator of a potential, on the CPU and with one thread for this process.

    Raises:
        InputError, MissingDependencyError: as :func:`find`.
        ReferenceMissingError: if its weights are not where its package should have put them.
    """
    potential = find(name)
    with _one_quiet_thread():
        return potential.load()


def energy_function(name: str) -> Callable[[Crystal], float]:
    """Load a potential and return the function from a crystal to its energy, eV/atom (set-up of a worker)."""
    return partial(energy_of, calculator=load(name))


def energy_of(crystal: Crystal, calculator: Calculator) -> float:
    """Energy of a crystal as it is, eV/atom."""
    from ase import Atoms

    atoms = Atoms(crystal.numbers, cell=crystal.lattice, scaled_positions=crystal.frac_coords, pbc=True)
    atoms.calc = calculator
    return float(atoms.get_potential_energy()) / crystal.n_sites


@contextlib.contextmanager
def _one_quiet_thread() -> Iterator[None]:
    """Load without the libraries' own messages, and leave torch with one thread.

    Two threads on busy cores were measured to be up to 26 times slower than one for cells of this size.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _chgnet() -> Calculator:
    from chgnet.model.dynamics import CHGNetCalculator

    return cast("Calculator", CHGNetCalculator(use_device="cpu", on_isolated_atoms="ignore"))


def _sevennet(checkpoint: str) -> Calculator:
    import sevenn
    from sevenn.calculator import SevenNetCalculator

    path = Path(sevenn.__file__).parent / "pretrained_potentials" / checkpoint
    if not path.is_file():
        raise ReferenceMissingError(f"the weights {checkpoint} are not in the installed sevenn package")
    return cast("Calculator", SevenNetCalculator(str(path), device="cpu"))


def _plugin(name: str) -> Calculator:
    module, _, factory = name.partition(":")
    made = getattr(importlib.import_module(module), factory, None)
    if made is None:
        raise InputError("potential", name, f"a callable of {module}, which has no {factory}")
    return cast("Calculator", made())


POTENTIALS: dict[str, Potential] = {
    potential.name: potential
    for potential in (
        Potential("chgnet", "chgnet", "chgnet", _chgnet),
        Potential(
            "sevennet-0",
            "sevenn",
            "sevenn",
            partial(_sevennet, "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth"),
        ),
        Potential("sevennet-l3i5", "sevenn", "sevenn", partial(_sevennet, "SevenNet_l3i5/checkpoint_l3i5.pth")),
    )
}
"""The potentials whose weights come with their packages."""
