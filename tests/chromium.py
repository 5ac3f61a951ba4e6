"""Chromium for the tests of pages: where it is, how it is started, and what must not be seen in a page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytest

PATH = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
PATIENCE = 180_000
"""Milliseconds to wait for a step, on a machine that may be busy."""
WHY_NOT = (
    "no Playwright: pip install 'invdesign[browser]'"
    if find_spec("playwright") is None
    else "no Chromium on the path, for example Debian's package chromium"
)
MARKS = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(PATH is None or find_spec("playwright") is None, reason=WHY_NOT),
]
CUT_OFF = """() => {
  const clips = e => ['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(e).overflowX);
  const inside = e => { for (let p = e; p && p !== document.body; p = p.parentElement) if (clips(p)) return true;
  };
  const out = box => box.right > innerWidth + 1 || box.left < -1;
  return [...document.querySelectorAll('body *')]
    .filter(e => e.getClientRects().length && !e.closest('svg') && !e.closest('.hidden') && !inside(e))
    .filter(e => out(e.getBoundingClientRect())).map(e => e.outerHTML.slice(0, 120));
}"""
"""Elements that stand out of the window, beside those in boxes that scroll."""


@contextmanager
def started() -> Iterator[Any]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=PATH, args=["--no-sandbox"], timeout=PATIENCE)
        yield found
        found.close()


def listening(page: Any, said: list[str]) -> Any:
    """Write down what the console of a page says of errors."""
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return page


def serious(page: Any) -> list[tuple[str, str]]:
    """What axe finds serious or critical: the rule, and the first element."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(v["id"], v["nodes"][0]["html"][:160]) for v in found if v["impact"] in ("serious", "critical")]
