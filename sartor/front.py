"""The front of the search: which plans there are for these data and needs, what each was measured to be, which is best.

Validation chooses here and the test split is never seen. A candidate counts as good enough when the chance that each of its needs
will be *met* on the test rows is at least 0.9, not when its validation score passes the limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from sartor import bounds, leaves
from sartor.data.schema import speaks_for_itself
from sartor.errors import InputError, near
from sartor.needs import SYSTEM, Need, Needs, leading, preferred
from sartor.plan import Move, Plan, learns_several
from sartor.report import Key, Report, Value

GOOD_ENOUGH = 0.9
HOPELESS = 0.05
START_S = 6.0  # a child process with torch
MEASURE_S = 12.0  # a candidate on the validation rows and through two servers
EXPORT_S = 8.0
SHARE_FOR_PREFERENCE = 0.25  # of what is left of the budget, once everything is likely met


@dataclass
class Candidate:
    """A plan with what became of it."""

    id: str
    plan: Plan
    kind: str  # trivial, linear (fitted), frozen, tuned, trained (from nothing), fused, given
    weights: str = ""  # candidates of the same weights differ only in how these are exported
    forecast_s: float = 0.0
    status: str = "waiting"  # waiting, measured, failed, skipped
    why: str = ""
    seconds: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)  # seconds of each step that ran
    bundle: str = ""  # path of the cached bundle
    report: Report = field(default_factory=Report)
    chances: dict[str, float] = field(default_factory=dict)  # need -> chance of met on the test rows
    epochs: int | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    calibrated: dict[str, Any] | None = None  # how its probabilities were
    abstains: dict[str, Any] | None = None  # its threshold, where it may abstain
    flips: dict[str, Any] | None = None  # answers that differ from those of the float parent
    targets: tuple[str, ...] = ()  # where there are several: then `calibrated` and `abstains` are by target

    @property
    def trivial(self) -> bool:
        return self.kind == "trivial"

    @property
    def settled(self) -> dict[str, Any]:
        """What its head has besides what was trained, see `Predictor`; of several heads {target: that}."""
        known, withheld = self.calibrated or {}, self.abstains or {}
        if self.targets:
            return {target: _settled(known.get(target), withheld.get(target)) for target in self.targets}
        return _settled(known, withheld)

    @property
    def chance(self) -> float:
        """The smallest of its chances; 1 when nothing is asked."""
        return min(self.chances.values(), default=1.0)

    def measured(self, key: Key) -> float:
        """The validation value under a key; NaN when there is none."""
        value = self.report.value(key)
        return math.nan if value is None or value.measured is None else value.measured

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.plan.name,
            "plan": self.plan.as_dict() | {"backbone": _backbone_of(self.plan)},
            "reason": self.plan.reason,
            "forecast_s": round(self.forecast_s, 1),
            "seconds": round(self.seconds, 1),
            "status": self.status,
            "why": self.why,
            "chance": round(self.chance, 4) if self.status == "measured" else None,
            "chances": {name: round(chance, 4) for name, chance in self.chances.items()},
            "values": [value.as_dict() for value in self.report.values],
            "curve": self.curve,
            "notes": self.notes,
            "calibrated": self.calibrated,
            "abstains": self.abstains,
            "flips": self.flips,
        }


def _settled(calibrated: Mapping[str, Any] | None, abstains: Mapping[str, Any] | None) -> dict[str, Any]:
    """Of one head."""
    known = calibrated or {}
    told = {name: known[name] for name in ("scale", "half_width", "interval", "thresholds") if name in known}
    return told | ({"abstain_below": abstains["below"]} if abstains else {})


@dataclass(frozen=True)
class Profile:
    """What the planner knows of the data before anything is trained."""

    rows: int
    classes: int
    characters: float  # median of one input
    languages: Mapping[str, float]
    gflops: float  # speed at which an encoder's products run on this machine, from a measurement
    convolution: float = (
        3.0  # operations of an encoder's products that take as long as one of a convolution here, from a measurement
    )
    columns: int = 1  # inputs
    sizes: Mapping[str, float] = field(default_factory=dict)  # what modalities say of theirs: pixels, seconds
    kinds: frozenset[str] = frozenset({"text"})  # modalities of the inputs
    inputs: tuple[tuple[str, str], ...] = ()  # (column, modality)

    def of(self, columns: Sequence[str]) -> Profile:
        """The same rows with these inputs alone."""
        kept = tuple((name, kind) for name, kind in self.inputs if name in columns)
        return replace(self, inputs=kept, kinds=frozenset(kind for _, kind in kept), columns=len(kept))

    @property
    def tokens(self) -> float:
        """Tokens of a median input, roughly: a word piece is 4 letters of an alphabet, or one character of Chinese."""
        dense = sum(share for name, share in self.languages.items() if name in ("zh", "ja", "ko"))
        return float(min(256.0, 2 + self.characters * (dense + (1 - dense) / 4)))


@dataclass(frozen=True)
class Decision:
    """Whether a candidate is tried now, and why."""

    go: bool
    why: str
    forecast_s: float
    epochs: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return {"go": self.go, "why": self.why, "forecast_s": self.forecast_s, "epochs": self.epochs}


class Front:
    """Every candidate so far, and what to try next."""

    def __init__(
        self,
        needs: Needs,
        profile: Profile,
        *,
        task: str,
        test_rows: int,
        look: int = 1,
        targets: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """look: which one at these test rows it will be, as far as is known; the later, the more strictly quality is judged. targets: the task
        of each, where there are several; candidates are compared by the primary metric of the one that leads, see `needs.leading`.

        Raises: InputError `need.prefer` when the preference is no measure, `backbone.*` when the one asked for cannot be had.
        """
        self.targets = targets if len(targets) > 1 else {}
        leads = leading(needs, self.targets) if self.targets else None
        task = self.targets.get(leads, task) if leads else task
        self.needs, self.profile, self.task, self.test_rows = needs, profile, task, test_rows
        self.level = bounds.level_of_look(needs.confidence, look)  # of the bounds of quality
        self.found: list[Candidate] = []
        self.slowness = 1.0  # what training took over what was forecast, on this machine
        self.primary = Key(leaves.load("task", task).PRIMARY, leads)
        self.prefer, self.prefers_low = self._preference()
        # Here, so that a backbone that is not there is said before any compute.
        self.bodies = _bodies(needs, profile, *(self.targets.values() or [task]))
        self.fusions = _fusions(needs, profile, task) if not self.bodies and not self.targets else []
        self._check_asked()

    def _check_asked(self) -> None:
        """Raises: InputError `backbone.inputs` when the backbone that was asked for takes none of the inputs, `backbone.one-target` when it learns
        one target and there are several."""
        asked = self.needs.backbone
        tried = [body.name for body in self.bodies]
        if self.targets and asked in {body.name for body in _bodies(self.needs, self.profile, self.task)} - {*tried}:
            raise InputError("backbone.one-target", ref=asked, targets=", ".join(map(repr, self.targets)))
        tried += [body.name for _, members in self.fusions for _, body in members]
        if asked not in ("auto", "none", *tried):
            raise InputError("backbone.inputs", ref=asked, kinds=" and ".join(sorted(self.profile.kinds)))

    def check_bodies(self) -> None:
        """Raises: InputError `backbone.several-targets` where no body that is at hand learns all targets, so that only the baseline would."""
        if self.targets and not self.bodies:
            aims, kinds = ", ".join(map(repr, self.targets)), " and ".join(sorted(self.profile.kinds))
            raise InputError("backbone.several-targets", targets=aims, kinds=kinds)

    def possible(self) -> Iterator[Candidate]:
        """Every plan worth considering, in the order of what it costs, with its reason."""
        yield Candidate(
            "majority",
            Plan(
                "majority",
                (_start("trivial", "trivial"), Move("fit", {}), Move("export", {})),
                "What any model must beat: always the same answer.",
            ),
            "trivial",
        )
        for body in self.bodies:
            begin = _start(body.name, body.leaf)
            if not body.trains:
                plan = Plan(body.name, (begin, Move("fit", {}), Move("export", {})), body.why)
                yield Candidate(body.name, plan, "linear")
            elif not body.module.PRETRAINED:
                yield from _exports("trained", (begin, Move("train", {}, "From nothing.")), body.why)
            else:
                fitted = (begin, Move("fit", {}, "A linear layer on its embeddings as they are."))
                yield from _exports("frozen", fitted, f"{body.why} Its embeddings as they are, with a linear layer.")
                tuned = (*fitted, Move("train", {}, "All weights, from the linear layer that fits its embeddings."))
                yield from _exports("tuned", tuned, f"{body.why} All its weights tuned.")
        for name, members in self.fusions:
            plans = [{"inputs": list(columns), "plan": _member(body).as_dict()} for columns, body in members]
            moves = (Move("fuse", {"members": plans}), Move("export", {}))
            why = "Each kind of input has a model of its own, and their answers are weighed: " + "; ".join(
                f"{body.name} reads {' + '.join(columns)}" for columns, body in members
            )
            yield Candidate(name, Plan(name, moves, f"{why}."), "fused")

    def decide(self, candidate: Candidate, *, left_s: float) -> Decision:
        """Whether to try a candidate now. left_s: of the budget, less what judging the winner will take."""
        forecast, epochs = self._forecast(candidate, left_s)
        if candidate.kind in ("trivial", "given"):
            return Decision(True, "", forecast, epochs)
        parent = next((c for c in self.found if c.weights and c.weights == candidate.weights), None)
        good = [c for c in self.found if c.status == "measured" and not c.trivial and c.chance >= GOOD_ENOUGH]
        if parent is None and good:
            if self.prefer is None:
                return Decision(False, f"{good[0].plan.name} already meets every need, at less cost.", forecast, epochs)
            if forecast > SHARE_FOR_PREFERENCE * left_s:
                why = f"It would take about {forecast:.0f} s, more than a quarter of what is left for {self.prefer}."
                return Decision(False, why, forecast, epochs)
        if parent is not None and parent.status in ("failed", "skipped"):
            return Decision(False, f"{parent.plan.name}, which it is made from, was {parent.status}.", forecast, epochs)
        if parent is not None and candidate.kind == "frozen" and (short := self._short(parent)):
            return Decision(False, f"{parent.plan.name} is {short}; eight bits would not close that.", forecast, epochs)
        if forecast > left_s:
            why = f"It would take about {forecast:.0f} s, and {max(0.0, left_s):.0f} s of the budget are left."
            return Decision(False, why, forecast, epochs)
        if candidate.kind in ("tuned", "trained") and epochs == 0:
            return Decision(False, "Not one epoch fits what is left of the budget.", forecast, epochs)
        return Decision(True, "", forecast, epochs)

    def add(self, candidate: Candidate) -> None:
        """A candidate that was tried or passed over; its chances come from what validation measured."""
        if candidate.status == "measured":
            for need in self.needs.needs:
                value = candidate.report.value(need.key)
                level = self.level if need.kind == "quality" else self.needs.confidence
                candidate.chances[need.text] = chance(need, value, test_rows=self.test_rows, level=level)
            if candidate.kind == "frozen" and "fit" in candidate.steps:
                # The first pass over the data says how fast this machine really is.
                forecast = max(0.1, self._embed_s(candidate.plan))
                self.slowness = float(np.clip(candidate.steps["fit"] / forecast, 0.05, 20.0))
        self.found.append(candidate)

    def best(self) -> Candidate | None:
        """The candidate to package: among those good enough the preferred one, else the one whose needs are likeliest met.

        The trivial baseline is never chosen while another candidate beats it.
        """
        measured = [candidate for candidate in self.found if candidate.status == "measured"]
        serious = [candidate for candidate in measured if not candidate.trivial] or measured
        if not serious:
            return None
        good = [candidate for candidate in serious if candidate.chance >= GOOD_ENOUGH]
        if good:
            return self._preferred(good)
        if max(candidate.chance for candidate in serious) >= HOPELESS / 5:
            return max(serious, key=lambda c: (c.chance, self._quality(c)))
        # Something is out of reach of all: as many of the other needs as can be had, then the narrowest gap.
        return max(
            serious,
            key=lambda c: (
                sum(one >= 0.5 for one in c.chances.values()),
                -self._gap(c),
                self._quality(c),
            ),
        )

    def reason(self, chosen: Candidate) -> str:
        """Why this one, in words."""
        measured = [c for c in self.found if c.status == "measured"]
        good = [c for c in measured if not c.trivial and c.chance >= GOOD_ENOUGH]
        if chosen in good:
            said = [f"On the validation rows, {len(good)} of {len(measured)} candidates were likely to meet every need"]
            if len(good) > 1:
                wanted = self.prefer or "speed, among those whose quality is within one standard error of the best"
                said[0] += f"; this one is preferred for {wanted}"
            said[0] += "."
        else:
            short = [need for need, one in chosen.chances.items() if one < GOOD_ENOUGH]
            said = [
                f"None of {len(measured)} candidates was likely to meet every need; this one came closest "
                f"(in doubt: {'; '.join(short)})."
            ]
        if chosen.flips:
            said.append(
                f"Eight-bit weights changed {chosen.flips['flips']} of {chosen.flips['n']:,} answers of its float parent."
            )
        passed = [c for c in self.found if c.status == "skipped" and "budget" in c.why]
        if passed and chosen not in good:
            said.append(
                "Not tried for lack of time: "
                + "; ".join(f"{c.plan.name} (about {c.forecast_s:.0f} s)" for c in passed)
                + "."
            )
        return " ".join(said)

    def judging_s(self) -> float:
        """Seconds that measuring and packaging the winner will take, from what measuring took so far."""
        took = [c.steps.get("measure", 0.0) for c in self.found if c.status == "measured" and not c.trivial]
        wanted = 15.0 + 2.5 * max(took, default=8.0)
        return wanted if self.needs.budget_s is None else min(wanted, 0.35 * self.needs.budget_s)

    def _forecast(self, candidate: Candidate, left_s: float) -> tuple[float, int | None]:
        """(seconds, epochs where it trains) of a candidate, given what is done already."""
        rows, profile = self.profile.rows, self.profile
        if candidate.kind == "given":
            return 0.0, None
        if candidate.kind == "fused":
            members = next(members for name, members in self.fusions if name == candidate.id)
            return EXPORT_S + 2 * MEASURE_S + sum(
                self._member_s(body, profile.of(columns)) for columns, body in members
            ), None
        if candidate.kind == "trivial":
            return START_S + MEASURE_S, None
        module = leaves.load("backbone", str(candidate.plan.moves[0].arguments["leaf"]))
        if candidate.kind == "linear":
            seconds = getattr(module, "seconds", _seconds)(profile)
            return START_S + MEASURE_S + seconds, None
        made = next((c for c in self.found if c.weights == candidate.weights and c.status == "measured"), None)
        if made is not None:
            return EXPORT_S + made.steps.get("measure", MEASURE_S), made.epochs
        embed_s = self._embed_s(candidate.plan) * self.slowness
        if candidate.kind == "frozen":
            return START_S + embed_s + EXPORT_S + MEASURE_S, None
        embedded = candidate.kind == "trained" or any(c.kind == "frozen" and c.status == "measured" for c in self.found)
        fixed = START_S + EXPORT_S + MEASURE_S + (0.0 if embedded else embed_s)
        epoch_s = 3.5 * embed_s  # forward, backward and the optimiser, over embedding's forward
        most = int(module.TRAINING.get("epochs", 12))  # of a body that knows nothing it is what it takes
        wanted = most if candidate.kind == "trained" else int(np.clip(round(24_000 / max(1, rows)), 3, most))
        fits = wanted if math.isinf(left_s) else int((0.85 * left_s - fixed) / max(epoch_s, 1e-9))
        epochs = int(np.clip(fits, 0, wanted))
        return fixed + epochs * epoch_s, epochs

    def _member_s(self, body: Body, profile: Profile) -> float:
        """Seconds that a member of a fusion takes to be made."""
        if not body.trains:
            return START_S + float(getattr(body.module, "seconds", _seconds)(profile))
        each = body.module.flops(body.name, profile) * profile.rows / (profile.gflops * 1e9 * 0.4) * self.slowness
        return START_S + each * (1 + 3.5 * int(body.module.TRAINING.get("epochs", 3)))

    def _embed_s(self, plan: Plan) -> float:
        """Seconds of one forward pass over the training rows at 40 % of the measured matrix speed."""
        start = plan.moves[0].arguments
        each = leaves.load("backbone", start["leaf"]).flops(start["backbone"], self.profile)
        return float(each * self.profile.rows / (self.profile.gflops * 1e9 * 0.4))

    def _gap(self, candidate: Candidate) -> float:
        """The sum of how far each limit is missed, as shares of the limits."""
        gaps = [0.0]
        for need in self.needs.needs:
            value = candidate.measured(need.key)
            if math.isnan(value) or not need.holds(value):
                gaps.append(1.0 if math.isnan(value) else abs(value - need.limit) / max(abs(need.limit), 1e-9))
        return sum(gaps)

    def _short(self, candidate: Candidate) -> str:
        """By how much a candidate misses a quality need beyond hope; nothing when it does not."""
        for need in self.needs.needs:
            if need.kind == "quality" and candidate.chances.get(need.text, 1.0) < HOPELESS:
                gap = abs(candidate.measured(need.key) - need.limit)
                return f"{gap:.3f} short of {need.text}"
        return ""

    def _preference(self) -> tuple[Key | None, bool]:
        metrics = leaves.load("task", self.task).METRICS
        name = self.needs.prefer
        if name is not None and self.targets:
            return preferred(name, self.targets)
        if name is None:
            asked = any(need.kind == "quality" for need in self.needs.needs)
            return (None if asked else self.primary), metrics[self.primary.measure].better == "lower"
        known = [*(m for m in metrics if not metrics[m].per_class), *(m for m in SYSTEM if m != "training_time")]
        if name not in known:
            raise InputError("need.prefer", name=name, near=near(name, known), known=", ".join(known))
        if name in metrics:
            return Key(name), metrics[name].better == "lower"
        _, better, concurrent = SYSTEM[name]
        return Key(name, setting=(("concurrency", 1.0),) if concurrent else ()), better == "lower"

    def _goodness(self, candidate: Candidate, key: Key, *, low: bool = False) -> float:
        value = candidate.measured(key)
        return -math.inf if math.isnan(value) else (-value if low else value)

    def _quality(self, candidate: Candidate) -> float:
        """By the task's primary metric; higher is better."""
        low = leaves.load("task", self.task).METRICS[self.primary.measure].better == "lower"
        return self._goodness(candidate, self.primary, low=low)

    def _preferred(self, good: list[Candidate]) -> Candidate:
        if self.prefer is not None and self.needs.prefer is not None:
            return max(good, key=lambda c: (self._goodness(c, self.prefer, low=self.prefers_low), c.chance))  # type: ignore[arg-type]
        # One standard error (Breiman et al. 1984, section 3.4.3): of models that differ by chance alone, the fastest.
        top = max(good, key=lambda c: self._quality(c))
        value, share = top.report.value(self.primary), self._quality(top)
        slack = _standard_error(value)
        alike = [c for c in good if self._quality(c) >= share - slack]
        fast = Key("latency_p95", setting=(("concurrency", 1.0),))
        return max(alike, key=lambda c: self._goodness(c, fast, low=True))


