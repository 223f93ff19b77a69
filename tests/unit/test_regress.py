"""Regression: metrics against scikit-learn's, intervals that hold what they say, and bodies that fit numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sartor import bounds, needs
from sartor.backbone import linear, trees
from sartor.errors import InputError
from sartor.step.fit import Chooser
from sartor.task import classify, regress


def test_numbers_that_could_be_classes_are_left_to_the_user():
    assert regress.suits([f"{i / 7:.3f}" for i in range(50)])
    assert not regress.suits([i % 9 for i in range(50)])
    assert not regress.suits(["cheap", "dear"] * 20)
    ages = [20 + i % 40 for i in range(400)]
    assert regress.suits(ages)
    assert classify.suits(ages)
    assert not classify.suits([f"{i / 7:.3f}" for i in range(30)] * 4)


@pytest.mark.parametrize("name", ["mae", "rmse", "r2"])
def test_a_metric_is_that_of_scikit_learn_and_its_bounds_hold_it(name):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth = 1e6 + rng.normal(size=400)
    told = truth + 0.4 * rng.normal(size=400)
    spec = regress.learn(truth.tolist())
    metric = regress.METRICS[name]
    stats = metric.stats([{"value": value} for value in told.tolist()], truth.tolist(), spec, None)
    reference = {
        "mae": metrics.mean_absolute_error,
        "rmse": lambda a, b: math.sqrt(metrics.mean_squared_error(a, b)),
        "r2": metrics.r2_score,
    }[name](truth, told)
    assert float(metric.finish(stats.sum(0))) == pytest.approx(reference, rel=1e-6)
    found = bounds.bootstrap(stats, metric.finish)
    assert found.low < reference < found.high


def test_an_interval_holds_as_often_as_it_says():
    rng = np.random.default_rng(1)
    held = []
    for _ in range(200):
        errors = rng.standard_t(3, size=160)
        learned = regress.settle([{"value": 0.0}] * 80, errors[:80].tolist())
        answers = [regress.settled({"value": 0.0}, learned) for _ in range(80)]
        stats = regress.METRICS["interval_coverage"].stats(answers, errors[80:].tolist(), {}, None)
        held.append(stats[:, 0].mean())
    assert 0.895 <= np.mean(held) <= 0.93
    assert regress.settle([{"value": 0.0}] * 10, [1.0] * 10) is None


def test_encoding_and_decoding_are_each_others_inverse():
    values = [3.0, 7.5, -2.0, 100.0]
    spec = regress.learn(values)
    back = regress.decode(regress.encode(values, spec)[:, None], spec)
    assert [one["value"] for one in back] == pytest.approx(values, rel=1e-5)
    assert regress.decode(regress.trivial(spec)[None], spec)[0]["value"] == pytest.approx(np.median(values), rel=1e-5)


def test_targets_that_are_all_the_same_are_told_as_they_are():
    spec = regress.learn([0.1] * 30)
    assert spec["spread"] == 1.0
    assert np.abs(regress.encode([0.1] * 30, spec)).max() < 1e-6
    assert regress.encode([0.6], spec)[0] == pytest.approx(0.5)


def test_targets_that_lie_far_from_all_others_are_told():
    rng = np.random.default_rng(0)
    values = [*rng.normal(100, 5, size=500).tolist(), 10_050.0]
    (found,) = regress.audit(values, range(501))
    assert (found.code, found.rows) == ("audit.far-target", (500,))
    assert not regress.audit(rng.lognormal(0, 2, size=500).tolist(), range(500))  # a long tail is no slip


def cells(count: int, seed: int) -> tuple[list[dict[str, object]], list[float]]:
    rng = np.random.default_rng(seed)
    size, colour = rng.normal(size=count), rng.integers(3, size=count)
    price = 200 + 30 * size + np.array([0.0, 40.0, -20.0])[colour] * (size > 0) + 5 * rng.normal(size=count)
    names = ["red", "green", "blue"]
    made = [
        {"size": float(s) if rng.random() > 0.05 else None, "colour": names[c]}
        for s, c in zip(size, colour, strict=True)
    ]
    return made, price.tolist()


@pytest.mark.parametrize(("leaf", "enough"), [(linear, 0.72), (trees, 0.85)])
def test_a_body_fits_numbers(leaf, enough, tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    kinds = {"size": "number", "colour": "category"}
    (inputs, targets), (valid, truth), (test, right) = cells(800, 1), cells(200, 2), cells(500, 3)
    spec = regress.learn(targets)
    choose = Chooser(regress, spec, valid, truth, seed=0, progress=lambda *a, **k: None)
    meta = leaf.start("", tmp_path, columns=list(kinds), inputs=inputs, seed=0, kinds=kinds, outputs=1)
    encoded = regress.encode(targets, spec)
    module, meta, _ = leaf.fit(tmp_path, meta, inputs, encoded, task=regress, spec=spec, choose=choose, seed=0)
    with torch.inference_mode():
        batch = leaf.processor(tmp_path, meta)(test)
        outputs = module(**{name: torch.from_numpy(array) for name, array in batch.items()}).numpy()
    metric = regress.METRICS["r2"]
    stats = metric.stats(regress.decode(outputs, spec), right, spec, None)
    assert float(metric.finish(stats.sum(0))) > enough


def test_needs_tell_the_task_and_numbers_may_be_of_any_size():
    made = needs.make(data="x.csv", needs=["mae <= 2500", "r2 >= 0.8", "mae <= baseline - 100"])
    assert made.task == "regress"
    assert [(need.limit, need.unit) for need in made.needs] == [(2500.0, ""), (0.8, ""), (-100.0, "")]
    with pytest.raises(InputError):
        needs.parse("r2 >= 80", task="regress")
    assert needs.make(data="x.csv", needs=["accuracy >= 0.8"]).task is None
