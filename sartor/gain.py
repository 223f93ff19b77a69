"""What the planner believes that a candidate will measure before it is made, and what every measurement teaches about the others.

A candidate is described by its traits (how hard these data are, its body, how it is tuned, its precision, …), each of which adds a normal
share to what is measured: a Bayesian linear model. It is held in its dual form, a Gaussian process whose covariance is a sum over the traits that
two candidates have in common (Rasmussen and Williams 2006, section 2.1), so that a measurement moves whatever shares a trait with it and
nothing else. Gains add up in log-odds of the error for proportions and in the logarithm of what is wrong for any other measure; there, lower is better.

The shares below are what `docs/log.md` and `docs/benchmarks.md` hold of real data; their spreads are wide enough that one measurement outweighs them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import special

from sartor import bounds
from sartor.needs import Need
from sartor.report import Key, Value

Share = tuple[float, float]  # (mean, spread) of what a trait adds
Traits = Mapping[str, Share]

REACH = float(special.ndtri(0.9))  # standard deviations to each end of an interval of 80 %
LEAST_WRONG = 5e-4  # of a share: what is closer to perfect is told apart by no number of rows that anybody has
DISAGREE = 0.5  # of the variance of two scores on the same rows, what they do not have in common, as of `curve`
UNBOUNDED = 0.3  # spread of a measurement that came without bounds
LEAST_NOISE = 1e-3  # of what was measured, so that two facts that differ are no contradiction
NODES = special.ndtri((np.arange(41) + 0.5) / 41)  # equally likely places of a standard normal

# How hard data are, in log-odds of the error of a first serious model. Errors of .17, .10, .11, .11, .12 and .10 (the six sets of texts), .24 (support
# and two tables), .07 and .02 (AUC of two more), .32 (cifar10): mean −1.9, spread .8, and half as much again for sets unlike these. Of fewer than 200 rows
# of a class each halving adds .3: n-grams of banking77 with 3 rows of a class err in .47 (this: .48), with 104 in .10 (.17).
DATA: Share = (-1.9, 1.2)
HALVING, ENOUGH_ROWS = 0.3, 200.0
# What the majority class has above that, where all classes are alike; it then errs in (classes − 1) of classes. Where it errs less, classes are
# uneven and a model errs less as well, though by how much is not told.
TRIVIAL_SPREAD = 1.5
TRIVIAL_OF_SHARES: Share = (1.5, 1.5)  # of measures that are no proportion, such as macro F1
TRIVIAL_OF_NUMBERS: Share = (0.9, 0.6)  # of errors in the target's own unit: a first model leaves about 40 % of them
# Frozen MiniLM over n-grams, which need rows to know words: measured (and this) on sst2 with 2,768 rows of a class +.17 (.00), 87 −.55 (−.39); ag_news 1,200
# +.17 (−.06), 37 −.91 (−.53); banking77 104 −.28 (−.36), 3 −.85 (−.96).
PRETRAINED: Share = (0.05, 0.4)
KNOWING, ROWS_TO_KNOW = -0.12, 1000.0  # of each doubling of 1 + 1,000 / rows
PRETRAINED_MEDIA: Share = (-0.6, 0.7)  # pictures and sound, where what learns from nothing has only the rows at hand
NOTHING: Share = (0.0, 0.5)  # a network that learns from nothing
FUSED: Share = (-0.3, 0.5)  # several inputs over one
FITTED, BODY = (0.0, 0.35), (0.0, 0.2)  # one that fits itself over another, one encoder over another
FITTED_CELLS: Share = (0.0, 0.7)  # trees find what no linear layer can, and the other way round
DOUBLING = -0.06  # of each doubling of a pretrained body's cost; BERT-base over MiniLM is three
# Tuning all weights over the frozen body grows with the rows of a class: −.12 for each doubling of 1 + rows / 50. Growth benchmark, gain measured
# (and this): sst2 with 173 rows of a class −.10 (−.26), 692 −.29 (−.47), 2,768 −.69 (−.70); banking77 3 +.04 (−.01), 26 −.07 (−.07), 104 −.16 (−.19);
# ag_news 1,200 −.50 (−.56).
TUNING, TUNING_SPREAD, ROWS_TO_TUNE = -0.12, 0.07, 50.0
# kind: (how much of the gain of tuning all weights it has, what it has of its own). Measured (docs/benchmarks.md, climb) on sst2 and banking77, log-odds over
# tuning all weights: last two blocks +.34 and +.02, LoRA +.06 and +.12; where tuning itself gains .69 and .16.
KINDS: Mapping[str, tuple[float, Share]] = {
    "last blocks": (0.6, (0.0, 0.1)),
    "LoRA": (0.9, (0.04, 0.06)),
    "tuned": (1.0, (0.0, 0.0)),
    "searched": (1.0, (-0.05, 0.1)),  # the priors are meant to be good enough without it
    "read on": (1.0, (-0.1, 0.15)),
}
CONTRASTED: Share = (-0.25, 0.3)  # over the frozen body; assumed (Tunstall et al. 2022), so its spread is wide
WEIGHTS: Share = (0.0, 0.1)  # what no trait tells: the same plan with another seed
# Of a cut beside those of its parent, which it shares: a student follows its teacher, and what is not trained again has no luck of its own.
TAUGHT_WEIGHTS, SAME_WEIGHTS = (0.0, 0.06), (0.0, 0.02)
INT8: Share = (0.02, 0.04)  # sst2 .883 against .881 in float (docs/benchmarks.md, honesty)
INT8_CALIBRATED: Share = (0.05, 0.1)  # convolutions, whose scales are fixed beforehand
# Measured (docs/benchmarks.md, cut), log-odds. Of each halving, with what is left taught by the whole on pieces as well: thin blocks, four of six for sst2, banking77 and ag_news +.04, .00, .00,
# two with their table in 48 codes +.09, +.03, +.06; half and a quarter of the channels of a net for cifar10 -.06, -.02.
CUT: Share = (0.06, 0.06)
TRIMMED: Share = (0.05, 0.04)  # sst2 +.07, ag_news +.05 (docs/log.md), before anything heals
CODED: Share = (0.0, 0.05)  # in what was said of CUT: it is taught too
# A body that fits itself, by a tuned one's answers: sst2 +.02; of each doubling of its rows by some without a label: ag_news, n-grams, 300 rows and 5,700 more, -.56 in all.
TAUGHT: Share = (-0.02, 0.08)
TEXTS = -0.12
CASCADE: Share = (0.02, 0.03)  # nine of them over their larger member .00 to +.06


@dataclass(frozen=True)
class Guess:
    """A normal distribution."""

    mean: float
    spread: float

    def below(self, limit: float) -> float:
        """The probability of a value up to the limit."""
        return float(special.ndtr((limit - self.mean) / max(self.spread, 1e-9)))

    def gain_on(self, best: float) -> float:
        """By how much it is expected to go below the best so far: Jones, Schonlau and Welch (1998), equation 15."""
        spread = max(self.spread, 1e-9)
        apart = (best - self.mean) / spread
        return float(spread * (apart * special.ndtr(apart) + math.exp(-0.5 * apart * apart) / math.sqrt(2 * math.pi)))


class Belief:
    """One measure of all candidates. It learns by `learn` and answers by `guess`; the order of what it learns does not matter."""

    def __init__(self) -> None:
        self._seen: list[Traits] = []
        self._surprise: np.ndarray = np.zeros(0)  # what was measured over what the traits alone say [seen]
        self._among: np.ndarray = np.zeros((0, 0))  # covariance of what was measured [seen, seen]
        self._precision: np.ndarray = np.zeros((0, 0))  # its inverse

    def learn(self, traits: Traits, measured: float, noise: float) -> None:
        """A candidate of these traits was measured; noise: standard deviation of what the measurement adds."""
        shared = np.array([_common(traits, one) for one in self._seen])
        own = _common(traits, traits) + max(noise, LEAST_NOISE) ** 2
        self._among = np.block([[self._among, shared[:, None]], [shared[None, :], np.array([[own]])]])
        self._precision = np.linalg.inv(self._among)
        self._surprise = np.append(self._surprise, measured - _mean(traits))
        self._seen.append(traits)

    def guess(self, traits: Traits) -> Guess:
        """What a candidate of these traits is."""
        shared = np.array([_common(traits, one) for one in self._seen])
        weight = self._precision @ shared
        variance = _common(traits, traits) - float(weight @ shared)
        return Guess(_mean(traits) + float(weight @ self._surprise), math.sqrt(max(variance, 1e-12)))


def _mean(traits: Traits) -> float:
    return sum(mean for mean, _ in traits.values())


def _common(one: Traits, other: Traits) -> float:
    """The covariance of two candidates: over the traits of both, the product of their spreads."""
    return sum(spread * other[name][1] for name, (_, spread) in one.items() if name in other)


@dataclass(frozen=True)
class Scale:
    """How a measure becomes a number in which gains add up, the lower the better."""

    odds: bool = False  # the log-odds of the error, not its logarithm
    higher: bool = False  # whether higher values are better
    share: bool = False  # from 0 to 1
    over: float = 0.0  # what a difference is measured over
    unit: float = 1.0  # of a difference: 100 for points

    def of(self, value: float) -> float:
        """The number of a value."""
        value = self.over + value / self.unit
        if not self.share:
            return math.log(max(value, 1e-12)) * (-1 if self.higher else 1)
        wrong = max(1 - value if self.higher else value, LEAST_WRONG)
        if not self.odds:
            return math.log(wrong)
        wrong = min(wrong, 1 - LEAST_WRONG)
        return math.log(wrong / (1 - wrong))

    def back(self, number: float) -> float:
        """The value of a number."""
        if not self.share:
            value = math.exp(-number if self.higher else number)
        else:
            wrong = float(special.expit(number)) if self.odds else math.exp(number)
            value = 1 - wrong if self.higher else wrong
        return (value - self.over) * self.unit

    def interval(self, guess: Guess) -> dict[str, float]:
        """{low, mid, high} in the measure's own unit: the median and the ends of 80 %."""
        ends = sorted(self.back(guess.mean + way * REACH * guess.spread) for way in (-1, 1))
        return {"low": ends[0], "mid": self.back(guess.mean), "high": ends[1]}


