"""The report in a browser: phone, desktop, wide window and paper; keyboard, console, network, contrast.

Needs Playwright and Chromium on the path; skipped without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import pytest
from chromium import CUT_OFF, PATIENCE
from run_folder import run_folder

WIDTHS = (390, 1280, 2560)
PAPER = 703
"""Width of an A4 page within its margins of 12 mm, CSS pixels."""
MOST_SECONDS = 2.0
"""Within which a report of 200 candidates opens."""

pytestmark = chromium.MARKS
OVERLAPS = """() => {
  const right = e => e.getBoundingClientRect().right, seen = e => e.getClientRects().length;
  return [...document.querySelectorAll('#candidates > tbody.one > tr:first-child > *')].filter(seen)
    .filter(c => [...c.querySelectorAll('button, .m, .e, small')].some(e => seen(e) && right(e) > right(c) + 1))
    .map(c => c.textContent);
}"""
"""Cells of the table whose content stands out of them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("run"), 8)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.started() as found:
        yield found


@pytest.fixture
def opened(browser: Any, folder: Path) -> Iterator[Any]:
    """Opens the report in a window of some width; words on the console and calls to a network are failures."""
    pages: list[Any] = []
    said: list[str] = []

    def at(width: int, scheme: str = "light") -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        chromium.listening(page, said)
        page.on(
            "request", lambda r: said.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None
        )
        page.goto((folder / "report.html").as_uri())
        pages.append(page)
        return page

    yield at
    for page in pages:
        page.close()
    assert [line for line in said if "GPU stall" not in line and "WebGL" not in line] == []


def scroll_through(page: Any) -> None:
    """Bring everything into view once, so that it is drawn."""
    height = page.evaluate("document.documentElement.scrollHeight")
    for y in range(0, height, 600):
        page.evaluate(f"scrollTo(0, {y})")
        page.wait_for_timeout(80)
    page.evaluate("scrollTo(0, 0)")


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_off(opened: Any, width: int) -> None:
    page = opened(width)
    page.locator("tbody.one .open").first.click()
    scroll_through(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(CUT_OFF) == []
    assert page.evaluate(OVERLAPS) == []
    assert page.locator(".js-plotly-plot").count() >= 5
    first = page.locator("tbody.one").first
    assert first.locator("> tr").first.bounding_box()["height"] < 80
    assert first.locator("td.number:visible").count() >= 2


@pytest.mark.parametrize("width", WIDTHS)
def test_the_bounds_open_within_the_window(opened: Any, width: int) -> None:
    page = opened(width)
    page.locator(".bounds summary").click()
    assert page.locator("#bounds input:visible").count() >= 8
    assert page.evaluate(CUT_OFF) == []
    page.locator("#bounds input").first.fill("1e6")
    assert page.locator("tbody.one:visible").count() == 0


def test_two_hundred_candidates_open_in_two_seconds(browser: Any, tmp_path: Path) -> None:
    """Time of the processor, for a machine may be busy with other things: reading, layout and scripts together."""
    report = run_folder(tmp_path, 200) / "report.html"
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(report.as_uri())
    assert page.locator("tbody.one:visible").count() == 200
    spent = {entry["name"]: entry["value"] for entry in session.send("Performance.getMetrics")["metrics"]}
    page.close()
    assert 0.0 < spent["TaskDuration"] < MOST_SECONDS


def test_nothing_is_cut_off_on_paper(opened: Any, tmp_path: Path) -> None:
    page = opened(1280)
    page.locator("tbody.one .open").first.click()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.set_viewport_size({"width": PAPER, "height": 1000})
    page.emulate_media(media="print")
    page.wait_for_timeout(500)
    assert page.evaluate(CUT_OFF) == []
    boxes = page.evaluate(
        "(() => { const tall = e => e.getBoundingClientRect().height;"
        "return [...document.querySelectorAll('.js-plotly-plot')].filter(b => b.offsetParent)"
        ".map(b => [b.id, tall(b), tall(b.querySelector('.svg-container'))]); })()"
    )
    assert len(boxes) >= 4
    assert [name for name, room, drawn in boxes if drawn > room + 1] == []
    assert page.locator("#candidates .on-paper:visible").count() >= 4
    page.pdf(path=tmp_path / "a4.pdf", format="A4", prefer_css_page_size=True)
    assert (tmp_path / "a4.pdf").stat().st_size > 50_000


def test_the_keyboard_reaches_a_candidate_and_opens_it(opened: Any) -> None:
    page = opened(1280)
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.className + document.activeElement.id"))
        if reached[-1].startswith("open"):
            break
    assert reached[0] == "skip" and reached[-1].startswith("open") and "find" in reached
    page.keyboard.press("Enter")
    assert page.locator("#page-c1").is_visible()
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"


def test_rows_sort_and_filter(opened: Any) -> None:
    page = opened(1280)
    shown = page.locator("tbody.one:visible")
    assert shown.count() == 8
    page.locator("th.v1 button").click()
    values = page.evaluate("[...document.querySelectorAll('tbody.one td.v1')].map(c => Number(c.dataset.value))")
    assert values == sorted(values, reverse=True)
    formula = page.locator("tbody.one .name").first.get_attribute("data-value")
    page.locator("#find").fill(formula)
    assert 1 <= shown.count() < 8 and page.locator("#count").inner_text().endswith("of 8 shown")
    page.locator("#clear").click()
    assert shown.count() == 8


def test_the_crystal_turns(opened: Any) -> None:
    page = opened(1280)
    page.locator("tbody.one .open").first.click()
    assert page.locator("#page-c1 .poster svg circle").count() > 1
    page.locator("#page-c1 .crystal .turn").click()
    page.locator("#page-c1 .crystal canvas").first.wait_for()


def test_a_link_to_a_candidate_opens_its_page(opened: Any, folder: Path) -> None:
    page = opened(1280)
    page.evaluate("location.hash = 'c3'")
    page.locator("#page-c3").wait_for(state="visible")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened: Any, scheme: str) -> None:
    page = opened(1280, scheme)
    page.locator("tbody.one .open").first.click()
    scroll_through(page)
    assert chromium.serious(page) == []
