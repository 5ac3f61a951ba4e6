"""Potentials by name: what is installed, what is not and how to get it, and any ASE calculator as a plug-in."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invdesign.crystal import Crystal
from invdesign.elements import atomic_number
from invdesign.errors import InputError, MissingDependencyError
from invdesign.potentials import calculators as potentials
from invdesign.potentials.energy_scale import EnergyScale, shipped
from invdesign.records import Relaxation
from invdesign.relaxation.relaxer import PotentialRelaxer

COPPER = Crystal((np.ones((3, 3)) - np.eye(3)) * 1.8, [29], [[0, 0, 0]], source="Cu")

STAND_INS = {
    "mace-mp": (
        "mace/calculators.py",
        """
        def mace_mp(model, device, default_dtype):
            assert (model, device, default_dtype) == ("medium", "cpu", "float64")
            return EMT()
        """,
    ),
    "mattersim": (
        "mattersim/forcefield.py",
        """
        def MatterSimCalculator(load_path, device):
            assert (load_path, device) == ("MatterSim-v1.0.0-5M.pth", "cpu")
            return EMT()
        """,
    ),
    "nequix-mp": (
        "nequix/calculator.py",
        """
        def NequixCalculator(model_name):
            assert model_name == "nequix-mp-1"
            return EMT()
        """,
    ),
    "grace-2l-oam": (
        "tensorpotential/calculator.py",
        """
        def grace_fm(model):
            assert model == "GRACE-2L-OAM"
            return EMT()
        """,
    ),
}
ORB_LOADER = """
def orb_v3_conservative_inf_mpa(device, precision):
    assert (device, precision) == ("cpu", "float32-highest")
    return {returned}
"""
ORB_CALCULATOR = """
from ase.calculators.emt import EMT
def ORBCalculator(model, {options}device):
    assert (model, device) == ("model", "cpu")
    return EMT()
"""


def install(folder: Path, file: str, source: str) -> None:
    """Write a module that stands in for a package's, as plain packages."""
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    for parent in path.parents:
        if parent == folder:
            break
        (parent / "__init__.py").touch()
    indented = "\n".join(line.removeprefix("        ") for line in source.splitlines())
    path.write_text(f"from ase.calculators.emt import EMT\n{indented}\n")


def relaxed_with(name: str) -> Relaxation:
    """Copper by a potential's name in a worker process, on the scale that the name stands for."""
    with PotentialRelaxer(name, workers=1) as relaxer:
        (found,) = relaxer.relax([COPPER])
    assert isinstance(found, Relaxation), found
    return found


@pytest.mark.parametrize("name", STAND_INS)
def test_a_potential_that_is_installed_is_loaded_as_its_package_asks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, *STAND_INS[name])
    monkeypatch.syspath_prepend(tmp_path)
    found = relaxed_with(name)
    assert found.converged and found.potential.startswith(name)
    assert found.formation_energy is not None and found.formation_energy.source.startswith("potential:")


