"""The front of the search: which plans there are for these data and needs, which to try next, what each was measured to be, which is best.

Validation chooses here and the test split is never seen. A candidate counts as good enough when the chance that each of its needs
will be *met* on the test rows is at least 0.9, not when its validation score passes the limit. Until then the next one is what is expected to raise
that chance most for its time, over the best so far; it is believed anew after every measurement (`sartor.gain`, `sartor.cost`). While nothing has a chance that is
its own chance, and of boxes that are opened until the first success this is the best order where they are independent (Smith's ratio rule), and within four times
the best where they hang together (Feige, Lovász and Tetali 2004; adaptively, Golovin and Krause 2011).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from scipy import special

from sartor import bounds, cuts, gain, leaves
from sartor.cost import Cost, with_sizes
from sartor.cuts import Anatomy, Cut, Left
from sartor.data.schema import speaks_for_itself
from sartor.errors import InputError
from sartor.hardware import cores
from sartor.needs import Need, Needs, leading, preference
from sartor.plan import Move, Plan, learns_several
from sartor.prospect import Outlook, Prospects, Sizes
from sartor.report import Key, Report, Value

GOOD_ENOUGH = 0.9
HOPELESS = 0.05
SHARE_FOR_PREFERENCE = 0.25  # of what is left of the budget, once everything is likely met
# Of meeting every need, or what is added to that chance of the likeliest so far, that a candidate is tried for.
LEAST_CHANCE = 0.03
# While nothing has this chance: what is worth less is not begun where it may end after this share of the budget.
UNLIKELY, EARLY_SHARE = 0.06, 0.6
SCOUT_SHARE = 0.2  # of what a dear candidate takes, for which its body is looked at as it is before
PRECISIONS = {"float32": "Float weights, with fused operators.", "int8": "Eight-bit weights."}
WORTH_A_LOOK = 0.1  # chance to be better by what is preferred; and on the map, logarithm of what a need's gap is expected to shrink by
PACKING = ("export", "quantise")  # steps that change no weights
MOST_NAMED = 3  # of what was not tried, in the reason of a choice
FEW_ROWS = 24  # of a class, up to which embeddings are contrasted
FAST, SIZE = Key("latency_p95", setting=(("concurrency", 1.0),)), Key("size")  # measured of every candidate


@dataclass
class Candidate:
    """A plan with what became of it."""

    id: str
    plan: Plan
    kind: str  # trivial, linear (fitted), trained (from nothing), fused, given; of a pretrained body frozen or one of `gain.KINDS`; cut, taught, cascade
    weights: str = ""  # candidates of the same weights differ only in how these are exported
    body: str = ""  # name of its backbone
    precision: str = "float32"
    parent: str = ""  # the weights that it is cut from, which are made and measured first
    way: str = ""  # the kind of its parent
    left: Left = field(default_factory=Left)  # of its parent
    forecast_s: float = 0.0
    status: str = "waiting"  # waiting, measured, failed, skipped
    why: str = ""
    cause: str = ""  # why it was skipped, in a word: met, time, hopeless, parent
    failed_at: str = ""  # the step in which it failed; "measure" where it could not be served
    chosen_for: str = ""  # why it was tried when it was
    outlook: Mapping[str, Any] = field(default_factory=dict)  # what was expected of it, as of `Outlook.as_dict`
    sizes: Sizes = field(default_factory=dict)  # of its steps, that the budget decided
    seconds: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)  # seconds of each step that ran
    bundle: str = ""  # path of the cached bundle
    report: Report = field(default_factory=Report)
    chances: dict[str, float] = field(default_factory=dict)  # need -> chance of met on the test rows
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
            "weights": self.weights,
            "parent": self.parent,
            "precision": self.precision,
            "forecast_s": round(self.forecast_s, 1),
            "seconds": round(self.seconds, 1),
            "status": self.status,
            "why": self.why,
            "cause": self.cause,
            "chosen_for": self.chosen_for,
            "outlook": dict(self.outlook),
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
    gflops: float  # speed at which an encoder's products run where it is trained, from a measurement
    convolution: float = (
        3.0  # operations of an encoder's products that take as long as one of a convolution here, from a measurement
    )
    columns: int = 1  # inputs
    sizes: Mapping[str, float] = field(default_factory=dict)  # what modalities say of theirs: pixels, seconds
    kinds: frozenset[str] = frozenset({"text"})  # modalities of the inputs
    inputs: tuple[tuple[str, str], ...] = ()  # (column, modality)
    unlabelled: int = 0  # rows without a target
    serving_gflops: float = 0.0  # as `gflops`, where it is served, if that is elsewhere or on fewer cores

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
    """What is tried next and why; or that nothing more is, and why what is left is passed over."""

    candidate: str | None  # its id
    why: str
    forecast_s: float = 0.0
    sizes: Sizes = field(default_factory=dict)
    outlook: Mapping[str, Any] = field(default_factory=dict)
    waiting: Sequence[
        Mapping[str, Any]
    ] = ()  # every other one with its outlook: {id, name, forecast_s, chance, values}
    passed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # id -> {cause, why}

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Passed:
    """Why a candidate is not tried."""

    cause: str
    why: str


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
        self.beside_s = 0.0  # that the build spent beside what its candidates took
        self.primary = Key(leaves.load("task", task).PRIMARY, leads)
        self.primary_low = leaves.load("task", task).METRICS[self.primary.measure].better == "lower"
        self.prefer, self.prefers_low = preference(needs, task, self.targets)
        # What cannot be measured on this machine is unproven whatever is built, so nothing is chosen by it.
        self.asked = [need for need in needs.needs if _measurable(need, needs)]
        # Here, so that a backbone that is not there is said before any compute.
        self.bodies = _bodies(needs, profile, *(self.targets.values() or [task]))
        self.fusions = _fusions(needs, profile, task) if not self.bodies and not self.targets else []
        self._check_asked()
        self.waiting = list(self.possible())
        keys = [self.primary, FAST, SIZE, *([self.prefer] if self.prefer else [])]
        self.prospects = Prospects(
            profile,
            self.bodies,
            dict(self.fusions),
            self.asked,
            keys,
            task=task,
            test_rows=test_rows,
            level=self.level,
            targets=self.targets,
        )

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
        """Every plan worth considering, roughly in the order of what it costs, with its reason."""
        yield Candidate(
            "majority",
            Plan(
                "majority",
                (_start("trivial", "trivial"), Move("fit", {}), Move("export", {})),
                "What any model must beat: always the same answer.",
            ),
            "trivial",
            body="trivial",
        )
        for body in self.bodies:
            begin = _start(body.name, body.leaf)
            if not body.trains:
                plan = Plan(body.name, (begin, Move("fit", {}), Move("export", {})), body.why)
                yield Candidate(body.name, plan, "linear", weights=body.name, body=body.name)
                continue
            ways = list(_from_nothing(begin) if not body.module.PRETRAINED else self._pretrained(begin, body))
            ways = [way for way in ways if all(_there(move.step) for move in way[1])]
            for kind, moves, why in ways:
                yield from _exports(kind, moves, f"{body.why} {why}".strip(), body)
            for kind, moves, _ in ways:
                if kind == self._cut_from(ways):
                    yield from self._cuts(body, kind, moves)
        for name, members in self.fusions:
            plans = [{"inputs": list(columns), "plan": _member(body).as_dict()} for columns, body in members]
            moves = (Move("fuse", {"members": plans}), Move("export", {}))
            why = "Each kind of input has a model of its own, and their answers are weighed: " + "; ".join(
                f"{body.name} reads {' + '.join(columns)}" for columns, body in members
            )
            yield Candidate(name, Plan(name, moves, f"{why}."), "fused", weights=name, body=name)

    def _pretrained(self, begin: Move, body: Body) -> Iterator[tuple[str, tuple[Move, ...], str]]:
        """(kind, steps before the export, reason) of every way to make a model of a pretrained body."""
        fit = Move("fit", {}, "A linear layer on its embeddings as they are.")
        texts = "text" in body.module.TAKES
        yield "frozen", (begin, fit), "Its embeddings as they are, with a linear layer."
        few = self.profile.classes > 1 and self.profile.rows <= FEW_ROWS * self.profile.classes
        if texts and few and self.task == "classify" and not self.targets:
            contrast = Move("contrast", {}, "Few rows of a class: pairs of them say what is alike.")
            yield "contrasted", (begin, contrast, fit), "Its embeddings drawn together within each class."
        last = Move("freeze", {"keep": "last", "blocks": 2}, "The blocks below are computed once.")
        yield "last blocks", (begin, fit, last), "Its last two blocks tuned."
        lora = Move("lora", {}, "A low-rank change of its weights, from the linear layer that fits its embeddings.")
        yield "LoRA", (begin, fit, lora), "A low-rank change of its weights tuned."
        train = Move("train", {}, "All weights, from the linear layer that fits its embeddings.")
        yield "tuned", (begin, fit, train), "All its weights tuned."
        search = Move("search", {}, "Rates, batches, epochs and regularisation are searched.")
        yield "searched", (begin, fit, search), "All its weights tuned, with settings that are searched."
        if texts and self.profile.unlabelled:
            told = f"{self.profile.unlabelled:,} rows without a label"
            read_on = Move("pretrain", {}, f"Masked language on {told}.")
            yield "read on", (begin, read_on, fit, train), f"Pretrained further on {told}, then all its weights tuned."

    def _cut_from(self, ways: Sequence[tuple[str, tuple[Move, ...], str]]) -> str:
        """The kind whose models are cut: of few rows what is contrasted, else what is trained in whole."""
        kinds = [kind for kind, _, _ in ways]
        return next((kind for kind in ("contrasted", "tuned", "trained") if kind in kinds), "")

    def _cuts(self, body: Body, way: str, moves: tuple[Move, ...]) -> Iterator[Candidate]:
        """Every cut worth considering of what these steps make of a body, and what else learns from it."""
        parent = Plan(f"{body.name} {way}", moves)
        inputs = [name for name, _ in self.profile.inputs]
        found: list[Cut] = []
        if body.anatomy is not None:
            asked = [need.limit for need in self.asked if need.key.measure == "size"]
            at_most = 0.0 if self.needs.prefer == "size" else min(asked, default=math.inf) / (body.megabytes / 4)
            words = cuts.words_kept(self.profile)
            rows = self.profile.rows + self.profile.unlabelled
            found += cuts.of_encoder(body.anatomy, parent, inputs, rows=rows, at_most=at_most, words=words)
        elif getattr(body.module, "CONVOLUTIONAL", False):
            found += cuts.of_convolutions(parent, inputs)
        for cut in found:
            if all(_there(move.step) for move in cut.moves):
                yield from _exports(cut.kind, (*moves, *cut.moves), cut.reason, body, cut=cut, way=way)
        if not self._can_teach(body):
            return
        weights = f"{way} {body.name}"
        for other in (one for one in self.bodies if not one.trains):
            if self.profile.unlabelled:
                cut = cuts.of_other(other, _start(other.name, other.leaf), parent, inputs)
                name = f"{other.name} taught by {_short(body)}"
                plan = Plan(name, (*cut.moves, Move("export", {})), cut.reason)
                made = name.replace(" ", "-")
                yield Candidate(made, plan, cut.kind, made, other.name, parent=weights, way=way, left=cut.left)
            eight = Plan("larger", (*moves, *_packed("int8")))
            small = Plan("cheap", (_start(other.name, other.leaf), Move("fit", {}), Move("export", {})))
            cut = cuts.cascade(small, eight, inputs, body=other.name)
            name = f"{other.name}, then {_short(body)} {way}, int8"
            plan, made = Plan(name, cut.moves, cut.reason), name.replace(",", "").replace(" ", "-")
            yield Candidate(made, plan, cut.kind, made, body.name, "int8", parent=weights, way=way, left=cut.left)

    def _can_teach(self, body: Body) -> bool:
        """Whether a model that fits itself can learn likeliest answers of a body, or answer before it."""
        likely = hasattr(leaves.load("task", self.task), "likeliest") and not self.targets
        return likely and bool(body.module.PRETRAINED) and _there("distil") and _there("cascade")

    @property
    def spent_s(self) -> float:
        """Seconds of the build so far, which a need may limit."""
        return self.beside_s + sum(one.seconds for one in self.found)

    def next(self, *, left_s: float) -> Decision:
        """What to try now. left_s: of the budget, less what judging the winner will take.

        Of what may raise the chance that every need is met what may raise it most for its time, where what may raise it most then still fits. Once one
        candidate is good enough: its eight bits, and what is likely to be better by the preference for a quarter of what is left. When nothing is likely to be
        good enough any more: what shows best how near one can come, within EARLY_SHARE of the budget; and then the end.
        """
        seen = {one.id: self.outlook(one, left_s=left_s) for one in self.waiting}
        first = next((one for one in self.waiting if one.kind in ("trivial", "given")), None)
        if first is not None:
            return self._go(first, "", seen)
        shut = {one.id: found for one in self.waiting if (found := self._shut(one, seen[one.id], left_s))}
        candidates = [one for one in self.waiting if one.id not in shut]
        # A search begins with the very training that is tried without one, so that comes first.
        plain = {one.body for one in candidates if one.kind in ("tuned", "trained")}
        able = [one for one in candidates if one.kind != "searched" or one.body not in plain]
        good = self._good()
        choose = partial(self._beyond, good) if good else self._towards
        pick = choose(able, seen, left_s) or choose(candidates, seen, left_s)
        if pick is not None:
            return self._parent_first(*pick, candidates, seen, left_s)
        for one in candidates:
            shut[one.id] = self._why_enough(good, seen[one.id]) if good else self._why_hopeless(seen[one.id])
        whole = {one.id: self.outlook(one, left_s=math.inf) for one in self.waiting}  # as if there were time
        why = f"{good[0].plan.name} is likely to meet every need." if good else self._why_it_ends(shut, whole)
        return Decision(None, why, waiting=self._told(whole), passed={name: asdict(shut[name]) for name in shut})

    @property
    def shown(self) -> list[Key]:
        """The measures that candidates are compared by at a glance: of quality, of speed, and of size."""
        quality = next((need.key for need in self.asked if need.kind == "quality"), self.primary)
        speed = next((need.key for need in self.asked if need.key.measure.startswith("latency")), FAST)
        return [quality, speed, SIZE]

    @property
    def limits(self) -> dict[str, dict[str, Any]]:
        """What needs ask, by the name of the measure: {op, limit}."""
        return {str(need.key): {"op": need.op, "limit": need.limit} for need in self.needs.needs}

    def take(self, decision: Decision) -> Candidate:
        """The candidate of a decision, with what was decided of it."""
        candidate = next(one for one in self.waiting if one.id == decision.candidate)
        self.waiting.remove(candidate)
        candidate.plan = with_sizes(candidate.plan, decision.sizes)
        candidate.sizes, candidate.outlook = decision.sizes, decision.outlook
        candidate.forecast_s, candidate.chosen_for = decision.forecast_s, decision.why
        return candidate

    def pass_over(self, decision: Decision) -> Iterator[Candidate]:
        """Those that are left when nothing more is tried, each with the reason."""
        told = {one["id"]: one for one in decision.waiting}
        for candidate in list(self.waiting):
            self.waiting.remove(candidate)
            why, mine = decision.passed[candidate.id], told[candidate.id]
            candidate.status, candidate.cause, candidate.why = "skipped", why["cause"], why["why"]
            candidate.forecast_s = mine["forecast_s"]
            candidate.outlook = {name: mine[name] for name in ("chance", "values")}
            yield candidate

    def foresee(self, *, left_s: float) -> Iterator[Candidate]:
        """Every candidate in the order in which it would be tried if nothing that is measured changed what is believed; then those passed over."""
        imagined = copy.copy(self)
        imagined.waiting, imagined.found = list(self.waiting), list(self.found)
        imagined.prospects = copy.copy(self.prospects)
        imagined.prospects.cost = self.prospects.cost.copy()
        while (decision := imagined.next(left_s=left_s)).candidate is not None:
            candidate = imagined.take(decision)
            imagined.prospects.cost.imagine(candidate.plan)
            imagined.found.append(replace(candidate, status="imagined", seconds=candidate.forecast_s))
            left_s -= candidate.forecast_s
            yield candidate
        yield from imagined.pass_over(decision)

    def outlook(self, candidate: Candidate, *, left_s: float, cost: Cost | None = None) -> Outlook:
        """What is believed of a candidate now. left_s: what its training may take up. cost: where other things than now are made."""
        made, parent = self._sibling(candidate), self._parent(candidate)
        return self.prospects.outlook(
            candidate, made=made, parent=parent, left_s=left_s, spent_s=self.spent_s, cost=cost
        )

    def add(self, candidate: Candidate) -> None:
        """A candidate that was tried or passed over; its chances come from what validation measured, and the others' from it as well."""
        if candidate.status == "measured":
            candidate.chances = self.chances(candidate.report)
            if candidate.kind != "given":  # nothing is left to decide
                self.prospects.learn(candidate)
        self.found.append(candidate)

    def chances(self, report: Report) -> dict[str, float]:
        """{need: the chance that it will be met on the test rows}, from what validation measured."""
        return {
            need.text: chance(
                need,
                report.value(need.key),
                test_rows=self.test_rows,
                level=self.level if need.kind == "quality" else self.needs.confidence,
            )
            for need in self.asked
        }

    def hangs_on_speed(self, report: Report) -> bool:
        """Whether all that is in doubt of a candidate is how fast it is served: to measure that for longer takes less than to make another."""
        chances = self.chances(report)
        speed = {need.text for need in self.asked if need.kind == "system" and need.key.setting}
        doubted = [chances[name] for name in speed if chances[name] < GOOD_ENOUGH]
        surely = all(one >= GOOD_ENOUGH for name, one in chances.items() if name not in speed)
        return surely and bool(doubted) and min(doubted) >= HOPELESS

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
                alike = "speed, among those whose quality is within one standard error of the best"
                wanted = self.prefer if self.needs.prefer is not None else alike
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
        hopeless = [c for c in self.found if c.cause == "hopeless"]
        if hopeless:
            likeliest = max(hopeless, key=lambda c: c.outlook.get("chance", 0.0))
            expected = likeliest.outlook.get("chance", 0.0)
            if expected < UNLIKELY:
                what = f"the likeliest to meet every need was {likeliest.plan.name}, with a chance of {expected:.1%}"
            else:
                what = f"none was likely to raise its chance of {chosen.chance:.0%} much"
            said.append(f"The search ended early: of {len(hopeless)} that were not tried, {what}.")
        # Of what could have met the needs, the likeliest alone: there are many, and each stands in the table with its reason.
        passed = [c for c in self.found if c.cause == "time" and c.outlook.get("chance", 0.0) >= LEAST_CHANCE]
        passed.sort(key=lambda c: -c.outlook["chance"])
        if passed and chosen not in good:
            named = "; ".join(f"{c.plan.name} (about {c.forecast_s:.0f} s)" for c in passed[:MOST_NAMED])
            more = f"; and {len(passed) - MOST_NAMED} more" if len(passed) > MOST_NAMED else ""
            said.append(f"Not tried for lack of time: {named}{more}.")
        return " ".join(said)

    def judging_s(self) -> float:
        """Seconds that measuring and packaging the winner will take, from what measuring took so far."""
        took = [c.steps.get("measure", 0.0) for c in self.found if c.status == "measured" and not c.trivial]
        wanted = 15.0 + 2.5 * max(took, default=8.0)
        return wanted if self.needs.budget_s is None else min(wanted, 0.35 * self.needs.budget_s)

    def _go(self, candidate: Candidate, why: str, seen: Mapping[str, Outlook]) -> Decision:
        """The decision to try a candidate."""
        mine = seen[candidate.id]
        others = {name: one for name, one in seen.items() if name != candidate.id}
        return Decision(candidate.id, why, mine.seconds, mine.sizes, mine.as_dict(), self._told(others))

    def _told(self, seen: Mapping[str, Outlook]) -> list[dict[str, Any]]:
        """What is believed of those that wait, for the journal and the display."""
        return [
            {
                "id": one.id,
                "name": one.plan.name,
                "forecast_s": round(seen[one.id].seconds, 1),
                **seen[one.id].as_dict(),
            }
            for one in self.waiting
            if one.id in seen
        ]

    def _parent_first(
        self,
        pick: Candidate,
        why: str,
        candidates: Sequence[Candidate],
        seen: Mapping[str, Outlook],
        left_s: float,
    ) -> Decision:
        """The decision to try a candidate; before a cut what it is made from, where that was not measured yet and the cut still fits afterwards: it says how far the cut
        may come, for little time beside."""
        whole = [one for one in candidates if one.weights == pick.parent]
        if not pick.parent or self._parent(pick) is not None or not whole:
            return self._go(pick, why, seen)
        # The precision of the cut, where there is a choice: so that what the cut takes and saves is told apart from what fewer bits do.
        parent = max(whole, key=lambda one: (one.precision == pick.precision, self._worth(seen[one.id])))
        # Trained for as long as the cut has it, not for all that is left: else nothing would be left for the cut.
        steps = {move.step for move in parent.plan.moves}
        sized = replace(parent, sizes={step: size for step, size in seen[pick.id].sizes.items() if step in steps})
        mine = self.prospects.outlook(parent, made=sized, left_s=left_s, spent_s=self.spent_s)
        then = self.prospects.cost.copy()
        then.imagine(with_sizes(parent.plan, mine.sizes))
        if mine.seconds + then.seconds(with_sizes(pick.plan, seen[pick.id].sizes)) > left_s:
            return self._go(pick, why, seen)
        chance = f"{mine.chance:.0%} likely to meet every need"
        why = f"{chance}, and {pick.plan.name} is made from it: {why[0].lower()}{why[1:]}"
        return self._go(parent, why, {**seen, parent.id: mine})

    def _parent(self, candidate: Candidate) -> Candidate | None:
        """The one that a candidate is cut from, where it was tried."""
        return self._tried(candidate.parent)

    def _tried(self, weights: str) -> Candidate | None:
        """The one of these weights that was tried; rather one that was measured."""
        mine = [one for one in self.found if weights and one.weights == weights]
        return next((one for one in mine if one.status == "measured"), mine[0] if mine else None)

    def _good(self) -> list[Candidate]:
        """Those that are good enough, the first of them first."""
        return [c for c in self.found if c.status == "measured" and not c.trivial and c.chance >= GOOD_ENOUGH]

    def _likeliest(self) -> Candidate | None:
        """That of the greatest chance to meet every need, by its validation, so far."""
        return max(self._serious(), key=lambda one: one.chance, default=None)

    def _worth(self, seen: Outlook) -> float:
        """By how much a candidate may raise the chance that every need is met, over that of the likeliest so far."""
        likeliest = self._likeliest()
        return seen.worth(0.0 if likeliest is None else likeliest.chance, sure=GOOD_ENOUGH)

    def _serious(self) -> list[Candidate]:
        """What was measured beside the trivial baseline."""
        return [c for c in self.found if c.status == "measured" and not c.trivial]

    def _shut(self, candidate: Candidate, seen: Outlook, left_s: float) -> Passed | None:
        """Why a candidate cannot be made now; nothing where it can."""
        # What failed in being packed otherwise, or in being served, says nothing of what this one shares with it.
        for other, own in ((self._sibling(candidate), ("quantise",)), (self._parent(candidate), PACKING)):
            if other is not None and other.status == "failed" and other.failed_at not in (*own, "measure"):
                return Passed("parent", f"{other.plan.name}, which it shares weights with, failed.")
        if seen.seconds > left_s:
            left = max(0.0, left_s)
            return Passed("time", f"It would take about {seen.seconds:.0f} s, and {left:.0f} s of the budget are left.")
        if any(size.get("epochs") == 0 for size in seen.sizes.values()):
            what = "search" if "search" in seen.sizes else "epoch"
            return Passed("time", f"Not one {what} fits what is left of the budget.")
        return None

    def _towards(
        self, candidates: Sequence[Candidate], seen: Mapping[str, Outlook], left_s: float
    ) -> tuple[Candidate, str] | None:
        """What to try while nothing is good enough."""
        early_s = math.inf
        if self.needs.budget_s is not None:
            early_s = left_s - (1 - EARLY_SHARE) * self.needs.budget_s
        worth, likeliest = {one.id: self._worth(seen[one.id]) for one in candidates}, self._likeliest()
        # Then there is nothing that has to be said early.
        hoped_for = likeliest is not None and likeliest.chance >= UNLIKELY
        hopeful = [
            one
            for one in candidates
            if worth[one.id] >= LEAST_CHANCE
            and (hoped_for or worth[one.id] >= UNLIKELY or seen[one.id].longest_s <= early_s)
        ]
        if hopeful:
            pick = self._for_its_time(hopeful, worth, seen, left_s)
            if (scout := self._scout(pick, candidates, seen)) is not None:
                tells = "tells for little how far that will come and how long it takes"
                return scout, f"It shares its first steps with {pick.plan.name}, and {tells}."
            told = f"{seen[pick.id].chance:.0%} likely to meet every need"
            if likeliest is not None and hoped_for:
                told += f", and may add {100 * worth[pick.id]:.0f} points to the {likeliest.chance:.0%} of {likeliest.plan.name}"
            return pick, f"{told}, in about {seen[pick.id].seconds:.0f} s: the most for its time."
        tried = [one for one in self.found if not one.trivial and one.status in ("measured", "imagined")]
        if not tried and candidates:
            cheapest = min(candidates, key=lambda one: seen[one.id].seconds)
            return cheapest, "Not likely to meet every need, but nothing beside the baseline was measured yet."
        known = [one for one in candidates if self._is_pretrained(one.body) and seen[one.id].seconds <= early_s]
        known = [one for one in known if seen[one.id].chance_of_system >= LEAST_CHANCE]
        if known and not hoped_for and not any(self._is_pretrained(one.body) for one in tried):
            cheapest = min(known, key=lambda one: seen[one.id].seconds)
            return cheapest, "No need is called out of reach before a pretrained body was measured."
        return self._for_the_map([one for one in candidates if seen[one.id].longest_s <= early_s], seen)

    def _scout(self, pick: Candidate, candidates: Sequence[Candidate], seen: Mapping[str, Outlook]) -> Candidate | None:
        """The same body as it is, where none of its candidates was tried and this one costs little beside what the two share."""
        if pick.kind == "frozen" or any(one.body == pick.body for one in self.found):
            return None
        known = [one for one in candidates if one.kind == "frozen" and one.body == pick.body]
        if not known:
            return None
        scout = max(known, key=lambda one: self._worth(seen[one.id]) / seen[one.id].seconds)
        then = self.prospects.cost.copy()
        then.imagine(scout.plan)
        more = seen[scout.id].seconds + then.seconds(with_sizes(pick.plan, seen[pick.id].sizes)) - seen[pick.id].seconds
        return scout if more <= SCOUT_SHARE * seen[pick.id].seconds else None

    def _for_its_time(
        self, hopeful: Sequence[Candidate], worth: Mapping[str, float], seen: Mapping[str, Outlook], left_s: float
    ) -> Candidate:
        """What is worth most for its time; but what is worth most of all where it, or one as good, would not fit afterwards."""
        best = max(hopeful, key=lambda one: worth[one.id] / seen[one.id].seconds)
        most = max(hopeful, key=lambda one: worth[one.id])
        if most is best or math.isinf(left_s):
            return best
        then = self.prospects.cost.copy()
        then.imagine(with_sizes(best.plan, seen[best.id].sizes))
        left = left_s - seen[best.id].seconds
        after = {one.id: self.outlook(one, left_s=left, cost=then) for one in hopeful if one.weights != best.weights}
        fit = [
            self._worth(after[one.id])
            for one in hopeful
            if one.id in after and not self._shut(one, after[one.id], left)
        ]
        likeliest = self._likeliest()
        room = 1.0 if likeliest is None else 1 - likeliest.chance  # that there is for any rise
        both = room * (1 - (1 - worth[best.id] / room) * (1 - max(fit, default=0.0) / room))
        return most if worth[most.id] > both else best

    def _for_the_map(
        self, candidates: Sequence[Candidate], seen: Mapping[str, Outlook]
    ) -> tuple[Candidate, str] | None:
        """What comes nearest to a need that no candidate meets, for its time; nothing where all that is left would hardly come nearer.

        How near: by how much it is expected to go beyond the best so far, in logarithms, times its chance of the other needs, but for those that
        nothing meets either.
        """
        serious = self._serious()
        if not serious or max(one.chance for one in serious) >= 0.5:
            return None
        blocked = {n.key for n in self.asked if all(one.chances.get(n.text, 0.0) < 0.5 for one in serious)}
        worth: list[tuple[float, float, Candidate, Need]] = []
        for one in candidates:
            for need in self.asked:
                guess, mine = seen[one.id].guesses.get(need.key), seen[one.id]
                known = [c.measured(need.key) for c in serious if not math.isnan(c.measured(need.key))]
                if guess is None or not known or mine.chances[need.key] >= 0.5:
                    continue
                best = min(mine.scales[need.key].of(value) for value in known)
                nearer = guess.gain_on(best) * mine.chance_but({need.key, *blocked})
                if nearer >= WORTH_A_LOOK:
                    worth.append((nearer / mine.seconds, nearer, one, need))
        if not worth:
            return None
        _, _, pick, need = max(worth, key=lambda found: found[:2])
        return pick, f"Nothing left is likely to meet every need; this shows how near to {need.text} one can come."

    def _beyond(
        self, good: Sequence[Candidate], candidates: Sequence[Candidate], seen: Mapping[str, Outlook], left_s: float
    ) -> tuple[Candidate, str] | None:
        """What to try once one candidate is good enough."""
        candidates = [one for one in candidates if seen[one.id].in_time >= GOOD_ENOUGH]
        if self.needs.prefer is None:
            weights = {one.weights for one in good}
            eight = next((one for one in candidates if one.precision == "int8" and one.weights in weights), None)
            if eight is not None:
                return eight, "What meets every need, in eight bits: the faster of equals is preferred."
        if self.prefer is None:
            return None
        best = self._best_of(good)
        allowed = self._allowance(left_s)
        better = [
            one
            for one in candidates
            if seen[one.id].seconds <= allowed and seen[one.id].better(self.prefer, best) >= WORTH_A_LOOK
        ]
        if not better:
            return None
        pick = max(
            better,
            key=lambda one: (
                seen[one.id].chance
                * seen[one.id].guesses[self.prefer].gain_on(best)  # type: ignore[index]
                / seen[one.id].seconds
            ),
        )
        likely = f"{seen[pick.id].guesses[self.prefer].below(best):.0%} likely to be better in {self.prefer}"
        return pick, f"{likely}, which is preferred among what meets every need."

    def _best_of(self, good: Sequence[Candidate]) -> float:
        """The best so far by what is preferred, on its scale; beyond all reach where that was not measured."""
        assert self.prefer is not None
        known = [one.measured(self.prefer) for one in good if not math.isnan(one.measured(self.prefer))]
        return min((self.prospects.scale(self.prefer).of(value) for value in known), default=-math.inf)

    def _allowance(self, left_s: float) -> float:
        """Seconds that the preference may still take: a quarter of what was left when a candidate first was good enough."""
        first = next(place for place, one in enumerate(self.found) if one in self._good())
        spent = sum(one.seconds for one in self.found[first + 1 :])
        return SHARE_FOR_PREFERENCE * (left_s + spent) - spent

    def _why_enough(self, good: Sequence[Candidate], seen: Outlook) -> Passed:
        """Why one is not tried once another is good enough."""
        if self.prefer is None or seen.in_time < GOOD_ENOUGH:
            return Passed("met", f"{good[0].plan.name} already meets every need.")
        if seen.better(self.prefer, self._best_of(good)) < WORTH_A_LOOK:
            return Passed("met", f"It is not likely to be better in {self.prefer} and to meet every need.")
        why = f"It would take about {seen.seconds:.0f} s, more than a quarter of what is left for {self.prefer}."
        return Passed("met", why)

    def _why_hopeless(self, seen: Outlook) -> Passed:
        """Why one is not tried that hardly anything speaks for, or that adds hardly anything to what is there."""
        need = min(self.asked, key=lambda need: seen.chances[need.key])
        said = f"Its chance to meet every need is {seen.chance:.1%}"
        if need.key in seen.guesses:
            ends = seen.scales[need.key].interval(seen.guesses[need.key])
            low, mid, high = (f"{ends[end]:.3g}" for end in ("low", "mid", "high"))
            said += f": about {mid} ({low} to {high}) is expected where {need.text} is asked"
        likeliest, worth = self._likeliest(), self._worth(seen)
        if worth >= LEAST_CHANCE:
            said += f"; too little for the {seen.seconds:.0f} s that it would take so late in the budget"
        elif likeliest is not None and seen.chance >= LEAST_CHANCE:
            adds = f"it would add less than {100 * LEAST_CHANCE:.0f} points to the chance"
            said += f"; beside {likeliest.plan.name}, at {likeliest.chance:.0%}, {adds}"
        return Passed("hopeless", f"{said}.")

    def _why_it_ends(self, shut: Mapping[str, Passed], whole: Mapping[str, Outlook]) -> str:
        """Why nothing more is tried though nothing is good enough. whole: what there would be to hope for with time."""
        causes = [one.cause for one in shut.values()]
        if not causes:
            return "Everything was tried."
        if any(one.cause == "time" and self._worth(whole[name]) >= LEAST_CHANCE for name, one in shut.items()):
            return "The budget has no time left for what may meet every need."
        if not {"hopeless", "time"} & set(causes):
            return "What is left cannot be made."
        likeliest = self._likeliest()
        if likeliest is None or likeliest.chance < UNLIKELY:
            return "Nothing that is left is likely to meet every need."
        return f"{likeliest.plan.name} has a chance of {likeliest.chance:.0%} to meet every need, and nothing that is left is likely to raise it much."

    def _sibling(self, candidate: Candidate) -> Candidate | None:
        """The one of the same weights that was tried."""
        return self._tried(candidate.weights)

    def _is_pretrained(self, name: str) -> bool:
        return any(body.name == name and body.trains and body.module.PRETRAINED for body in self.bodies)

    def _gap(self, candidate: Candidate) -> float:
        """The sum of how far each limit is missed, as shares of the limits."""
        gaps = [0.0]
        for need in self.needs.needs:
            value = candidate.measured(need.key)
            if math.isnan(value) or not need.holds(value):
                gaps.append(1.0 if math.isnan(value) else abs(value - need.limit) / max(abs(need.limit), 1e-9))
        return sum(gaps)

    def _goodness(self, candidate: Candidate, key: Key, *, low: bool = False) -> float:
        value = candidate.measured(key)
        return -math.inf if math.isnan(value) else (-value if low else value)

    def _quality(self, candidate: Candidate) -> float:
        """By the task's primary metric; higher is better."""
        return self._goodness(candidate, self.primary, low=self.primary_low)

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
    return _error(value.high - value.low, value.confidence)