def scale_of_quality(key: Key, metric: Any, *, base: float | None) -> Scale:
    """The scale of a measure of a task. base: what the trivial baseline has of it, for a difference to it."""
    share = metric.unit == "" and metric.share
    odds = metric.proportion and metric.better == "higher"
    if key.against is None:
        return Scale(odds, metric.better == "higher", share)
    return Scale(odds, metric.better == "higher", share, over=base or 0.0, unit=100.0 if share else 1.0)


@dataclass(frozen=True)
class Nature:
    """What a candidate is, as far as that tells what it will measure."""

    kind: str  # as of `front.Candidate`
    body: str = ""
    weights: str = ""
    precision: str = "float32"
    network: bool = False  # trained by gradients
    pretrained: bool = False
    text: bool = True  # among its inputs
    doublings: float = 0.0  # of its body's cost over that of the smallest pretrained one
    rows_of_class: float = 1.0
    classes: int = 1
    effort: float = 1.0  # the share of the epochs that it would need that the budget has time for
    megabytes: float = 1.0  # in float, of what a cut left
    latency_ms: float = 1.0  # at the median, in float, of what a cut left
    parent: str = ""  # weights that it is cut from
    halvings: float = 0.0  # of its blocks or channels, by a cut
    trimmed: float = 0.0  # where words were taken out of its table, the share of what is left that the table has
    coded: bool = False  # whether what is left of its table is in codes
    taught: float = (
        0.0  # the share of the epochs that being taught takes that the budget has time for; 0 where it is not taught
    )
    more: float = 0.0  # doublings of the rows with a label, by those without one
    before: bool = False  # whether a cheaper model answers before it


