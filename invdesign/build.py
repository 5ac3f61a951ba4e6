"""Names to objects: the only module that knows which classes the parts of a campaign are."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from invdesign import tables as shipped
from invdesign.catalogue import NEEDS, OUTSIDE, STAGES, GeneratorPart, ValidatorPart
from invdesign.crystal import Crystal
from invdesign.errors import InputError
from invdesign.progress import Progress
from invdesign.properties import PROPERTIES
from invdesign.query import Query

if TYPE_CHECKING:
    from invdesign.engine.parts import Derive, Parts
    from invdesign.executors import Workforce
    from invdesign.protocols import Generator, Reference, Surrogate, Validator
    from invdesign.reference.local import LocalReference
    from invdesign.relaxation.elastic import ElasticTensors
    from invdesign.relaxation.relaxer import Ceiling, PotentialRelaxer
    from invdesign.surrogates.custom.transfer import TransferSurrogate
    from invdesign.vibrations.work import PotentialPool

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

MIXTURE = "mixture"
"""The generator of a query that asks all shipped ones."""
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


def default_parts(query: Query, workers: Workforce = None, gate: Surrogate | None = None) -> Parts:
    """Everything that a campaign for this query is handed.

    Args:
        query: names the generator (`mixture`: all) and further validators, and the limit above the hull.
        workers: processes for relaxations (None: one per core), or an executor.
        gate: the screening surrogate (None: the shipped one with its proposal correction).

    Raises:
        InputError: if there is no such generator or validator.
        ReferenceMissingError: if weights or tables are missing.
    """
    from invdesign.engine.parts import Parts
    from invdesign.evolution.parents import KnownPool
    from invdesign.surrogates.hardness import derive, log_hardness

    known = reference()
    limit = query.max_energy_above_hull
    potential = relaxer(workers=workers, ceiling=partial(ceiling, known, limit))
    judges = {
        stage: tuple(validator(name, known, limit) for name in validator_names([stage], query.validators))
        for stage in STAGES[:-1]
    }
    (unique,) = judges["uniqueness"]
    return Parts(
        generators=generators(query.generator),
        gate=with_custom(gate or _proposal_gate(query), query.surrogates),
        surrogate=with_custom(surrogate("relaxed"), query.surrogates),
        screens=judges["screen"],
        inspections=judges["inspection"],
        relaxer=potential,
        reference=known,
        checks=judges["check"],
        unique=unique,
        derive=with_asked(partial(derive, load=query.hardness_load), query),
        hardness=partial(log_hardness, load=query.hardness_load),
        known=KnownPool(),
        provenance={
            "potential": potential.potential,
            **checksums(),
            **_digests(query.surrogates),
            **_digests([query.correction] if query.correction else []),
            **_outside_digests(query),
        },
    )


def with_asked(derive: Derive, query: Query) -> Derive:
    """`derive` that also adds the quantities that the query's targets and its component's constraints name."""
    from invdesign.engine.wishes import completed
    from invdesign.mechanics.quantities import with_quantities
    from invdesign.properties import QUANTITIES

    names = [t.name for t in completed(query).targets if t.name in QUANTITIES]
    if not names:
        return derive
    return lambda estimate, crystal: with_quantities([derive(estimate, crystal)], [crystal], names)[0]


def generator_names() -> tuple[str, ...]:
    """Names of the shipped generators, without `mixture`."""
    from invdesign.generators import GENERATORS

    return tuple(GENERATORS)


def check_names(query: Query) -> None:
    """See that the generator and the validators that a query names are there, before anything is made.

    Raises:
        InputError: if one is not.
    """
    if query.generator != MIXTURE:
        _find("generator", query.generator, extra=(MIXTURE,))
    for name in query.validators:
        validator_part(name)


def generators(name: str) -> Mapping[str, Generator]:
    """One generator by name, or all shipped ones for `mixture`."""
    names = generator_names() if name == MIXTURE else (name,)
    return {each: generator(each) for each in names}


def generator(name: str) -> Generator:
    """A generator with its shipped weights, by its name or as `module:Class`.

    Raises:
        InputError: if there is none of that name.
    """
    made: Generator = _made("generator", name, _find("generator", name))
    return made


def generator_part(name: str) -> GeneratorPart:
    """What the table, or its class, says of a generator.

    Raises:
        InputError: if there is none of that name.
    """
    from invdesign.generators import GENERATORS

    if name in GENERATORS:
        return GENERATORS[name]
    kind = _find("generator", name)
    return GeneratorPart(
        _where("generator", name), _about(kind), tuple(getattr(kind, "conditioned_on", PROPERTIES))
    )


def validator_names(stages: Sequence[str], more: Sequence[str] = ()) -> list[str]:
    """The validators that judge at one of these stages: the shipped ones, then those of the further names that do.

    Raises:
        InputError: if there is none of a name.
    """
    from invdesign.validators import VALIDATORS

    names = dict.fromkeys([*VALIDATORS, *more])
    return [name for name in names if set(stages) & set(validator_part(name).stages)]


def validator(name: str, known: Reference | None = None, limit: float = 0.1) -> Validator:
    """A validator by its name or as `module:Class`, made with what it needs.

    Args:
        name: a key of the validators' table, of an installed package's, or `module:Class`.
        known: the reference that some look into (None: the shipped one).
        limit: above the hull, eV/atom.

    Raises:
        InputError: if there is none of that name.
    """
    needs = validator_part(name).needs
    given: dict[str, Any] = {"limit": limit} if "limit" in needs else {}
    if "reference" in needs:
        given["reference"] = reference() if known is None else known
    if "relaxer" in needs:
        given["relaxer"] = relaxer(workers=1)
    made: Validator = _made("validator", name, _find("validator", name), **given)
    return made


def validator_part(name: str) -> ValidatorPart:
    """What the table, or its class, says of a validator.

    Raises:
        InputError: if there is none of that name, or its class names a stage or a need that there is not.
    """
    from invdesign.validators import VALIDATORS

    if name in VALIDATORS:
        return VALIDATORS[name]
    kind = _find("validator", name)
    stages, needs = tuple(getattr(kind, "stages", ("check",))), tuple(getattr(kind, "needs", ()))
    for what, found, allowed in (("stages", stages, OUTSIDE), ("needs", needs, NEEDS)):
        for item in found:
            if item not in allowed:
                raise InputError(f"validator {name}: {what}", item, allowed)
    return ValidatorPart(_where("validator", name), _about(kind), stages, needs)


def surrogate(name: str) -> Surrogate:
    """A surrogate with its shipped weights: `gate`, `proposals` or `relaxed`, or `module:Class`.

    Raises:
        InputError: if there is none of that name.
    """
    made: Surrogate = _made("surrogate", name, _find("surrogate", name))
    return made


def custom_surrogate(path: str | Path) -> TransferSurrogate:
    """A surrogate of a custom property, from its file.

    Raises:
        InputError: if it is no such file.
        ReferenceMissingError: if it is damaged, or belongs to another gate.
    """
    from invdesign.properties import property_in
    from invdesign.surrogates import load_gate
    from invdesign.surrogates.custom.transfer import TransferSurrogate, load_transfer

    property_in(Path(path))  # says clearly what is wrong with a file of something else
    return TransferSurrogate(load_transfer(path), load_gate().model)


def with_custom(base: Surrogate, paths: Sequence[str]) -> Surrogate:
    """A surrogate whose estimates also hold custom properties, from their files."""
    from invdesign.surrogates.custom.transfer import WithCustom

    return WithCustom(base, [custom_surrogate(path) for path in paths]) if paths else base


def _proposal_gate(query: Query) -> Surrogate:
    """The gate with the correction that the query names, or with the shipped one."""
    from invdesign.surrogates import load_proposal_gate

    return load_proposal_gate(query.correction) if query.correction else surrogate("proposals")


def _digests(paths: Sequence[str]) -> dict[str, str]:
    """First digits of the SHA-256 of files, by their names."""
    return {Path(path).name: hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12] for path in paths}


def relaxer(
    potential: str | None = None, workers: Workforce = None, ceiling: Ceiling | None = None, **settings: Any
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


def elastic_tensors(potential: str | None = None, workers: Workforce = None) -> ElasticTensors:
    """What computes elastic tensors, with a potential by name (None: the default)."""
    from invdesign.potentials import calculators as potentials
    from invdesign.relaxation.elastic import ElasticTensors

    return ElasticTensors(potential or potentials.DEFAULT, workers=workers)


def potential_pool(potential: str | None = None, workers: Workforce = None) -> PotentialPool:
    """Processes that answer forces and relaxations, with a potential by name (None: the default)."""
    from invdesign.potentials import calculators as potentials
    from invdesign.vibrations.work import PotentialPool

    return PotentialPool(potential or potentials.DEFAULT, workers=workers)


def reference() -> LocalReference:
    """The shipped hull and known crystals."""
    from invdesign.reference.local import LocalReference

    return LocalReference()


def checksums() -> dict[str, str]:
    """First digits of the SHA-256 of every file of weights, by its stem."""
    found = [name for name in TRAINED if shipped.path_of(name).is_file()]
    return {name.split(".")[0]: shipped.checksum(name) for name in found}


def versions() -> dict[str, str]:
    """Versions of invdesign and of the packages that can change a result."""
    import platform

    from invdesign import __version__

    return {"invdesign": __version__, "python": platform.python_version()} | {
        name: metadata.version(name) for name in PACKAGES
    }


def names_of(family: str) -> Mapping[str, str]:
    """Where each named part of a family is: the shipped ones, then those of installed packages.

    A package offers parts as entry points of the groups `invdesign.generators` and `invdesign.validators`; it
    cannot take the name of a shipped part.
    """
    from invdesign.generators import GENERATORS
    from invdesign.validators import VALIDATORS

    shipped: dict[str, Mapping[str, str]] = {
        "generator": {name: part.where for name, part in GENERATORS.items()},
        "validator": {name: part.where for name, part in VALIDATORS.items()},
        "surrogate": SURROGATES,
        "model": TRAINERS,
    }
    points = metadata.entry_points(group=f"invdesign.{family}s")
    return {**{point.name: point.value for point in points}, **shipped[family]}


def _where(family: str, name: str) -> str:
    return name if family == "part" else names_of(family).get(name, name)


def _find(family: str, name: str, extra: Sequence[str] = ()) -> Any:
    """The class or function that a name of a family, or `module:Class`, stands for."""
    known = {} if family == "part" else names_of(family)
    allowed = [*known, *extra, "or module:Class"]
    module, colon, attribute = known.get(name, name).rpartition(":")
    if not colon:
        raise InputError(family, name, allowed)
    try:
        return getattr(_module(module), attribute)
    except Exception as error:  # whatever a module from outside does when it is imported
        if known.get(name, "").startswith("invdesign."):
            raise
        raise InputError(family, name, f"{', '.join(allowed)} ({type(error).__name__}: {error})") from None


def _module(name: str) -> ModuleType:
    """A module by its name, or from the path of a Python file."""
    if not name.endswith(".py"):
        return importlib.import_module(name)
    path = Path(name).resolve()
    title = f"invdesign_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if title in sys.modules:
        return sys.modules[title]
    spec = importlib.util.spec_from_file_location(title, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ImportError(f"there is no file {name}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[title] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[title]
        raise
    return module


def _about(kind: Any) -> str:
    """The first line of a part's docstring."""
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def _outside_digests(query: Query) -> dict[str, str]:
    """First digits of the SHA-256 of the source of each part of a query that invdesign does not ship."""
    named = [("generator", query.generator), *(("validator", name) for name in query.validators)]
    found = {}
    for family, name in named:
        if name == MIXTURE or _where(family, name).startswith("invdesign."):
            continue
        file = inspect.getsourcefile(_find(family, name))
        source = b"" if file is None else Path(file).read_bytes()
        found[f"{family} {name}"] = hashlib.sha256(source).hexdigest()[:12]
    return found


