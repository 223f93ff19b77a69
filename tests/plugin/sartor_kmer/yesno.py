"""Yes or no: one log-odds per row, judged by accuracy and by the Brier score (Brier 1950)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sartor.data.dataset import Dataset, Examples, Finding, Rows
from sartor.task import Call, Metric, Spec

PRIMARY = "accuracy"
WANTS = "two values"
_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def suits(values: Sequence[Any]) -> bool:
    """Words for yes and words for no, and nothing else."""
    told = {_told(value) for value in values if value is not None}
    return told == {True, False}


def examples(dataset: Dataset, rows: np.ndarray, target: str, *, group: str | None = None) -> Examples:
    """One example per row whose target says yes or no; its target is True or False."""
    rows = np.asarray(rows, dtype=np.int64)
    told = [_told(value) for value in Rows(dataset.table, [target], rows).column(target)]
    rows = rows[np.array([one is not None for one in told], dtype=bool)]
    groups = rows.copy()
    if group is not None:
        names = [str(name) for name in Rows(dataset.table, [group], rows).column(group)]
        _, groups = np.unique(np.array(names), return_inverse=True)
    inputs = Rows(dataset.table, [column.name for column in dataset.schema.inputs], rows)
    return Examples(inputs, {target: [one for one in told if one is not None]}, rows, groups)


def learn(targets: Sequence[Any]) -> Spec:
    """How many training examples there are, and how many say yes."""
    return {"examples": len(targets), "yes": sum(_told(target) is True for target in targets)}


def encode(targets: Sequence[Any], spec: Spec) -> np.ndarray:
    """1 for yes, 0 for no, -1 for neither: [n] int64."""
    told = [_told(target) for target in targets]
    return np.array([-1 if one is None else int(one) for one in told], dtype=np.int64)


def head(width: int, spec: Spec) -> Any:
    """A linear layer to one log-odds, started at even odds."""
    from torch import nn

    layer = nn.Linear(width, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def loss(outputs: Any, targets: Any, spec: Spec, *, smoothing: float = 0.0, class_weights: Any = None) -> Any:
    """Binary cross-entropy per example [B], from log-odds [B, 1]."""
    from torch.nn import functional

    wanted = targets.float() * (1 - smoothing) + smoothing / 2
    weight = None if class_weights is None else class_weights[targets]
    return functional.binary_cross_entropy_with_logits(outputs[:, 0].float(), wanted, weight=weight, reduction="none")


def infer(call: Call, batch: Mapping[str, np.ndarray], output: str) -> np.ndarray:
    """Log-odds [B, 1] from one call of the graph `forward`."""
    return call("forward", batch)[output]


def decode(outputs: np.ndarray, spec: Spec) -> list[dict[str, Any]]:
    """Whether it is yes, and the probability of what is answered."""
    log_odds = np.asarray(outputs, dtype=np.float64)[:, 0]
    sure = 1 / (1 + np.exp(-np.abs(log_odds)))
    return [
        {"yes": yes, "probability": probability}
        for yes, probability in zip((log_odds >= 0).tolist(), sure.tolist(), strict=True)
    ]


def trivial(spec: Spec) -> np.ndarray:
    """The log-odds [1] of yes in training, with half an example of each added so that it is finite."""
    yes, no = spec["yes"] + 0.5, spec["examples"] - spec["yes"] + 0.5
    return np.array([np.log(yes / no)], dtype=np.float32)


def fit_linear(features: Any, targets: np.ndarray, spec: Spec, *, strength: float, seed: int) -> Any:
    """Logistic regression by Newton's method with an L2 penalty of 1 / strength: (weight [1, width], bias [1])."""
    known = targets >= 0
    dense = features.toarray() if hasattr(features, "toarray") else np.asarray(features)
    x = np.column_stack([dense[known], np.ones(int(known.sum()))]).astype(np.float64)
    y = targets[known]
    penalty = np.full(x.shape[1], 1 / strength)
    penalty[-1] = 1e-6  # the bias is free
    solution = np.zeros(x.shape[1])
    for _ in range(12):
        p = 1 / (1 + np.exp(-np.clip(x @ solution, -30, 30)))
        gradient = x.T @ (p - y) + penalty * solution
        curvature = (x * (p * (1 - p))[:, None]).T @ x + np.diag(penalty)
        move = np.linalg.solve(curvature, gradient)
        solution -= move
        if np.abs(move).max() < 1e-6:
            break
    return solution[None, :-1].astype(np.float32), solution[-1:].astype(np.float32)


def same(answer: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether both say yes or both say no."""
    return answer.get("yes") == other.get("yes")


def audit(targets: Sequence[Any], rows: Sequence[int]) -> list[Finding]:
    """Targets that are far more often yes than no, or the reverse."""
    share = sum(_told(target) is True for target in targets) / max(1, len(targets))
    if 0.1 <= share <= 0.9 or not targets:
        return []
    return [
        Finding(
            code="yesno.imbalance",
            severity="note",
            message=f"{share:.1%} of the rows say yes.",
            advice="Judge by the Brier score beside accuracy.",
            count=len(targets),
        )
    ]


def figures(examples: Examples, answers: Sequence[dict[str, Any]], target: str, spec: Spec) -> dict[str, Any]:
    """What was expected against what was answered, no before yes."""
    matrix = [[0, 0], [0, 0]]
    for answer, expected in zip(answers, examples.targets[target], strict=True):
        if "yes" in answer:
            matrix[expected][answer["yes"]] += 1
    return {"confusion": {"labels": ["no", "yes"], "matrix": matrix}}


def _told(value: Any) -> bool | None:
    return _WORDS.get(str(value).strip().lower())


def _correct(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    right = [answer.get("yes") == target for answer, target in zip(answers, targets, strict=True)]
    return np.column_stack([np.array(right, dtype=np.float64), np.ones(len(right))])


def _brier(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    """The squared distance of each stated probability from the truth; 1, the worst, where there is no answer."""
    squares = [
        ((answer["yes"] == target) - answer["probability"]) ** 2 if "yes" in answer else 1.0
        for answer, target in zip(answers, targets, strict=True)
    ]
    return np.column_stack([np.array(squares, dtype=np.float64), np.ones(len(squares))])


def _ratio(sums: np.ndarray) -> np.ndarray:
    trials = sums[..., 1]
    return np.divide(sums[..., 0], trials, out=np.full_like(trials, np.nan), where=trials > 0)


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric("", "higher", True, False, _correct, _ratio),
    "brier": Metric("", "lower", False, False, _brier, _ratio),
}
