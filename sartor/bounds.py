"""The statistics of the verdict: one-sided bounds for everything that is measured.

`low` and `high` are each a one-sided bound at `level`. A function that cannot give a bound says None, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special  # and not `scipy.stats`, which takes a second to open

MIN_GROUPS = 20
MIN_WINDOWS = 20
ROUNDS, TAIL = 2_000, 20  # of the bootstrap; replicates that lie beyond a bound
MOST_BIAS = 0.5  # standard deviations by which a bootstrap is corrected for bias


@dataclass(frozen=True)
class Bounds:
    """Two one-sided bounds."""

    low: float
    high: float


def proportion(successes: float, trials: float, *, level: float = 0.95) -> Bounds:
    """Clopper and Pearson (1934): exact for independent trials. Takes effective, fractional counts as well."""
    if trials <= 0:
        return Bounds(0.0, 1.0)
    failures = trials - successes
    low = 0.0 if successes <= 0 else float(special.betaincinv(successes, failures + 1, 1 - level))
    high = 1.0 if failures <= 0 else float(special.betaincinv(successes + 1, failures, level))
    return Bounds(low, high)


def grouped_proportion(
    successes: np.ndarray, trials: np.ndarray, groups: np.ndarray, *, level: float = 0.95
) -> Bounds | None:
    """Korn and Graubard (1998): Clopper–Pearson with the effective number of trials, t on groups − 1.

    The design effect is at least what it would be with one group more, in which all fail (for the lower bound) or succeed: where few groups are
    bad, those that were drawn are often all alike, and look like many independent trials. successes, trials, groups: [n] per example.
    None with fewer than 20 groups that have a trial.
    """
    _, group = np.unique(groups, return_inverse=True)
    number = int(group.max()) + 1 if len(group) else 0
    right = np.bincount(group, weights=successes, minlength=number)
    of = np.bincount(group, weights=trials, minlength=number)
    right, of = right[of > 0], of[of > 0]  # a group without a trial, such as none of the class, tells nothing
    if len(of) < MIN_GROUPS:
        return None
    usual = float(of.mean())
    found = [
        _clustered(right, of, level=level, least=_design_effect(np.append(right, more), np.append(of, usual)))
        for more in (0.0, usual)
    ]
    low, high = found
    return None if low is None or high is None else Bounds(low.low, high.high)


def _clustered(successes: np.ndarray, trials: np.ndarray, *, level: float, least: float = 1.0) -> Bounds | None:
    """As `grouped_proportion`, from the sums of each group [g]. least: how much of the variance clustering makes at the least."""
    number, total = len(trials), float(trials.sum())
    if number < MIN_GROUPS or total <= 0:
        return None
    share = float(successes.sum()) / total
    if share in (0.0, 1.0):
        # Nothing varies, so nothing tells how alike a group is: each group counts as one trial.
        return proportion(share * number, number, level=level)
    ratio = special.stdtrit(total - 1, level) / special.stdtrit(number - 1, level)
    effective = total / max(1.0, least, _design_effect(successes, trials)) * float(ratio) ** 2
    return proportion(share * effective, effective, level=level)


def _design_effect(successes: np.ndarray, trials: np.ndarray) -> float:
    """The variance of a share of grouped trials over that of independent ones; 0 where it does not vary. successes, trials: [g]."""
    number, total = len(trials), float(trials.sum())
    share = float(successes.sum()) / total
    if share in (0.0, 1.0):
        return 0.0
    residual = successes - share * trials
    variance = number / (number - 1) * float((residual**2).sum()) / total**2
    return variance / (share * (1 - share) / total)


def bootstrap(
    stats: np.ndarray,
    finish: Callable[[np.ndarray], np.ndarray],
    *,
    level: float = 0.95,
    groups: np.ndarray | None = None,
    seed: int = 0,
    rounds: int | None = None,
    noise: Callable[[np.ndarray], float] | None = None,
) -> Bounds | None:
    """Bootstrap of a function of summed statistics, over examples or over whole groups: BCa (Efron 1987) with expanded levels.

    Percentiles are corrected for the bias of the replicates and for their skewness, which the jackknife tells, and their levels are those of t
    on n − 1 (Hesterberg 2015, section 5.3): of few rows plain percentiles are too narrow. stats: [n, s] per example. finish: sums [..., s] -> [...].
    rounds: 2,000, or as many as put TAIL of them beyond the level. Replicates are made in pieces, so memory stays bounded. None with fewer than 20
    examples or groups, where the function is not finite, and where it does not vary: nothing then tells how far it might.
    noise: by how much chance raises the replicates, of a measure that it can only raise, such as a sum of absolute gaps. Its bootstrap is
    not around the truth and no correction puts it there, so the upper bound is left as it is, too high, and the lower one loses the noise.
    """
    if groups is not None:
        _, group = np.unique(groups, return_inverse=True)
        summed = np.zeros((int(group.max()) + 1, stats.shape[1]))
        np.add.at(summed, group, stats)
        stats = summed
    number = len(stats)
    if number < MIN_GROUPS:
        return None
    rounds = rounds or max(ROUNDS, math.ceil(TAIL / (1 - level)))
    rng = np.random.default_rng(seed)
    piece = max(1, min(rounds, 4_000_000 // number))
    found = []
    for begin in range(0, rounds, piece):
        weights = rng.multinomial(number, np.full(number, 1 / number), size=min(piece, rounds - begin))
        found.append(finish(weights @ stats))
    replicates = np.concatenate(found)
    if not np.isfinite(replicates).all() or np.ptp(replicates) == 0:
        return None
    reach = math.sqrt(number / (number - 1)) * float(special.stdtrit(number - 1, level))
    if noise is not None:
        low, high = np.quantile(replicates, special.ndtr([-reach, reach]))
        return Bounds(max(0.0, float(low) - noise(stats)), float(high))
    total = stats.sum(axis=0)
    measured, without = finish(total), finish(total - stats)
    below = float((replicates < measured).mean() + 0.5 * (replicates == measured).mean())
    bias = min(MOST_BIAS, max(-MOST_BIAS, float(special.ndtri(below))))
    apart = without.mean() - without
    spread = float((apart**2).sum())
    skewness = float((apart**3).sum()) / (6 * spread**1.5) if np.isfinite(spread) and spread > 0 else 0.0

    def percentile(deviations: float) -> float:
        shifted = bias + deviations
        return float(np.quantile(replicates, special.ndtr(bias + shifted / max(0.1, 1 - skewness * shifted))))

    return Bounds(percentile(-reach), percentile(reach))


def with_failures(
    stats: np.ndarray,
    finish: Callable[[np.ndarray], np.ndarray],
    *,
    level: float = 0.95,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> float | None:
    """A lower bound of a mean over classes, from statistics [n, s] to which one failed example of each class was added.

    The Bayesian bootstrap (Rubin 1981): under weights drawn evenly from the simplex the recall of one class, s right and f wrong, is
    Beta(s, f + 1), whose quantile is the bound of Clopper and Pearson; a bootstrap of the examples alone never sees a class fail that was
    answered rightly so far. groups: of the examples, an own one for each that was added.
    """
    if groups is not None:
        _, group = np.unique(groups, return_inverse=True)
        summed = np.zeros((int(group.max()) + 1, stats.shape[1]))
        np.add.at(summed, group, stats)
        stats = summed
    number = len(stats)
    rounds = max(ROUNDS, math.ceil(TAIL / (1 - level)))
    rng = np.random.default_rng(seed)
    piece = max(1, min(rounds, 4_000_000 // number))
    found = []
    for begin in range(0, rounds, piece):
        weights = rng.standard_exponential((min(piece, rounds - begin), number))
        found.append(finish((weights * (number / weights.sum(axis=1, keepdims=True))) @ stats))
    replicates = np.concatenate(found)
    return float(np.quantile(replicates, 1 - level)) if np.isfinite(replicates).all() else None


def resampled(
    stats: np.ndarray,
    finish: Callable[[np.ndarray], np.ndarray],
    *,
    level: float = 0.95,
    groups: np.ndarray | None = None,
    noise: Callable[[np.ndarray], float] | None = None,
    worse: np.ndarray | None = None,
) -> Bounds | None:
    """Bounds of a measure by `bootstrap`; of a mean over classes the lower one is at most that of `with_failures`.

    worse: the statistics with one example more of each class there is, which is not answered [n + classes, s]; None where a measure averages over none.
    """
    found = bootstrap(stats, finish, level=level, groups=groups, noise=noise)
    independent = len(stats) if groups is None else len(np.unique(groups))
    if worse is None or independent < MIN_GROUPS:
        return found
    if groups is not None:
        number = np.unique(groups, return_inverse=True)[1]
        groups = np.append(number, number.max() + 1 + np.arange(len(worse) - len(stats)))
    low = with_failures(worse, finish, level=level, groups=groups)
    if low is None:
        return None
    return Bounds(min(low, found.low) if found else low, found.high if found else 1.0)


def quantile(windows: Sequence[np.ndarray], *, q: float, level: float = 0.95) -> Bounds | None:
    """Bounds of the q-quantile of latencies, from windows that may be correlated inside.

    Woodruff (1952): the bound of a quantile lies where the bound of the share below it passes q; that share is bounded with windows as its
    groups (Korn and Graubard 1998), so what is alike inside a window shows as variance between windows. None with fewer than
    20 windows, or where no latency measured is surely beyond the quantile.
    """
    if len(windows) < MIN_WINDOWS:
        return None
    ordered = [np.sort(window) for window in windows]
    pooled = np.sort(np.concatenate(ordered))
    number, sizes = len(pooled), np.array([len(window) for window in ordered], dtype=np.float64)

    def below(place: int) -> np.ndarray:
        """Latencies of each window up to one of them [windows]."""
        return np.array([np.searchsorted(window, pooled[place], side="right") for window in ordered], dtype=np.float64)

    # Few lie beyond a high quantile, and where they happen to be few their variance looks small as well: in simulations of AR(1)
    # correlation 0.9 the bound then failed in 6 to 13 %. The tail twice as heavy tells steadily how alike a window is, and is no less so.
    heavier = int((1 - 2 * (1 - q)) * number)
    least = _design_effect(below(heavier), sizes) if heavier > 0 else 1.0

    def share_below(place: int) -> Bounds:
        found = _clustered(below(place), sizes, level=level, least=least)
        assert found is not None
        return found

    def first(low: int, high: int, passes: Callable[[int], bool]) -> int:
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if passes(middle) else (middle + 1, high)
        return low

    middle = min(number - 1, int(q * number))
    # At the very last one nothing lies above, and nothing tells how alike a window is.
    above = first(middle, number - 2, lambda place: share_below(place).low >= q)
    beyond = first(0, middle, lambda place: share_below(place).high > q)
    if share_below(above).low < q or beyond == 0:
        return None
    return Bounds(float(pooled[beyond - 1]), float(pooled[above]))


def paired_difference(gained: int, lost: int, trials: int, *, level: float = 0.95) -> Bounds:
    """The difference of two shares of the same rows: Tango's score interval for paired proportions (1998, Statistics in Medicine 17).

    gained: rows that the first has and the second has not; lost: the other way round; trials: all rows, those alike included.
    """
    if trials <= 0:
        return Bounds(-1.0, 1.0)
    reach = float(special.ndtri(level))

    def score(difference: float) -> float:
        a = 2 * trials
        b = -gained - lost + (2 * trials - gained + lost) * difference
        c = -lost * difference * (1 - difference)
        other = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)  # the share lost, likeliest at this difference
        variance = trials * (2 * other + difference * (1 - difference))
        apart = gained - lost - trials * difference
        return math.copysign(math.inf, apart) if variance <= 0 else apart / math.sqrt(variance)

    measured = (gained - lost) / trials

    def crossing(low: float, high: float, wanted: float) -> float:
        for _ in range(60):  # the score falls with the difference
            middle = (low + high) / 2
            low, high = (middle, high) if score(middle) > wanted else (low, middle)
        return (low + high) / 2

    return Bounds(crossing(-1.0, measured, reach), crossing(measured, 1.0, -reach))


def level_of_look(confidence: float, look: int) -> float:
    """The confidence at which the k-th look at the same rows is judged: errors of alpha · 6 / (pi² k²), which sum to alpha over all k.

    A spending function over an unlimited number of looks, by the union bound; they may depend on each other in any way.
    """
    return 1 - (1 - confidence) * 6 / (math.pi * look) ** 2


def mean(samples: np.ndarray, *, level: float = 0.95) -> Bounds | None:
    """Student's t for the mean of independent samples; None with fewer than 2."""
    if len(samples) < 2:
        return None
    reach = float(special.stdtrit(len(samples) - 1, level)) * float(np.std(samples, ddof=1)) / math.sqrt(len(samples))
    middle = float(np.mean(samples))
    return Bounds(middle - reach, middle + reach)


