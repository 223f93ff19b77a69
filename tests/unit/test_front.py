"""What the planner tries, passes over and chooses."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sartor import bounds, needs
from sartor.errors import InputError
from sartor.front import Candidate, Front, Profile, chance, with_epochs
from sartor.plan import Plan
from sartor.report import Key, Report, Value

ENGLISH = Profile(rows=6000, classes=4, characters=120.0, languages={"en": 1.0}, gflops=150.0)
FAST = Key("latency_p95", setting=(("concurrency", 1.0),))


def share(successes, trials):
    found = bounds.proportion(successes, trials)
    details = {"successes": successes, "trials": trials, "of": trials}
    return Value(Key("accuracy"), successes / trials, found.low, found.high, trials, details=details)


def measured(front, name, successes, latency, kind="linear", weights=""):
    report = Report([share(successes, 1000), Value(FAST, latency, latency * 0.97, latency * 1.04, 2000, "ms")])
    candidate = Candidate(name, Plan(name, ()), kind, weights=weights, status="measured", report=report)
    front.add(candidate)
    return candidate


def front_of(*limits, profile=ENGLISH, **given):
    asked = needs.make(data="x.csv", needs=list(limits), **given)
    return Front(asked, profile, task="classify", test_rows=1000)


def test_candidates_come_in_the_order_of_what_they_cost():
    front = front_of("accuracy >= 0.9", budget="30m")
    names = [candidate.id for candidate in front.possible()]
    assert names[:2] == ["majority", "ngram"]
    assert names[2:] == ["minilm-frozen-float32", "minilm-frozen-int8", "minilm-tuned-float32", "minilm-tuned-int8"]
    forecasts = [front.decide(candidate, left_s=1800).forecast_s for candidate in front.possible()]
    assert forecasts[0] <= forecasts[1] <= forecasts[2] <= forecasts[4]


def test_a_backbone_that_does_not_know_the_language_is_not_tried():
    chinese = Profile(rows=6000, classes=4, characters=30.0, languages={"zh": 0.98, "en": 0.02}, gflops=150.0)
    assert [c.id for c in front_of("accuracy >= 0.9", profile=chinese).possible()] == ["majority", "ngram"]


def test_a_backbone_that_does_not_take_the_inputs_is_not_tried():
    scents = Profile(6000, 4, 0.0, {}, 150.0, kinds=frozenset({"scent"}))
    assert [c.id for c in front_of("accuracy >= 0.9", profile=scents).possible()] == ["majority"]


def test_every_plan_worth_considering_has_steps_that_fit_and_a_reason():
    for candidate in front_of("accuracy >= 0.9").possible():
        candidate.plan.check()
        assert candidate.plan.reason


def test_nothing_dearer_is_tried_once_every_need_is_likely_met():
    front = front_of("accuracy >= 0.9")
    measured(front, "ngram", 960, 1.0)
    following = next(c for c in front.possible() if c.kind == "frozen")
    decision = front.decide(following, left_s=1000)
    assert not decision.go
    assert "already meets" in decision.why


def test_a_preference_may_spend_a_quarter_of_what_is_left():
    front = front_of("accuracy >= 0.9", prefer="accuracy")
    measured(front, "ngram", 960, 1.0)
    following = next(c for c in front.possible() if c.kind == "frozen")
    cost = front.decide(following, left_s=math.inf).forecast_s
    assert front.decide(following, left_s=5 * cost).go
    assert not front.decide(following, left_s=3 * cost).go


def test_what_does_not_fit_the_budget_is_passed_over_with_the_figures():
    front = front_of("accuracy >= 0.9", budget="1m")
    measured(front, "ngram", 700, 1.0)
    tuned = next(c for c in front.possible() if c.kind == "tuned")
    decision = front.decide(tuned, left_s=5.0)
    assert not decision.go
    assert "5 s of the budget are left" in decision.why


def test_epochs_follow_the_budget_and_the_rows():
    front = front_of("accuracy >= 0.9")
    tuned = next(c for c in front.possible() if c.kind == "tuned")
    plenty = front.decide(tuned, left_s=math.inf)
    short = front.decide(tuned, left_s=0.7 * plenty.forecast_s)
    assert plenty.epochs > short.epochs >= 1
    few = front_of("accuracy >= 0.9", profile=Profile(800, 15, 60.0, {"en": 1.0}, 150.0))
    assert few.decide(next(c for c in few.possible() if c.kind == "tuned"), left_s=math.inf).epochs > plenty.epochs
    trains = [m.arguments for m in with_epochs(tuned.plan, 2).moves if m.step == "train"]
    assert trains == [{"epochs": 2}]


def test_the_trivial_baseline_is_never_chosen_while_another_was_measured():
    front = front_of("size <= 40 MB")
    measured(front, "majority", 990, 0.1, kind="trivial")
    other = measured(front, "ngram", 500, 5.0)
    assert front.best() is other


def test_among_those_within_one_standard_error_the_fastest_is_chosen():
    front = front_of("accuracy >= 0.85")
    measured(front, "float", 920, 8.0)
    int8 = measured(front, "int8", 915, 3.0)
    measured(front, "ngram", 890, 0.5)
    assert front.best() is int8


def test_a_named_preference_decides_instead():
    front = front_of("accuracy >= 0.85", prefer="latency_p95")
    measured(front, "float", 920, 8.0)
    fastest = measured(front, "ngram", 895, 0.5)
    assert front.best() is fastest
    with pytest.raises(InputError, match="cannot be preferred"):
        front_of("accuracy >= 0.85", prefer="beauty")


def test_when_none_is_good_enough_the_most_needs_then_the_narrowest_gap_decide():
    front = front_of("accuracy >= 0.95", "latency_p95 <= 10 ms")
    measured(front, "slow", 952, 50.0)
    closest = measured(front, "near", 940, 4.0)
    measured(front, "far", 900, 1.0)
    assert front.best() is closest
    assert "came closest" in front.reason(closest)


def test_when_one_need_is_out_of_reach_the_others_still_count():
    front = front_of("accuracy >= 0.999", "latency_p95 <= 10 ms")
    measured(front, "slow", 960, 50.0)
    closest = measured(front, "fast", 940, 4.0)
    measured(front, "fastest", 700, 1.0)
    assert front.best() is closest


def test_a_chance_of_everything_beats_the_certainty_of_half():
    front = front_of("accuracy >= 0.9", "latency_p95 <= 10 ms")
    maybe = measured(front, "maybe", 915, 9.9)
    measured(front, "half", 700, 1.0)
    assert front.best() is maybe


def test_the_float_and_the_int8_of_one_model_are_the_same_model():
    front = front_of("accuracy >= 0.9")
    tuned = [c for c in front.possible() if c.kind == "tuned"]
    first = front.decide(tuned[0], left_s=math.inf)
    made = measured(front, tuned[0].plan.name, 940, 4.0, kind="tuned", weights=tuned[0].weights)
    made.epochs = first.epochs
    assert front.decide(tuned[1], left_s=60.0).epochs == first.epochs


def test_int8_of_a_hopeless_frozen_parent_is_not_made():
    front = front_of("accuracy >= 0.95")
    frozen = [c for c in front.possible() if c.kind == "frozen"]
    measured(front, frozen[0].plan.name, 800, 4.0, kind="frozen", weights=frozen[0].weights)
    assert "would not close" in front.decide(frozen[1], left_s=1000).why


@pytest.mark.parametrize(("successes", "least", "most"), [(900, 0.0, 0.15), (930, 0.6, 0.95), (970, 0.99, 1.0)])
def test_the_chance_of_met_grows_with_the_margin(successes, least, most):
    need = needs.parse("accuracy >= 0.9")
    assert least <= chance(need, share(successes, 1000), test_rows=1000, level=0.95) <= most


def test_what_was_not_measured_has_no_chance():
    assert chance(needs.parse("memory <= 300 MB"), None, test_rows=100, level=0.95) == 0.0


def test_a_short_budget_still_tries_more_than_the_majority():
    front = front_of("accuracy >= 0.9", budget="60s")
    ngram = next(c for c in front.possible() if c.id == "ngram")
    assert front.decide(ngram, left_s=52.0 - front.judging_s()).go


MIXED = Profile(
    800,
    2,
    60.0,
    {"en": 1.0},
    150.0,
    kinds=frozenset({"text", "image"}),
    inputs=(("title", "text"), ("photo", "image")),
    columns=2,
)


def members(front):
    return [{body.name for _, body in chosen} for _, chosen in front.fusions]


def test_a_backbone_that_is_asked_for_reads_its_own_kind_of_input_and_the_others_have_theirs():
    front = front_of("accuracy >= 0.9", profile=MIXED, backbone="minilm")
    assert front.bodies == []
    assert any({"minilm", "convnet"} == names for names in members(front))
    front = front_of("accuracy >= 0.9", profile=MIXED, backbone="convnet")
    assert all("convnet" in names for names in members(front))
    cells = replace(MIXED, kinds=frozenset({"text", "number"}), inputs=(("title", "text"), ("price", "number")))
    front = front_of("accuracy >= 0.9", profile=cells, backbone="minilm")
    assert all(names & {"linear", "trees"} for names in members(front))


def test_without_transformers_pictures_still_have_a_network_of_their_own():
    pictures = replace(MIXED, kinds=frozenset({"image"}), inputs=(("photo", "image"),), columns=1)
    assert "convnet" in [body.name for body in front_of("accuracy >= 0.9", profile=pictures, backbone="none").bodies]


def test_a_backbone_that_takes_none_of_the_inputs_is_refused():
    cells = replace(MIXED, kinds=frozenset({"number"}), inputs=(("price", "number"),), columns=1)
    with pytest.raises(InputError, match="takes none of these inputs") as caught:
        front_of("accuracy >= 0.9", profile=cells, backbone="convnet")
    assert caught.value.code == "backbone.inputs"
