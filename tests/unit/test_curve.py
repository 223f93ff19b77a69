"""Learning curves: forecasts hold as often as they say, and say how many rows a score takes."""

from __future__ import annotations

import numpy as np
import pytest

from sartor import curve

TRIALS = 2_000
FULL = 4_000
SIZES = [FULL // 16, FULL // 8, FULL // 4]


def measured(rng, floor, drop, power, sizes):
    """Scores of a curve, as the same validation rows would measure them: some rows are hard for every model."""
    hard = rng.random(TRIALS)
    told = []
    for size in sizes:
        error = floor + drop * size**-power
        own = rng.random(TRIALS)
        told.append(1 - (np.where(rng.random(TRIALS) < 0.7, hard, own) < error).mean())
    return told


def test_the_score_at_four_times_the_rows_lies_in_the_interval_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside, widths = [], []
    for _ in range(200):
        power, floor = np.exp(rng.normal(np.log(0.4), 0.4)), rng.uniform(0, 0.15)
        drop = rng.uniform(0.05, 0.3) * SIZES[0] ** power
        scores = measured(rng, floor, drop, power, [*SIZES, FULL])
        found = curve.fit(SIZES, scores[:-1], trials=TRIALS).score(FULL)
        inside.append(found.low <= scores[-1] <= found.high)
        widths.append(found.high - found.low)
        assert found.low <= found.mid <= found.high
    assert np.mean(inside) >= curve.COVERAGE - 0.05
    assert np.median(widths) < 0.06


def test_the_rows_for_a_score_are_those_where_the_curve_passes_it():
    sizes = [250, 500, 1_000, 2_000]
    error = [0.02 + 3.0 * size**-0.5 for size in sizes]
    found = curve.fit(sizes, [1 - one for one in error], trials=100_000)
    wanted = 1 - (0.02 + 3.0 * 6_000**-0.5)
    rows = found.rows(wanted)
    assert rows.low < 6_000 < (rows.high or np.inf)
    assert rows.mid == pytest.approx(6_000, rel=0.35)
    assert found.score(6_000).mid == pytest.approx(wanted, abs=0.01)


def test_a_score_that_no_curve_reaches_has_no_number_of_rows():
    found = curve.fit([250, 500, 1_000], [0.70, 0.702, 0.701], trials=5_000)
    assert found.rows(0.95).mid is None
    told = {"limit": 0.95, "mid": None, "low": None, "high": None}
    assert "not likely to reach 0.95" in curve.said(told)


def test_scores_that_fall_with_more_rows_still_have_a_forecast():
    found = curve.fit([250, 500, 1_000], [0.72, 0.71, 0.70], trials=500).score(4_000)
    assert found.low <= 0.70 <= found.high


def test_it_is_said_in_two_figures():
    told = {"limit": 0.92, "mid": 1_437.0, "low": 903.0, "high": 2_288.0}
    assert curve.said(told) == "By the learning curve, 0.92 needs about 1,400 more training rows (900 to 2,300)."
    assert "more than 30 times" in curve.said(told | {"high": None})