def _beta_binomial(most: int, trials: int, a: float, b: float) -> float:
    """The chance of at most so many successes, of which each has the same chance, drawn from Beta(a, b)."""
    k = np.arange(most + 1)
    logs = special.betaln(k + a, trials - k + b) - special.betaln(a, b)
    logs -= math.log(trials + 1) + special.betaln(trials - k + 1, k + 1)  # of trials over k
    return min(1.0, float(np.exp(logs).sum()))


def rank_that_keeps(share: float, number: int, next_trials: int, *, risk: float) -> int:
    """The smallest k such that at least a share of the next draws reach the k-th largest of `number`, but for a risk; `number` if none.

    How many of them do is beta-binomial, whatever the distribution (Wilks 1942; Marques F. 2025, Statistics and Probability Letters 221).
    """
    wanted = math.ceil(share * next_trials - 1e-9)
    low, high = 1, number
    while low < high:
        middle = (low + high) // 2
        missed = _beta_binomial(wanted - 1, next_trials, middle, number - middle + 1)
        low, high = (low, middle) if missed <= risk else (middle + 1, high)
    return low


def risk_of_next(events: int, trials: int, *, next_trials: int, limit: float) -> float:
    """The chance, at the worst, to see at most so many events in these trials and then a share above the limit in the next ones.

    Given all events of both together, those of the first are hypergeometric (as in Fisher's exact test), so this holds for any
    rate; the worst number of all events is looked for.
    """
    from scipy.stats import hypergeom

    allowed = math.floor(limit * next_trials + 1e-9)
    if allowed >= next_trials:
        return 0.0
    seen = np.arange(events + 1)
    every = seen + allowed + 1  # so many that the next ones are just too many
    possible = every <= trials + next_trials
    chances = hypergeom.cdf(seen[possible], trials + next_trials, every[possible], trials)
    return float(chances.max()) if possible.any() else 0.0


