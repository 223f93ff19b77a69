"""The right to abstain: the threshold, what it promises, and what an answer that is withheld looks like."""

from __future__ import annotations

import numpy as np
import pytest

from sartor import abstain, bounds, needs
from sartor.predict import withhold

LIMITS = [(0.92, 0.6)]


def drawn(rng, number):
    """Probabilities of a model that knows how sure it may be."""
    probabilities = rng.beta(5, 1.2, number) * 0.5 + 0.5
    return probabilities, rng.random(number) < probabilities


def choose(probabilities, right, limits=LIMITS, test_rows=2000):
    return abstain.choose(probabilities, right, limits, confidence=0.95, level=0.95, test_rows=test_rows)


def test_what_is_promised_at_the_threshold_is_seldom_broken():
    rng = np.random.default_rng(0)
    truth = drawn(rng, 400_000)
    broken = promised = 0
    for _ in range(120):
        chosen = choose(*drawn(rng, 1000))
        if chosen.controlled:
            promised += 1
            answered = truth[0] >= chosen.below
            broken += truth[1][answered].mean() < 0.92 or answered.mean() < 0.6
    assert promised > 60
    assert broken <= 0.08 * promised


@pytest.mark.parametrize(("limit", "coverage"), [(0.9, 0.7), (0.93, 0.6)])
def test_the_next_rows_seldom_break_the_promise_however_hard_it_is(limit, coverage):
    """Each half of the same answers in its turn: what one half is lucky with the other lacks."""
    rng = np.random.default_rng(5)
    probabilities, right = drawn(rng, 1200)
    broken = 0
    for _ in range(100):
        order = rng.permutation(1200)
        one, other = order[:600], order[600:]
        chosen = choose(probabilities[one], right[one], limits=[(limit, coverage)], test_rows=600)
        if chosen.controlled:
            answered = probabilities[other] >= chosen.below
            broken += right[other][answered].mean() < limit or answered.mean() < coverage
    assert broken <= 8


def test_the_threshold_is_the_one_that_is_likeliest_to_be_proven():
    rng = np.random.default_rng(1)
    probabilities, right = drawn(rng, 2000)
    chosen = choose(probabilities, right)
    assert chosen.controlled

    def chance(below):
        answered = probabilities >= below
        count, hits = int(answered.sum()), int(right[answered].sum())
        of_accuracy = bounds.chance_met(hits, count, test_trials=count, limit=0.92)
        return of_accuracy * bounds.chance_met(count, 2000, test_trials=2000, limit=0.6)

    assert (
        chance(chosen.below)
        >= max(chance(below) for below in np.quantile(probabilities, np.linspace(0, 0.4, 40))) - 0.02
    )


def test_a_model_that_is_always_right_answers_everything():
    probabilities = np.linspace(0.3, 1.0, 500)
    chosen = choose(probabilities, np.ones(500, dtype=bool))
    assert (chosen.below, chosen.coverage, chosen.accuracy) == (0.0, 1.0, 1.0)


def test_what_cannot_be_controlled_is_said():
    rng = np.random.default_rng(2)
    chosen = choose(rng.random(500), rng.random(500) < 0.5)
    assert not chosen.controlled
    assert chosen.coverage >= 0.6


def test_rows_of_one_probability_are_answered_together():
    probabilities = np.repeat([0.9, 0.6], [300, 700])
    right = np.concatenate([np.ones(300, dtype=bool), np.tile([True, False], 350)])
    chosen = choose(probabilities, right, limits=[(0.9, 0.2)])
    assert (chosen.below, chosen.coverage) == (0.9, 0.3)


def test_several_needs_share_one_threshold():
    asked = needs.make(
        data="x.csv",
        needs=["accuracy >= 0.9 at coverage >= 0.9", "accuracy >= 0.95 at coverage >= 0.6", "accuracy >= 0.5"],
    )
    assert abstain.asked(asked) == [(0.9, 0.9), (0.95, 0.6)]
    rng = np.random.default_rng(3)
    chosen = choose(*drawn(rng, 3000), limits=abstain.asked(asked))
    assert chosen.coverage >= 0.9


@pytest.mark.parametrize(("probability", "told"), [(0.79, False), (0.8, True), (0.95, True)])
def test_an_answer_below_the_threshold_is_withheld_with_the_reason(probability, told):
    answer = {"label": "a", "probability": probability, "probabilities": {"a": probability, "b": 1 - probability}}
    found = withhold(answer, 0.8)
    if told:
        assert found == answer
    else:
        assert found["abstained"] is True
        assert "label" not in found
        assert "0.7900" in found["reason"]
        assert "0.8000" in found["reason"]


def test_errors_and_answers_without_a_probability_stay():
    for answer in ({"error": {"code": "row.bad-value", "message": ""}}, {"value": 3.2}):
        assert withhold(answer, 0.9) == answer
