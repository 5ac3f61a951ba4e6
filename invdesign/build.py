"""Names to objects: the only module that knows which classes the parts of a campaign are."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.crystal import Crystal
from invdesign.errors import InputError
from invdesign.progress import Progress
from invdesign.query import Query

if TYPE_CHECKING:
    from invdesign.engine.parts import Parts
    from invdesign.protocols import Generator, Reference, Surrogate, Validator
    from invdesign.reference.local import LocalReference
    from invdesign.relaxation.elastic import ElasticTensors
    from invdesign.relaxation.relaxer import Ceiling, PotentialRelaxer
    from invdesign.surrogates.custom.transfer import TransferSurrogate

Trainer = Callable[[Path, Mapping[str, Any], Path, Progress], Path]

SURROGATES: dict[str, str] = {
    "gate": "invdesign.surrogates:load_gate",
    "proposals": "invdesign.surrogates:load_proposal_gate",
    "relaxed": "invdesign.surrogates:load_relaxed",
}
"""Name to `module:function`: for unrelaxed crystals, for proposals of a generator, for relaxed crystals."""

TRAINERS: dict[str, str] = {
    "vae": "invdesign.training.recipes:train_vae",
    "gan": "invdesign.training.recipes:train_gan",
    "surrogate": "invdesign.training.recipes:train_surrogate",
}
"""Model to `module:function` that trains it."""

VERBS = {"generator": "propose", "validator": "check", "surrogate": "predict"}
"""What a part of each family does."""

SCREENS = ("distances", "charge_balance", "symmetry", "novelty", "disorder")
"""Validators of proposals, cheapest first."""
INSPECTIONS = ("symmetry", "novelty", "disorder")
"""Those of them that take milliseconds: a campaign spends them on the most promising proposals only."""
CHECKS = ("distances", "charge_balance", "symmetry", "novelty", "disorder", "stability")
"""Validators of relaxed crystals."""
TRAINED = (
    "vae.safetensors",
    "gan.safetensors",
    "surrogate_gate.safetensors",
    "surrogate_relaxed.safetensors",
    "proposal_correction.safetensors",
    "hardness.safetensors",
)
"""Weights whose checksums go into a run's record where they are shipped."""
PACKAGES = ("numpy", "torch", "pymatgen", "spglib", "smact", "optuna", "ase")
"""Packages whose versions go into `run.json`."""


def default_parts(query: Query, workers: int | None = None) -> Parts:
    """Everything that a campaign for this query is handed.

    Args:
        query: names the generator (`mixture`: all) and the limit above the hull.
        workers: processes for relaxations (None: one per core).

    Raises:
        InputError: if there is no such generator.
        ReferenceMissingError: if weights or tables are missing.
    """
    from invdesign.engine.parts import Parts
    from invdesign.surrogates.hardness import derive

    known = reference()
    potential = relaxer(workers=workers, ceiling=partial(ceiling, known, query.max_energy_above_hull))
    return Parts(
        generators=generators(query.generator),
        gate=with_custom(surrogate("proposals"), query.surrogates),
        surrogate=with_custom(surrogate("relaxed"), query.surrogates),
        screens=tuple(validator(name, known) for name in SCREENS if name not in INSPECTIONS),
        inspections=tuple(validator(name, known) for name in INSPECTIONS),
        relaxer=potential,
        reference=known,
        checks=tuple(validator(name, known, query.max_energy_above_hull) for name in CHECKS),
        unique=validator("uniqueness", known),
        derive=partial(derive, load=query.hardness_load),
        provenance={"potential": potential.potential, **checksums(), **_digests(query.surrogates)},
    )


def generator_names() -> tuple[str, ...]:
    """Names of the generators, without `mixture`."""
    from invdesign.generators import GENERATORS

    return tuple(GENERATORS)


def generators(name: str) -> Mapping[str, Generator]:
    """One generator by name, or all of them for `mixture`."""
    names = generator_names() if name == "mixture" else (name,)
    return {each: generator(each) for each in names}


def generator(name: str) -> Generator:
    """A generator with its shipped weights, by its name or as `module:Class`.

    Raises:
        InputError: if there is none of that name.
    """
    from invdesign.generators import GENERATORS

    made: Generator = _made("generator", name, _find("generator", name, GENERATORS))
    return made


def validator(name: str, known: LocalReference | None = None, limit: float = 0.1) -> Validator:
    """A validator by its name or as `module:Class`.

    Args:
        name: a key of the validators' table, or `module:Class`.
        known: the reference that `novelty`, `disorder` and `stability` look into (None: the shipped one).
        limit: of `stability`, eV/atom.

    Raises:
        InputError: if there is none of that name.
    """
    from invdesign.validators import VALIDATORS

    kind = _find("validator", name, VALIDATORS)
    if name in ("novelty", "disorder"):
        made: Validator = kind(known or reference())
    elif name == "stability":
        made = kind(limit=limit, reference=known or reference())
    else:
        made = _made("validator", name, kind)
    return made


def surrogate(name: str) -> Surrogate:
    """A surrogate with its shipped weights: `gate`, `proposals` or `relaxed`, or `module:Class`.

    Raises:
        InputError: if there is none of that name.
    """
    made: Surrogate = _made("surrogate", name, _find("surrogate", name, SURROGATES))
    return made


