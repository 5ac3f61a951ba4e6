"""A crystal is what it was made from, whatever happens to the arrays that it was made from."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode

ARRAYS = ("lattice", "numbers", "frac_coords")


def rock_salt() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lattice = 0.5 * 4.2 * (1.0 - np.eye(3))
    return lattice, np.array([12, 8]), np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])


def test_a_crystal_does_not_follow_the_arrays_that_it_was_made_from() -> None:
    lattice, numbers, coords = rock_salt()
    crystal = Crystal(lattice, numbers, coords)
    volume = crystal.volume
    lattice *= 2.0
    numbers[0] = 20
    coords += 0.1
    assert crystal.lattice[0, 1] == 2.1 and crystal.numbers.tolist() == [12, 8]
    assert crystal.frac_coords[1].tolist() == [0.5, 0.5, 0.5]
    assert crystal.volume == volume == pytest.approx(4.2**3 / 4)
    assert replace(crystal).volume == volume


def test_a_view_that_is_read_only_is_copied_as_its_owner_may_still_write() -> None:
    lattice, numbers, coords = rock_salt()
    view = coords.view()
    view.setflags(write=False)
    crystal = Crystal(lattice, numbers, view)
    coords += 0.1
    assert crystal.frac_coords[1].tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("way", ["made", "decoded", "pickled", "copied", "deep-copied", "replaced"])
def test_the_arrays_of_a_crystal_cannot_be_written(name: str, way: str) -> None:
    made = Crystal(*rock_salt())
    crystal = {
        "made": lambda: made,
        "decoded": lambda: decode([Gene(225, (0, 1), (12, 8), (), (4.2,))])[0],
        "pickled": lambda: pickle.loads(pickle.dumps(made)),
        "copied": lambda: copy.copy(made),
        "deep-copied": lambda: copy.deepcopy(made),
        "replaced": lambda: replace(made, source="x"),
    }[way]()
    with pytest.raises(ValueError, match="read-only"):
        getattr(crystal, name)[0] = 1
    with pytest.raises(FrozenInstanceError):
        setattr(crystal, name, None)


def test_arrays_that_nobody_can_change_are_shared_and_not_copied() -> None:
    crystal = Crystal(*rock_salt())
    other = replace(crystal, source="elsewhere")
    assert all(np.shares_memory(getattr(crystal, name), getattr(other, name)) for name in ARRAYS)
    decoded = decode([Gene(225, (0, 1), (12, 8), (), (a,)) for a in (4.2, 4.3)])
    assert decoded[0].lattice.base is decoded[1].lattice.base


def test_lists_and_other_types_become_arrays_of_the_right_kind() -> None:
    crystal = Crystal(np.eye(3, dtype=np.float32).tolist(), [12], [0, 0, 0])  # type: ignore[arg-type]
    assert [getattr(crystal, name).dtype for name in ARRAYS] == [np.float64, np.int64, np.float64]
    assert crystal.frac_coords.shape == (1, 3) and crystal.n_sites == 1
    flat = Crystal(np.eye(3).ravel(), np.array([[12]]), np.zeros(3))
    assert flat.lattice.shape == (3, 3) and flat.numbers.shape == (1,)


@pytest.mark.parametrize(
    ("lattice", "numbers", "coords", "words"),
    [
        (np.eye(3), [], np.zeros((0, 3)), "0 atomic numbers"),
        (np.eye(3), [1, 2], np.zeros((1, 3)), "2 atomic numbers for 1 positions"),
        (np.full((3, 3), np.nan), [1], np.zeros((1, 3)), "not finite"),
        (np.eye(3), [1], np.full((1, 3), np.inf), "not finite"),
    ],
)
def test_shapes_and_numbers_that_make_no_crystal_are_refused(
    lattice: np.ndarray, numbers: list[int], coords: np.ndarray, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Crystal(lattice, np.array(numbers, dtype=np.int64), coords)


def test_cell_parameters_by_hand() -> None:
    # hexagonal: a = b = 3, c = 5, gamma = 120 degrees
    crystal = Crystal(np.array([[3.0, 0, 0], [-1.5, 1.5 * np.sqrt(3), 0], [0, 0, 5.0]]), [12], [0, 0, 0])  # type: ignore[arg-type]
    assert crystal.lattice_parameters == pytest.approx((3.0, 3.0, 5.0, 90.0, 90.0, 120.0))
    assert crystal.volume == pytest.approx(9.0 * np.sqrt(3) / 2 * 5)