def _standard_error(value: Value | None) -> float:
    """Of a share from its examples, of any other measure from its bounds; 0 where there are none."""
    if value is None or value.measured is None:
        return 0.0
    if value.details.get("trials"):
        return math.sqrt(max(0.0, value.measured * (1 - value.measured)) / max(1, value.n))
    if value.low is None or value.high is None:
        return 0.0
    from scipy.stats import norm

    return float((value.high - value.low) / (2 * norm.ppf(value.confidence)))


def with_epochs(plan: Plan, epochs: int | None) -> Plan:
    """The plan with the number of epochs that the budget allows."""
    if epochs is None:
        return plan
    moves = tuple(
        replace(move, arguments={**move.arguments, "epochs": epochs}) if move.step == "train" else move
        for move in plan.moves
    )
    return replace(plan, moves=moves)


def chance(need: Need, value: Value | None, *, test_rows: int, level: float) -> float:
    """The chance that a need will be *met* on the test rows, from what validation measured."""
    if value is None or value.measured is None:
        return 0.0
    if value.low == value.high == value.measured:
        return float(need.holds(value.measured))
    trials = value.details.get("trials")
    covered = value.details.get("coverage")
    if trials and need.op == ">=":
        enough = 1.0
        if covered is not None:
            enough = bounds.chance_met(
                covered["answered"], covered["of"], test_trials=test_rows, limit=covered["asked"], level=level
            )
        return enough * bounds.chance_met(
            value.details["successes"],
            trials,
            test_trials=max(1, round(test_rows * trials / max(1, value.details.get("of", trials)))),
            limit=need.limit,
            level=level,
        )
    if value.low is None or value.high is None:
        return 0.0
    # Normal approximation: the bound on the test rows is about as far from the estimate as here, scaled by the rows.
    from scipy.stats import norm

    reach = float(norm.ppf(level))
    error = max((value.high - value.low) / (2 * float(norm.ppf(value.confidence))), 1e-12)
    among = value.details.get("of", value.n)  # a slice has the same share of the test rows as of these
    scale = float(np.sqrt(among / max(1, test_rows))) if need.kind == "quality" else 1.0
    margin = (value.measured - need.limit) * (1 if need.op[0] == ">" else -1)
    return float(norm.cdf((margin - reach * error * scale) / (error * np.sqrt(1 + scale**2))))