def rows_to_settle(
    successes: int, trials: int, *, limit: float, level: float = 0.95, most: int = 10_000_000
) -> int | None:
    """How many more rows would settle an unproven share if it stayed as measured; None when it lies at the limit.

    The limit is settled once it lies outside the bounds at `level`.
    """
    share = successes / trials

    def settled(number: int) -> bool:
        bounds = proportion(share * number, number, level=level)
        return bounds.low >= limit or bounds.high < limit

    if share == limit or not settled(most):
        return None
    low, high = trials, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if settled(middle) else (middle + 1, high)
    return low - trials


def chance_met(successes: int, trials: int, *, test_trials: int, limit: float, level: float = 0.95) -> float:
    """The chance that `share >= limit` will be *met* on fresh rows, given what validation saw.

    Beta-binomial with Jeffreys' prior, summed exactly over the outcomes of the test rows that Clopper–Pearson would call met.
    """
    low = fewest_that_meet(test_trials, limit=limit, level=level)
    if low is None:
        return 0.0
    return 1 - _beta_binomial(low - 1, test_trials, successes + 0.5, trials - successes + 0.5)


def fewest_that_meet(trials: int, *, limit: float, level: float = 0.95) -> int | None:
    """The fewest successes whose lower bound (Clopper–Pearson) reaches the limit; None where not even all of them do."""
    if trials <= 0 or proportion(trials, trials, level=level).low < limit:
        return None
    low, high = 0, trials
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if proportion(middle, trials, level=level).low >= limit else (middle + 1, high)
    return low
