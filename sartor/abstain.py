"""The right to abstain: the model answers where it is sure, and says so where it is not.

The threshold on the probability of the best answer is chosen on calibration rows, which choose nothing else, by fixed-sequence testing
(Angelopoulos et al. 2021, "Learn then test", section 4): from the fewest rows that keep the coverage towards answering everything, as long as
the accuracy is kept. What is tested is the promise itself, that of as many rows to come as there are test rows the share that is answered and
the share of it that is right will not be below their limits. Either bound is exact for one threshold and independent rows. The test rows judge the result like any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sartor import bounds
from sartor.needs import Needs

STEPS = 50  # thresholds that are looked at, evenly over the coverage


@dataclass(frozen=True)
class Threshold:
    """below: answers with a lower probability are withheld. controlled: whether calibration rows bear the promise out. rows: how many
    there were; coverage, accuracy: on them."""

    below: float
    controlled: bool
    rows: int
    coverage: float
    accuracy: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def asked(needs: Needs, target: str | None = None) -> list[tuple[float, float]]:
    """(accuracy, coverage) of every need that lets the model abstain. target: of several, the one that they are of."""
    return [
        (need.limit, dict(need.key.setting)["coverage"])
        for need in needs.needs
        if need.key.target == target and "coverage" in dict(need.key.setting)
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

    probabilities, right: [n] of the best answer to each calibration row, and whether it is right. confidence: that the test rows keep
    all of it, shared out evenly.
    level: of the bounds on the test rows. Where none is under control, the likeliest of all, and that is said.
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked, hits = probabilities[order], np.cumsum(right[order])
    number = len(ranked)
    # Rows of one probability are answered together or not at all.
    ends = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True)) + 1

    def ladder(fewest: int) -> list[int]:
        """Counts of answered rows, from the fewest to all."""
        wanted = np.unique(np.ceil(np.linspace(fewest, number, STEPS)).astype(int))
        return np.unique(ends[np.minimum(np.searchsorted(ends, wanted), len(ends) - 1)]).tolist()  # type: ignore[no-any-return]

    risk = (1 - confidence) / (2 * len(limits))
    coming = test_rows or number

    def kept(count: int, accuracy: float) -> bool:
        wrong, next_trials = count - int(hits[count - 1]), round(coming * count / number)
        return bounds.risk_of_next(wrong, count, next_trials=next_trials, limit=1 - accuracy) <= risk

    controlled = []
    for count in ladder(max(bounds.rank_that_keeps(coverage, number, coming, risk=risk) for _, coverage in limits)):
        if not all(kept(count, accuracy) for accuracy, _ in limits):
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

    most = max(coverage for _, coverage in limits)
    _, count = max(map(chance, controlled or ladder(math.ceil(most * number))))
    below = 0.0 if count == number else float(ranked[count - 1])
    return Threshold(below, bool(controlled), number, count / number, float(hits[count - 1]) / count)
