"""What is believed of candidates, and what measurements teach: against closed forms, simulation, and the figures in docs/benchmarks.md."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sartor import bounds, gain, leaves, needs
from sartor.gain import Belief, Guess, Nature, Scale
from sartor.report import Key, Report, Value

ACCURACY = Scale(odds=True, higher=True, share=True)


def nature(kind, rows_of_class=2768.0, **more):
    """A candidate of MiniLM."""
    return Nature(
        kind, "minilm", f"{kind} minilm", network=True, pretrained=True, rows_of_class=rows_of_class, classes=2, **more
    )


NGRAM = Nature("linear", "ngram", "ngram", rows_of_class=2768.0, classes=2)


def test_without_a_measurement_the_traits_alone_are_believed():
    guess = Belief().guess({"a": (1.0, 3.0), "b": (-0.5, 4.0)})
    assert (guess.mean, guess.spread) == (0.5, 5.0)


def test_a_measurement_moves_what_shares_a_trait_as_the_normal_equations_say():
    belief = Belief()
    belief.learn({"a": (1.0, 3.0)}, 5.0, 4.0)
    same, other = belief.guess({"a": (1.0, 3.0)}), belief.guess({"b": (2.0, 1.0)})
    assert same.mean == pytest.approx(1 + 4 * 9 / 25)
    assert same.spread == pytest.approx(math.sqrt(9 - 81 / 25))
    assert (other.mean, other.spread) == (2.0, 1.0)


def test_the_order_of_what_is_learned_does_not_matter_and_more_of_it_is_surer():
    seen = [({"a": (0.0, 1.0), f"own {n}": (0.0, 0.5)}, float(n), 0.3) for n in range(5)]
    one, other = Belief(), Belief()
    spreads = []
    for traits, measured, noise in seen:
        one.learn(traits, measured, noise)
        spreads.append(one.guess({"a": (0.0, 1.0)}).spread)
    for traits, measured, noise in reversed(seen):
        other.learn(traits, measured, noise)
    assert one.guess({"a": (0.0, 1.0)}).mean == pytest.approx(other.guess({"a": (0.0, 1.0)}).mean)
    assert spreads == sorted(spreads, reverse=True)


def test_two_facts_that_differ_are_no_contradiction():
    belief = Belief()
    for measured in (1.0, 2.0):
        belief.learn({"a": (0.0, 1.0)}, measured, 0.0)
    assert belief.guess({"a": (0.0, 1.0)}).mean == pytest.approx(1.5, abs=1e-3)


@pytest.mark.parametrize(
    ("scale", "value"),
    [
        (ACCURACY, 0.93),
        (Scale(higher=True, share=True), 0.4),  # macro F1
        (Scale(share=True), 0.05),  # calibration error
        (Scale(), 3.7),  # an error in the target's own unit, a latency
        (Scale(higher=True), 900.0),  # a throughput
        (Scale(odds=True, higher=True, share=True, over=0.5, unit=100.0), 31.0),  # points over the baseline
    ],
)
def test_a_scale_goes_back_and_its_lower_end_is_the_better_one(scale, value):
    assert scale.back(scale.of(value)) == pytest.approx(value)
    better = value * (1.01 if scale.higher else 0.99)
    assert scale.of(better) < scale.of(value)
    ends = scale.interval(Guess(scale.of(value), 0.2))
    assert ends["low"] < ends["mid"] < ends["high"]


@pytest.mark.parametrize("task", ["classify", "multilabel", "regress"])
def test_every_measure_of_every_task_has_a_scale(task):
    for name, metric in leaves.load("task", task).METRICS.items():
        scale = gain.scale_of_quality(Key(name), metric, base=None)
        values = (0.3, 0.9) if scale.share else (0.3, 40.0)
        numbers = [scale.of(value) for value in values]
        assert (numbers[0] > numbers[1]) == (metric.better == "higher"), name


def test_an_error_that_is_nearly_none_is_told_apart_by_no_rows():
    assert ACCURACY.of(1.0) == ACCURACY.of(0.9999) < ACCURACY.of(0.99)
    assert math.isfinite(Scale(share=True, higher=True).of(-0.3))  # a variance explained may be below zero


def test_what_the_benchmarks_measured_lies_where_it_is_expected():
    """Accuracies of n-grams, frozen and tuned MiniLM at many numbers of rows; of the gains foretold most lie within the 80 % interval."""
    measured = [  # rows of a class; n-grams, frozen, tuned
        (2768, 0.834, 0.805, 0.892),
        (1200, 0.892, 0.874, 0.920),
        (104, 0.905, 0.926, 0.936),
        (692, 0.761, 0.797, 0.840),
        (346, 0.706, 0.795, 0.823),
        (26, 0.820, 0.886, 0.893),
    ]
    inside = []
    for rows, fitted, frozen, tuned in measured:
        belief = Belief()
        for kind, accuracy in (("linear", fitted), ("frozen", frozen), ("tuned", tuned)):
            one = NGRAM if kind == "linear" else nature(kind)
            traits = gain.quality_traits(
                Nature(**(one.__dict__ | {"rows_of_class": float(rows), "classes": 2})), ACCURACY
            )
            guess = belief.guess(traits)
            inside.append(abs(ACCURACY.of(accuracy) - guess.mean) <= gain.REACH * guess.spread)
            belief.learn(traits, ACCURACY.of(accuracy), 0.07)
    assert np.mean(inside) >= 0.8


def test_frozen_tells_much_of_tuned_and_little_of_another_body():
    belief = Belief()
    frozen, tuned = (gain.quality_traits(nature(kind), ACCURACY) for kind in ("frozen", "tuned"))
    trees = gain.quality_traits(Nature("linear", "trees", "trees"), ACCURACY)
    before = {name: belief.guess(traits) for name, traits in (("tuned", tuned), ("trees", trees))}
    belief.learn(frozen, ACCURACY.of(0.7), 0.05)
    assert belief.guess(tuned).spread < 0.5 * before["tuned"].spread
    assert belief.guess(tuned).spread < belief.guess(trees).spread
    assert belief.guess(tuned).mean > before["tuned"].mean


def test_a_measurement_on_the_same_rows_counts_less_than_its_own_noise():
    shared, own = gain.rows_trait(0.2)
    assert shared["rows"][1] ** 2 + own**2 == pytest.approx(0.04)


def test_few_rows_want_embeddings_drawn_together_and_many_want_tuning():
    few = {kind: gain.quality_traits(nature(kind, 8.0), ACCURACY) for kind in ("frozen", "contrasted", "tuned")}
    many = {kind: gain.quality_traits(nature(kind, 2000.0), ACCURACY) for kind in ("frozen", "tuned")}
    mean = {kind: Belief().guess(traits).mean for kind, traits in few.items()}
    assert mean["contrasted"] < mean["tuned"] < mean["frozen"]
    assert Belief().guess(many["tuned"]).mean < Belief().guess(many["frozen"]).mean - 0.4


def test_fewer_epochs_and_fewer_blocks_gain_less():
    gained = [
        Belief().guess(gain.quality_traits(one, ACCURACY)).mean
        for one in (nature("tuned"), nature("tuned", effort=0.3), nature("last blocks"), nature("frozen"))
    ]
    assert gained[0] < gained[1] < gained[3]
    assert gained[0] < gained[2] < gained[3]


@pytest.mark.parametrize("accuracy", [0.88, 0.91, 0.93, 0.96])
def test_the_chance_of_met_is_that_of_a_simulation(accuracy):
    need, guess, rows = needs.parse("accuracy >= 0.9"), Guess(ACCURACY.of(accuracy), 0.15), 900
    rng = np.random.default_rng(0)
    share = 1 / (1 + np.exp(rng.normal(guess.mean, guess.spread, 20_000)))
    right = rng.binomial(rows, share)
    fewest = bounds.fewest_that_meet(rows, limit=0.9, level=0.97)
    met = gain.chance(need, guess, ACCURACY, rows=rows, level=0.97)
    assert met == pytest.approx((right >= fewest).mean(), abs=0.015)


def test_the_fewest_that_meet_are_where_the_bound_passes_the_limit():
    fewest = bounds.fewest_that_meet(600, limit=0.8, level=0.95)
    assert bounds.proportion(fewest, 600).low >= 0.8 > bounds.proportion(fewest - 1, 600).low
    assert bounds.fewest_that_meet(10, limit=0.999) is None
    assert bounds.fewest_that_meet(0, limit=0.5) is None


@pytest.mark.parametrize(
    ("rows", "judged_by", "limit"), [(900, 600, 0.9), (100, 100, 0.95), (400, 200, 0.99), (60, 300, 0.6)]
)
def test_what_validation_will_say_is_counted_through_its_cases(rows, judged_by, limit):
    """Against drawn ones: what is true, what of it the validation rows show, and what is thought of that on the test rows."""
    need, rng = needs.parse(f"accuracy >= {limit}"), np.random.default_rng(0)
    told = gain.stakes(need, ACCURACY, rows=rows, judged_by=judged_by, level=0.95, noise=0.1)
    for accuracy in (limit - 0.1, limit - 0.02, limit + 0.005, 0.5 * (1 + limit), 1 - 0.1 * (1 - limit)):
        guess = Guess(ACCURACY.of(accuracy), 0.1)
        cases = gain.validated(told, Guess(guess.mean, math.hypot(guess.spread, told.on_valid(guess.mean))))
        assert (np.diff(cases) <= 0).all()
        true = 1 - 1 / (1 + np.exp(-(guess.mean + guess.spread * rng.standard_normal(400))))
        right = rng.binomial(judged_by, true)
        drawn = np.array(
            [bounds.chance_met(int(one), judged_by, test_trials=rows, limit=limit, level=0.95) for one in right]
        )
        assert cases.mean() == pytest.approx(drawn.mean(), abs=0.11)
        assert np.maximum(0.0, cases - 0.5).mean() == pytest.approx(np.maximum(0.0, drawn - 0.5).mean(), abs=0.06)
        assert drawn.mean() > 0.005 or cases.mean() < 0.02  # what cannot be proven is worth nothing


def test_what_no_rows_can_prove_is_at_stake_of_none():
    impossible = needs.parse("accuracy >= 0.999")
    assert gain.stakes(impossible, ACCURACY, rows=900, judged_by=900, level=0.95, noise=0.1) is None


def test_of_measures_that_are_no_proportion_the_bound_takes_its_part():
    need, scale = needs.parse("mae <= 2", task="regress"), Scale()
    at = Guess(scale.of(2.0), 1e-6)
    assert gain.chance(need, at, scale, rows=400, level=0.95, noise=0.05) == pytest.approx(0.05, abs=0.001)
    assert gain.chance(need, Guess(scale.of(1.0), 0.1), scale, rows=400, level=0.95, noise=0.05) > 0.99


def test_a_limit_on_a_latency_takes_a_margin_for_its_bound():
    need = needs.parse("latency_p95 <= 10 ms")
    assert gain.chance_of_system(need, Guess(math.log(10.0), 0.05)) < 0.05
    assert gain.chance_of_system(need, Guess(math.log(7.0), 0.05)) > 0.95
    fast = needs.parse("throughput >= 100 rows/s")
    assert gain.chance_of_system(fast, Guess(-math.log(200.0), 0.1)) > 0.99
    assert gain.chance_of_system(fast, Guess(-math.log(90.0), 0.1)) < 0.1


def test_eight_bits_are_smaller_and_faster_and_the_float_tells_how_fast():
    fast = Key("latency_p95", setting=(("concurrency", 1.0),))
    given = {"megabytes": 90.9, "latency_ms": 6.0}
    whole, eight = nature("tuned", **given), nature("tuned", precision="int8", **given)
    belief = Belief()
    before = belief.guess(gain.system_traits(eight, fast))
    belief.learn(gain.system_traits(whole, fast), math.log(12.0), 0.02)
    after = belief.guess(gain.system_traits(eight, fast))
    assert math.exp(after.mean) < 12.0
    assert after.mean > before.mean
    assert after.spread < 0.6 * before.spread
    size = Belief().guess(gain.system_traits(eight, Key("size")))
    assert math.exp(size.mean) == pytest.approx(23.5, rel=0.03)


def test_every_system_measure_is_believed_something_of():
    for measure, (_, better, concurrent) in needs.SYSTEM.items():
        if measure == "training_time":
            continue
        key = Key(measure, setting=(("concurrency", 8.0),) if concurrent else ())
        for one in (NGRAM, nature("tuned", megabytes=90.9, latency_ms=6.0)):
            guess = Belief().guess(gain.system_traits(one, key))
            value = Scale(higher=better == "higher").back(guess.mean)
            assert 1e-3 < value < 1e5, measure


def test_the_noise_of_a_measurement_follows_its_rows_or_its_bounds():
    details = {"successes": 180, "trials": 200, "of": 200}
    share = Value(Key("accuracy"), 0.9, 0.85, 0.94, 200, details=details)
    assert gain.noise_of(share, ACCURACY) == pytest.approx(1 / math.sqrt(200 * 0.9 * 0.1), rel=0.1)
    latency = Value(Key("latency_p95"), 5.0, 5 * math.exp(-0.1645), 5 * math.exp(0.1645), 2000, "ms")
    assert gain.noise_of(latency, Scale()) == pytest.approx(0.1, rel=0.01)
    assert gain.noise_of(Value(Key("size"), 4.0, 4.0, 4.0, 1, "MB"), Scale()) == 0.0
    assert gain.noise_of(Value(Key("mae"), 4.0, None, None, 9), Scale()) == gain.UNBOUNDED


def test_needs_that_rise_and_fall_together_are_not_counted_twice():
    p50, p95, size = (Key(name) for name in ("latency_p50", "latency_p95", "size"))
    assert gain.together([(p50, 0.5), (p95, 0.4), (size, 0.5)]) == pytest.approx(0.2)
    assert gain.together([]) == 1.0


def test_what_is_sure_to_be_worse_gains_nothing():
    assert Guess(1.0, 0.01).gain_on(0.0) == pytest.approx(0.0, abs=1e-9)
    assert Guess(0.0, 0.01).gain_on(1.0) == pytest.approx(1.0, abs=1e-3)
    drawn = np.random.default_rng(0).normal(0.2, 0.5, 400_000)
    assert Guess(0.2, 0.5).gain_on(0.1) == pytest.approx(np.maximum(0.1 - drawn, 0).mean(), abs=0.003)


def test_rows_that_hang_together_count_for_fewer():
    from test_front import ENGLISH, front_of

    front = front_of("accuracy >= 0.9", profile=ENGLISH)
    key = Key("accuracy")
    alone = Value(key, 0.93, 0.915, 0.943, 1000, details={"successes": 930, "trials": 1000, "of": 1000})
    hang = Value(key, 0.93, 0.88, 0.965, 1000, method="Korn–Graubard", details={"of": 1000})
    rows = []
    for value in (alone, hang):
        candidate = next(one for one in front.waiting if one.id == "ngram")
        candidate.report = Report([value])
        front.prospects.learn(candidate)
        rows.append(front.prospects._of_rows(key)["rows"])
    assert rows[0] == 1000
    assert rows[1] == pytest.approx(1000 * ((0.943 - 0.915) / (0.965 - 0.88)) ** 2, rel=0.3)


def test_two_measurements_of_a_dozen_servers_lie_as_far_apart_as_is_believed():
    from sartor.measure import _of_one_more

    rng = np.random.default_rng(0)
    first, second = ([_of_one_more(np.exp(rng.normal(0, 0.08, 12)), 0.95) for _ in range(4_000)] for _ in range(2))
    apart = np.array([math.log(other.high / one.high) for one, other in zip(first, second, strict=True)])
    error = np.mean([math.log(one.high / one.low) for one in first]) / (2 * 1.645)
    assert apart.std() / error == pytest.approx(gain.AGAIN, abs=0.05)