def chance(need: Need, value: Value | None, *, test_rows: int, level: float) -> float:
    """The chance that a need will be *met* on the test rows, from what validation measured."""
    if value is None or value.measured is None:
        return 0.0
    if value.low == value.high == value.measured:
        return float(need.holds(value.measured))
    if need.kind == "system":
        return _chance_of_system(need, value, level)
    among = max(1, value.details.get("of", value.n))  # a slice has the same share of the test rows as of these
    covered, trials = value.details.get("coverage"), value.details.get("trials")
    enough = 1.0 if covered is None else _chance_of_coverage(covered, among, value, test_rows=test_rows, level=level)
    if trials and need.op == ">=":
        return enough * bounds.chance_met(
            value.details["successes"],
            trials,
            test_trials=max(1, round(test_rows * trials / among)),
            limit=need.limit,
            level=level,
        )
    if value.low is None or value.high is None:
        return 0.0
    margin = (value.measured - need.limit) * (1 if need.op[0] == ">" else -1)
    error = _error(value.high - value.low, value.confidence)
    return enough * _chance_of_margin(margin, error, level=level, scale=math.sqrt(among / max(1, test_rows)))


def _chance_of_system(need: Need, value: Value, level: float) -> float:
    """Of a latency, a size, …: the bound of the verdict holds for one more server, which lies further off than two of them show."""
    assert value.measured is not None
    if value.low is None or value.high is None:
        return 0.0
    higher = need.op[0] == ">"
    scale = gain.Scale(higher=higher)
    better, worse = sorted((scale.of(value.low), scale.of(value.high)))
    error = _error(worse - better, value.confidence)
    if value.details.get("one_more"):
        return gain.Guess(worse, gain.AGAIN * error).below(scale.of(need.limit))
    margin = (value.measured - need.limit) * (1 if higher else -1)
    by_these = _chance_of_margin(margin, _error(value.high - value.low, value.confidence), level=level, scale=1.0)
    return min(by_these, gain.chance_of_system(need, gain.Guess(scale.of(value.measured), error)))


