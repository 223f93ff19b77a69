"""Quality measured from answers, with the bounds that belong to it."""

from __future__ import annotations

import numpy as np
import pytest

from sartor import bounds, measure
from sartor.report import Key
from sartor.task import classify

HEAD = {"task": "classify", "target": "label", "spec": {"classes": ["a", "b"], "counts": [5, 5]}}


def answers_of(labels, probability=0.9):
    other = {"a": "b", "b": "a"}
    return [
        {"label": x, "probability": probability, "probabilities": {x: probability, other[x]: 1 - probability}}
        for x in labels
    ]


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    targets = rng.choice(["a", "b"], 300).tolist()
    right = rng.random(300) < 0.85
    return answers_of([t if r else {"a": "b", "b": "a"}[t] for t, r in zip(targets, right, strict=True)]), targets


def test_accuracy_has_the_exact_bounds(drawn):
    answers, targets = drawn
    value = measure.value_of(Key("accuracy"), answers, targets, HEAD, levels=[0.95, 0.975])
    hits = sum(a["label"] == t for a, t in zip(answers, targets, strict=True))
    assert (value.measured, value.n) == (hits / 300, 300)
    assert (value.low, value.high) == tuple(vars(bounds.proportion(hits, 300)).values())
    assert value.details["ladder"][1][1] < value.low


def test_metrics_agree_with_scikit_learn(drawn):
    metrics = pytest.importorskip("sklearn.metrics")
    answers, targets = drawn
    named = [a["label"] for a in answers]

    def measured(name, for_class=None):
        return measure.value_of(Key(name, for_class=for_class), answers, targets, HEAD, levels=[0.95]).measured

    assert measured("macro_f1") == pytest.approx(metrics.f1_score(targets, named, average="macro"))
    assert measured("recall", "a") == pytest.approx(metrics.recall_score(targets, named, pos_label="a"))
    assert measured("precision", "a") == pytest.approx(metrics.precision_score(targets, named, pos_label="a"))
    table = [[a["probabilities"]["a"], a["probabilities"]["b"]] for a in answers]
    assert measured("log_loss") == pytest.approx(metrics.log_loss(targets, table, labels=["a", "b"]))
    share = np.mean([a == t for a, t in zip(named, targets, strict=True)])
    assert measured("calibration_error") == pytest.approx(abs(0.9 - share))


def test_a_row_without_an_answer_counts_as_wrong():
    answers = [*answers_of(["a"] * 9), {"error": {"code": "row.bad-value", "message": ""}}]
    assert measure.value_of(Key("accuracy"), answers, ["a"] * 10, HEAD, levels=[0.95]).measured == 0.9


def test_a_class_without_test_rows_has_no_value():
    value = measure.value_of(Key("recall", for_class="b"), answers_of(["a"] * 30), ["a"] * 30, HEAD, levels=[0.95])
    assert (value.measured, value.low, value.n) == (None, None, 0)


def test_few_groups_give_a_value_and_no_bound(drawn):
    answers, targets = drawn
    groups = np.repeat(np.arange(10), 30)
    value = measure.value_of(Key("accuracy"), answers, targets, HEAD, levels=[0.95], groups=groups)
    assert value.low is None
    assert value.note


def test_every_metric_of_the_task_is_finite(drawn):
    answers, targets = drawn
    for name, metric in classify.METRICS.items():
        key = Key(name, for_class="a" if metric.per_class else None)
        value = measure.value_of(key, answers, targets, HEAD, levels=[0.95])
        assert value.low <= value.measured <= value.high or name == "calibration_error"