def _start(name: str, leaf: str) -> Move:
    return Move("start", {"backbone": name, "leaf": leaf})


def _backbone_of(plan: Plan) -> str:
    return str(next((move.arguments.get("backbone", "") for move in plan.moves if move.step == "start"), ""))


def _exports(kind: str, begin: tuple[Move, ...], reason: str) -> Iterator[Candidate]:
    """The same model as float and as int8: two candidates that share all but their last step."""
    name = str(begin[0].arguments["backbone"])
    export = Move("export", {"runtime": "onnx"})
    for precision, why in (("float32", "Float weights, with fused operators."), ("int8", "Eight-bit weights.")):
        title = f"{name.rstrip('/').rsplit('/', 1)[-1]} {kind}, {precision}"
        plan = Plan(
            title,
            (*begin, export, Move("quantise", {"precision": precision}, why)),
            f"{reason} {why}",
        )
        made = title.replace(",", "").replace(" ", "-")
        yield Candidate(made, plan, kind, weights=f"{kind} {name}")


@dataclass(frozen=True)
class Body:
    """A backbone that suits the data, and why."""

    name: str
    leaf: str
    why: str

    @property
    def module(self) -> Any:
        return leaves.load("backbone", self.leaf)

    @property
    def trains(self) -> bool:
        """Whether it is trained by gradients."""
        return bool(self.module.TRAINS == "gradient")

    def cost(self, profile: Profile) -> tuple[bool, float, str]:
        """To be ordered by: those that fit themselves first, then by what one costs."""
        each = (
            self.module.flops(self.name, profile) if self.trains else getattr(self.module, "seconds", _seconds)(profile)
        )
        return self.trains, each, self.name


