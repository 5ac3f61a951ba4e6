"""Live sources on recorded answers: what is asked, how pages are followed, what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from invdesign.crystal import Crystal
from invdesign.data.online import (
    MaterialsProject,
    Optimade,
    Source,
    SourceError,
    fetch_url,
    optimade_filter,
)
from invdesign.errors import InputError, MissingDependencyError
from invdesign.records import Failure

DATA = Path(__file__).parent / "data"
BASE = "https://alexandria.example.org/pbe"


class Recorded:
    """Hands out recorded pages and keeps the URLs that were asked for."""

    def __init__(self, pages: list[Any]) -> None:
        self.pages, self.asked = list(pages), list[str]()

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        page = self.pages.pop(0)
        return page if isinstance(page, bytes) else json.dumps(page).encode()


def pages() -> list[dict[str, Any]]:
    recorded: list[dict[str, Any]] = json.loads((DATA / "optimade_pages.json").read_text())["pages"]
    return recorded


def empty() -> dict[str, Any]:
    return {"data": [], "links": {"next": None}, "meta": {}}


def test_optimade_pages_are_followed() -> None:
    fetch = Recorded(pages())
    found = list(Optimade(BASE, fetch=fetch).search(["Ti", "N"], max_sites=8))
    kinds = [type(item) for item, _ in found]
    assert kinds == [Crystal, Failure, Crystal, Failure]
    first, labels = found[0]
    assert isinstance(first, Crystal)
    assert first.numbers.tolist() == [22, 7]
    assert first.source == "alexandria.example.org/agm001"
    assert labels == {"formation_energy": -1.89, "energy_above_hull": 0.0, "band_gap": 0.0}
    assert found[2][1] == {"formation_energy": 0.0, "energy_above_hull": 0.0}
    assert "vacancy" in found[1][0].reason  # type: ignore[union-attr]
    assert "left lattice" in found[3][0].reason  # type: ignore[union-attr]
    assert fetch.asked[1] == "https://alexandria.example.org/pbe/v1/structures?page_offset=2"


def test_optimade_asks_for_these_elements_and_no_others() -> None:
    fetch = Recorded([empty()])
    assert list(Optimade(f"{BASE}/v1/", fetch=fetch).search(["Ti", "N", "Ti"], max_sites=8)) == []
    address = urlsplit(fetch.asked[0])
    query = parse_qs(address.query)
    assert address.path == "/pbe/v1/structures"
    assert query["filter"] == [
        '((elements HAS ALL "N" AND nelements=1) OR (elements HAS ALL "Ti" AND nelements=1) OR '
        '(elements HAS ALL "N","Ti" AND nelements=2)) AND nsites<=8'
    ]
    fields = query["response_fields"][0].split(",")
    assert "_alexandria_hull_distance" in fields
    assert "_oqmd_stability" not in fields
    assert {"lattice_vectors", "cartesian_site_positions", "species", "species_at_sites"} <= set(fields)


def test_many_elements_are_asked_in_portions() -> None:
    fetch = Recorded([empty()] * 8)
    assert list(Optimade(BASE, fetch=fetch).search(["Ti", "N", "B", "C", "W", "O"])) == []
    assert len(fetch.asked) == 8  # 63 chemical systems
    assert sum(url.count("HAS") for url in fetch.asked) == 63


def test_filter_grammar_holds_for_an_outside_parser() -> None:
    parser = pytest.importorskip("optimade.filterparser")
    assert parser.LarkParser().parse(optimade_filter([("B",), ("B", "Ti")], 20))


def test_own_labels() -> None:
    page = pages()[1]
    page["data"][0]["attributes"]["_mine_k"] = 110
    found = list(Optimade(BASE, labels={"_mine_k": "bulk_modulus"}, fetch=Recorded([page])).search(["Ti"]))
    assert found[0][1] == {"bulk_modulus": 110.0}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"<html>Bad gateway</html>", "did not answer in JSON"),
        ({"errors": [{"status": "400", "title": "Bad Request", "detail": "no such field"}]}, "no such field"),
        ({"data": {"id": 1}}, "no list of data"),
        ([], "no list of data"),
        ({"data": [], "links": {"next": "file:///etc/passwd"}}, "no URL"),
    ],
)
def test_wrong_answers_are_said(answer: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        list(Optimade(BASE, fetch=Recorded([answer])).search(["Ti"]))


def test_a_page_that_points_to_itself_ends() -> None:
    page = pages()[0]
    with pytest.raises(SourceError, match="for ever"):
        list(Optimade(BASE, fetch=Recorded([page] * 5)).search(["Ti"]))


class Client:
    """Stands where `MPRester` does, with recorded summary documents."""

    def __init__(self, documents: list[Any]) -> None:
        self.asked: dict[str, Any] = {}
        self.materials = SimpleNamespace(summary=SimpleNamespace(search=self.search))
        self.documents = documents

    def search(self, **query: Any) -> list[Any]:
        self.asked = query
        return self.documents


def summary(as_objects: bool) -> list[Any]:
    from pymatgen.core import Structure

    documents: list[dict[str, Any]] = json.loads((DATA / "mp_summary.json").read_text())
    if not as_objects:
        return documents
    for document in documents:
        document["structure"] = Structure.from_dict(document["structure"])
        for name in ("bulk_modulus", "shear_modulus"):
            document[name] = document[name] and SimpleNamespace(**document[name])
    return [SimpleNamespace(**document) for document in documents]


@pytest.mark.parametrize("as_objects", [True, False])
def test_materials_project(as_objects: bool) -> None:
    client = Client(summary(as_objects))
    found = list(MaterialsProject(client=client).search(["Ti", "N"], max_sites=6))
    assert client.asked["chemsys"] == ["N", "Ti", "N-Ti"]
    assert client.asked["num_sites"] == (1, 6)
    crystal, labels = found[0]
    assert isinstance(crystal, Crystal)
    assert (crystal.source, crystal.numbers.tolist()) == ("mp-492", [22, 7])
    assert labels == {
        "formation_energy": -1.9, "energy_above_hull": 0.0, "band_gap": 0.0, "bulk_modulus": 260.1,
        "shear_modulus": 181.0,
    }  # fmt: skip
    assert found[1][1] == {"formation_energy": -1.03, "energy_above_hull": 0.0, "band_gap": 0.0}
    assert isinstance(found[2][0], Failure)


def test_a_failing_materials_project_is_said() -> None:
    class Broken(Client):
        def search(self, **query: Any) -> list[Any]:
            raise RuntimeError("REST query returned with error status code 502")

    with pytest.raises(SourceError, match="502"):
        list(MaterialsProject(client=Broken([])).search(["Ti"]))


def test_without_the_client_or_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "mp_api.client", None)
    with pytest.raises(MissingDependencyError, match=r"invdesign\[online\]"):
        MaterialsProject()
    monkeypatch.setitem(sys.modules, "mp_api.client", SimpleNamespace(MPRester=lambda key: key))  # type: ignore[arg-type]
    monkeypatch.delenv("MP_API_KEY", raising=False)
    with pytest.raises(InputError, match="MP_API_KEY"):
        MaterialsProject()


@pytest.mark.parametrize("source", [Optimade(BASE, fetch=Recorded([])), MaterialsProject(client=Client([]))])
def test_wrong_questions_are_refused_at_once(source: Source) -> None:
    with pytest.raises(InputError, match="element"):
        source.search(["Xx"])
    with pytest.raises(InputError, match="elements"):
        source.search([])
    with pytest.raises(InputError, match="elements"):
        source.search(["H", "C", "N", "O", "F", "S", "P"])
    with pytest.raises(InputError, match="max_sites"):
        source.search(["Ti"], max_sites=0)


def test_only_web_addresses() -> None:
    with pytest.raises(InputError, match="base_url"):
        Optimade("alexandria")


def test_http_errors_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from email.message import Message
    from urllib.error import HTTPError

    from invdesign.data import online

    codes = [503, 404]
    waited: list[float] = []

    def refuse(request: Any, timeout: float) -> Any:
        raise HTTPError(request.full_url, codes.pop(0), "no", Message(), None)

    monkeypatch.setattr(online, "urlopen", refuse)
    monkeypatch.setattr(online.time, "sleep", waited.append)
    with pytest.raises(SourceError, match=r"https://x.org/a does not answer: HTTP 404"):
        fetch_url("https://x.org/a?b=c")
    assert waited == [1.0]
