"""How long a plan takes on this machine: forecasts from operations and rows, corrected by every step that ran.

What is made already costs nothing: plans that begin alike share those steps. How much slower a step is than its forecast is a belief as of
`sartor.gain`, so a slow pass over the rows says that training will be slow as well, and a slow fit of trees says nothing of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sartor import cuts, leaves
from sartor.gain import Belief, Share
from sartor.plan import Move, Plan

if TYPE_CHECKING:
    from sartor.front import Candidate, Profile

# Of a network, and of a body that fits itself (n-grams and tables took 4 to 6 s in all): a child process with torch; a candidate on the validation rows
# and through two servers.
CHILD_S, MEASURE_S = (5.0, 2.5), (10.0, 4.0)
SECONDS: Mapping[str, tuple[float, float]] = {
    "start": (1.0, 0.5),
    "export": (5.0, 0.5),
    "quantise": (3.0, 0.5),
    "trim": (2.0, 2.0),
    "prune": (3.0, 3.0),
    "cascade": (10.0, 10.0),
}
OTHER_S = 5.0  # of a step that is not known here
SPEED_SHARE = 0.4  # of the measured matrix speed that a forward pass over batches has
# An epoch over one forward pass of the rows: forward, backward and the optimiser. Measured over tuning all weights (docs/benchmarks.md, climb): an adapter spares the
# gradients of the body's own weights and adds products of its own, which are small and slow.
EPOCH: Mapping[str, float] = {
    "train": 3.5,
    "search": 3.5,
    "lora": 3.4,
    "bottleneck": 2.3,
    "prompt": 3.7,
    "freeze": 1.3,  # of the last two blocks of six, with the activations below them computed once
    "distil": 3.5,  # of what is left of the student
}
BATCH_S, BATCH_ROWS = 0.03, 32  # what a batch takes beside its products: the optimiser, and starting kernels
TRY_S = 3.0  # of one training: the checkpoint is read, weights are written
WHOLE = 3  # of a search: the first tries, that run to their end
PRUNED = 0.5  # the share of their epochs that the others do
TRIALS = (12, 8, 5, 3)  # of a search: as many as the budget has time for, and not fewer than the last
PRETRAIN_EPOCHS, PRETRAIN_HEAD = 3.0, 1.4
FILLED = 0.85  # of what is left of the budget that training may take
ROWS_EPOCHS = 24_000  # rows that training sees, in at least three epochs
# As many epochs as tuning has, of a student that is taught on the rows alone, and on pieces of them as well.
TAUGHT_TIMES, PIECED_TIMES = 2.0, 1.5
FOLLOWED = 1.4  # times as long, where its teacher's states are followed: sst2, two blocks, 162 s in place of 116
NOISE = 0.1  # of a step's time from one run to the next
TEACHES = ("distil", "cascade")  # steps that take plans which are candidates themselves, and so may be made already


@dataclass
class Cost:
    """What steps take, and which are made."""

    profile: Profile
    belief: Belief = field(default_factory=Belief)
    made: set[str] = field(default_factory=set)  # prefixes of plans
    _flops: dict[str, float] = field(default_factory=dict)

    def copy(self) -> Cost:
        """One that may imagine what was made."""
        return Cost(self.profile, self.belief, set(self.made), self._flops)

    def flops(self, module: Any, name: str, profile: Profile) -> float:
        """Of a forward pass over one input; a body may have to read its configuration to tell them."""
        if profile is not self.profile:
            return max(1.0, float(module.flops(name, profile)))
        if name not in self._flops:
            self._flops[name] = max(1.0, float(module.flops(name, profile)))
        return self._flops[name]

    def seconds(self, plan: Plan, *, spreads: float = 0.0) -> float:
        """Of the steps of a plan that are not made yet, and of measuring it. spreads: standard deviations of what is believed, all on the slow side."""
        return self._making(plan, set(self.made), spreads) + self.measuring(plan, spreads=spreads)

    def _making(self, plan: Plan, made: set[str], spreads: float) -> float:
        """Of the steps that are not made, those of the plans that they take included; all of them are made then."""
        total, ran = 0.0, False
        for move, name in zip(plan.moves, _prefixes(plan), strict=True):
            if name in made:
                continue
            ran = True
            made.add(name)
            for member in _members(move):
                total += self._making(member, made, spreads)
            total += self.of(move, plan, spreads=spreads)
        return total + (CHILD_S[_fits(plan)] * self._slower(self._traits("child", plan), spreads) if ran else 0.0)

    def of(self, move: Move, plan: Plan, *, spreads: float = 0.0) -> float:
        """Of one step of a plan."""
        return self._raw(move, plan, self.profile) * self._slower(self._traits(move.step, plan), spreads)

    def measuring(self, plan: Plan, *, spreads: float = 0.0) -> float:
        """Of answering the validation rows and of two servers."""
        times = 2.0 if plan.moves[0].step == "fuse" else 1.0  # its members answer one after the other
        return times * MEASURE_S[_fits(plan)] * self._slower(self._traits("measure", plan), spreads)

    def learn(self, candidate: Candidate) -> None:
        """What the steps of a candidate took, as far as they ran and were not found in the cache."""
        plan = candidate.plan
        self.imagine(plan)
        for move in plan.moves:
            took = candidate.steps.get(move.step)
            if took is not None:
                self._learn(move.step, plan, took, self._raw(move, plan, self.profile))
        if "measure" in candidate.steps and plan.moves[0].step != "fuse":
            self._learn("measure", plan, candidate.steps["measure"], MEASURE_S[_fits(plan)])
        if len(candidate.steps) > 1:  # something ran beside measuring
            self._learn("child", plan, candidate.seconds - sum(candidate.steps.values()), CHILD_S[_fits(plan)])

    def has(self, plan: Plan) -> bool:
        """Whether every step of a plan is made already."""
        return _prefixes(plan)[-1] in self.made

    def imagine(self, plan: Plan) -> None:
        """Takes every step of a plan for made, those of the plans that they take as well."""
        self.made |= set(_prefixes(plan))
        for move in plan.moves:
            for member in _members(move):
                self.imagine(member)

    def sized(self, plan: Plan, *, wanted: Mapping[str, int], left_s: float) -> dict[str, dict[str, int]]:
        """{step: its sizes}: what trains gets as many epochs as the time that is left can hold, each step the same share of those that it wants. A student that would have fewer
        than tuning has gets fewer new texts first.

        wanted: epochs by step, of those whose size is free. No size where nothing trains; no epoch where not one fits, or not one search.
        """
        free = {step: wanted[step] for step in _steps(plan) if step in wanted}
        if not free:
            return {}

        def takes(sizes: Mapping[str, Mapping[str, int]]) -> float:
            return self.seconds(with_sizes(plan, sizes))

        if "search" in free:
            epochs = free["search"]
            trials = next(
                (n for n in TRIALS if takes({"search": {"epochs": epochs, "trials": n}}) <= FILLED * left_s), 0
            )
            return {"search": {"epochs": epochs if trials else 0, "trials": trials}}
        sizes: dict[str, dict[str, int]] = {}
        for whole in _whole(plan, free):
            fixed = takes({step: {**one, "epochs": 0} for step, one in whole.items()})
            share = min(1.0, max(0.0, FILLED * left_s - fixed) / max(takes(whole) - fixed, 1e-9))
            sizes = {step: {**one, "epochs": int(share * one["epochs"] + 1e-9)} for step, one in whole.items()}
            if PIECED_TIMES * share >= 1:
                break
        return sizes

    def _raw(self, move: Move, plan: Plan, profile: Profile) -> float:
        """The forecast before anything ran."""
        if move.step == "fuse":
            return sum(self._member(member, profile) for member in move.arguments["members"])
        module, name = _body(plan)
        if move.step == "distil":
            return self._teaching(move, plan, profile)
        if move.step == "fit" and (module is None or module.TRAINS != "gradient"):
            return _fitting(module, profile)
        if move.step in SECONDS:
            return SECONDS[move.step][_fits(plan)]
        if module is None or module.TRAINS != "gradient":
            return OTHER_S
        forward = self.flops(module, name, profile) * profile.rows / (profile.gflops * 1e9 * SPEED_SHARE)
        if move.step == "fit":
            return float(forward)
        if move.step == "contrast":
            epochs = leaves.load("step", "contrast").looks(profile.rows) / max(1, profile.rows)
            return float(epochs * EPOCH["train"] * forward)
        if move.step == "pretrain":
            rows = profile.unlabelled / max(1, profile.rows)
            epochs = float(move.arguments.get("epochs", PRETRAIN_EPOCHS))
            return float(epochs * PRETRAIN_HEAD * EPOCH["train"] * rows * forward)
        if move.step in EPOCH:
            epochs = float(move.arguments.get("epochs", 3))
            tries = float(move.arguments.get("trials", TRIALS[0])) if move.step == "search" else 1.0
            trials = min(tries, WHOLE) + PRUNED * max(0.0, tries - WHOLE)
            once = forward if move.step == "freeze" else 0.0
            batches = BATCH_S * math.ceil(profile.rows / BATCH_ROWS)
            return float(once + trials * (TRY_S + epochs * (batches + EPOCH[move.step] * forward)))
        return OTHER_S

    def _teaching(self, move: Move, plan: Plan, profile: Profile) -> float:
        """Of asking the teachers about every row, and of as many epochs on all of them."""
        module, name = _body(plan)
        copies = float(move.arguments.get("copies", 0)) + float(move.arguments.get("pieces", 0))
        rows = profile.rows * (1 + copies) + (profile.unlabelled if move.arguments.get("unlabelled", True) else 0)
        speed = profile.gflops * 1e9 * SPEED_SHARE
        teachers = [found for member in _members(move) if (found := _body(member))[0] is not None]
        asked = sum(self.flops(*one, profile) for one in teachers if one[0].TRAINS == "gradient") * rows / speed
        if module is None or module.TRAINS != "gradient":
            return asked + _fitting(module, replace(profile, rows=round(rows)))
        epochs = float(move.arguments.get("epochs", 3))
        forward = _share_left(plan) * self.flops(module, name, profile) * rows / speed
        followed = move.arguments.get("hidden", 0.0) or move.arguments.get("relations", 0.0)
        training = TRY_S + epochs * (BATCH_S * math.ceil(rows / BATCH_ROWS) + EPOCH["distil"] * forward)
        return float((asked + training) * (FOLLOWED if followed else 1.0))

    def _member(self, member: Mapping[str, Any], profile: Profile) -> float:
        """Of a member of a fusion, from nothing; what it trains is corrected by what training took here."""
        plan, own = Plan.from_dict(member["plan"]), profile.of(member["inputs"])
        module, _ = _body(plan)
        usual = {} if module is None else {"epochs": int(getattr(module, "TRAINING", {}).get("epochs", 3))}
        moves = tuple(
            replace(move, arguments={**usual, **move.arguments}) if move.step == "train" else move
            for move in plan.moves
        )
        return CHILD_S[_fits(plan)] + sum(
            self._raw(move, plan, own) * self._slower(self._traits(move.step, plan)) for move in moves
        )

    def _learn(self, step: str, plan: Plan, took: float, forecast: float) -> None:
        # A step of no time at all says nothing that matters.
        self.belief.learn(self._traits(step, plan), math.log(max(took, 0.05) / max(forecast, 0.05)), NOISE)

    def _slower(self, traits: dict[str, Share], spreads: float = 0.0) -> float:
        guess = self.belief.guess(traits)
        return math.exp(guess.mean + spreads * guess.spread)

    def _traits(self, step: str, plan: Plan) -> dict[str, Share]:
        """What tells how much slower a step is than its forecast."""
        network, name = not _fits(plan), _body(plan)[1]
        if step == "child" or step in SECONDS:
            return {f"step {step}": (0.0, 0.4), f"{step} network" if network else f"{step} fit": (0.0, 0.2)}
        if step == "measure":
            return {"step measure": (0.0, 0.4), f"measure {'network' if network else 'fit'}": (0.0, 0.3)}
        if step == "fit" and not network:
            return {f"fit {name}": (0.0, 0.7)}
        return {"network": (0.0, 0.7), f"step {step}": (0.0, 0.3), f"body {name}": (0.0, 0.15)}


def with_sizes(plan: Plan, sizes: Mapping[str, Mapping[str, int]]) -> Plan:
    """The plan with the sizes that the budget allows: {step: {argument: value}}; a teacher has those of the steps that it shares with the plan."""
    if not sizes:
        return plan

    def sized(move: Move) -> Move:
        arguments = {**move.arguments, **sizes.get(move.step, {})}
        if "members" in arguments:
            inner = [with_sizes(member, sizes).as_dict() for _, member in move.members()]
            arguments["members"] = [
                {**one, "plan": made} for one, made in zip(arguments["members"], inner, strict=True)
            ]
        return replace(move, arguments=arguments)

    return replace(plan, moves=tuple(map(sized, plan.moves)))


def epochs_wanted(plan: Plan, *, rows: int) -> dict[str, int]:
    """Epochs that each step of a plan, and of the plans that it takes, is given where there is time: of a body that knows nothing what it takes, else fewer the more rows
    there are. Of steps that several bodies take, and that want other numbers, none is said."""
    of_members: dict[str, set[int]] = {}
    for member in (member for move in plan.moves for _, member in move.members()):
        for step, epochs in epochs_wanted(member, rows=rows).items():
            of_members.setdefault(step, set()).add(epochs)
    found = {step: each.pop() for step, each in of_members.items() if len(each) == 1}
    module, _ = _body(plan)
    if module is None or module.TRAINS != "gradient":
        return found
    most = int(module.TRAINING.get("epochs", 12))
    usual = most if not module.PRETRAINED else min(max(3, round(ROWS_EPOCHS / max(1, rows))), most)

    def times(move: Move) -> float:
        if move.step != "distil" or not module.PRETRAINED:
            return 1.0
        return PIECED_TIMES if move.arguments.get("pieces") else TAUGHT_TIMES

    return found | {move.step: round(times(move) * usual) for move in plan.moves if move.step in EPOCH}


def _whole(plan: Plan, free: Mapping[str, int]) -> list[dict[str, dict[str, int]]]:
    """What every step is given where there is time, {step: its sizes}; of a student that is taught on new texts too, by how many of them, the most first."""
    whole = {step: {"epochs": epochs} for step, epochs in free.items()}
    pieced = any(move.step == "distil" and move.step in free and move.arguments.get("pieces") for move in plan.moves)
    if not pieced:
        return [whole]
    most, few = cuts.PIECES
    epochs = free["distil"]
    # Fewer texts go with no more epochs than tuning has.
    taught = ({"epochs": epochs, "pieces": most}, {"epochs": round(epochs / PIECED_TIMES), "pieces": few})
    return [{**whole, "distil": one} for one in taught]


def _body(plan: Plan) -> tuple[Any, str]:
    """(the module of a plan's backbone, its name); (None, "") where the plan starts from none."""
    start = next((move for move in plan.moves if move.step == "start"), None)
    if start is None:
        return None, ""
    return leaves.load("backbone", str(start.arguments.get("leaf", "hub"))), str(start.arguments.get("backbone", ""))


def _members(move: Move) -> list[Plan]:
    """The plans that a step takes, but for those of a fusion, which are forecast with it."""
    return [member for _, member in move.members()] if move.step in TEACHES else []


def _steps(plan: Plan) -> set[str]:
    """Of a plan and of those that it takes."""
    return {move.step for move in plan.moves}.union(*(_steps(one) for move in plan.moves for _, one in move.members()))


def _share_left(plan: Plan) -> float:
    """Of a forward pass, what is left of it after the cuts of a plan."""
    return math.prod(cuts.share_left(move.arguments) for move in plan.moves if move.step == "prune")


def _fits(plan: Plan) -> bool:
    """Whether its body is not trained by gradients."""
    if plan.moves[0].step == "cascade":
        return all(_fits(member) for member in _members(plan.moves[0]))
    module, _ = _body(plan)
    return module is None or module.TRAINS != "gradient"


def _fitting(module: Any, profile: Profile) -> float:
    """Of a body that fits itself."""
    if module is None or not hasattr(module, "seconds"):
        return profile.rows * 1e-3
    return float(module.seconds(profile))


def _prefixes(plan: Plan) -> list[str]:
    """A name for each beginning of a plan, the same for plans that begin alike."""
    told = [json.dumps([move.step, dict(move.arguments)], sort_keys=True, default=str) for move in plan.moves]
    return ["\n".join(told[: place + 1]) for place in range(len(told))]
