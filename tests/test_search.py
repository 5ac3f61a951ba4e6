"""Searchers: what a query becomes, determinism, resuming, and that Optuna learns."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_parts import FakeGenerator, cubic

from invdesign.engine.search import (
    OptunaSearcher,
    PlainSearcher,
    Recaller,
    aim_range,
    conditioned,
    conditions_of,
    make_searcher,
    seed_of,
)
from invdesign.errors import InputError, InvdesignWarning
from invdesign.query import Query, Target
from invdesign.query_fields import SAMPLERS
from invdesign.records import Candidate, Conditions, Estimate, Evaluation, Request, Status, Value, Verdict

QUERY = Query(targets=["bulk_modulus>=200"], max_sites=12)


class Plain:
    """A generator without a latent space."""


def rows_of(request: Request, quality: float) -> list[Evaluation]:
    """Rows of a request; the nearer `quality` is to one the more are on target and stable."""
    rng = np.random.default_rng(request.seed)
    out = []
    for i in range(request.n):
        good = rng.random() < quality
        values = {
            "bulk_modulus": Value(300.0 if good else 50.0, 10.0),
            "energy_above_hull": Value(0.0 if good else 0.5, 0.02),
        }
        crystal = cubic(225, int(rng.integers(3, 80)), int(rng.integers(3, 80)), 4.0)
        candidate = Candidate(f"{request.id}-{i:05d}", crystal, request.id, request.generator)
        out.append(Evaluation(candidate, gate=Estimate(values), acquisition=float(good)))
    return out


def play(searcher: Recaller, rounds: int, quality: Any, n: int = 80) -> list[list[Request]]:
    asked = []
    for _ in range(rounds):
        asked.append(searcher.ask(n))
        searcher.tell([row for request in asked[-1] for row in rows_of(request, quality(request))])
    return asked


def flat(_: Request) -> float:
    return 0.5


def test_conditions_of_a_query() -> None:
    query = Query(
        targets=["bulk_modulus>=250", "density=3..5", "vickers_hardness>=20", "band_gap=max"],
        required=["Ti"],
        chemical_system="Ti-B-N",
        space_group="cubic",
        max_sites=8,
    )
    asked = conditions_of(query)
    assert asked.properties["bulk_modulus"] == 300.0  # a fifth beyond the bound
    assert asked.properties["density"] == 4.0
    assert asked.properties["shear_modulus"] == pytest.approx(1.2 * 20 / 0.151)  # Teter
    assert asked.properties["energy_above_hull"] == 0.0
    assert set(asked.properties) == {"bulk_modulus", "density", "shear_modulus", "energy_above_hull"}
    assert asked.required == {22} and asked.allowed == {22, 5, 7}
    assert asked.space_groups == frozenset(range(195, 231)) and asked.max_sites == 8


def test_free_elements_stay_free() -> None:
    asked = conditions_of(Query(exclude=["Co"]))
    assert asked.allowed is None and asked.forbidden == {27} and asked.space_groups is None


def test_wishes_for_one_property_are_merged() -> None:
    targets = [Target.parse(t) for t in ("bulk_modulus>=100", "bulk_modulus<=200", "bulk_modulus>=150")]
    assert conditioned(targets)["bulk_modulus"] == Target("bulk_modulus", 150.0, 200.0)


def test_youngs_modulus_becomes_moduli_of_the_right_ratio() -> None:
    wishes = conditioned([Target.parse("youngs_modulus>=360")])
    g, k = wishes["shear_modulus"].low, wishes["bulk_modulus"].low
    assert g is not None and k is not None
    assert 9 * k * g / (3 * k + g) == pytest.approx(360.0)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("bulk_modulus>=200", 200.0, 300.0),
        ("bulk_modulus>=600", 600.0, 700.0),
        ("bulk_modulus<=90", 60.0, 90.0),
        ("density=3..5", 3.0, 5.0),
        ("band_gap>=1", 1.0, 3.0),
        ("band_gap<=1", 0.0, 1.0),
        ("formation_energy=min", -6.0, -2.7),
    ],
)
def test_aims_go_beyond_a_bound_and_stay_within_the_property(text: str, low: float, high: float) -> None:
    assert aim_range(Target.parse(text)) == pytest.approx((low, high))


@pytest.mark.parametrize("search", ["none", "optuna"])
def test_requests_have_deterministic_names_seeds_and_sizes(search: str) -> None:
    query = replace(QUERY, search=search)
    asked = play(make_searcher(query, {"vae": Plain()}, 5, per_round=3), 2, flat, n=20)
    assert [[r.id for r in rs] for rs in asked] == [
        ["r000-00", "r000-01", "r000-02"],
        ["r001-00", "r001-01", "r001-02"],
    ]
    assert [[r.n for r in rs] for rs in asked] == [[7, 7, 6]] * 2
    assert len({r.seed for rs in asked for r in rs}) == 6
    assert asked[1][2].seed == seed_of(5, "r001-02")
    assert all(r.conditions.max_sites == 12 for rs in asked for r in rs)
    assert play(make_searcher(query, {"vae": Plain()}, 5, per_round=3), 2, flat, n=20) == asked
    assert play(make_searcher(query, {"vae": Plain()}, 6, per_round=3), 2, flat, n=20) != asked


def test_seeds_do_not_depend_on_the_process() -> None:
    assert seed_of(0, "r000-00") == 4022030618453185124
    assert 0 <= seed_of("x") < 2**63


def test_fewer_crystals_than_requests() -> None:
    asked = make_searcher(QUERY, {"vae": Plain()}, 0, per_round=8).ask(3)
    assert [r.n for r in asked] == [1, 1, 1]


def test_plain_sampling_shares_a_mixture_equally() -> None:
    query = Query(generator="mixture", search="none")
    asked = make_searcher(query, {"vae": Plain(), "random": Plain()}, 0, per_round=4).ask(40)
    assert [r.generator for r in asked] == ["random", "vae"] * 2
    assert all(r.conditions == conditions_of(query) for r in asked)


def test_optuna_starts_with_the_query_itself() -> None:
    first = make_searcher(QUERY, {"vae": Plain()}, 0).ask(80)[0].conditions
    assert first == conditions_of(QUERY)


def test_unknown_generators_are_refused() -> None:
    with pytest.raises(InputError, match="generator: 'gan' is not valid; allowed: vae, mixture"):
        make_searcher(Query(generator="gan"), {"vae": Plain()}, 0)


@pytest.mark.parametrize("generators", [{"vae": Plain()}, {"vae": FakeGenerator(), "random": Plain()}])
def test_recalling_recorded_requests_is_as_good_as_asking(generators: dict[str, object]) -> None:
    query = replace(QUERY, generator="mixture")
    whole = OptunaSearcher(query, generators, 0, per_round=4)
    asked = play(whole, 4, lambda r: r.conditions.temperature - 0.5)
    for stop in range(1, 4):
        resumed = OptunaSearcher(query, generators, 0, per_round=4)
        for requests in asked[:stop]:
            resumed.recall(requests)
            resumed.tell([row for r in requests for row in rows_of(r, r.conditions.temperature - 0.5)])
        assert resumed.ask(80) == asked[stop]


def share(requests: Sequence[Sequence[Request]], what: Any) -> float:
    return float(np.mean([what(r) for rs in requests for r in rs]))


def test_optuna_learns_which_conditions_pay() -> None:
    def quality(request: Request) -> float:
        return max(0.0, 1.0 - abs(request.conditions.guidance - 3.0))

    asked = play(OptunaSearcher(QUERY, {"vae": Plain()}, 0), 8, quality)
    early, late = share(asked[:1], quality), share(asked[-2:], quality)
    assert late > early + 0.2


def test_optuna_learns_which_generator_pays() -> None:
    def quality(request: Request) -> float:
        return 0.9 if request.generator == "good" else 0.1

    query = replace(QUERY, generator="mixture")
    asked = play(OptunaSearcher(query, {"bad": Plain(), "good": Plain()}, 1), 6, quality)
    assert share(asked[-2:], lambda r: r.generator == "good") > 0.7


def test_the_latent_region_moves_to_the_best_rows() -> None:
    searcher = OptunaSearcher(QUERY, {"vae": FakeGenerator()}, 0)
    asked = play(searcher, 3, flat)
    assert all(r.conditions.latent_centre is None for r in asked[0])
    centres = [r.conditions.latent_centre for rs in asked[1:] for r in rs if r.conditions.latent_centre]
    assert centres
    best = [row.candidate.crystal for row in searcher._best]
    assert len(best) == 16 and all(c[0] == pytest.approx(4.0 / 2**0.5) for c in centres)


def test_a_request_without_rows_is_told_as_a_failure() -> None:
    searcher = OptunaSearcher(QUERY, {"vae": Plain()}, 0, per_round=2)
    searcher.ask(10)
    searcher.tell([])
    assert [values for _, values in searcher._finished] == [[0.0] * 3] * 2


def test_failed_rows_count_in_the_denominator() -> None:
    searcher = OptunaSearcher(QUERY, {"vae": Plain()}, 0, per_round=1)
    (request,) = searcher.ask(10)
    rows = rows_of(request, 1.0)
    bad = Verdict("distances", Status.FAIL)
    searcher.tell([replace(row, verdicts={"distances": bad}) if i < 5 else row for i, row in enumerate(rows)])
    assert searcher._finished[0][1] == pytest.approx([0.5, 0.5, 0.5], abs=0.01)


def test_optunas_own_settings_are_left_alone(recwarn: pytest.WarningsRecorder) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    make_searcher(QUERY, {"vae": Plain()}, 0).ask(8)
    assert optuna.logging.get_verbosity() == before
    assert not [w for w in recwarn if "optuna" in str(w.filename)]


def test_plain_searcher_counts_recalled_rounds() -> None:
    searcher = PlainSearcher(QUERY, ("vae",), 0)
    searcher.recall(searcher.ask(8))
    assert searcher.ask(8)[0].id == "r002-00"
    assert isinstance(searcher.ask(8)[0].conditions, Conditions)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_is_deterministic_and_can_be_resumed(sampler: str, tmp_path: Path) -> None:
    query = replace(QUERY, generator="mixture", search="optuna", sampler=sampler)
    generators: dict[str, object] = {"vae": FakeGenerator(), "random": Plain()}
    path = tmp_path / "study.sqlite" if sampler in ("tpe", "cmaes") else None
    per_round = 2 if sampler == "gp" else 4

    def quality(request: Request) -> float:
        return request.conditions.temperature - 0.5

    asked = play(make_searcher(query, generators, 0, per_round=per_round), 3, quality, n=16)
    assert play(make_searcher(query, generators, 1, per_round=per_round), 2, quality, n=16) != asked[:2]
    resumed = make_searcher(query, generators, 0, per_round=per_round, study=path)
    for requests in asked[:2]:
        resumed.recall(requests)
        resumed.tell([row for r in requests for row in rows_of(r, quality(r))])
    assert resumed.ask(16) == asked[2]
    if path is not None:
        import optuna

        (study,) = optuna.get_all_study_summaries(f"sqlite:///{path}")
        assert study.n_trials == 8 and len(study.directions) == (1 if sampler == "cmaes" else 3)


def test_an_unknown_sampler_is_one_line() -> None:
    with pytest.raises(InputError, match="sampler: 'sobol' is not valid; allowed: tpe, nsga2"):
        replace(QUERY, sampler="sobol")


def test_the_study_is_kept_in_optunas_storage_and_made_again_from_the_ledger(tmp_path: Path) -> None:
    import optuna

    path, query = tmp_path / "study.sqlite", replace(QUERY, search="optuna")

    def trials() -> list[Any]:
        return optuna.load_study(study_name="invdesign", storage=f"sqlite:///{path}").trials

    searcher = OptunaSearcher(query, {"vae": Plain()}, 0, per_round=2, study=path)
    asked = play(searcher, 3, flat, n=8)
    kept = trials()
    assert [t.user_attrs["request"] for t in kept] == [r.id for rs in asked for r in rs]
    assert all(len(t.constraints) == 1 for t in kept)
    for content in (None, b"no database"):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        again = OptunaSearcher(query, {"vae": Plain()}, 0, per_round=2, study=path)
        for requests in asked:
            again.recall(requests)
            rows = [row for r in requests for row in rows_of(r, flat(r))]
            if content is None:
                again.tell(rows)
            else:
                with pytest.warns(InvdesignWarning, match=r"study\.sqlite cannot be written"):
                    again.tell(rows)
        if content is None:
            assert [(t.params, t.values) for t in trials()] == [(t.params, t.values) for t in kept]
    path.unlink()
    play(OptunaSearcher(query, {"vae": Plain()}, 1, per_round=2, study=path), 1, flat, n=8)
    play(OptunaSearcher(query, {"vae": Plain()}, 2, per_round=2, study=path), 1, flat, n=8)
    assert len(trials()) == 2  # a study of another run is not mixed in


def test_requests_of_another_version_of_optuna_are_told_as_recorded() -> None:
    asked = play(OptunaSearcher(QUERY, {"vae": Plain()}, 0, per_round=2), 2, flat, n=8)
    other = OptunaSearcher(QUERY, {"vae": Plain()}, 99, per_round=2)
    other.recall(asked[0])
    other.tell([row for r in asked[0] for row in rows_of(r, 0.5)])
    told = [params["guidance"] for params, _ in other._finished]
    assert told == [r.conditions.guidance for r in asked[0]]


def test_the_constraint_is_the_typical_distance_beyond_the_limit() -> None:
    searcher = OptunaSearcher(QUERY, {"vae": Plain()}, 0, per_round=1)
    (request,) = searcher.ask(10)
    assert searcher._excess(rows_of(request, 1.0)) == pytest.approx(-0.1)
    assert searcher._excess(rows_of(request, 0.0)) == pytest.approx(0.4)
    assert searcher._excess([]) == 1.0
