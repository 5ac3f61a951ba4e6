"""Take the pictures of the report and of the local page for the README and the docs.

    python scripts/pictures.py runs/first docs [--height 1500]

writes `first_run.png` (the report of the run), `app_compose.png` and `app_run.png` (the local page) into a folder.
Needs Playwright (`pip install 'invdesign[app,browser]'`) and Chromium or Chrome on the path.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
COLOURS = 160
"""Colours of a picture: pages have few, and files stay small."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1400)
    parser.add_argument("--height", type=int, default=1500)
    arguments = parser.parse_args()
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is on the path")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        size = {"width": arguments.width, "height": arguments.height}
        page = chromium.new_page(viewport=size, color_scheme="light")
        page.goto((arguments.run / "report.html").resolve(strict=True).as_uri())
        page.wait_for_timeout(2000)
        take(page, arguments.out / "first_run.png")
        address = served(arguments.run, Path(folder))
        page.goto(address)
        base = address.partition("/?")[0]
        page.goto(f"{base}/compose")
        page.locator("[name=component]").select_option("cutting_tool")
        ask(page, "bulk_modulus", "250")
        page.get_by_role("button", name="Add a property").click()
        ask(page, "density", "8", "max")
        page.get_by_role("button", name="Cobalt").click()
        page.get_by_role("button", name="toxic").click()
        page.locator("#estimate").click()
        page.locator("#answer", has_text="relaxations in").wait_for(timeout=180_000)
        page.evaluate("document.activeElement.blur()")
        take(page, arguments.out / "app_compose.png", full=True)
        page.goto(f"{base}/runs/{arguments.run.resolve().name}")
        take(page, arguments.out / "app_run.png")
        chromium.close()


def ask(page: Any, name: str, value: str, operator: str = "min") -> None:
    """Fill in the last row of properties."""
    row = page.locator(".target").last
    row.locator("[name=target_property]").select_option(name)
    row.locator("[name=target_operator]").select_option(operator)
    row.locator("[name=target_value]").fill(value)
    row.locator(".words", has_text="known crystals").wait_for(timeout=60_000)


def served(run: Path, folder: Path) -> str:
    """Serve a copy of a run, and say under which address."""
    from invdesign.web.folder import Runs
    from invdesign.web.server import application, listening

    shutil.copytree(run, folder / run.resolve().name)
    import uvicorn

    runs, socket = Runs.of(folder), listening("127.0.0.1", 0)
    port = socket.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(application(runs, port), log_level="warning"))
    threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    return f"http://127.0.0.1:{port}/?token={runs.token()}"


def take(page: Any, path: Path, full: bool = False) -> None:
    """Take a picture of what is seen, or of the whole page."""
    from PIL import Image

    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=path, full_page=full)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
