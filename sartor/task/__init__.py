"""Tasks: what is predicted. A file here is a leaf: the output side of a model, from targets to metrics.

A leaf is a module with the functions of `Task`. It imports torch only inside `head` and `loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from sartor.data.dataset import Dataset, Examples, Finding

Spec = dict[str, Any]  # learned from the training split and kept in the bundle as JSON
Call = Callable[[str, Mapping[str, np.ndarray]], dict[str, np.ndarray]]  # (graph, arrays) -> arrays


@dataclass(frozen=True)
class Metric:
    """A measure of quality that can be resampled: per-example statistics, and a function of their weighted sums.

    stats(answers, targets, spec, for_class) -> [n, s]. finish(sums [..., s]) -> [...]. A proportion has s = 2:
    (successes, trials), so that an exact interval exists for it. noise(stats [n, s]) -> by how much chance alone raises the replicates of a
    bootstrap, of a measure that chance can only raise.
    """

    unit: str
    better: Literal["higher", "lower"]
    proportion: bool
    per_class: bool  # needs `for CLASS`
    stats: Callable[[Sequence[dict[str, Any]], Sequence[Any], Spec, Any], np.ndarray]
    finish: Callable[[np.ndarray], np.ndarray]
    noise: Callable[[np.ndarray], float] | None = None
    averages: bool = False  # over classes, of which one may have few examples: see `bounds.with_failures`
    share: bool = True  # where it has no unit: whether it is a share from 0 to 1, not a number in the target's own unit


def known(task: Any, encoded: np.ndarray) -> np.ndarray:
    """Which encoded targets of classes the spec knows [n bool]."""
    return np.asarray(task.known(encoded) if hasattr(task, "known") else encoded >= 0)


class Task(Protocol):
    """What is predicted."""

    METRICS: Mapping[str, Metric]
    PRIMARY: str  # what the planner prefers when no need says otherwise
    WANTS: str  # what a target must hold, in words

    def suits(self, values: Sequence[Any]) -> bool:
        """Whether a target column with these values can be of this task."""
        ...

    def examples(self, dataset: Dataset, rows: np.ndarray, target: str, *, group: str | None = None) -> Examples:
        """Examples of these rows; rows without a usable target are left out (the audit counts them).

        group: the column whose equal values make examples dependent.
        """
        ...

    def learn(self, targets: Sequence[Any]) -> Spec:
        """The spec, from the training targets alone: classes, their frequencies, …"""
        ...

    def encode(self, targets: Sequence[Any], spec: Spec) -> np.ndarray:
        """Targets as the loss takes them; a target the spec does not know becomes -1."""
        ...

    def head(self, width: int, spec: Spec) -> Any:
        """An `nn.Module` from features [B, width] to outputs."""
        ...

    def loss(self, outputs: Any, targets: Any, spec: Spec, *, smoothing: float, class_weights: Any) -> Any:
        """Per-example loss [B] from outputs and encoded targets."""
        ...

    def infer(self, call: Call, batch: Mapping[str, np.ndarray], output: str) -> np.ndarray:
        """The raw output of this head for a batch: one call of one graph, unless the task needs more."""
        ...

    def decode(self, outputs: np.ndarray, spec: Spec) -> list[dict[str, Any]]:
        """Outputs [B, …] as answers, shaped as over HTTP."""
        ...

    def trivial(self, spec: Spec) -> np.ndarray:
        """The output [...] of the best constant answer, for the trivial baseline."""
        ...

    # What a leaf may have beside these:
    # settle(answers, targets) -> dict | None: what a head learns of calibration rows, such as the width of an interval or thresholds; and
    #   settled(answer, head): the answer with it. A name that is to reach the head stands in `front.Candidate.settled`.
    # EXCLUSIVE = False: of its classes several may hold at once, so outputs are no softmax and an answer has no one `label`.
    # allows(values) -> bool: as `suits`, of a column that somebody says is of this task.
    # known(encoded) -> bool [n]: which targets the spec knows, where `encoded >= 0` does not say so.
    # written(values) -> list[str | None]: cells that mean the same written the same, None of those without a target; what the audit compares.
    # strata(values) -> int64 [n]: a number per cell by which splits are stratified, where neither texts nor numbers do.

    def fit_linear(self, features: Any, targets: np.ndarray, spec: Spec, *, strength: float, seed: int) -> Any:
        """A linear solver on features [n, width] (dense or sparse): (weight [o, width], bias [o]) of the head."""
        ...

    def same(self, answer: dict[str, Any], other: dict[str, Any]) -> bool:
        """Whether two answers say the same thing; otherwise the answer flipped."""
        ...

    def audit(self, targets: Sequence[Any], rows: Sequence[int]) -> list[Finding]:
        """What is wrong with the target column: rare classes, imbalance, …"""
        ...

    def figures(self, examples: Examples, answers: Sequence[dict[str, Any]], target: str, spec: Spec) -> dict[str, Any]:
        """What the report draws: for classes `confusion`, `reliability`, `mistakes`."""
        ...