def quality_traits(nature: Nature, scale: Scale) -> dict[str, Share]:
    """What adds up to a measure of quality."""
    few = HALVING * max(0.0, math.log2(ENOUGH_ROWS / nature.rows_of_class))
    data = (DATA[0] + few, DATA[1]) if scale.share else (0.0, 10.0)
    traits: dict[str, Share] = {"data": data}
    if nature.kind == "trivial":
        of_shares = TRIVIAL_OF_SHARES if scale.share else TRIVIAL_OF_NUMBERS
        alike = (math.log(max(1, nature.classes - 1)) - data[0], TRIVIAL_SPREAD)
        return traits | {"trivial": alike if scale.odds else of_shares}
    if nature.kind == "fused":
        return traits | {"fused": FUSED, f"body {nature.body}": FITTED_CELLS, f"weights {nature.weights}": WEIGHTS}
    if not nature.network:
        traits[f"body {nature.body}"] = FITTED if nature.text else FITTED_CELLS
        return traits | ({"taught itself": (TAUGHT[0] + TEXTS * nature.more, TAUGHT[1])} if nature.taught else {})
    of_cut = TAUGHT_WEIGHTS if nature.taught else SAME_WEIGHTS
    luck = of_cut if nature.parent else WEIGHTS
    traits |= {
        f"body {nature.body}": (DOUBLING * nature.doublings, BODY[1]) if nature.pretrained else FITTED,
        f"weights {nature.weights}": luck,
    }
    if not nature.pretrained:
        traits["from nothing"] = NOTHING
        if nature.kind == "searched":
            traits["way searched"] = KINDS["searched"][1]
    else:
        knows = KNOWING * math.log2(1 + ROWS_TO_KNOW / nature.rows_of_class)
        traits["pretrained"] = (PRETRAINED[0] + knows, PRETRAINED[1]) if nature.text else PRETRAINED_MEDIA
        if nature.kind == "contrasted":
            traits["way contrasted"] = CONTRASTED
        elif nature.kind in KINDS:
            part, own = KINDS[nature.kind]
            # Of too few epochs the first are worth the most.
            amount = part * math.sqrt(nature.effort) * math.log2(1 + nature.rows_of_class / ROWS_TO_TUNE)
            traits["tuning"] = (TUNING * amount, TUNING_SPREAD * amount)
            traits[f"way {nature.kind}"] = own
    if nature.precision == "int8":
        traits["int8"] = INT8 if nature.text else INT8_CALIBRATED
    return traits | _cut_traits(nature)