@pytest.mark.parametrize("version", ["0.5", "0.6"])
def test_orb_is_loaded_before_and_after_its_change_of_interface(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = version == "0.6"
    returned = '("model", "adapter")' if new else '"model"'
    install(tmp_path, "orb_models/forcefield/pretrained.py", ORB_LOADER.format(returned=returned))
    where = "orb_models/forcefield/inference/calculator.py" if new else "orb_models/forcefield/calculator.py"
    install(tmp_path, where, ORB_CALCULATOR.format(options="atoms_adapter, " if new else ""))
    monkeypatch.syspath_prepend(tmp_path)
    assert relaxed_with("orb-v3").converged


@pytest.mark.parametrize("name", potentials.POTENTIALS)
def test_a_potential_that_is_not_installed_says_how_to_get_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    potential = potentials.POTENTIALS[name]
    monkeypatch.setattr(potentials.importlib.util, "find_spec", lambda module: None)
    extra = f"'invdesign[{potential.extra}]'" if potential.extra else potential.package
    with pytest.raises(MissingDependencyError) as caught:
        potentials.find(name)
    assert str(caught.value) == f"{potential.package} is not installed; install it with: pip install {extra}"


def test_extras_that_hints_name_exist() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    extras = project["optional-dependencies"]
    for potential in potentials.POTENTIALS.values():
        brought = extras[potential.extra] if potential.extra else project["dependencies"]
        listed = any(line.startswith(potential.package) for line in brought)
        assert listed == (potential.extra is not None or potential.package == "sevenn"), potential


def test_scales_and_elements_of_the_names() -> None:
    everything = frozenset(map(atomic_number, EnergyScale.load("mp2020").elements))
    assert everything == potentials.MATERIALS_PROJECT
    for potential in potentials.POTENTIALS.values():
        assert potential.scale in shipped() and potential.elements == everything


def test_the_multi_fidelity_potential_is_on_the_published_scale() -> None:
    """Titanium carbide lies at -0.81 eV/atom."""
    carbide = Crystal((np.ones((3, 3)) - np.eye(3)) * 2.165, [22, 6], [[0, 0, 0], [0.5, 0.5, 0.5]])
    energy = potentials.energy_of(carbide, potentials.load("sevennet-mf-0"))
    found = EnergyScale.load("mp2020").formation_energy(carbide, energy)
    assert found.mean == pytest.approx(-0.81, abs=0.05)


def test_chgnet_is_asked_for_only_by_name() -> None:
    code = (
        "import sys; from invdesign.potentials import calculators as p; p.load('sevennet-0')\n"
        "print([m for m in ('chgnet', 'mace', 'orb_models') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


PLUGIN = "def emt():\n    from ase.calculators.emt import EMT\n\n    return EMT()\n"


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with a crystal and a potential of the user's own."""
    from ase.build import bulk
    from ase.io import write

    write(tmp_path / "Cu.cif", bulk("Cu", "fcc", a=3.61))
    (tmp_path / "mypot.py").write_text(PLUGIN)
    return tmp_path


def invdesign(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    command = [sys.executable, "-P", "-m", "invdesign", *arguments]
    return subprocess.run(
        command, cwd=folder, env=clean | environment, capture_output=True, text=True, check=False
    )


def test_a_calculator_in_the_current_folder_relaxes_without_a_scale(workplace: Path) -> None:
    done = invdesign(workplace, "relax", "Cu.cif", "--potential", "mypot:emt", "--out", "out", PYTHONPATH=".")
    assert done.returncode == 0 and "1 relaxed, 0 failed" in done.stdout, done.stderr
    (row,) = pd.read_csv(workplace / "out" / "relaxed.csv").to_dict("records")
    assert row["converged"] and row["potential"] == "mypot:emt"
    assert row["energy_per_atom"] == pytest.approx(-0.007, abs=0.001)
    assert np.isnan(row["formation_energy"]) and np.isnan(row["energy_above_hull"])
    assert "no energy scale for the potential 'mypot:emt'" in row["relaxation_note"]


def test_with_the_published_scale_it_has_a_formation_energy(workplace: Path) -> None:
    settings = ("--scale", "mp2020", "--max-force", "0.01", "--pressure", "0")
    arguments = ("relax", "Cu.cif", "--potential", "mypot:emt", *settings, "--out", "out")
    done = invdesign(workplace, *arguments, PYTHONPATH=".")
    assert done.returncode == 0, done.stderr
    (row,) = pd.read_csv(workplace / "out" / "relaxed.csv").to_dict("records")
    assert row["formation_energy"] == pytest.approx(row["energy_per_atom"] + 4.0993, abs=1e-3)
    assert np.isnan(row["relaxation_note"])


def test_elastic_needs_no_scale(workplace: Path) -> None:
    arguments = ("elastic", "Cu.cif", "--potential", "mypot:emt", "--out", "elastic.csv")
    done = invdesign(workplace, *arguments, PYTHONPATH=".")
    assert done.returncode == 0, done.stderr
    (row,) = pd.read_csv(workplace / "elastic.csv").to_dict("records")
    assert row["elastic_stability"] == "pass"
    assert row["potential_bulk_modulus"] == pytest.approx(135.0, abs=5.0)  # EMT's own for copper


def test_a_module_that_is_not_looked_for_here_is_explained(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])
    with pytest.raises(
        InputError, match=r"no module mypot; mypot in the current folder is found with PYTHONPATH=\."
    ):
        potentials.find("mypot:emt")
    with pytest.raises(InputError, match=r"no module nosuch$"):
        potentials.find("nosuch:emt")
