"""Tables of results that come back, as spreadsheets and people write them: read right, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from invdesign.engine.feedback import read, value_of
from invdesign.errors import InputError

IDS = {"cif/001.cif": "c1", "cif/002.cif": "c2"}


def values(content: str | bytes, folder: Path) -> dict[str, dict[str, float]]:
    path = folder / "results.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return {name: {k: v.mean for k, v in found.items()} for name, found in read(path, IDS).items()}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("id,bulk_modulus\nc1,250\n", {"c1": {"bulk_modulus": 250.0}}),
        ("\ufeffid,bulk_modulus\r\nc1,250\r\n", {"c1": {"bulk_modulus": 250.0}}),
        ("id,bulk_modulus\n\nc1,250\n\n", {"c1": {"bulk_modulus": 250.0}}),
        ("file,K_VRH\ncif/001.cif,2.5e2\ncif/002.cif,90\n",
         {"c1": {"bulk_modulus": 250.0}, "c2": {"bulk_modulus": 90.0}}),
        ("id,file,density\nc1,cif/001.cif, 5.1 \n", {"c1": {"density": 5.1}}),
        ('id,density,note\nc1,5.1,"two\nlines, =1+1"\n', {"c1": {"density": 5.1}}),
        ("id,density,band_gap\nc1,,0\n", {"c1": {"band_gap": 0.0}}),
        ("id,density,band_gap\nc1,n/a,-\nc2,3,-\n", None),
        ("id,energy_above_hull\nc1,-0.05\n", {"c1": {"energy_above_hull": -0.05}}),
        ("id,density,density_std\nc1,5.1,0\n", {"c1": {"density": 5.1}}),
    ],
)  # fmt: skip
def test_tables_that_are_read(text: str, found: dict[str, dict[str, float]] | None, tmp_path: Path) -> None:
    if found is None:
        with pytest.raises(InputError, match="line 2"):
            values(text, tmp_path)
    else:
        assert values(text, tmp_path) == found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id;bulk_modulus\nc1;250\n", "'id;bulk_modulus'"), ("id\tbulk_modulus\nc1\t250\n", "column"),
        ('id,bulk_modulus\nc1,"2,5"\n', "'2,5'"), ('id,bulk_modulus\nc1,"1,250"\n', "'1,250'"),
        ("id,bulk_modulus\nc1,250 GPa\n", "'250 GPa'"),
        ("id,bulk_modulus (GPa)\nc1,250\n", "'bulk_modulus (GPa)'"),
        ("id,log10(K_VRH)\nc1,2.4\n", "'log10(K_VRH)'"),
        ("id,bulk_modulus\nc1,250\nc1,260\n", "line 3"), ("file,bulk_modulus\n001.cif,250\n", "'001.cif'"),
        ("file,bulk_modulus\n../cif/001.cif,250\n", "'../cif/001.cif'"),
        ("id,file,bulk_modulus\nc2,cif/001.cif,250\n", "'c2'"),
        ("id,bulk_modulus\nc1,\n", "a value of at least one"), ("id,bulk_modulus\nc1,inf\n", "'inf'"),
        ("id,bulk_modulus\nc1,-5\n", "0.1 to 700"),
        ("id,bulk_modulus\nc1,9999\n", "0.1 to 700"),
        ("id,bulk_modulus,bulk_modulus_std\nc1,250,-1\n", "bulk_modulus_std"),
        ("id,bulk_modulus,bulk_modulus_std\nc1,,5\n", "a value of at least one"),
        ("id,bulk_modulus\nc1,250,3\n", "as many cells"),
        ("id,stiffness\nc1,3\n", "'stiffness'"), ("bulk_modulus\n250\n", "id or file"),
        ("id\nc1\n", "a value of at least one"),
        ("", "id or file"), ("id,bulk_modulus\n", "at least one row"), ("id,bulk_modulus\n ,250\n", "id: ''"),
        ("id,energy_above_hull\nc1,-2\n", "-1 to 5"),
        ("id,bulk_modulus,bulk_modulus\nc1,250,260\n", "one column of bulk_modulus"),
        ("id,bulk_modulus,k_vrh\nc1,250,260\n", "one column of bulk_modulus"),
        ("id,id,bulk_modulus\nc1,c2,250\n", "one column of id"),
        ("id,bulk_modulus\nc1,250\n".encode("utf-16"), "readable CSV"),
        (b"id,bulk_modulus\nc1,\xff\n", "readable CSV"),
        ("id,bulk_modulus\nc1,=250\n", "'=250'"), ("id,bulk_modulus\nc1,True\n", "'True'"),
        ("id,bulk_modulus\nc1,0x10\n", "'0x10'"),
    ],
)  # fmt: skip
def test_tables_that_are_refused_in_one_line(content: str | bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        values(content, tmp_path)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_property_and_its_error_are_two_columns(tmp_path: Path) -> None:
    assert values("id,density,density_std\nc1,5.1,0.1\n", tmp_path) == {"c1": {"density": 5.1}}


@pytest.mark.parametrize(
    ("name", "mean", "low", "high"),
    [("density", 5.0, 5.0, 5.0), ("band_gap", 0.0, 0.0, 0.0), ("poisson_ratio", -0.2, -0.2, -0.2)],
)
def test_an_error_of_zero_has_no_interval(name: str, mean: float, low: float, high: float) -> None:
    value = value_of(name, mean, 0.0)
    assert (value.mean, value.low, value.high) == pytest.approx((mean, low, high))


@pytest.mark.parametrize(
    ("name", "mean"), [("density", 0.0), ("band_gap", -0.1), ("poisson_ratio", 0.7), ("bulk_modulus", 1e9)]
)
def test_values_that_no_solid_has(name: str, mean: float) -> None:
    with pytest.raises(InputError, match=name):
        value_of(name, mean)