def _cut_traits(nature: Nature) -> dict[str, Share]:
    """What a cut takes from the quality of its parent, whose own luck it has as well."""
    traits: dict[str, Share] = {f"weights {nature.parent}": WEIGHTS} if nature.parent else {}
    if nature.trimmed:
        traits["trimmed"] = TRIMMED
    if nature.coded:
        traits["coded"] = CODED
    if nature.halvings:
        # What it was taught too little of is lost besides.
        amount = nature.halvings * (2 - math.sqrt(nature.taught))
        traits["cut"] = (CUT[0] * amount, CUT[1] * amount)
    if nature.before:
        traits["cascade"] = CASCADE
    return traits


# What a client of the server waits for beside the model: between what always gives the same answer, p95 .35 to .41 ms (docs/log.md, 2026-11-27), and tables, whose cells are read one by one.
SERVER_MS = 0.45
# Of what a network takes beside that. MiniLM -.94, -1.24 and -1.02 on AVX-512 with VNNI (docs/benchmarks.md, cut), -.5 on AVX2 (docs/log.md, 2026-11-23); a net for pictures -.6.
FASTER_INT8: Share = (-0.85, 0.35)
SMALLER_INT8: Share = (-1.35, 0.12)  # MiniLM 23.5 against 90.9 MB
WORDS_SPREAD = 0.3  # of the logarithm of the rows of a table that are estimated to stay
# Latency over that of the larger model of a cascade: most rows do not reach it, those at the end of the distribution ask both.
AFTER_CHEAP: Share = (-0.7, 0.4)
AFTER_CHEAP_AT_END: Share = (0.1, 0.15)
LIBRARIES_MB, START_S = 75.0, 0.5  # of a server process without a model
# Logarithms over the latency of a row of median length.
QUANTILES = {"latency_p50": -0.25, "latency_p95": 0.1, "latency_p99": 0.35}
# By how much a need's bound lies beyond what is measured: of a p95 15 to 20 % (docs/log.md, 2026-11-26), and 15 % in the middle of eight later builds.
MARGINS = {"latency_p50": 0.08, "latency_p95": 0.15, "latency_p99": 0.3, "throughput": 0.12, "memory": 0.03}
MARGIN_SPREAD = 0.4  # of these, as a share: half of those eight lay between 6 and 15 %
# How far the bounds of two measurements of a dozen servers lie apart, over the standard error that one of them speaks of: by the t prediction of one more, of normal logarithms.
AGAIN = 0.6


