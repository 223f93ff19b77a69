"""The front of the search: which plans there are for these data and needs, what each was measured to be, which is best.

Validation chooses here and the test split is never seen. A candidate counts as good enough when the chance that each of its needs
will be *met* on the test rows is at least 0.9, not when its validation score passes the limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sartor import bounds, leaves
from sartor.needs import Need, Needs
from sartor.plan import Move, Plan
from sartor.report import Report, Value

GOOD_ENOUGH = 0.9


@dataclass
class Candidate:
    """A plan with what became of it."""

    id: str
    plan: Plan
    forecast_s: float
    status: str = "waiting"  # waiting, measured, failed, skipped
    why: str = ""
    seconds: float = 0.0
    bundle: str = ""  # path of the cached bundle
    report: Report = field(default_factory=Report)
    chances: dict[str, float] = field(default_factory=dict)  # need -> chance of met on the test rows
    curve: list[dict[str, Any]] = field(default_factory=list)
    trivial: bool = False

    @property
    def chance(self) -> float:
        """The smallest of its chances; 1 when nothing is asked."""
        return min(self.chances.values(), default=1.0)

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.plan.name,
            "plan": self.plan.as_dict(),
            "reason": self.plan.reason,
            "forecast_s": round(self.forecast_s, 1),
            "seconds": round(self.seconds, 1),
            "status": self.status,
            "why": self.why,
            "chance": round(self.chance, 4) if self.status == "measured" else None,
            "chances": self.chances,
            "values": [value.as_dict() for value in self.report.values],
            "curve": self.curve,
        }


@dataclass(frozen=True)
class Profile:
    """What the planner knows of the data before anything is trained."""

    rows: int
    classes: int
    characters: float  # median of one input
    languages: Mapping[str, float]

    @property
    def tokens(self) -> float:
        """Tokens of a median input, roughly: a word piece is 4 letters of an alphabet, or one character of Chinese."""
        dense = sum(share for name, share in self.languages.items() if name in ("zh", "ja", "ko"))
        return 2 + self.characters * (dense + (1 - dense) / 4)


def candidates(needs: Needs, profile: Profile, *, gflops: float, left_s: float) -> list[Candidate]:
    """Every plan worth considering, in the order of what it costs, with its reason and a forecast of its time.

    gflops: float32 speed of this machine, measured. left_s: what the budget leaves for training.
    """
    rows, start_s = profile.rows, 6.0  # a child process with torch
    found = [
        Candidate(
            "majority",
            Plan(
                "majority",
                (_start("trivial", "trivial"), Move("fit", {}), Move("export", {})),
                "What any model must beat: always the same answer.",
            ),
            start_s,
            trivial=True,
        ),
        Candidate(
            "ngram",
            Plan(
                "ngram",
                (_start("ngram", "ngram"), Move("fit", {}), Move("export", {})),
                "Word and character n-grams with a linear layer: seconds to make, a fraction of a millisecond to run, any language.",
            ),
            start_s + rows * profile.characters * 8e-6 + 3 * profile.classes * rows * 1e-5,
        ),
    ]
    for name, leaf, why, parameters in _backbones(needs, profile):
        per_row = 2 * parameters * profile.tokens / (gflops * 1e9 * 0.4)  # a forward pass at 40 % of the matrix speed
        embed_s = 1.2 * rows * per_row
        begin = (_start(name, leaf), Move("fit", {}, "a linear layer on frozen embeddings"))
        found += _exports(
            "frozen", begin, f"{why} Its embeddings as they are, with a linear layer.", start_s + embed_s + 10
        )
        epoch_s = 3 * rows * per_row * 1.3
        epochs = int(np.clip((0.8 * left_s - embed_s - start_s) / max(epoch_s, 1e-9), 0, 4))
        if epochs >= 1:
            train = Move("train", {"epochs": epochs}, f"{epochs} epochs are what the budget allows, 4 at most.")
            found += _exports(
                "tuned",
                (*begin, train),
                f"{why} All weights tuned for {epochs} epochs, from the linear layer that fits its embeddings.",
                start_s + epochs * epoch_s + 15,
            )
    return found


def chance(need: Need, value: Value | None, *, test_rows: int, level: float) -> float:
    """The chance that a need will be *met* on the test rows, from what validation measured."""
    if value is None or value.measured is None:
        return 0.0
    if value.low == value.high == value.measured:
        return float(need.holds(value.measured))
    trials = value.details.get("trials")
    if trials and need.op == ">=":
        return bounds.chance_met(
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
    error = max((value.high - value.low) / (2 * reach), 1e-12)
    scale = float(np.sqrt(value.n / max(1, test_rows))) if need.kind == "quality" else 1.0
    margin = (value.measured - need.limit) * (1 if need.op[0] == ">" else -1)
    return float(norm.cdf((margin - reach * error * scale) / (error * np.sqrt(1 + scale**2))))


def best(found: list[Candidate], prefer: Value | None = None, *, key: Any = None) -> Candidate | None:
    """The candidate to package: the one whose needs are likeliest met; among those good enough, the best by `key`.

    The trivial baseline is never chosen while another candidate beats it.
    """
    measured = [candidate for candidate in found if candidate.status == "measured"]
    serious = [candidate for candidate in measured if not candidate.trivial] or measured
    if not serious:
        return None
    good = [candidate for candidate in serious if candidate.chance >= GOOD_ENOUGH]
    if good:
        return max(good, key=lambda candidate: (key(candidate), candidate.chance))
    # None is good enough: the one with the most needs likely met, then the narrowest gap.
    return max(
        serious,
        key=lambda candidate: (
            sum(one >= GOOD_ENOUGH for one in candidate.chances.values()),
            candidate.chance,
            key(candidate),
        ),
    )


def _start(name: str, leaf: str) -> Move:
    return Move("start", {"backbone": name, "leaf": leaf})


def _exports(kind: str, begin: tuple[Move, ...], reason: str, forecast_s: float) -> list[Candidate]:
    """The same model as float and as int8: two candidates that share all but their last step."""
    name = str(begin[0].arguments["backbone"])
    export = Move("export", {"runtime": "onnx"})
    made = []
    for precision, why in (("int8", "Eight-bit weights."), ("float32", "Float weights, with fused operators.")):
        plan = Plan(
            f"{kind} {name} {precision}",
            (*begin, export, Move("quantise", {"precision": precision}, why)),
            f"{reason} {why}",
        )
        made.append(Candidate(plan.name.replace(" ", "-").replace("/", "_"), plan, forecast_s))
    return made


def _backbones(needs: Needs, profile: Profile) -> list[tuple[str, str, str, int]]:
    """(name, leaf, why, parameters outside the embedding table) of the backbones that suit the data."""
    if needs.backbone == "none":
        return []
    if needs.backbone != "auto":
        return [(needs.backbone, "hub", f"{needs.backbone} was asked for.", _parameters(needs.backbone))]
    found = []
    for leaf in leaves.names("backbone"):
        for card in leaves.load("backbone", leaf).cards():
            if leaves.load("backbone", leaf).TRAINS != "gradient":
                continue
            known = sum(share for name, share in profile.languages.items() if name in card.languages or name == "?")
            if "*" in card.languages or known >= 0.5:
                found.append(
                    (
                        card.name,
                        leaf,
                        f"{card.name} knows the language of {known:.0%} of the rows.",
                        _parameters(card.name),
                    )
                )
    return found


def _parameters(ref: str) -> int:
    """Weights that every token passes through, from the configuration: 12 · layers · width² for a transformer."""
    import json

    config = json.loads((leaves.load("backbone", "hub").find(ref) / "config.json").read_text(encoding="utf-8"))
    layers = config.get("num_hidden_layers") or config.get("n_layers") or 6
    width = config.get("hidden_size") or config.get("dim") or 384
    inner = config.get("intermediate_size") or config.get("hidden_dim") or 4 * width
    return int(layers * (4 * width * width + 2 * width * inner))
