"""Calibrated probabilities: one temperature for all outputs of a model (Guo et al. 2017, "On calibration of modern neural networks").

It is fitted on calibration rows and moves no answer, so that no accuracy hangs on it; the test rows judge the result like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

LEAST_ROWS = 50
MOST = 8.0  # that outputs are multiplied or divided by
# Standard deviation of the scale's logarithm: where a few rows are all answered rightly, no scale is too large.
PRIOR = 1.0


@dataclass(frozen=True)
class Calibration:
    """scale: what outputs are multiplied by, the inverse of the temperature. part, rows: where it was fitted, and on how many rows.
    before, after: mean log loss there, in nats."""

    scale: float
    part: str
    rows: int
    before: float
    after: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def fit(answers: Sequence[Mapping[str, Any]], targets: Sequence[Any], *, part: str) -> Calibration | None:
    """The scale with the least log loss; None where answers have no probabilities, or fewer than LEAST_ROWS rows have a known class.

    answers: of a model without a scale. What a softmax says is known up to a constant, so probabilities serve as outputs do.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    pairs = [
        (answer["probabilities"], target)
        for answer, target in zip(answers, targets, strict=True)
        if target in answer.get("probabilities", {})
    ]
    if len(pairs) < LEAST_ROWS:
        return None
    number = {name: code for code, name in enumerate(pairs[0][0])}
    outputs = np.log(np.maximum([list(told.values()) for told, _ in pairs], 1e-300))
    truth = np.array([number[target] for _, target in pairs])
    places = np.arange(len(pairs))

    def loss(log: float) -> float:
        return float(-log_softmax(outputs * np.exp(log), axis=1)[places, truth].mean())

    edge = float(np.log(MOST))
    found = minimize_scalar(
        lambda log: loss(log) + 0.5 * (log / PRIOR) ** 2 / len(pairs),
        bounds=(-edge, edge),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return Calibration(float(np.exp(found.x)), part, len(pairs), loss(0.0), loss(float(found.x)))