def custom_surrogate(path: str | Path) -> TransferSurrogate:
    """A surrogate of a custom property, from its file; the property is made known.

    Raises:
        InputError: if it is no such file.
        ReferenceMissingError: if it is damaged, or belongs to another gate.
    """
    from invdesign.properties import property_in, register
    from invdesign.surrogates import load_gate
    from invdesign.surrogates.custom.transfer import TransferSurrogate, load_transfer

    register(property_in(Path(path)))
    return TransferSurrogate(load_transfer(path), load_gate().model)


def with_custom(base: Surrogate, paths: Sequence[str]) -> Surrogate:
    """A surrogate whose estimates also hold custom properties, from their files."""
    from invdesign.surrogates.custom.transfer import WithCustom

    return WithCustom(base, [custom_surrogate(path) for path in paths]) if paths else base


def _digests(paths: Sequence[str]) -> dict[str, str]:
    """First digits of the SHA-256 of files, by their names."""
    return {Path(path).name: hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12] for path in paths}


def relaxer(
    potential: str | None = None, workers: int | None = None, ceiling: Ceiling | None = None, **settings: Any
) -> PotentialRelaxer:
    """The relaxer, with a potential by name (None: the default); crystals above a ceiling are given up early.

    Settings are those of `PotentialRelaxer`: its energy `scale` and limits of a relaxation.
    """
    from invdesign.potentials import calculators as potentials
    from invdesign.relaxation.relaxer import PotentialRelaxer

    return PotentialRelaxer(potential or potentials.DEFAULT, workers=workers, ceiling=ceiling, **settings)


def ceiling(known: Reference, limit: float, crystal: Crystal) -> float | None:
    """The formation energy (eV/atom) at which a crystal lies `limit` above the hull; None without a hull."""
    from invdesign.records import Value

    distance = known.energy_above_hull(crystal, Value(0.0, 0.0))
    return None if distance is None else limit - distance.mean


def elastic_tensors(potential: str | None = None, workers: int | None = None) -> ElasticTensors:
    """What computes elastic tensors, with a potential by name (None: the default)."""
    from invdesign.potentials import calculators as potentials
    from invdesign.relaxation.elastic import ElasticTensors

    return ElasticTensors(potential or potentials.DEFAULT, workers=workers)


def reference() -> LocalReference:
    """The shipped hull and known crystals."""
    from invdesign.reference.local import LocalReference

    return LocalReference()


def checksums() -> dict[str, str]:
    """First digits of the SHA-256 of every file of shipped weights, by its stem."""
    folder = resources.files("invdesign.tables")
    files = [folder.joinpath(name) for name in TRAINED]
    return {f.name.split(".")[0]: hashlib.sha256(f.read_bytes()).hexdigest()[:12] for f in files if f.is_file()}


def versions() -> dict[str, str]:
    """Versions of invdesign and of the packages that can change a result."""
    import platform

    from invdesign import __version__

    return {"invdesign": __version__, "python": platform.python_version()} | {
        name: metadata.version(name) for name in PACKAGES
    }


def _find(family: str, name: str, table: Mapping[str, str]) -> Any:
    """The class or function that a name of the family's table, or `module:Class`, stands for."""
    where = table.get(name, name)
    module, colon, attribute = where.partition(":")
    if not colon:
        raise InputError(family, name, _allowed(table))
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError, ValueError) as error:
        if name in table:
            raise
        raise InputError(family, name, f"{_allowed(table)} ({error})") from None


def _allowed(table: Mapping[str, str]) -> str:
    return ", ".join([*table, "or module:Class"])


def _made(family: str, name: str, kind: Any) -> Any:
    """An object with its shipped weights, if the class can load any, otherwise without arguments."""
    make = load if callable(load := getattr(kind, "load", None)) else kind
    if ":" not in name:
        return make()
    try:
        made = make()
    except TypeError as error:
        raise InputError(family, name, f"a class that can be made without arguments ({error})") from None
    verb = VERBS.get(family)
    if verb and not callable(getattr(made, verb, None)):
        raise InputError(family, name, f"a class with a method {verb}")
    return made


def part(name: str, family: str | None = None) -> Any:
    """Any part by its name and family, or by `module:Class` without one.

    Raises:
        InputError: if there is none of that name.
    """
    from invdesign.generators import GENERATORS
    from invdesign.validators import VALIDATORS

    makers: dict[str, Callable[[str], Any]] = {
        "generator": generator,
        "validator": validator,
        "surrogate": surrogate,
    }
    if family is not None:
        return makers[family](name)
    return _made("part", name, _find("part", name, GENERATORS | VALIDATORS | SURROGATES))


def trainer(name: str) -> Trainer:
    """The function that trains a model: `(data, settings, out, progress) -> path of the weights`.

    Raises:
        InputError: if there is none of that name.
    """
    found: Trainer = _find("model", name, TRAINERS)
    return found


def families(name: str) -> Sequence[str]:
    """The families in whose tables a name stands."""
    from invdesign.generators import GENERATORS
    from invdesign.validators import VALIDATORS

    tables = {"generator": GENERATORS, "validator": VALIDATORS, "surrogate": SURROGATES}
    return [family for family, table in tables.items() if name in table]
