"""Take a picture of a run's report for the README: `docs/first_run.png`.

    python scripts/picture_of_report.py runs/first docs/first_run.png [--height 1500]

Needs Chromium or Chrome on the path.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1400)
    parser.add_argument("--height", type=int, default=1500)
    arguments = parser.parse_args()
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is on the path")
    page = (arguments.run / "report.html").resolve(strict=True)
    with tempfile.TemporaryDirectory() as home:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={home}"]
        size = f"--window-size={arguments.width},{arguments.height}"
        picture = arguments.picture.resolve()
        subprocess.run([browser, *flags, size, f"--screenshot={picture}", page.as_uri()], check=True)
    print(f"wrote {arguments.picture}")


if __name__ == "__main__":
    main()
