"""The right to abstain: the model answers where it is sure, and says so where it is not.

The threshold on the probability of the best answer is chosen on calibration rows, which choose nothing else, by fixed-sequence testing
(Angelopoulos et al. 2021, "Learn then test", section 4): from the coverage that was asked for towards answering everything, as long as
the exact bound of the accuracy of what is answered stays above its limit. The test rows judge the result like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sartor import bounds
from sartor.needs import Needs

STEPS = 50  # thresholds that are looked at, evenly over the coverage


@dataclass(frozen=True)
class Threshold:
    """below: answers with a lower probability are withheld. controlled: whether calibration rows bear the accuracy out. rows: how many
    there were; coverage, accuracy: on them."""

    below: float
    controlled: bool
    rows: int
    coverage: float
    accuracy: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def asked(needs: Needs) -> list[tuple[float, float]]:
    """(accuracy, coverage) of every need that lets the model abstain."""
    return [
        (need.limit, dict(need.key.setting)["coverage"]) for need in needs.needs if "coverage" in dict(need.key.setting)
    ]


def choose(
    probabilities: np.ndarray,
    right: np.ndarray,
    limits: Sequence[tuple[float, float]],
    *,
    confidence: float,
    level: float,
    test_rows: int,
) -> Threshold:
    """The threshold at which every (accuracy, coverage) is likeliest to be proven on the test rows, among those under control.

    probabilities, right: [n] of the best answer to each calibration row, and whether it is right. confidence: of the control.
    level: of the bounds on the test rows. Where none is under control, the likeliest of all, and that is said.
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked, hits = probabilities[order], np.cumsum(right[order])
    number = len(ranked)
    most = max(coverage for _, coverage in limits)
    # Rows of one probability are answered together or not at all.
    ends = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True)) + 1
    wanted = np.unique(np.ceil(number * np.linspace(most, 1.0, STEPS)).astype(int))
    counts = np.unique(ends[np.minimum(np.searchsorted(ends, wanted), len(ends) - 1)])
    controlled = []
    for count in counts.tolist():
        low = bounds.proportion(int(hits[count - 1]), count, level=confidence).low
        if any(low < accuracy for accuracy, _ in limits):
            break
        controlled.append(count)

    def chance(count: int) -> tuple[float, int]:
        """That every need is met on the test rows; of equal chances, to a thousandth, the one that answers most counts."""
        found = min(
            bounds.chance_met(
                int(hits[count - 1]), count, test_trials=round(test_rows * count / number), limit=accuracy, level=level
            )
            * bounds.chance_met(count, number, test_trials=test_rows, limit=coverage, level=level)
            for accuracy, coverage in limits
        )
        return round(found, 3), count

    _, count = max(map(chance, controlled or counts.tolist()))
    below = 0.0 if count == number else float(ranked[count - 1])
    return Threshold(below, bool(controlled), number, count / number, float(hits[count - 1]) / count)