def _bodies(needs: Needs, profile: Profile, *tasks: str) -> list[Body]:
    """Those that suit the data and the tasks of all targets, the cheapest first. A leaf that cannot do every task says in TASKS which."""
    found: list[Body] = []
    asked = None if needs.backbone in ("auto", "none") else needs.backbone
    suited = [leaf for leaf in leaves.names("backbone") if profile.kinds <= set(leaves.load("backbone", leaf).TAKES)]
    for leaf in suited:
        module = leaves.load("backbone", leaf)
        if leaf in ("trivial", "fusion") or not set(tasks) <= set(getattr(module, "TASKS", tasks)):
            continue
        if len(tasks) > 1 and not learns_several(module):
            continue
        for card in module.cards():
            known = sum(share for name, share in profile.languages.items() if name in card.languages or name == "?")
            if card.name == asked:
                why = f"{card.name} was asked for."
            elif module.TRAINS != "gradient":
                why = f"{card.note} It is {card.source}.".strip()
            elif "*" in card.languages and (needs.backbone == "auto" or (asked is None and not module.PRETRAINED)):
                why = f"{card.note} It comes from {card.source}." if module.PRETRAINED else card.note
            elif needs.backbone == "auto" and card.languages and known >= 0.5:
                why = f"{card.name} knows the language of {known:.0%} of the rows."
            else:
                continue
            found.append(Body(card.name, leaf, why))
    if asked is not None and asked not in _carded(leaves.names("backbone")):
        opens = _opener(asked, suited)
        if opens is not None:
            found.append(Body(asked, opens, f"{asked} was asked for."))
    return sorted(found, key=lambda body: body.cost(profile))