def system_traits(nature: Nature, key: Key) -> dict[str, Share]:
    """What adds up to the logarithm of a latency, a size, … (of a throughput, to minus it)."""
    small = 4.0 if nature.precision == "int8" and nature.network else 1.0
    spread = 0.25 if nature.network else 0.3
    own: dict[str, Share] = {f"body {nature.body}": (0.0, spread)}
    if key.measure == "size":
        if not nature.network:
            return {f"body {nature.body}": (math.log(max(nature.megabytes, 1e-3)), 1.2)}
        # Every weight takes four bytes or one, but for what no step packs.
        eighth: dict[str, Share] = {"int8": SMALLER_INT8} if small > 1 else {}
        words: dict[str, Share] = {"trimmed": (0.0, WORDS_SPREAD * nature.trimmed)} if nature.trimmed else {}
        two: dict[str, Share] = {"cascade": (0.1, 0.1)} if nature.before else {}
        return {"network": (math.log(nature.megabytes), 0.1), f"body {nature.body}": (0.0, 0.05)} | eighth | words | two
    if key.measure == "memory":
        return {"machine": (math.log(LIBRARIES_MB + 1.6 * nature.megabytes / small), 0.2), **own}
    if key.measure == "cold_start":
        return {"machine": (math.log(START_S + nature.megabytes / small / 300), 0.4), **own}
    clients = dict(key.setting).get("concurrency", 1.0)
    inside = (nature.latency_ms - SERVER_MS) * (math.exp(FASTER_INT8[0]) if small > 1 else 1.0)
    latency = SERVER_MS + inside
    if key.measure == "throughput":
        mean = math.log(latency / 1e3)
    else:
        mean = math.log(latency) + QUANTILES[key.measure] + math.log(max(1.0, clients / 1.5))
    # A sum of the server's time and the model's, each of which may be so many times what it is thought to be: of the whole, to the first order, that times its share.
    share = inside / latency
    traits: dict[str, Share] = {
        "machine": (mean, 0.15),
        "server": (0.0, 0.4 * (1 - share)),
        f"body {nature.body}": (0.0, spread * share),
    }
    if nature.network:
        traits |= {"network": (0.0, 0.5 * share), f"weights {nature.weights}": (0.0, 0.03)}
        if small > 1:
            traits["int8"] = (0.0, FASTER_INT8[1] * share)
        if nature.halvings:
            traits["cut"] = (0.0, 0.1 * nature.halvings * share)
        if nature.before:
            traits["cascade"] = AFTER_CHEAP if key.measure in ("latency_p50", "throughput") else AFTER_CHEAP_AT_END
    return traits


def noise_of(value: Value, scale: Scale) -> float:
    """The standard deviation of what a measurement adds, on the scale; 0 of a fact."""
    assert value.measured is not None
    if value.low == value.high == value.measured:
        return 0.0
    trials = value.details.get("trials")
    if trials and scale.odds:
        # Of a share's log-odds; one more of each, so that a share of 1 is not thought to be known.
        share = (value.details["successes"] + 1) / (trials + 2)
        return 1 / math.sqrt((trials + 2) * share * (1 - share))
    if value.low is None or value.high is None:
        return UNBOUNDED
    apart = abs(scale.of(value.high) - scale.of(value.low))
    return apart / (2 * float(special.ndtri(value.confidence)))


def rows_trait(noise: float) -> tuple[dict[str, Share], float]:
    """(the trait of a score on these validation rows, the noise that is its own): models err on the same rows in part, and what they have in
    common says nothing of one over another."""
    return {"rows": (0.0, math.sqrt(1 - DISAGREE) * noise)}, math.sqrt(DISAGREE) * noise


def chance(need: Need, guess: Guess, scale: Scale, *, rows: float, level: float, noise: float = 0.0) -> float:
    """The chance that a need of quality will be *met* on test rows, from what is believed of a candidate that was not made yet.

    rows: test rows that count, effective where they are grouped. level: of the bound. noise: of the measure over all test rows, on the scale; of a
    proportion it follows from the rows.
    """
    if scale.odds and need.op == ">=":
        trials = max(1, round(rows))
        share = _shares(scale, guess)
        limit = need.limit / scale.unit + scale.over
        fewest = fewest_that_meet(trials, limit, level)
        return 0.0 if fewest is None else float(special.bdtrc(fewest - 1, trials, share).mean())
    beyond = Guess(guess.mean, math.hypot(guess.spread, noise))
    return beyond.below(scale.of(need.limit) - float(special.ndtri(level)) * noise)