def _chance_of_coverage(covered: Mapping[str, Any], among: int, value: Value, *, test_rows: int, level: float) -> float:
    """The chance that so many of the test rows will be answered as is asked. among: rows here, of which the slice is some."""
    if covered["independent"]:
        rows = max(1, round(test_rows * covered["of"] / among))
        return bounds.chance_met(
            covered["answered"], covered["of"], test_trials=rows, limit=covered["asked"], level=level
        )
    error = _error(covered["high"] - covered["low"], value.confidence)
    scale = math.sqrt(among / max(1, test_rows))
    return _chance_of_margin(covered["measured"] - covered["asked"], error, level=level, scale=scale)


def _error(width: float, confidence: float) -> float:
    """The standard error that bounds of this width speak of."""
    return max(width / (2 * float(special.ndtri(confidence))), 1e-12)


def _chance_of_margin(margin: float, error: float, *, level: float, scale: float) -> float:
    """The chance that a bound of this level will lie beyond a limit that is exceeded by so much here; by the normal approximation.

    scale: of the error on the rows that judge, over that here.
    """
    reach = float(special.ndtri(level))
    return float(special.ndtr((margin - reach * error * scale) / (error * math.sqrt(1 + scale**2))))


def _start(name: str, leaf: str) -> Move:
    return Move("start", {"backbone": name, "leaf": leaf})


