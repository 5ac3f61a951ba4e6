"""invdesign: target properties in, ranked and verified crystals out.

Examples:
    >>> import invdesign as ivd
    >>> query = ivd.Query(targets=["bulk_modulus>=250"], exclude=["Co"], n=20)
    >>> result = ivd.design(query, seed=0)  # doctest: +SKIP
    >>> result.table, result.structures, result[0]  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from invdesign.app.crystals import explain, predict, rank, validate
    from invdesign.app.design import design, feedback, resume
    from invdesign.app.generate import generate
    from invdesign.app.md import md
    from invdesign.app.phonons import phonons
    from invdesign.app.recipe import recipe
    from invdesign.app.relax import elastic, relax
    from invdesign.app.result import Found, Result
    from invdesign.app.screen import screen
    from invdesign.app.strength import strength
    from invdesign.crystal import Crystal, Gene
    from invdesign.engine.campaign import Campaign
    from invdesign.errors import InvdesignError, InvdesignWarning
    from invdesign.properties import Property
    from invdesign.query import Query, Target

__version__ = "0.1.0"
__all__ = [
    "Campaign",
    "Crystal",
    "Found",
    "Gene",
    "InvdesignError",
    "InvdesignWarning",
    "Property",
    "Query",
    "Result",
    "Target",
    "__version__",
    "design",
    "elastic",
    "explain",
    "feedback",
    "generate",
    "md",
    "phonons",
    "predict",
    "rank",
    "recipe",
    "relax",
    "resume",
    "screen",
    "strength",
    "validate",
]

_HOMES = {
    "Campaign": "invdesign.engine.campaign",
    "Crystal": "invdesign.crystal",
    "Found": "invdesign.app.result",
    "Gene": "invdesign.crystal",
    "InvdesignError": "invdesign.errors",
    "InvdesignWarning": "invdesign.errors",
    "Property": "invdesign.properties",
    "Query": "invdesign.query",
    "Result": "invdesign.app.result",
    "Target": "invdesign.query",
    "design": "invdesign.app.design",
    "elastic": "invdesign.app.relax",
    "explain": "invdesign.app.crystals",
    "feedback": "invdesign.app.design",
    "generate": "invdesign.app.generate",
    "md": "invdesign.app.md",
    "phonons": "invdesign.app.phonons",
    "predict": "invdesign.app.crystals",
    "rank": "invdesign.app.crystals",
    "recipe": "invdesign.app.recipe",
    "relax": "invdesign.app.relax",
    "resume": "invdesign.app.design",
    "screen": "invdesign.app.screen",
    "strength": "invdesign.app.strength",
    "validate": "invdesign.app.crystals",
}
"""Where each public name is at home."""


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that `import invdesign` stays fast."""
    if name not in _HOMES:
        raise AttributeError(f"module 'invdesign' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names, so that completion offers them."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
