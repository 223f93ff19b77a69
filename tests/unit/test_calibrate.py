"""Calibration: a model that is too sure is told so, no answer changes, and a few rows move little."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from sartor import calibrate

CLASSES = ["a", "b", "c", "d"]


def answered(outputs):
    """Answers with the softmax of these outputs."""
    return [
        {
            "label": CLASSES[int(row.argmax())],
            "probability": row.max(),
            "probabilities": dict(zip(CLASSES, row, strict=True)),
        }
        for row in softmax(outputs, axis=1)
    ]


def drawn(count, *, seed=0):
    """(outputs whose softmax is true, a class drawn from it for each)."""
    rng = np.random.default_rng(seed)
    outputs = 2 * rng.standard_normal((count, len(CLASSES)))
    return outputs, [CLASSES[rng.choice(len(CLASSES), p=row)] for row in softmax(outputs, axis=1)]


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_outputs_that_were_multiplied_are_divided_again(factor):
    outputs, targets = drawn(4_000)
    found = calibrate.fit(answered(factor * outputs), targets, part="calib")
    assert found.scale == pytest.approx(1 / factor, rel=0.06)
    assert found.after <= found.before
    assert (found.rows, found.part) == (4_000, "calib")


def test_the_loss_is_that_of_the_answers_and_of_the_scaled_ones():
    outputs, targets = drawn(300)
    found = calibrate.fit(answered(2 * outputs), targets, part="valid")
    truth = [CLASSES.index(target) for target in targets]
    for scale, told in ((1.0, found.before), (found.scale, found.after)):
        given = softmax(2 * scale * outputs, axis=1)[np.arange(300), truth]
        assert told == pytest.approx(-np.log(given).mean(), rel=1e-6)


def test_rows_that_are_all_right_make_no_model_infinitely_sure():
    outputs, _ = drawn(60)
    targets = [CLASSES[int(row.argmax())] for row in outputs]
    assert 1 < calibrate.fit(answered(outputs), targets, part="valid").scale < calibrate.MOST


def test_too_few_rows_unknown_classes_and_errors_say_nothing():
    outputs, targets = drawn(60)
    answers = answered(outputs)
    assert calibrate.fit(answers[:40], targets[:40], part="valid") is None
    assert calibrate.fit(answers, ["unheard of"] * 60, part="valid") is None
    assert calibrate.fit([{"error": {"code": "row.bad-value"}}] * 60, targets, part="valid") is None
    assert calibrate.fit([*answers, {"error": {}}], [*targets, "a"], part="valid").rows == 60