def _carded(names: Sequence[str]) -> set[str]:
    """What the cards of these leaves are called."""
    return {card.name for leaf in names for card in leaves.load("backbone", leaf).cards()}


def _opener(ref: str, suited: Sequence[str]) -> str | None:
    """Which of these leaves opens a checkpoint, by its family; None where it is of another kind of input.

    Raises: InputError `backbone.*` when it cannot be had at all, or no leaf knows its family.
    """
    refused: InputError | None = None
    for leaf in leaves.names("backbone"):
        module = leaves.load("backbone", leaf)
        if getattr(module, "OPENS_HUB", False):
            try:
                module.find(ref)
            except InputError as error:
                if error.code != "backbone.family":
                    raise
                if refused is None or leaf in suited:  # to tell what is supported for these inputs
                    refused = error
                continue
            return leaf if leaf in suited else None
    if refused is not None:
        raise refused
    return None


def _fusions(needs: Needs, profile: Profile, task: str) -> list[tuple[str, list[tuple[tuple[str, ...], Body]]]]:
    """(name, [(input columns, the body that reads them)]): the cheapest body for each kind of input, and the most able ones."""
    groups: dict[str, list[str]] = {}
    for name, kind in profile.inputs:
        groups.setdefault("cells" if not speaks_for_itself(kind) else kind, []).append(name)
    if len(groups) < 2:
        return []

    def bodies_of(name: str, columns: list[str]) -> list[Body]:
        """Those of one kind of input; the one that was asked for only where it is made for that kind, cells being none of a text encoder's."""
        own = profile.of(columns)
        found = _bodies(needs, own, task)
        if needs.backbone in ("auto", "none"):
            return found
        fits = needs.backbone in [body.name for body in found] and not (
            name == "cells" and getattr(found[-1].module, "PRETRAINED", False)
        )
        return found if fits else _bodies(replace(needs, backbone="auto"), own, task)

    choices = [(tuple(columns), bodies_of(name, columns)) for name, columns in groups.items()]
    if not all(bodies for _, bodies in choices):
        return []
    small = [(columns, bodies[0]) for columns, bodies in choices]
    able = [(columns, bodies[-1]) for columns, bodies in choices]
    found = [("fusion of small models", small)]
    return found if small == able else [*found, ("fusion", able)]


def _member(body: Body) -> Plan:
    """How a member of a fusion is made."""
    begin = _start(body.name, body.leaf)
    if not body.trains:
        return Plan(body.name, (begin, Move("fit", {})))
    return Plan(body.name, (begin, *((Move("fit", {}),) if body.module.PRETRAINED else ()), Move("train", {})))


def _seconds(profile: Profile) -> float:
    """Of fitting a body that does not say."""
    return profile.rows * 1e-3