def _backbone_of(plan: Plan) -> str:
    return str(next((move.arguments.get("backbone", "") for move in plan.moves if move.step == "start"), ""))


def _there(step: str) -> bool:
    """Whether there is such a step, of ours or of a third party."""
    return step in leaves.names("step")


def _measurable(need: Need, needs: Needs) -> bool:
    """Whether a need can be measured on this machine."""
    return need.kind == "quality" or need.key.measure in ("size", "training_time") or needs.threads <= cores()


def _from_nothing(begin: Move) -> Iterator[tuple[str, tuple[Move, ...], str]]:
    """(kind, steps before the export, reason) of every way to make a model of a body that knows nothing."""
    yield "trained", (begin, Move("train", {}, "From nothing.")), ""
    search = Move("search", {}, "Rates, batches, epochs and regularisation are searched.")
    yield "searched", (begin, search), "Its training's settings are searched."


def _exports(
    kind: str, begin: tuple[Move, ...], reason: str, body: Body, *, cut: Cut | None = None, way: str = ""
) -> Iterator[Candidate]:
    """The same model as float and as int8: two candidates that share all but their last step. cut: of a model of the kind `way`."""
    name = kind if cut is None else f"{way}, {cut.name}"
    of_cut: dict[str, Any] = {} if cut is None else {"parent": f"{way} {body.name}", "way": way, "left": cut.left}
    for precision, why in PRECISIONS.items():
        title = f"{_short(body)} {name}, {precision}"
        plan = Plan(title, (*begin, *_packed(precision)), f"{reason} {why}")
        made = title.replace(",", "").replace(" ", "-")
        yield Candidate(made, plan, kind, f"{name} {body.name}", body.name, precision, **of_cut)