def _made(family: str, name: str, kind: Any, **given: Any) -> Any:
    """An object made with what it is given, by its class method `load` if it has one."""
    make = load if callable(load := getattr(kind, "load", None)) else kind
    if _where(family, name).startswith("invdesign."):
        return make(**given)
    try:
        made = make(**given)
    except TypeError as error:
        how = f"with {', '.join(given)} alone" if given else "without arguments"
        raise InputError(family, name, f"a class that can be made {how} ({error})") from None
    verb = VERBS.get(family)
    if verb and not callable(getattr(made, verb, None)):
        raise InputError(family, name, f"a class with a method {verb}")
    return made


def part(name: str, family: str | None = None) -> Any:
    """Any part by its name and family, or by `module:Class` without one.

    Raises:
        InputError: if there is none of that name.
    """
    makers: dict[str, Callable[[str], Any]] = {
        "generator": generator,
        "validator": validator,
        "surrogate": surrogate,
    }
    if family is not None:
        return makers[family](name)
    if ":" not in name:
        raise InputError("part", name, [*(n for each in makers for n in names_of(each)), "or module:Class"])
    return _made("part", name, _find("part", name))


def trainer(name: str) -> Trainer:
    """The function that trains a model: `(data, settings, out, progress) -> path of the weights`.

    Raises:
        InputError: if there is none of that name.
    """
    found: Trainer = _find("model", name)
    return found


def families(name: str) -> Sequence[str]:
    """The families that know a part by this name."""
    return [family for family in VERBS if name in names_of(family)]
