"""Live sources of known crystals behind one verb: the Materials Project and every OPTIMADE database.

A source is asked for the crystals made of given elements and of no others, so `elements=["Ti", "B"]` brings Ti, B
and all their compounds. Energies of different databases, and of different schemes within one, differ by 0.04-0.08
eV/atom on average: never mix them in one hull or one training set.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import Request, urlopen

from invdesign.crystal import Crystal
from invdesign.data.convert import from_optimade, from_pymatgen
from invdesign.data.items import attempt
from invdesign.elements import atomic_number
from invdesign.errors import InputError, InvdesignError, MissingDependencyError
from invdesign.records import Failure

Fetch = Callable[[str], bytes]
"""Gets the body of a URL; raises `SourceError` if it cannot."""

_MOST_ELEMENTS = 6
_CLAUSES = 8
_RETRIES = 4
_TIMEOUT = 60.0


class SourceError(InvdesignError):
    """A live source does not answer, or not in the way that it should."""


class Source(Protocol):
    """A database of known crystals."""

    def search(
        self, elements: Sequence[str], max_sites: int = 20
    ) -> Iterator[tuple[Crystal | Failure, dict[str, float]]]:
        """Yield every crystal of these elements and no others, with its labels by property name.

        An entry that holds no usable crystal (disordered, positions missing) is a failure.
        """
        ...


class MaterialsProject:
    """The Materials Project, by its own client `mp-api` (extra `online`).

    Labels are formation energy, energy above hull, band gap and the Voigt-Reuss-Hill moduli as the `summary`
    collection has them: its energies are those of the mixed GGA/r2SCAN scheme, not of the tables that invdesign
    ships.
    """

    def __init__(self, api_key: str | None = None, client: Any = None) -> None:
        """Connect.

        Args:
            api_key: the key; by default that of the environment variable MP_API_KEY.
            client: an `MPRester`, or what behaves like one, in place of a new connection.

        Raises:
            MissingDependencyError: if `mp-api` is not installed.
            InputError: if there is no key.
        """
        self._client = client if client is not None else _mp_client(api_key)

    def search(
        self, elements: Sequence[str], max_sites: int = 20
    ) -> Iterator[tuple[Crystal | Failure, dict[str, float]]]:
        """Yield crystals and labels; see :class:`Source`.

        Raises:
            InputError: if the elements or the number of sites are not valid.
            SourceError: if the Materials Project does not answer.
        """
        systems = ["-".join(s) for s in _subsets(elements)]
        return self._search(systems, _sites(max_sites))

    def _search(self, systems: list[str], max_sites: int) -> Iterator[tuple[Crystal | Failure, dict[str, float]]]:
        try:
            documents = self._client.materials.summary.search(
                chemsys=systems,
                num_sites=(1, max_sites),
                deprecated=False,
                all_fields=False,
                fields=list(_MP_FIELDS),
            )
        except Exception as error:  # mp-api raises its own, requests' and pydantic's exceptions
            raise SourceError(f"the Materials Project does not answer: {' '.join(str(error).split())}") from error
        for document in documents:
            name = str(_field(document, "material_id"))
            structure = _field(document, "structure")
            item = attempt(lambda s=structure, n=name: from_pymatgen(_structure(s), n), name)  # type: ignore[misc]
            yield item.result, _mp_labels(document)


class Optimade:
    """Any database that speaks OPTIMADE 1.x, such as Alexandria, OQMD, COD, JARVIS or the Materials Project.

    Asks `<base_url>/v1/structures` with filters on `elements`, `nelements` and `nsites`, which every provider must
    support, and follows the pages. Labels are read from the provider's own fields, on the provider's own scale.
    """

    def __init__(
        self,
        base_url: str,
        labels: Mapping[str, str] | None = None,
        fetch: Fetch | None = None,
        page_limit: int = 100,
    ) -> None:
        """Name the provider.

        Args:
            base_url: its base URL, such as `https://alexandria.icams.rub.de/pbe`, with or without `/v1`.
            labels: the provider's own fields to read and the property each holds; by default those of
                `OPTIMADE_LABELS` whose prefix stands in the URL.
            fetch: gets the body of a URL; by default over HTTP with retries.
            page_limit: entries a page.

        Raises:
            InputError: if it is not an http or https URL.
        """
        if urlsplit(base_url).scheme not in ("http", "https"):
            raise InputError("base_url", base_url, "an http or https URL")
        root = base_url.rstrip("/").removesuffix("/structures").removesuffix("/v1")
        self._url = f"{root}/v1/structures"
        known = {k: v for k, v in OPTIMADE_LABELS.items() if k.split("_")[1] in base_url.lower()}
        self._labels = dict(labels) if labels is not None else known
        self._fetch = fetch or fetch_url
        self._page_limit = page_limit

    def search(
        self, elements: Sequence[str], max_sites: int = 20
    ) -> Iterator[tuple[Crystal | Failure, dict[str, float]]]:
        """Yield crystals and labels; see :class:`Source`.

        Raises:
            InputError: if the elements or the number of sites are not valid.
            SourceError: if the provider does not answer, or not as OPTIMADE says.
        """
        return self._search(_subsets(elements), _sites(max_sites))

    def _search(
        self, systems: list[tuple[str, ...]], max_sites: int
    ) -> Iterator[tuple[Crystal | Failure, dict[str, float]]]:
        for start in range(0, len(systems), _CLAUSES):
            for entry in self._entries(optimade_filter(systems[start : start + _CLAUSES], max_sites)):
                name = f"{urlsplit(self._url).netloc}/{entry.get('id', '?')}"
                item = attempt(lambda e=entry, n=name: from_optimade(e, n), name)  # type: ignore[misc]
                yield item.result, _numbers(entry.get("attributes") or {}, self._labels)

    def _entries(self, filter_text: str) -> Iterator[Mapping[str, Any]]:
        fields = ",".join((*_OPTIMADE_FIELDS, *self._labels))
        query = {"filter": filter_text, "response_fields": fields, "page_limit": self._page_limit}
        url: str | None = f"{self._url}?{urlencode(query)}"
        seen = set()
        while url:
            if url in seen:
                raise SourceError(f"{self._url} sends the same page for ever")
            seen.add(url)
            answer = _json(self._fetch(url), url)
            yield from answer["data"]
            url = _next(answer, url)


OPTIMADE_LABELS: dict[str, str] = {
    "_alexandria_formation_energy_per_atom": "formation_energy",
    "_alexandria_hull_distance": "energy_above_hull",
    "_alexandria_band_gap": "band_gap",
    "_oqmd_delta_e": "formation_energy",
    "_oqmd_stability": "energy_above_hull",
    "_oqmd_band_gap": "band_gap",
    "_jarvis_formation_energy_peratom": "formation_energy",
}
"""Providers' own fields and the property each holds, in eV/atom and eV, each on that provider's own scale."""

_OPTIMADE_FIELDS = (
    "lattice_vectors", "cartesian_site_positions", "species", "species_at_sites", "dimension_types",
    "structure_features",
)  # fmt: skip
_MP_FIELDS = (
    "material_id", "structure", "formation_energy_per_atom", "energy_above_hull", "band_gap", "bulk_modulus",
    "shear_modulus",
)  # fmt: skip


def optimade_filter(systems: Sequence[Sequence[str]], max_sites: int) -> str:
    """The OPTIMADE filter for exactly these chemical systems and at most so many sites."""
    clauses = []
    for system in systems:
        names = ",".join(f'"{symbol}"' for symbol in system)
        clauses.append(f"(elements HAS ALL {names} AND nelements={len(system)})")
    return f"({' OR '.join(clauses)}) AND nsites<={max_sites}"


def fetch_url(url: str) -> bytes:
    """Get a URL's body; waits and tries again where the server is busy.

    Raises:
        SourceError: if it cannot be had.
    """
    request = Request(url, headers={"User-Agent": "invdesign", "Accept": "application/json"})
    for attempt_number in range(_RETRIES + 1):
        try:
            with urlopen(request, timeout=_TIMEOUT) as answer:
                return bytes(answer.read())
        except HTTPError as error:
            reason, is_final = f"HTTP {error.code} {error.reason}", error.code not in (429, 500, 502, 503, 504)
        except (URLError, TimeoutError, ConnectionError) as error:
            reason, is_final = str(getattr(error, "reason", error)), False
        if is_final or attempt_number == _RETRIES:
            break
        time.sleep(2.0**attempt_number)
    raise SourceError(f"{url.split('?', maxsplit=1)[0]} does not answer: {reason}")


def _subsets(elements: Sequence[str]) -> list[tuple[str, ...]]:
    """All chemical systems of the elements, small ones first."""
    names = [elements] if isinstance(elements, str) else list(elements)
    for name in names:
        atomic_number(name)
    unique = sorted(set(names))
    if not 1 <= len(unique) <= _MOST_ELEMENTS:
        raise InputError("elements", ", ".join(unique), f"1 to {_MOST_ELEMENTS} different symbols")
    return [s for size in range(1, len(unique) + 1) for s in combinations(unique, size)]


def _sites(max_sites: int) -> int:
    if isinstance(max_sites, bool) or not isinstance(max_sites, int) or max_sites < 1:
        raise InputError("max_sites", max_sites, "a whole number of at least 1")
    return max_sites


def _mp_client(api_key: str | None) -> Any:
    try:
        from mp_api.client import MPRester
    except ImportError:
        raise MissingDependencyError("mp-api", "online") from None
    key = api_key or os.environ.get("MP_API_KEY")
    if not key:
        raise InputError("MP_API_KEY", key, "a key from materialsproject.org in this environment variable")
    return MPRester(key)


def _field(document: Any, name: str) -> Any:
    return document.get(name) if isinstance(document, Mapping) else getattr(document, name, None)


def _structure(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    from pymatgen.core import Structure

    return Structure.from_dict(dict(value))


def _mp_labels(document: Any) -> dict[str, float]:
    found = {
        "formation_energy": _field(document, "formation_energy_per_atom"),
        "energy_above_hull": _field(document, "energy_above_hull"),
        "band_gap": _field(document, "band_gap"),
        "bulk_modulus": _field(_field(document, "bulk_modulus") or {}, "vrh"),
        "shear_modulus": _field(_field(document, "shear_modulus") or {}, "vrh"),
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def _numbers(attributes: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, float]:
    found = {}
    for name, label in labels.items():
        value = attributes.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found[label] = float(value)
    return found


def _json(body: bytes, url: str) -> dict[str, Any]:
    where = url.split("?", maxsplit=1)[0]
    try:
        answer = json.loads(body)
    except ValueError:
        raise SourceError(f"{where} did not answer in JSON") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("data"), list):
        errors = answer.get("errors") if isinstance(answer, dict) else None
        detail = errors[0].get("detail") or errors[0].get("title") if errors else "there is no list of data"
        raise SourceError(f"{where} did not answer as OPTIMADE says: {detail}")
    return answer


def _next(answer: Mapping[str, Any], url: str) -> str | None:
    """The next page's URL: a string, an object with `href`, relative, or none."""
    link = (answer.get("links") or {}).get("next")
    link = link.get("href") if isinstance(link, Mapping) else link
    if not link:
        return None
    following = urljoin(url, str(link))
    if urlsplit(following).scheme not in ("http", "https"):
        raise SourceError(f"{url.split('?', maxsplit=1)[0]} points to a page that is no URL: {link}")
    return following
