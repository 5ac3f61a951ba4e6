"""Custom properties: the process, training with honest errors, files, tables, and their use in queries."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invdesign import build, properties
from invdesign.app import models
from invdesign.cli import run
from invdesign.crystal import Crystal
from invdesign.crystallography.genes import decode
from invdesign.engine.feedback import read
from invdesign.engine.wishes import resolved
from invdesign.errors import InputError, InvdesignError, ReferenceMissingError, TrainingError
from invdesign.properties import PROPERTIES, custom_property, known_properties, property_in
from invdesign.query import Query
from invdesign.records import Estimate, Value
from invdesign.reference.local import load_known
from invdesign.report.export import plain_cif
from invdesign.selection.targets import target_probability
from invdesign.surrogates import load_gate
from invdesign.surrogates.custom.own import CustomSettings, read_custom, report, train_custom
from invdesign.surrogates.custom.process import _loss, fit_process
from invdesign.surrogates.custom.regression import FOLDS, Labels, folds_of, leave_out
from invdesign.surrogates.custom.transfer import TransferSurrogate, WithCustom, load_transfer, train

NAME = "my_stiffness"


@pytest.fixture(scope="module")
def crystals() -> list[Crystal]:
    known = load_known()
    found = decode([known[i].gene for i in range(0, len(known), 97)])
    return [c for c in found if c.n_sites <= 6][:80]


def truth(crystal: Crystal) -> float:
    """Something that composition and volume decide."""
    return float(crystal.numbers.mean() / (crystal.volume / crystal.n_sites))


def table(crystals: list[Crystal], values: list[float], path: Path, **more: object) -> Path:
    cells = {
        "lattice_parameters": [json.dumps(list(map(float, c.lattice_parameters))) for c in crystals],
        "atomic_numbers": [json.dumps(c.numbers.tolist()) for c in crystals],
        "frac_coords": [json.dumps(c.frac_coords.ravel().tolist()) for c in crystals],
    }
    pd.DataFrame(cells | {NAME: values} | more).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def trained(crystals: list[Crystal], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("own")
    data = table(crystals, [truth(c) for c in crystals], folder / "data.csv")
    return models.train_property(data, None, folder / "own.safetensors", property=NAME, unit="1/Å³")


# the process


def test_the_gradient_of_the_loss_is_its_slope() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 12, 3))
    squares = [((b[:, None] - b[None]) ** 2).sum(-1) / 3 for b in (x, y)]
    products = [b @ b.T / 3 for b in (x, y)]
    start = np.log(np.array([0.5, 0.7, 1.0, 1.5, 0.2, 0.4, 0.3]))
    targets, at = rng.normal(size=12), start + 0.3
    slope = _loss(at, start, squares, products, targets)[1]
    for k in range(7):
        step = np.eye(7)[k] * 1e-5
        up, down = (_loss(at + s, start, squares, products, targets)[0] for s in (step, -step))
        assert slope[k] == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-5)


def test_a_process_learns_a_line_and_doubts_far_away() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 4))
    y = 3.0 * x[:, 0] + 1.0 + 0.05 * rng.normal(size=60)
    process = fit_process(x, y, (2, 2))
    mean, std = process.predict(np.array([[1.0, 0, 0, 0], [0.0, 0, 0, 0], [6.0, 6, 6, 6]]))
    assert mean[:2] == pytest.approx([4.0, 1.0], abs=0.15)
    assert std[2] > 2.0 * std[0] > 0.0


def test_a_column_that_never_changes_says_nothing() -> None:
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(size=(30, 1)), np.ones((30, 1))], axis=1)
    process = fit_process(x, x[:, 0], (1, 1))
    far = process.predict(np.array([[0.5, 1.0], [0.5, 9.0]]))[0]
    assert far[0] == pytest.approx(far[1])


# training


def test_folds_share_no_chemical_system_and_are_equally_full() -> None:
    systems = np.array([f"s{k // 3}" for k in range(90)])
    fold = folds_of(systems, np.arange(90))
    assert all(len(set(fold[systems == s])) == 1 for s in set(systems))
    assert np.bincount(fold, minlength=FOLDS).tolist() == [18] * FOLDS


def test_errors_are_of_chemical_systems_left_out() -> None:
    """Labels that depend on the system alone, in a way that says nothing of other systems, cannot be learned."""
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(30), 4)
    labels = Labels(np.eye(30)[which], rng.normal(size=30)[which], None, which.astype(str), (30,))
    out = leave_out(labels)
    error = np.abs(out.guessed[0] - labels.values[out.rows]).mean()
    assert error > 0.9 * np.abs(out.constant - labels.values[out.rows]).mean()


def test_a_learnable_property_is_learned_and_its_intervals_hold(trained: tuple[Path, str]) -> None:
    transfer = load_transfer(trained[0])
    last = transfer.notes["curve"][-1]
    assert last["error"] < 0.5 * last["constant"]
    assert last["gain in standard errors"] > 2.0
    assert 0.75 <= last["coverage"] <= 1.0
    assert transfer.prop.unit == "1/Å³"
    assert "WARNING" not in trained[1]
    most = int(0.8 * transfer.notes["labels"])
    assert [p["labels"] for p in transfer.notes["curve"]] == [*(n for n in (25, 50) if n < most), most]


def test_noise_is_called_noise(crystals: list[Crystal], tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(size=len(crystals)).tolist()
    transfer = train_custom(load_gate().model, table(crystals, values, tmp_path / "x.csv"), CustomSettings(NAME))
    assert "not shown to be better" in report(transfer)


def test_few_labels_are_called_a_guess_and_fewer_are_refused(crystals: list[Crystal], tmp_path: Path) -> None:
    gate = load_gate().model
    some = crystals[:20]
    transfer = train_custom(gate, table(some, [truth(c) for c in some], tmp_path / "x.csv"), CustomSettings(NAME))
    assert "as a guess" in report(transfer)
    path = table(some[:10], [truth(c) for c in some[:10]], tmp_path / "y.csv")
    with pytest.raises(TrainingError, match="10 labels of"):
        train_custom(gate, path, CustomSettings(NAME))
    with pytest.raises(TrainingError, match="all labels"):
        train_custom(gate, table(some, [1.0] * 20, tmp_path / "z.csv"), CustomSettings(NAME))


def test_a_cheap_label_helps() -> None:
    """The high-fidelity label is twice a low-fidelity one that the columns say little of."""
    rng = np.random.default_rng(5)
    x, hidden = rng.normal(size=(2, 120, 3))
    low_fidelity = hidden[:, 0] + 0.2 * x[:, 0]
    values = np.where(np.arange(120) < 50, 2.0 * low_fidelity + 0.1 * x[:, 1], np.nan)
    labels = Labels(x, values, low_fidelity, np.arange(120).astype(str), (3,))
    transfer = train(custom_property(NAME, "", -9.0, 9.0, False), labels, "gate", "low_fidelity")
    last = transfer.notes["curve"][-1]
    assert last["error with the low-fidelity label"] < 0.2 * last["error without low-fidelity labels"]
    assert transfer.regression.ratio == pytest.approx(2.0, abs=0.2)
    with_it, without = (transfer.values(x[60:61], c)[0] for c in (low_fidelity[60:61], None))
    assert with_it.std < 0.5 * without.std
    assert with_it.mean == pytest.approx(2.0 * low_fidelity[60], abs=0.5)


def test_too_few_cheap_labels_are_refused() -> None:
    x = np.random.default_rng(5).normal(size=(40, 3))
    labels = Labels(x, x[:, 0], np.where(np.arange(40) < 5, 1.0, np.nan), np.arange(40).astype(str), (3,))
    with pytest.raises(TrainingError, match="5 low-fidelity labels"):
        train(custom_property(NAME, "", -9.0, 9.0, False), labels, "gate", "low_fidelity")


# files


def test_a_file_reads_back_and_predicts_the_same(trained: tuple[Path, str], crystals: list[Crystal]) -> None:
    transfer, gate = load_transfer(trained[0]), load_gate().model
    surrogate = TransferSurrogate(transfer, gate)
    heavy = replace(crystals[0], numbers=np.full(crystals[0].n_sites, 110), gene=None)
    found = surrogate.predict([crystals[0], heavy, crystals[1]])
    assert "103" in found[1].failure
    for estimate, crystal in ((found[0], crystals[0]), (found[2], crystals[1])):
        value = estimate.values[NAME]
        assert value.low is not None and value.high is not None
        assert value.low <= value.mean <= value.high
        assert value.mean == pytest.approx(truth(crystal), rel=0.3)
        assert value.source == f"surrogate:{NAME}"


def test_files_of_other_things_are_refused(trained: tuple[Path, str], tmp_path: Path) -> None:
    text = tmp_path / "x.safetensors"
    text.write_text("no weights")
    for path in (text, tmp_path / "missing"):
        with pytest.raises(ReferenceMissingError, match="cannot be read"):
            load_transfer(path)
        with pytest.raises(InputError, match="train surrogate --property"):
            property_in(path)
    transfer = replace(load_transfer(trained[0]), gate="another")
    with pytest.raises(ReferenceMissingError, match="another gate"):
        TransferSurrogate(transfer, load_gate().model)


# tables


def test_labels_of_two_fidelities_are_joined_by_crystal(crystals: list[Crystal], tmp_path: Path) -> None:
    some = crystals[:4]
    path = table(
        [*some, *some[:2]], [1.0, 2.0, 3.0, 4.0, 10.0, 20.0], tmp_path / "x.csv",
        fidelity=["low"] * 4 + ["high"] * 2,
    )  # fmt: skip
    found = read_custom(path, CustomSettings(NAME))
    assert found.low_fidelity is not None
    assert found.low_fidelity.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert found.values[:2].tolist() == [10.0, 20.0]
    assert np.isnan(found.values[2:]).all()


def test_crystals_may_be_files_and_labels_a_column_named_value(crystals: list[Crystal], tmp_path: Path) -> None:
    for k in range(3):
        (tmp_path / f"{k}.cif").write_text(plain_cif(crystals[k])[0])
    (tmp_path / "x.csv").write_text("file,value,pbe\n0.cif,1.5,1\n1.cif,,2\n2.cif,2.5,\nnone.cif,3,3\n")
    found = read_custom(tmp_path / "x.csv", CustomSettings(NAME, low_fidelity="pbe"))
    assert found.values[[0, 2]].tolist() == [1.5, 2.5] and np.isnan(found.values[1])
    assert found.low_fidelity is not None and found.low_fidelity[:2].tolist() == [1.0, 2.0]
    assert len(found.unread) == 1


@pytest.mark.parametrize(
    ("settings", "column", "cell", "words"),
    [
        ({"property": NAME}, "other", "1", [NAME, "value", "other"]),
        ({"property": NAME}, NAME, "stiff", ["row 1", "stiff", "a number"]),
        ({"property": NAME, "low_fidelity": "pbe"}, NAME, "1", ["low_fidelity", "pbe", "column"]),
        ({"property": NAME, "scale": "log"}, NAME, "-1", ["scale", "linear", "not positive"]),
        ({"property": "bulk_modulus"}, NAME, "1", ["my_bulk_modulus"]),
        ({"property": "My Stiffness"}, NAME, "1", ["small letters"]),
        ({"property": "x_std"}, NAME, "1", ["_std"]),
        ({"property": NAME, "scale": "cubic"}, NAME, "1", ["scale", "auto, log, linear"]),
        ({"property": NAME, "epochs": 3}, NAME, "1", ["epochs", "property, unit, scale, low_fidelity, seed"]),
    ],
)
def test_wrong_input_is_one_line(
    settings: dict[str, object], column: str, cell: str, words: list[str], crystals: list[Crystal], tmp_path: Path
) -> None:
    path = tmp_path / "x.csv"
    (tmp_path / "a.cif").write_text(plain_cif(crystals[0])[0])
    path.write_text(f"file,{column}\na.cif,{cell}\n")
    with pytest.raises(InputError) as error:
        models.train_property(path, None, tmp_path / "out", **settings)
    assert [w for w in words if w not in str(error.value)] == []


# use


def test_a_custom_property_travels_with_its_query(trained: tuple[Path, str]) -> None:
    with pytest.raises(InputError, match=NAME):
        Query(targets=[f"{NAME}>=2"])
    asked = Query(targets=[f"{NAME}>=2"], surrogates=[str(trained[0])])
    query = resolved(asked)
    assert query.targets[0].prop == query.properties[0] == property_in(trained[0])
    assert query.targets[0].prop.unit == "1/Å³"
    assert "my stiffness of at least 2 1/Å³" in query.in_words()
    assert Query.from_dict(json.loads(json.dumps(query.to_dict()))) == query == resolved(query)
    assert NAME not in PROPERTIES


def test_making_a_query_touches_no_file(trained: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("io.open", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    query = Query(targets=[f"{NAME}>=2", "bulk_modulus>=1"], surrogates=["nowhere.safetensors"])
    assert not query.targets[0].prop.is_read and query.targets[1].prop.is_read
    with pytest.raises(AssertionError, match="opened"):
        resolved(query)
    monkeypatch.undo()
    with pytest.raises(InputError, match="nowhere"):
        resolved(query)
    with pytest.raises(InputError, match="'bulk_modulos'"):
        resolved(Query(targets=["bulk_modulos>=1"], surrogates=[str(trained[0])]))
    with pytest.raises(InputError, match=f"target {NAME}: 1000000000"):
        resolved(Query(targets=[f"{NAME}>=1e9"], surrogates=[str(trained[0])]))


def test_two_queries_with_custom_properties_of_one_name_do_not_disturb_each_other() -> None:
    """One is a temperature on a logarithmic scale, the other a voltage that may be negative."""
    first = Query(targets=[f"{NAME}>=900"], properties=[custom_property(NAME, "K", 300.0, 3000.0, True)])
    second = Query(targets=[f"{NAME}<=-1"], properties=[custom_property(NAME, "V", -3.0, 3.0, False)])
    with pytest.raises(InputError, match="-9 to 9 V"):
        Query(targets=[f"{NAME}>=900"], properties=second.properties)
    assert "900 K" in first.in_words() and "-1 V" in second.in_words()
    value = Estimate({NAME: Value(1000.0, 100.0)})
    assert target_probability(first.targets, value) == pytest.approx(
        0.854, abs=0.001
    )  # ln(1000/900) is 1.05 sigma
    below = Estimate({NAME: Value(-1.5, 0.5)})
    assert target_probability(second.targets, below) == pytest.approx(0.841, abs=0.001)
    assert first.known_properties[NAME].unit == "K" and second.known_properties[NAME].unit == "V"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["x"], "a custom Property"),
        ([{"name": "x"}], "a custom Property"),
        ([custom_property(NAME, "K", 0.0, 1.0, False)] * 2, f"named {NAME}"),
        ([replace(PROPERTIES["density"])], "my_density"),
    ],
)
def test_wrong_custom_properties_are_one_line(given: list[object], words: str) -> None:
    with pytest.raises(InvdesignError, match=words):
        Query(properties=given)


def test_files_that_name_a_shipped_property_are_refused(trained: tuple[Path, str], tmp_path: Path) -> None:
    transfer = load_transfer(trained[0])
    path = tmp_path / "density.safetensors"
    replace(transfer, prop=replace(transfer.prop, name="density")).save(path)
    with pytest.raises(InputError, match=r"density\.safetensors"):
        property_in(path)


def test_estimates_get_the_property_beside_the_others(trained: tuple[Path, str], crystals: list[Crystal]) -> None:
    class Base:
        def predict(self, crystals: list[Crystal]) -> list[Estimate]:
            return [Estimate({"density": Value(1.0, 0.1)}), Estimate({}, failure="unreadable")]

    joined = build.with_custom(Base(), [str(trained[0])])
    assert isinstance(joined, WithCustom)
    found = joined.predict(crystals[:2])
    assert found[0].values.keys() == {"density", NAME}
    assert found[1].failure == "unreadable" and not found[1].values


def test_predict_has_its_columns(
    trained: tuple[Path, str], crystals: list[Crystal], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.cif").write_text(plain_cif(crystals[0])[0])
    out = tmp_path / "out.csv"
    assert run(["predict", str(tmp_path / "a.cif"), "--surrogate", str(trained[0]), "--out", str(out)]) == 0
    row = pd.read_csv(out).iloc[0]
    assert row[NAME] == pytest.approx(truth(crystals[0]), rel=0.3)
    assert row[f"{NAME}_low"] < row[NAME] < row[f"{NAME}_high"]


def test_the_command_prints_the_learning_curve(
    crystals: list[Crystal], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = table(crystals[:40], [truth(c) for c in crystals[:40]], tmp_path / "x.csv")
    out = tmp_path / "own.safetensors"
    assert run(["train", "surrogate", "--property", NAME, "--data", str(data), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "labels of" in printed and "the median" in printed and "90 % intervals hold" in printed
    assert properties.property_in(out).name == NAME
    assert run(["train", "vae", "--property", NAME, "--data", str(data)]) == 2
    assert "train surrogate" in capsys.readouterr().err


def test_values_of_it_may_come_back(trained: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(f"id,{NAME}\nr-0,2.5\n")
    with pytest.raises(InputError, match=NAME):
        read(tmp_path / "results.csv", {"x": "r-0"})
    known = known_properties([property_in(trained[0])])
    value = read(tmp_path / "results.csv", {"x": "r-0"}, known)["r-0"][NAME]
    assert value.mean == 2.5 and value.low is not None and value.low < 2.5