def _packed(precision: str) -> tuple[Move, Move]:
    """The steps from weights to what is served."""
    return Move("export", {"runtime": "onnx"}), Move("quantise", {"precision": precision}, PRECISIONS[precision])


def _short(body: Body) -> str:
    """What a body is called in the name of a plan."""
    return body.name.rstrip("/").rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Body:
    """A backbone that suits the data, and why."""

    name: str
    leaf: str
    why: str
    megabytes: float = 1.0  # of its weights in float
    anatomy: Anatomy | None = None  # of an encoder that can be cut

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
            found.append(Body(card.name, leaf, why, _megabytes(card), _anatomy(module, card.name)))
    if asked is not None and asked not in _carded(leaves.names("backbone")):
        opens = _opener(asked, suited)
        if opens is not None:
            module = leaves.load("backbone", opens)
            held = sum(file.stat().st_size for file in Path(module.find(asked)).glob("*.safetensors"))
            why = f"{asked} was asked for."
            found.append(Body(asked, opens, why, max(held / 1e6, 1e-3), _anatomy(module, asked)))
    return sorted(found, key=lambda body: body.cost(profile))


def _anatomy(module: Any, ref: str) -> Anatomy | None:
    """Of a checkpoint whose blocks and words can be taken out."""
    told = module.anatomy(ref) if hasattr(module, "anatomy") else None
    return None if told is None else Anatomy(**told)


def _megabytes(card: Any) -> float:
    """Of a known checkpoint, or of the weights that a body from nothing will have."""
    return max(card.size_bytes, 4 * card.parameters, 1e3) / 1e6


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
