"""What could be had instead of needs that cannot be met, and what it costs."""

from __future__ import annotations

import pytest

from sartor import bounds, needs, relax
from sartor.front import Candidate, Front, Profile, chance
from sartor.plan import Plan
from sartor.report import Key, Report, Value

FAST, SIZE = Key("latency_p95", setting=(("concurrency", 1.0),)), Key("size")


def share(successes, trials=1000):
    found = bounds.proportion(successes, trials)
    details = {"successes": successes, "trials": trials, "of": trials}
    return Value(Key("accuracy"), successes / trials, found.low, found.high, trials, details=details)


def latency(ms):
    return Value(FAST, ms, ms * 0.97, ms * 1.04, 2000, "ms")


def front_of(*limits, **given):
    asked = needs.make(data="x.csv", needs=list(limits), **given)
    profile = Profile(6000, 4, 120.0, {"en": 1.0}, 150.0)
    return Front(asked, profile, task="classify", test_rows=1000)


def measured(front, name, successes, ms, megabytes=20.0, kind="linear"):
    report = Report([share(successes), latency(ms), Value(SIZE, megabytes, megabytes, megabytes, 1, "MB")])
    candidate = Candidate(name, Plan(name, ()), kind, status="measured", report=report)
    front.add(candidate)
    return candidate


def judged(front, candidate):
    """Verdicts as if the test rows said what the validation rows said."""
    return needs.verdicts(front.needs, candidate.report)


def map_of(front, chosen, growth=None):
    return relax.map_of(front, chosen, judged(front, chosen), growth)


def test_there_is_no_map_where_every_need_is_met():
    front = front_of("accuracy >= 0.8")
    assert map_of(front, measured(front, "good", 950, 3.0)) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("accuracy >= 0.95", share(912)),
        ("latency_p95 <= 2 ms", latency(13.3)),
        ("size <= 1 MB", Value(SIZE, 23.53, 23.53, 23.53, 1, "MB")),
    ],
)
def test_the_limit_that_is_offered_is_one_that_would_likely_be_met_and_hardly_more(text, value):
    need = needs.parse(text)
    told = relax.offer(need, value, test_rows=1000, level=0.95)
    assert not need.holds(told)
    as_told = needs.parse(text.replace(text.split()[2], f"{told:.12g}"))
    assert chance(as_told, value, test_rows=1000, level=0.95) >= 0.9
    worse = told * (1.004 if need.op == ">=" else 0.996)
    closer = needs.parse(text.replace(text.split()[2], f"{worse:.12g}"))
    assert chance(closer, value, test_rows=1000, level=0.95) < 0.9


def test_needs_that_only_exclude_each_other_are_told_apart_with_the_price_of_either():
    front = front_of("accuracy >= 0.9", "latency_p95 <= 10 ms")
    measured(front, "majority", 250, 0.6, kind="trivial")
    fast = measured(front, "fast", 850, 1.0)
    slow = measured(front, "slow", 940, 13.5)
    found = map_of(front, fast)
    assert {one["need"]: one["how"] for one in found["blocking"]} == {
        "accuracy >= 0.9": "together",
        "latency_p95 <= 10 ms": "together",
    }
    proven, *likely = found["points"]
    assert proven["proven"]
    assert proven["candidate"] == fast.id
    assert proven["relax"][0]["offer"] == pytest.approx(bounds.proportion(850, 1000).low, abs=1e-3)
    told = next(one for one in likely if one["candidate"] == slow.id)
    assert [one["need"] for one in told["relax"]] == ["latency_p95 <= 10 ms"]
    assert 15.5 <= told["relax"][0]["offer"] <= 18  # a bound lies some 15 % beyond what is measured
    assert told["values"]["accuracy"] == 0.94
    (accuracy, speed) = relax.advised(judged(front, fast), found)
    assert (
        f"With latency_p95 at concurrency 1 of {told['relax'][0]['offer']:g} ms instead of 10 ms, slow would likely meet it"
        in accuracy.advice
    )
    assert "accuracy 0.94 on the validation rows" in accuracy.advice
    assert "is proven of fast" in accuracy.advice
    assert speed.advice == judged(front, fast)[1].advice


def test_a_need_that_nobody_comes_near_blocks_alone_and_the_nearest_is_named():
    front = front_of("accuracy >= 0.999", "latency_p95 <= 10 ms")
    measured(front, "far", 800, 1.0)
    near = measured(front, "near", 940, 4.0)
    found = map_of(front, near)
    assert found["blocking"] == [
        {"need": "accuracy >= 0.999", "unit": "", "how": "alone", "best": {"name": "near", "measured": 0.94}}
    ]
    assert {one["candidate"] for one in found["points"]} == {"near"}  # what is further off by every need is no point


def test_what_validation_was_sure_of_and_the_test_rows_refute_is_told_so():
    front = front_of("accuracy >= 0.9")
    best = measured(front, "best", 950, 3.0)
    missed = needs.verdicts(front.needs, Report([share(870)]))
    found = relax.map_of(front, best, missed, None)
    assert [one["how"] for one in found["blocking"]] == ["test"]
    assert [point["proven"] for point in found["points"]] == [True]


def test_points_come_the_fewest_relaxed_needs_first():
    front = front_of("accuracy >= 0.95", "latency_p95 <= 2 ms", "size <= 10 MB")
    both = measured(front, "two off", 945, 3.0, 9.0)
    one = measured(front, "one off", 900, 1.0, 9.0)
    measured(front, "three off", 890, 4.0, 30.0)
    found = map_of(front, measured(front, "far off", 700, 9.0, 90.0))
    likely = [point["candidate"] for point in found["points"] if not point["proven"]]
    assert likely == [one.id, both.id]


def test_more_rows_and_more_time_are_told_as_estimates():
    front = front_of("accuracy >= 0.95", budget="10m")
    best = measured(front, "best", 900, 1.0)
    late = Candidate("late", Plan("late", ()), "tuned", status="skipped", cause="time", forecast_s=400.0)
    late.outlook = {"chance": 0.4, "values": {}}
    front.found.append(late)
    growth = {"needs": {"accuracy >= 0.95": {"limit": 0.95, "low": 700.0, "mid": 1400.0, "high": None}}}
    found = map_of(front, best, growth)
    assert found["rows"] == [{"need": "accuracy >= 0.95", "low": 700.0, "mid": 1400.0, "high": None}]
    assert found["time"] == [{"name": "late", "forecast_s": 400.0, "chance": 0.4}]


def test_what_was_not_measured_makes_no_point():
    front = front_of("memory <= 3 MB", "accuracy >= 0.8")
    best = measured(front, "best", 950, 1.0)
    found = map_of(front, best)
    assert found["points"] == []
    assert found["blocking"][0]["best"] is None


def test_no_limit_of_nothing_is_offered():
    need = needs.parse("recall for b >= 0.9")
    few = bounds.proportion(1, 3)
    value = Value(need.key, 1 / 3, few.low, few.high, 3, details={"successes": 1, "trials": 3, "of": 1000})
    told = relax.offer(need, value, test_rows=1000, level=0.95)
    assert told is None or told > 0.001
