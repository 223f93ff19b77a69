"""What is believed of every candidate that was not made yet: what it will measure, its chance of meeting the needs, how long it takes.

The statistics stand in `sartor.gain`, the seconds in `sartor.cost`; here is what they are told of plans, bodies and data.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from sartor import cuts, gain, leaves
from sartor.cost import Cost, epochs_wanted, with_sizes
from sartor.gain import Belief, Guess, Nature, Scale
from sartor.needs import SYSTEM, Need
from sartor.report import Key, Value

if TYPE_CHECKING:
    from sartor.front import Body, Candidate, Profile

NETWORK_SHARE = 0.3  # of the measured matrix speed that one request has
FITTED_MS, TRIVIAL_MB = 0.25, 0.002  # latency of n-grams, cells and trees beside the server's own; size of a bias
LONGEST = 2.0  # standard deviations of a forecast: it takes longer in one case of forty
TIME_SPREAD = 0.3  # of the logarithm of a training time
Sizes = Mapping[str, Mapping[str, int]]  # {step: {argument: value}}


@dataclass(frozen=True)
class Outlook:
    """What is believed of one candidate."""

    seconds: float  # to make and to measure it, beside what is made already
    longest_s: float  # what it takes longer than in one case of forty
    sizes: Sizes  # of its steps, that the budget decides
    guesses: Mapping[Key, Guess]
    scales: Mapping[Key, Scale]
    chances: Mapping[Key, float]  # of each need, to be met on the test rows
    # Of each need of quality: the chances as validation will have them, in equally likely cases from the best to the worst.
    validated: Mapping[Key, np.ndarray]

    @property
    def chance(self) -> float:
        """Of meeting every need at once."""
        return gain.together(self.chances.items())

    def worth(self, best: float, *, sure: float) -> float:
        """By how much its being made is expected to raise the chance that every need is met, as validation has it, over that of the best so far.

        Where nothing was made that is about its own chance (the knowledge gradient: Frazier, Powell and Dayanik 2008, section 3). What is at least so `sure` ends the search and
        counts as met: the rest of the budget is spared.
        """
        cases = np.minimum.reduce(list(self.validated.values())) if self.validated else np.ones(1)
        rest = gain.together((key, one) for key, one in self.chances.items() if key not in self.validated)
        return rest * float(np.maximum(0.0, np.where(cases >= sure, 1.0, cases) - best).mean())

    @property
    def chance_of_system(self) -> float:
        """Of meeting every need that is not about the answers."""
        return gain.together((key, one) for key, one in self.chances.items() if key.measure in SYSTEM)

    @property
    def in_time(self) -> float:
        """The chance that a need on the training time, which is that of the whole build, is still met when it was made."""
        return min((one for key, one in self.chances.items() if key.measure == "training_time"), default=1.0)

    def chance_but(self, keys: Container[Key]) -> float:
        """Of meeting every need but these."""
        return gain.together((key, one) for key, one in self.chances.items() if key not in keys)

    def better(self, key: Key, best: float) -> float:
        """The chance that it goes beyond the best so far by a measure, on its scale, and meets every need."""
        return self.chance * self.guesses[key].below(best)

    def as_dict(self) -> dict[str, Any]:
        """{chance, values: {measure: {low, mid, high}}} to four digits: more would be a claim. No chance where nothing is believed, as of a plan that was given."""
        ends = {str(key): self.scales[key].interval(guess) for key, guess in self.guesses.items()}
        values = {name: {end: float(f"{one:.4g}") for end, one in each.items()} for name, each in ends.items()}
        return {"chance": round(self.chance, 4) if self.guesses else None, "values": values}


class Prospects:
    """Beliefs about all candidates, one for each measure; several targets have several measures of quality."""

    def __init__(
        self,
        profile: Profile,
        bodies: Sequence[Body],
        fusions: Mapping[str, Sequence[tuple[Sequence[str], Body]]],
        needs: Sequence[Need],
        keys: Iterable[Key],
        *,
        task: str,
        test_rows: int,
        level: float,
        targets: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """fusions: by name the body for each kind of input. keys: measures to believe something about, beside those of the needs. level: of the bounds of quality.
        targets: the task of each, where there are several."""
        self.profile, self.bodies, self.needs, self.task = profile, list(bodies), list(needs), task
        self.fusions = fusions
        self.targets = targets
        self.test_rows, self.level = test_rows, level
        self.cost = Cost(profile)
        asked = [*keys, *(need.key for need in needs)]
        self.beliefs = {key: Belief() for key in asked if key.measure != "training_time"}
        self._baseline: dict[Key, float] = {}  # what the trivial baseline measured
        self._per_row: dict[Key, float] = {}  # what an example counts for, where rows hang together or are of a slice
        self._judged_by: dict[Key, float] = {}  # validation rows that count
        self._noise_of_row: dict[Key, float] = {}  # of a measure, on its scale, times the root of the rows

    def outlook(
        self,
        candidate: Candidate,
        *,
        made: Candidate | None,
        parent: Candidate | None = None,
        left_s: float,
        spent_s: float,
        cost: Cost | None = None,
    ) -> Outlook:
        """What is believed of a candidate now.

        made: one of the same weights that was tried. parent: what it is cut from, where that was tried. left_s: what its training may take up. spent_s: on
        candidates so far. cost: where other things than now are made.
        """
        if candidate.kind == "given":
            return Outlook(0.0, 0.0, {}, {}, {}, {}, {})
        cost = cost or self.cost
        sizes = self._sizes(candidate, made, parent, left_s, cost)
        plan = with_sizes(candidate.plan, sizes)
        seconds, longest_s = cost.seconds(plan), cost.seconds(plan, spreads=LONGEST)
        nature = self._nature(candidate, sizes)
        scales = {key: self.scale(key) for key in self.beliefs}
        guesses = {key: belief.guess(self._traits(nature, key)) for key, belief in self.beliefs.items()}
        chances = {need.key: self._chance(need, guesses, spent_s + seconds) for need in self.needs}
        quality = [need for need in self.needs if need.kind == "quality"]
        validated = {need.key: self._validated(need, nature, guesses[need.key]) for need in quality}
        return Outlook(seconds, longest_s, sizes, guesses, scales, chances, validated)

    def learn(self, candidate: Candidate) -> None:
        """What a measured candidate teaches about all others."""
        self.cost.learn(candidate)
        if candidate.trivial:
            self._baseline = {
                value.key: value.measured for value in candidate.report.values if value.measured is not None
            }
        nature = self._nature(candidate, candidate.sizes)
        for key, belief in self.beliefs.items():
            value = candidate.report.value(key)
            if value is None or value.measured is None or not math.isfinite(value.measured):
                continue
            scale = self.scale(key)
            traits, noise = dict(self._traits(nature, key)), gain.noise_of(value, scale)
            if key.measure not in SYSTEM:
                among = max(1, value.details.get("of", value.n))
                if (count := _count(value, scale, noise)) is not None:
                    self._per_row[key] = count / among
                self._judged_by[key] = among * self._per_row.get(key, 1.0)
                self._noise_of_row[key] = noise * math.sqrt(among)
                shared, noise = gain.rows_trait(noise)
                traits |= shared
            belief.learn(traits, scale.of(value.measured), noise)

    def scale(self, key: Key) -> Scale:
        """How a measure becomes a number in which gains add up."""
        if key.measure in SYSTEM:
            return Scale(higher=SYSTEM[key.measure][1] == "higher")
        metric = leaves.load("task", self.targets.get(key.target or "", self.task)).METRICS[key.measure]
        # Before the baseline was measured, what it would have where all classes are alike.
        base = self._baseline.get(replace(key, against=None), 1 / max(2, self.profile.classes))
        return gain.scale_of_quality(key, metric, base=base)

    def _traits(self, nature: Nature, key: Key) -> gain.Traits:
        if key.measure in SYSTEM:
            return gain.system_traits(nature, key)
        return gain.quality_traits(nature, self.scale(key))

    def _chance(self, need: Need, guesses: Mapping[Key, Guess], build_s: float) -> float:
        """The chance that a need will be met. build_s: the training time, which is that of the whole build so far."""
        if need.key.measure == "training_time":
            return Guess(math.log(max(1e-3, build_s)), TIME_SPREAD).below(math.log(need.limit))
        guess = guesses[need.key]
        if need.kind == "system":
            return gain.chance_of_system(need, guess)
        return gain.chance(need, guess, self.scale(need.key), **self._of_rows(need.key))

    def _validated(self, need: Need, nature: Nature, true: Guess) -> np.ndarray:
        """The chances of a need of quality as validation will have them. What is measured on the same validation rows has their luck in common."""
        key, scale = need.key, self.scale(need.key)
        judged_by = self._judged_by.get(key, float(self.test_rows))
        told = gain.stakes(need, scale, judged_by=judged_by, **self._of_rows(key))
        if told is None:
            return np.zeros_like(gain.NODES)
        shared, own = gain.rows_trait(told.on_valid(true.mean))
        guess = self.beliefs[key].guess(dict(self._traits(nature, key)) | shared)
        return gain.validated(told, Guess(guess.mean, math.hypot(guess.spread, own)))

    def _of_rows(self, key: Key) -> dict[str, float]:
        """What the test rows are worth: their number that counts, the level of their bounds, and the noise of the measure over all of them."""
        noise = self._noise_of_row.get(key, 1.0) / math.sqrt(max(1, self.test_rows))
        rows = max(1.0, self.test_rows * self._per_row.get(key, 1.0))
        return {"rows": rows, "level": self.level, "noise": noise}

    def _sizes(
        self, candidate: Candidate, made: Candidate | None, parent: Candidate | None, left_s: float, cost: Cost
    ) -> Sizes:
        """Sizes that the budget decides; those of its weights where these are made, and of what it shares with its parent."""
        if made is not None:
            return made.sizes
        shared = dict(parent.sizes) if parent is not None else {}
        plan = with_sizes(candidate.plan, shared)
        free = {step: epochs for step, epochs in self._wanted(candidate).items() if step not in shared}
        return shared | cost.sized(plan, wanted=free, left_s=left_s)

    def _efforts(self, candidate: Candidate, sizes: Sizes) -> tuple[float, float]:
        """The shares of the epochs that it wants that a candidate gets: of tuning, and of being taught."""
        wanted = self._wanted(candidate)
        given = {
            step: sizes[step]["epochs"] / epochs for step, epochs in wanted.items() if "epochs" in sizes.get(step, {})
        }
        taught = given.pop("distil", 1.0)
        return min(given.values(), default=1.0), taught

    def _wanted(self, candidate: Candidate) -> dict[str, int]:
        """Epochs that each step takes where there is time, those of the plans that it takes as well; none of a body that fits itself."""
        return epochs_wanted(candidate.plan, rows=self.profile.rows)

    def _trained(self, name: str) -> Body | None:
        """The body of this name, where it is one that is trained by gradients."""
        return next((body for body in self.bodies if body.name == name and body.trains), None)

    def _nature(self, candidate: Candidate, sizes: Sizes) -> Nature:
        """What tells what a candidate will measure."""
        profile, left = self.profile, candidate.left
        effort, taught = self._efforts(candidate, sizes)
        plain = Nature(
            candidate.kind,
            candidate.body,
            candidate.weights,
            candidate.precision,
            rows_of_class=profile.rows / (profile.classes if profile.classes > 1 else 10),
            classes=profile.classes,
            text="text" in profile.kinds,
            latency_ms=gain.SERVER_MS + FITTED_MS,
            taught=taught if left.taught else 0.0,
            more=math.log2(1 + profile.unlabelled / max(1, profile.rows)),
        )
        if candidate.trivial:
            return replace(plain, latency_ms=gain.SERVER_MS, megabytes=TRIVIAL_MB)
        if candidate.kind == "fused":
            return self._fused(plain, self.fusions[candidate.body])
        body = self._trained(candidate.body)
        if body is None:
            return plain
        pretrained = [one for one in self.bodies if one.trains and one.module.PRETRAINED]
        flops = {one.name: self.cost.flops(one.module, one.name, profile) for one in {*pretrained, body}}
        smallest = min((flops[one.name] for one in pretrained), default=flops[body.name])
        if body.anatomy is None:
            megabytes, of_table = left.share * body.megabytes, 0.0
        else:
            table, blocks = body.anatomy.kept(left, cuts.words_kept(profile))
            megabytes = max(0.0, body.megabytes - 4e-6 * body.anatomy.numbers) + 4e-6 * (table + blocks)
            of_table = 4e-6 * table / megabytes
        return replace(
            plain,
            kind=candidate.way or candidate.kind,
            parent=candidate.parent,
            network=True,
            pretrained=bool(body.module.PRETRAINED),
            doublings=math.log2(flops[body.name] / smallest),
            effort=effort,
            megabytes=megabytes,
            latency_ms=gain.SERVER_MS + left.share * self._served_ms(flops[body.name]),
            halvings=-math.log2(left.share),
            trimmed=of_table if left.trimmed else 0.0,
            coded=bool(left.codes),
            before=bool(left.put_before),
        )

    def _fused(self, plain: Nature, members: Sequence[tuple[Sequence[str], Body]]) -> Nature:
        """Of models whose answers are weighed: each is kept, and each is asked."""
        networks = [(body, self.profile.of(columns)) for columns, body in members if body.trains]
        if not networks:
            return plain
        asked = sum(self._served_ms(self.cost.flops(body.module, body.name, own)) for body, own in networks)
        others = FITTED_MS * (len(members) - len(networks))
        megabytes = sum(body.megabytes for body, _ in networks)
        return replace(plain, network=True, megabytes=megabytes, latency_ms=gain.SERVER_MS + others + asked)

    def _served_ms(self, flops: float) -> float:
        """Of one input to a network, where it is served."""
        return flops / ((self.profile.serving_gflops or self.profile.gflops) * 1e6 * NETWORK_SHARE)


def _count(value: Value, scale: Scale, noise: float) -> float | None:
    """What the examples of a share count for: their number where they are independent, else that of as many independent ones as would have this noise, at most all."""
    if value.details.get("trials"):
        return float(value.details["trials"])
    share = value.measured
    if share is None or not scale.odds or scale.over or noise <= 0 or not 0 < share < 1:
        return None
    return min(float(value.n), 1 / (noise**2 * share * (1 - share)))
