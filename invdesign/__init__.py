"""invdesign: target properties in, ranked and verified crystals out.

Examples:
    >>> import invdesign as ivd
    >>> query = ivd.Query(targets=["bulk_modulus>=250"], exclude=["Co"], n=20)
    >>> result = ivd.design(query, seed=0)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from invdesign.app.crystals import explain
    from invdesign.app.design import design, resume
    from invdesign.crystal import Crystal, Gene
    from invdesign.engine.campaign import Campaign
    from invdesign.query import Query, Target

__version__ = "0.1.0"
__all__ = ["Campaign", "Crystal", "Gene", "Query", "Target", "__version__", "design", "explain", "resume"]

_HOMES = {
    "Campaign": "invdesign.engine.campaign",
    "Crystal": "invdesign.crystal",
    "Gene": "invdesign.crystal",
    "Query": "invdesign.query",
    "Target": "invdesign.query",
    "design": "invdesign.app.design",
    "explain": "invdesign.app.crystals",
    "resume": "invdesign.app.design",
}


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that `import invdesign` stays fast."""
    if name not in _HOMES:
        raise AttributeError(f"module 'invdesign' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