@dataclass(frozen=True)
class Stakes:
    """What validation can tell of a need of quality, on the scale of its measure."""

    needed: float  # what test rows must measure
    rows: float  # of the test part that count
    judged_by: float  # of the validation part
    of_row: float | None = None  # the noise of the measure times the root of the rows; of a share its value tells it

    def on_valid(self, true: float) -> float:
        """The noise over the validation rows, where this is true."""
        of_row = self.of_row
        if of_row is None:
            wrong = min(max(float(special.expit(true)), LEAST_WRONG), 1 - LEAST_WRONG)
            of_row = 1 / math.sqrt(wrong * (1 - wrong))
        return of_row / math.sqrt(self.judged_by)


def stakes(need: Need, scale: Scale, *, rows: float, judged_by: float, level: float, noise: float) -> Stakes | None:
    """What a need asks of the rows; None where no answers to so many of them prove it.

    rows, level, noise: as of `chance`. judged_by: validation rows that count.
    """
    judged_by = max(1.0, judged_by)
    if not scale.odds or need.op != ">=":
        needed = scale.of(need.limit) - float(special.ndtri(level)) * noise
        return Stakes(needed, rows, judged_by, noise * math.sqrt(rows))
    trials = max(1, round(rows))
    fewest = fewest_that_meet(trials, need.limit / scale.unit + scale.over, level)
    return None if fewest is None else Stakes(math.log((trials - fewest + 0.5) / (fewest + 0.5)), trials, judged_by)


def validated(told: Stakes, expected: Guess) -> np.ndarray:
    """The chances that a need will be met, as validation will have them, in equally likely cases from the best to the worst [nodes].

    expected: what validation will measure. Shares are compared by their angles, of which the noise is the same everywhere (Anscombe 1948): where a handful of wrong
    answers are allowed, log-odds are as wide as what they are to tell apart.
    """
    measured = expected.mean + expected.spread * NODES
    noise = math.hypot(1 / math.sqrt(told.rows), 1 / math.sqrt(told.judged_by))
    if told.of_row is not None:
        apart, noise = told.needed - measured, told.of_row * noise
    else:
        apart, noise = _angle(measured) - _angle(told.needed), 0.5 * noise
    return np.asarray(special.ndtr(apart / max(noise, 1e-9)))


def _angle(odds: Any) -> Any:
    """Of the share that is right, by the log-odds of what is wrong."""
    return np.arcsin(np.sqrt(special.expit(-odds)))


def _shares(scale: Scale, guess: Guess) -> np.ndarray:
    """Equally likely shares of rows answered rightly [nodes]."""
    return 1 - np.asarray(special.expit(guess.mean + guess.spread * NODES))


@lru_cache(maxsize=4096)
def fewest_that_meet(trials: int, limit: float, level: float) -> int | None:
    """As of `bounds`, remembered: the planner asks the same of every candidate."""
    return bounds.fewest_that_meet(trials, limit=limit, level=level)


def chance_of_system(need: Need, guess: Guess) -> float:
    """The same of a latency, a size, …: the bound lies beyond what is measured by about MARGINS."""
    way, margin = -1 if need.op[0] == ">" else 1, MARGINS.get(need.key.measure, 0.0)
    beyond = Guess(guess.mean + margin, math.hypot(guess.spread, MARGIN_SPREAD * margin))
    return beyond.below(way * math.log(need.limit))


def together(chances: Iterable[tuple[Key, float]]) -> float:
    """The chance that all needs are met at once: what rises and falls together counts by its smallest, the others by their product."""
    groups: dict[str, float] = {}
    for key, one in chances:
        group = _group(key.measure)
        groups[group] = min(one, groups.get(group, 1.0))
    return math.prod(groups.values())


def _group(measure: str) -> str:
    if measure.startswith("latency") or measure in ("throughput", "cold_start"):
        return "speed"
    return {"size": "space", "memory": "space", "training_time": "time"}.get(measure, "quality")
