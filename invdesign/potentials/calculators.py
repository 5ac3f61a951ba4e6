"""Universal interatomic potentials by name, each as an ASE calculator.

Those of SevenNet and CHGNet carry their weights in their wheels, so that they load offline; the others download
them once. Any other ASE calculator plugs in as `package.module:factory`, a callable without arguments that returns
the calculator.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, cast

from invdesign.crystal import Crystal
from invdesign.elements import symbol
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
        extra: the extra of invdesign that brings the package; None if it is installed by itself.
        scale: name of the shipped energy scale that applies to it; None if none does.
        elements: atomic numbers that it was trained on; None if that is not known.
    """

    name: str
    package: str
    module: str
    load: Callable[[], Calculator]
    extra: str | None = None
    scale: str | None = None
    elements: frozenset[int] | None = None

    @property
    def version(self) -> str:
        """Name with the version of its package, e.g. `chgnet (chgnet 0.4.2)`."""
        try:
            return f"{self.name} ({self.package} {metadata.version(self.package)})"
        except metadata.PackageNotFoundError:
            return self.name

    def unknown(self, numbers: Iterable[int]) -> list[str]:
        """Symbols of those atomic numbers that it was not trained on; empty if that is not known."""
        known = self.elements
        return [] if known is None else [symbol(z) for z in sorted(set(numbers)) if z not in known]


def find(name: str) -> Potential:
    """Look a potential up without loading it.

    Args:
        name: one of :data:`POTENTIALS`, or `package.module:factory`.

    Raises:
        InputError: if the name is neither, or the module of a plug-in cannot be found.
        MissingDependencyError: if the potential's package is not installed.
    """
    if isinstance(name, str) and name in POTENTIALS:
        potential = POTENTIALS[name]
        if not _importable(potential.module):
            raise MissingDependencyError(potential.package, potential.extra)
        return potential
    module, colon, factory = str(name).partition(":")
    if not (colon and module and factory):
        raise InputError("potential", name, [*POTENTIALS, "package.module:factory"])
    if _importable(module):
        return Potential(name, module.partition(".")[0], module, partial(_plugin, name))
    allowed = f"a factory in an importable module; there is no module {module}"
    if Path(*module.split(".")).with_suffix(".py").is_file():
        allowed += f"; {module} in the current folder is found with PYTHONPATH=."
    raise InputError("potential", name, allowed)


def _importable(module: str) -> bool:
    with contextlib.suppress(ImportError, ValueError):
        return importlib.util.find_spec(module) is not None
    return False


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


def _sevennet(checkpoint: str, **options: str) -> Calculator:
    import sevenn
    from sevenn.calculator import SevenNetCalculator

    path = Path(sevenn.__file__).parent / "pretrained_potentials" / checkpoint
    if not path.is_file():
        raise ReferenceMissingError(f"the weights {checkpoint} are not in the installed sevenn package")
    return cast("Calculator", SevenNetCalculator(str(path), device="cpu", **options))


def _mace() -> Calculator:
    from mace.calculators import mace_mp

    return cast("Calculator", mace_mp(model="medium", device="cpu", default_dtype="float64"))


def _mattersim() -> Calculator:
    from mattersim.forcefield import MatterSimCalculator

    return cast("Calculator", MatterSimCalculator(load_path="MatterSim-v1.0.0-5M.pth", device="cpu"))


def _orb() -> Calculator:
    from orb_models.forcefield import pretrained

    loaded = pretrained.orb_v3_conservative_inf_mpa(device="cpu", precision="float32-highest")
    if not isinstance(loaded, tuple):
        from orb_models.forcefield.calculator import ORBCalculator

        return cast("Calculator", ORBCalculator(loaded, device="cpu"))
    from orb_models.forcefield.inference.calculator import ORBCalculator  # from version 0.6

    return cast("Calculator", ORBCalculator(loaded[0], atoms_adapter=loaded[1], device="cpu"))


def _nequix() -> Calculator:
    from nequix.calculator import NequixCalculator

    return cast("Calculator", NequixCalculator("nequix-mp-1"))


def _grace() -> Calculator:
    from tensorpotential.calculator import grace_fm

    return cast("Calculator", grace_fm("GRACE-2L-OAM"))


def _plugin(name: str) -> Calculator:
    module, _, factory = name.partition(":")
    made = getattr(importlib.import_module(module), factory, None)
    if made is None:
        raise InputError("potential", name, f"a callable of {module}, which has no {factory}")
    calculator = made() if callable(made) else made
    if not hasattr(calculator, "get_potential_energy"):
        raise InputError("potential", name, f"a callable that makes a calculator of ASE, not {calculator!r:.40}")
    return cast("Calculator", calculator)


MATERIALS_PROJECT = frozenset(range(1, 95)) - {84, 85, 86, 87, 88}
"""The 89 elements of the Materials Project's relaxations (MPtrj): H to Pu without Po, At, Rn, Fr and Ra."""


def _table(*potentials: Potential) -> dict[str, Potential]:
    return {potential.name: potential for potential in potentials}


_MP = partial(Potential, elements=MATERIALS_PROJECT)
_SEVENNET = partial(_MP, package="sevenn", module="sevenn")
_WEIGHTS = "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth"

POTENTIALS: dict[str, Potential] = _table(
    _MP("chgnet", "chgnet", "chgnet", _chgnet, extra="chgnet", scale="chgnet"),
    _SEVENNET("sevennet-0", load=partial(_sevennet, _WEIGHTS), scale="sevennet-0"),
    _SEVENNET(
        "sevennet-l3i5", load=partial(_sevennet, "SevenNet_l3i5/checkpoint_l3i5.pth"), scale="sevennet-l3i5"
    ),
    _SEVENNET(
        "sevennet-mf-0",
        load=partial(_sevennet, "SevenNet_MF_0/checkpoint_sevennet_mf_0.pth", modal="PBE"),
        scale="mp2020",
    ),
    _MP("mace-mp", "mace-torch", "mace", _mace, scale="mp2020"),
    _MP("mattersim", "mattersim", "mattersim", _mattersim, scale="mp2020"),
    _MP("orb-v3", "orb-models", "orb_models", _orb, scale="mp2020"),
    _MP("nequix-mp", "nequix", "nequix", _nequix, scale="mp2020"),
    _MP("grace-2l-oam", "tensorpotential", "tensorpotential", _grace, scale="mp2020"),
)
"""The potentials that have a name: all trained on PBE energies of the Materials Project's kind."""
