"""Learning curves: what a score will be with more rows, and how many rows a score takes, each with its uncertainty.

The error of a model falls as a + b · n^-c in its n training rows (Viering and Loog 2023, "The shape of learning curves", section 4.1).
A few measured points cannot tell the three apart, so the answer is a mixture over all that fit, each weighed by how well it
does: points on nested subsets of the rows, scored on the same validation rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

POWERS = np.linspace(0.05, 1.2, 47)
POWER, POWER_SPREAD = 0.4, 0.6  # median and log-spread of the exponents that texts have had
FLOORS = np.linspace(0.0, 1.0, 41)  # of the error at all rows measured, as shares
DISAGREE = 0.5  # of the errors of two models on the same rows, the share that only one of them makes
WOBBLE = 0.004  # standard deviation of a score that comes with which rows and which order were drawn
COVERAGE = 0.85
SHARES = (0.0625, 0.125, 0.25, 0.5)  # of the training rows, on which the winner is trained again
LEAST_ROWS = 25  # of the smallest of them
OVERHEAD_S = 10.0  # of a training beside what grows with its rows
MOST_TIMES = 30.0  # more rows than are there, beyond which nothing is said


@dataclass(frozen=True)
class Forecast:
    """mid: the median; low, high: the ends of the COVERAGE interval. None where it lies beyond what can be said."""

    mid: float | None
    low: float | None
    high: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Curve:
    """Curves that fit: error(n) = floor + drop · n^-power, [k] each, with `weight` [k] and the spread of `drop` given the others."""

    floor: np.ndarray
    power: np.ndarray
    drop: np.ndarray
    spread: np.ndarray
    weight: np.ndarray
    sizes: tuple[int, ...]
    wobble: float

    def score(self, rows: float) -> Forecast:
        """The score to expect of a model of so many rows."""
        drawn = self._drawn(rows, noise=True)
        low, mid, high = np.quantile(drawn, [(1 - COVERAGE) / 2, 0.5, (1 + COVERAGE) / 2])
        return Forecast(float(mid), float(max(0.0, low)), float(min(1.0, high)))

    def rows(self, score: float) -> Forecast:
        """The number of training rows at which the score is reached; None for what lies beyond MOST_TIMES those that are there."""
        sizes = np.geomspace(min(self.sizes), MOST_TIMES * max(self.sizes), 400)
        reached = np.array([(self._drawn(size, noise=False) >= score).mean() for size in sizes])

        def at(share: float) -> float | None:
            place = np.flatnonzero(reached >= share)
            return float(sizes[place[0]]) if len(place) else None

        return Forecast(at(0.5), at((1 - COVERAGE) / 2), at((1 + COVERAGE) / 2))

    def _drawn(self, rows: float, *, noise: bool) -> np.ndarray:
        """Scores [m] at a size, of curves drawn by their weights; the same draws at every size."""
        rng = np.random.default_rng(0)
        picked = rng.choice(len(self.weight), 4_000, p=self.weight)
        drop = self.drop[picked] + self.spread[picked] * rng.standard_normal(len(picked))
        error = self.floor[picked] + np.maximum(drop, 0.0) * rows ** -self.power[picked]
        return 1.0 - error + (self.wobble * rng.standard_normal(len(picked)) if noise else 0.0)


def fit(sizes: Sequence[int], scores: Sequence[float], *, trials: int) -> Curve:
    """The curves through the scores [k ≥ 3] of models of so many training rows, all measured on the same `trials` rows."""
    n, error = np.asarray(sizes, dtype=np.float64), 1.0 - np.asarray(scores, dtype=np.float64)
    # Noise of a point beside the others: on the same rows only what one model gets wrong and another right differs.
    noise = np.sqrt(DISAGREE * np.maximum(error, 0.5 / trials) / trials + WOBBLE**2)
    last = float(error[n.argmax()])
    floor, power = (grid.ravel() for grid in np.meshgrid(FLOORS * last, POWERS, indexing="ij"))
    shape = n[None, :] ** -power[:, None]  # [grid, points]
    left = error[None, :] - floor[:, None]
    precision = (shape**2 / noise**2).sum(1)
    drop = (shape * left / noise**2).sum(1) / precision
    misfit = (((left - drop[:, None] * shape) / noise) ** 2).sum(1)
    prior = -0.5 * (np.log(power / POWER) / POWER_SPREAD) ** 2
    log = prior - 0.5 * misfit + np.where(drop > 0, 0.0, -np.inf)
    if not np.isfinite(log).any():  # the error does not fall: more rows are not known to help
        log, drop = prior - 0.5 * misfit, np.maximum(drop, 0.0)
    weight = np.exp(log - log.max())
    wobble = float(noise[n.argmax()])
    return Curve(floor, power, drop, 1 / np.sqrt(precision), weight / weight.sum(), tuple(map(int, sizes)), wobble)


def said(told: dict[str, Any]) -> str:
    """How many more rows a need takes, in words. told: {limit, mid, low, high}, the last three in rows more than there are."""
    limit, mid, low, high = (told[name] for name in ("limit", "mid", "low", "high"))
    if mid is None:
        least = f"fewer than {_round(low):,} more would hardly do" if low else "how many cannot be said"
        return f"By the learning curve, more rows like these are not likely to reach {limit:g} ({least})."
    if mid <= 0:
        return f"By the learning curve the validation score is at {limit:g} with the rows that are there; more test rows may prove it."
    most = f"{_round(high):,}" if high is not None else f"more than {MOST_TIMES:g} times those there are"
    return f"By the learning curve, {limit:g} needs about {_round(mid):,} more training rows ({_round(low or 0):,} to {most})."


def _round(rows: float) -> int:
    """Two figures: more would be a claim."""
    return int(float(f"{rows:.2g}"))
