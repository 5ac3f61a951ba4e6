"""The check of licences in `.ci`: which fit beside MIT, and that this environment's do."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def licences() -> ModuleType:
    path = Path(__file__).parent.parent / ".ci" / "licences.py"
    spec = importlib.util.spec_from_file_location("licences", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "text",
    [
        "MIT",
        "MIT License",
        "BSD-3-Clause",
        "Apache-2.0 WITH LLVM-exception",
        "Apache Software License / MIT License",
        "MPL-2.0",
        "Mozilla Public License 2.0 (MPL 2.0)",
        "LGPL-2.1-or-later",
        "GNU LESSER GENERAL PUBLIC LICENSE",
        "GNU Lesser General Public License v3 (LGPLv3)",
        "LGPLv3 or BSD",
        "GPL-3.0-only OR MIT",
        "PSF-2.0",
        "ISC",
        "HPND",
    ],
)
def test_these_fit(licences: ModuleType, text: str) -> None:
    assert licences.fits(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GPL-3.0-or-later",
        "GPLv3",
        "AGPL-3.0-only",
        "GNU General Public License v3 (GPLv3)",
        "GNU Affero General Public License v3",
        "MIT AND GPL-2.0-only",
        "Proprietary",
        "Academic use only",
        "see LICENSE",
    ],
)
def test_these_do_not(licences: ModuleType, text: str) -> None:
    assert not licences.fits(text)


def test_the_expression_comes_first_then_classifiers_then_the_field(licences: ModuleType) -> None:
    classifiers = ["License :: OSI Approved :: MIT License", "Topic :: Chemistry"]
    assert licences.licence("x", "BSD-3-Clause", classifiers, "GPL") == "BSD-3-Clause"
    assert licences.licence("x", "", classifiers, "GPL") == "MIT License"
    assert licences.licence("x", "", ["License :: OSI Approved"], "ISC\nmore") == "ISC"
    assert licences.licence("symfc", "", [], "") == "BSD-3-Clause"
