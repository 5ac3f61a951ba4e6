"""Fetch the libraries that a report carries into `invdesign/report/assets`, with their licences and data sheet.

    python scripts/build_report_assets.py

Needs npm. Versions are fixed here; the files are the packages' own published builds, unchanged.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

ASSETS = Path(__file__).resolve().parent.parent / "invdesign" / "report" / "assets"
PACKAGES = (
    ("plotly.js-basic-dist-min", "4.1.1", "plotly-basic.min.js", "plotly-basic.min.js", "MIT", "charts"),
    ("3dmol", "2.5.5", "build/3Dmol-min.js", "3Dmol-min.js", "BSD-3-Clause", "crystals and surfaces in 3-D"),
)
"""Package, version, file in it, name here, licence, what for."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder to write into")
    out = parser.parse_args().out
    rows = []
    for package, version, inside, name, licence, purpose in PACKAGES:
        content, terms = fetched(package, version, inside)
        if b"</script" in content.lower():
            raise SystemExit(f"{package} {version}: {inside} holds </script and cannot stand in a page")
        (out / name).write_bytes(content)
        (out / f"{name.split('.')[0]}.LICENSE.txt").write_bytes(terms)
        digest = hashlib.sha256(content).hexdigest()
        rows.append(
            f"| `{name}` | {package} {version} (npm) | {licence} | {purpose} | {len(content):,} | `{digest}` |"
        )
    (out / "assets.md").write_text(SHEET.format(rows="\n".join(rows)), encoding="utf-8")
    print("\n".join(rows))


def fetched(package: str, version: str, inside: str) -> tuple[bytes, bytes]:
    """One file of a published package, and its licence."""
    with tempfile.TemporaryDirectory() as home:
        command = ["npm", "pack", f"{package}@{version}", "--silent", "--pack-destination", home]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(home).glob("*.tgz")
        with tarfile.open(archive) as tar:
            return member(tar, f"package/{inside}"), member(tar, "package/LICENSE")


def member(tar: tarfile.TarFile, name: str) -> bytes:
    stream = tar.extractfile(name)
    if stream is None:
        raise SystemExit(f"the package has no {name}")
    return stream.read()


SHEET = """# Libraries of the report

Copies of published builds, unchanged; their licences lie beside them. Made by `scripts/build_report_assets.py`.

| file | package | licence | for | bytes | SHA-256 |
| --- | --- | --- | --- | --- | --- |
{rows}
"""


if __name__ == "__main__":
    main()
