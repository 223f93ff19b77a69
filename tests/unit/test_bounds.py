"""The bounds hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, signal, stats

from sartor import bounds
from sartor.task.classify import METRICS


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (7, 10), (180, 200), (999, 1000)])
def test_proportion_equals_the_exact_test(successes, trials):
    ours = bounds.proportion(successes, trials, level=0.95)
    greater = stats.binomtest(successes, trials, alternative="greater").proportion_ci(0.95, "exact")
    less = stats.binomtest(successes, trials, alternative="less").proportion_ci(0.95, "exact")
    assert ours.low == pytest.approx(greater.low, abs=1e-9)
    assert ours.high == pytest.approx(less.high, abs=1e-9)


def test_proportion_is_wrong_at_most_one_time_in_twenty():
    rng = np.random.default_rng(0)
    for trials in (50, 200, 1000):
        draws = rng.binomial(trials, 0.9, 4000)
        wrong = np.mean([bounds.proportion(k, trials).low > 0.9 for k in draws])
        assert wrong <= 0.057


def test_grouped_proportion_is_wider_when_groups_agree_and_alike_when_they_do_not():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 10)
    alike = np.repeat((rng.random(60) < 0.8).astype(float), 10)
    apart = (rng.random(600) < 0.8).astype(float)
    ones = np.ones(600)
    together = bounds.grouped_proportion(alike, ones, groups)
    single = bounds.proportion(alike.sum(), 600)
    assert together.low < single.low - 0.03
    assert bounds.grouped_proportion(apart, ones, groups).low == pytest.approx(
        bounds.proportion(apart.sum(), 600).low, abs=0.02
    )


@pytest.mark.parametrize(("truth", "alike", "number"), [(0.9, 0.5, 20), (0.97, 0.5, 40)])
def test_groups_of_which_few_are_bad_do_not_pass_for_many_rows(truth, alike, number):
    """Where none of the few bad groups is drawn, rows look independent and nearly all right: Korn and Graubard alone fail in 9 and 13 %."""
    rng = np.random.default_rng(0)
    weight = 1 / alike - 1
    groups = np.repeat(np.arange(number), 10)
    wrong = 0
    for _ in range(1000):
        own = rng.beta(truth * weight, (1 - truth) * weight, number)
        right = (rng.random(10 * number) < own[groups]).astype(float)
        wrong += bounds.grouped_proportion(right, np.ones(10 * number), groups).low > truth
    assert wrong <= 50


def test_groups_without_a_trial_give_no_bound():
    assert bounds.grouped_proportion(np.zeros(30), np.zeros(30), np.arange(30)) is None


def test_a_bootstrap_of_what_does_not_vary_gives_no_bound():
    assert bounds.bootstrap(np.ones((50, 1)), lambda sums: sums[..., 0]) is None


def test_the_bootstrap_of_high_levels_has_replicates_beyond_them():
    sample = np.random.default_rng(0).normal(size=(60, 1))
    found = bounds.bootstrap(sample, lambda sums: sums[..., 0] / 60, level=0.9995)
    reach = stats.t.ppf(0.9995, 59) * sample.std(ddof=1) / np.sqrt(60)
    assert found.high - sample.mean() == pytest.approx(reach, rel=0.2)
    assert sample.mean() - found.low == pytest.approx(reach, rel=0.2)


def test_fewer_than_twenty_groups_give_no_bound():
    groups = np.repeat(np.arange(19), 10)
    assert bounds.grouped_proportion(np.ones(190), np.ones(190), groups) is None
    assert bounds.bootstrap(np.ones((190, 1)), lambda sums: sums[..., 0], groups=groups) is None


def test_bootstrap_of_a_mean_is_close_to_the_t_bound():
    sample = np.random.default_rng(0).normal(5, 2, 400)
    found = bounds.bootstrap(np.column_stack([sample, np.ones(400)]), lambda sums: sums[..., 0] / sums[..., 1])
    expected = bounds.mean(sample)
    assert found.low == pytest.approx(expected.low, abs=0.03)
    assert found.high == pytest.approx(expected.high, abs=0.03)


@pytest.mark.parametrize("alike", [1, 5])
@pytest.mark.parametrize("truth", [0.0, 0.02, 0.25])
def test_the_bounds_of_the_calibration_error_hold_though_chance_alone_raises_it(truth, alike):
    rng = np.random.default_rng(2)
    metric = METRICS["calibration_error"]
    low, high, narrow = 0, 0, []
    for _ in range(100):
        told = np.repeat(rng.uniform(0.55 + truth, 0.99, 240 // alike), alike)
        right = np.repeat(rng.random(240 // alike), alike) < told - truth
        answers = [{"label": "a", "probability": one, "probabilities": {"a": one}} for one in told]
        sample = metric.stats(answers, ["a" if yes else "b" for yes in right], {"classes": ["a", "b"]}, None)
        groups = np.repeat(np.arange(240 // alike), alike) if alike > 1 else None
        found = bounds.bootstrap(sample, metric.finish, groups=groups, rounds=400, noise=metric.noise)
        low += found.low > truth
        high += found.high < truth
        narrow.append(found.low)
    assert low <= 10
    assert high <= 10
    if truth == 0.25 and alike == 1:
        assert np.median(narrow) > 0.1  # and it still tells that there is an error


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_the_upper_bound_of_p95_is_wrong_at_most_one_time_in_twenty(correlation):
    rng = np.random.default_rng(1)
    truth = np.exp(0.3 * stats.norm.ppf(0.95))
    wrong, repeats = 0, 500
    for _ in range(repeats):
        noise = rng.normal(size=(24, 200)) * np.sqrt(1 - correlation**2)
        noise[:, 0] /= np.sqrt(1 - correlation**2)
        latencies = np.exp(0.3 * signal.lfilter([1.0], [1.0, -correlation], noise, axis=1))
        found = bounds.quantile(list(latencies), q=0.95)
        assert found.low < np.quantile(latencies, 0.95) < found.high
        wrong += found.high < truth
    assert wrong / repeats <= 0.057


def test_too_few_windows_give_no_bound():
    assert bounds.quantile([np.ones(100)] * 19, q=0.95) is None


def test_rows_to_settle_is_the_fewest_that_settle():
    more = bounds.rows_to_settle(54, 60, limit=0.88)
    number = 60 + more
    assert bounds.proportion(0.9 * number, number).low >= 0.88
    assert bounds.proportion(0.9 * (number - 1), number - 1).low < 0.88
    assert bounds.rows_to_settle(90, 100, limit=0.9) is None


@pytest.mark.parametrize(
    ("most", "trials", "a", "b"), [(0, 1, 1, 1), (3, 9, 0.5, 2.5), (810, 900, 705.5, 95.5), (40, 4000, 1.5, 90)]
)
def test_the_beta_binomial_is_that_of_scipy(most, trials, a, b):
    assert bounds._beta_binomial(most, trials, a, b) == pytest.approx(
        stats.betabinom.cdf(most, trials, a, b), abs=1e-11
    )
    assert bounds._beta_binomial(-1, trials, a, b) == 0
    assert bounds._beta_binomial(trials, trials, a, b) == pytest.approx(1)


def test_a_process_that_judges_does_not_wait_for_what_it_does_not_use():
    import subprocess
    import sys

    told = "import sys, sartor.line; print('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, text=True).stdout.strip() == "False"


def test_chance_met_agrees_with_simulation():
    rng = np.random.default_rng(0)
    shares = rng.beta(460.5, 40.5, 20_000)
    draws = rng.binomial(1000, shares)
    reached = {k: bounds.proportion(k, 1000).low >= 0.9 for k in np.unique(draws)}
    simulated = np.mean([reached[k] for k in draws])
    assert bounds.chance_met(460, 500, test_trials=1000, limit=0.9) == pytest.approx(simulated, abs=0.01)
    assert bounds.chance_met(20, 20, test_trials=5, limit=0.9) == 0.0


@pytest.mark.parametrize(("gained", "lost", "trials"), [(12, 5, 60), (3, 0, 40), (30, 41, 200)])
def test_the_paired_difference_ends_where_the_score_test_does(gained, lost, trials):
    def score(difference):
        """The score statistic, with the nuisance parameter found by maximising the likelihood as it stands."""

        def surprise(other):
            shares = np.array([other + difference, other, 1 - 2 * other - difference])
            counts = np.array([gained, lost, trials - gained - lost])
            return -float(np.where(counts > 0, counts * np.log(np.maximum(shares, 1e-300)), 0.0).sum())

        edges = (max(0.0, -difference), (1 - difference) / 2)
        other = optimize.minimize_scalar(surprise, bounds=edges, method="bounded", options={"xatol": 1e-10}).x
        variance = trials * (2 * other + difference - difference**2)
        return (gained - lost - trials * difference) / np.sqrt(variance)

    found = bounds.paired_difference(gained, lost, trials, level=0.95)
    reach = stats.norm.ppf(0.95)
    assert score(found.low) == pytest.approx(reach, abs=2e-3)
    assert score(found.high) == pytest.approx(-reach, abs=2e-3)


@pytest.mark.parametrize(("gained", "lost", "trials"), [(0, 0, 50), (50, 0, 50), (0, 50, 50), (30, 10, 100), (1, 0, 1)])
def test_the_paired_difference_lies_around_what_was_measured_and_turns_with_its_sides(gained, lost, trials):
    found, turned = (bounds.paired_difference(a, b, trials) for a, b in ((gained, lost), (lost, gained)))
    assert -1 <= found.low <= (gained - lost) / trials <= found.high <= 1
    assert (found.low, found.high) == (pytest.approx(-turned.high, abs=1e-9), pytest.approx(-turned.low, abs=1e-9))


@pytest.mark.parametrize(("truth", "alike"), [(0.02, 0.85), (0.1, 0.7), (0.0, 0.95)])
def test_the_paired_difference_is_missed_as_seldom_as_promised(truth, alike):
    rng = np.random.default_rng(0)
    shares = [(1 - alike + truth) / 2, (1 - alike - truth) / 2, alike]
    drawn = rng.multinomial(400, shares, size=2000)
    lows = [bounds.paired_difference(int(gained), int(lost), 400).low for gained, lost, _ in drawn]
    assert np.mean(np.array(lows) > truth) <= 0.062  # 5 %, and three standard errors of 2,000 draws


@pytest.mark.parametrize(("number", "next_trials", "share"), [(60, 40, 0.7), (200, 300, 0.9), (50, 50, 0.5)])
def test_the_rank_that_keeps_a_share_is_the_smallest_that_does(number, next_trials, share):
    rank = bounds.rank_that_keeps(share, number, next_trials, risk=0.1)
    rng = np.random.default_rng(0)

    def missed(rank):
        edges = np.sort(rng.random((20_000, number)), axis=1)[:, number - rank]
        reached = (rng.random((20_000, next_trials)) >= edges[:, None]).mean(axis=1)
        return (reached < share).mean()

    assert missed(rank) <= 0.1 + 0.006
    assert missed(rank - 1) >= 0.1 - 0.006


def test_where_no_rank_keeps_a_share_surely_all_are_taken():
    assert bounds.rank_that_keeps(1.0, 50, 50, risk=0.01) == 50


@pytest.mark.parametrize(
    ("events", "trials", "next_trials", "limit"), [(0, 6, 5, 0.2), (1, 8, 8, 0.25), (2, 12, 6, 0.1)]
)
def test_the_risk_of_the_next_trials_is_that_of_every_way_to_deal_out_the_events(events, trials, next_trials, limit):
    together = trials + next_trials
    worst = 0.0
    for every in range(together + 1):
        # All events of both, dealt out at random: those of the first trials are few, and yet the next ones have too many.
        for few in range(events + 1):
            chance = stats.hypergeom.cdf(min(few, every - int(limit * next_trials) - 1), together, every, trials)
            worst = max(worst, chance if every > limit * next_trials else 0.0)
    assert bounds.risk_of_next(events, trials, next_trials=next_trials, limit=limit) == pytest.approx(worst)


def test_no_risk_where_all_of_the_next_trials_are_allowed():
    assert bounds.risk_of_next(5, 10, next_trials=10, limit=1.0) == 0.0


def test_groups_without_a_trial_do_not_count():
    groups = np.arange(100)
    trials = np.zeros(100)
    trials[[3, 40, 77]] = 1.0
    # A hundred customers, of whom three had the class, all answered rightly: three groups bound nothing.
    assert bounds.grouped_proportion(trials.copy(), trials, groups) is None
    trials[:30] = 1.0
    some = bounds.grouped_proportion(trials.copy(), trials, groups)
    held = trials > 0
    alone = bounds.grouped_proportion(trials[held], trials[held], groups[held])
    assert some == alone
