"""Regression: a number for each row, with an interval that holds so often as it says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sartor.data import cells
from sartor.data.dataset import Dataset, Examples, Finding, Rows
from sartor.tables import spread_of
from sartor.task import Call, Metric, Spec

PRIMARY = "mae"
WANTS = "numbers"
LEAST_DISTINCT = 20  # values of a column of whole numbers, below which they are more likely names of classes
INTERVAL = 0.9  # share of the rows whose number lies in the interval that is told
LEAST_ROWS = 50  # that an interval is taken from
FAR = 3.0  # quartile distances beyond the quartiles (Tukey 1977: "far out")
POINTS = 400  # that the report draws


def suits(values: Sequence[Any]) -> bool:
    """Numbers, more than LEAST_DISTINCT of them different."""
    present = [value for value in values if not cells.unknown(value)]
    if not present or not all(map(cells.is_number, present)):
        return False
    return len({cells.number(value) for value in present}) > LEAST_DISTINCT


def examples(dataset: Dataset, rows: np.ndarray, target: str, *, group: str | None = None) -> Examples:
    """One example per row whose target is a finite number."""
    rows = np.asarray(rows, dtype=np.int64)
    given = Rows(dataset.table, [target], rows).column(target)
    values = np.array([math.nan if cells.unknown(value) else cells.number(value) for value in given], dtype=np.float64)
    kept = np.isfinite(values)
    rows = rows[kept] if len(rows) else rows
    groups = rows.copy()
    if group is not None:
        names = Rows(dataset.table, [group], rows).column(group)
        _, groups = np.unique(np.array([str(name) for name in names]), return_inverse=True)
    inputs = Rows(dataset.table, [column.name for column in dataset.schema.inputs], rows)
    return Examples(inputs=inputs, targets={target: values[kept].tolist()}, rows=rows, groups=groups)


def learn(targets: Sequence[Any]) -> Spec:
    """Centre and spread of the training targets, in whose units a model answers, and their median."""
    values = np.asarray(targets, dtype=np.float64)
    return {
        "mean": float(values.mean()),
        "spread": spread_of(values),
        "median": float(np.median(values)),
        "outputs": 1,
    }


def encode(targets: Sequence[Any], spec: Spec) -> np.ndarray:
    """Standardised targets [n] float32."""
    return ((np.asarray(targets, dtype=np.float64) - spec["mean"]) / spec["spread"]).astype(np.float32)


def head(width: int, spec: Spec) -> Any:
    """A linear layer to one number, started at zero: the mean of the training targets."""
    from torch import nn

    layer = nn.Linear(width, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


# What the loss of a first batch counts as at least: most of a skewed target lie near its middle, where answering the mean loses .02, and those far away make a hundred times that.
LEAST_LOSS = 0.5


def loss(outputs: Any, targets: Any, spec: Spec, *, smoothing: float = 0.0, class_weights: Any = None) -> Any:
    """Huber's loss per example [B], in spreads of the target: squared for small errors, so that far ones do not rule."""
    from torch.nn import functional

    return functional.smooth_l1_loss(outputs.float()[:, 0], targets, reduction="none")


def infer(call: Call, batch: Mapping[str, np.ndarray], output: str) -> np.ndarray:
    """Outputs [B, 1] from one call of the graph `forward`."""
    return call("forward", batch)[output]


def decode(outputs: np.ndarray, spec: Spec) -> list[dict[str, Any]]:
    """The number of each row."""
    values = np.asarray(outputs, dtype=np.float64)[:, 0] * spec["spread"] + spec["mean"]
    return [{"value": value} for value in values.tolist()]


def settle(answers: Sequence[Mapping[str, Any]], targets: Sequence[Any]) -> dict[str, Any] | None:
    """What a head is to know besides: `half_width`, of the interval that holds INTERVAL of these rows; None of too few.

    Split conformal prediction (Lei et al. 2018, section 2.2): of the next row it then holds with at least that probability, where these
    rows took no part in choosing the model.
    """
    apart = [abs(a["value"] - t) for a, t in zip(answers, targets, strict=True) if "value" in a]
    if len(apart) < LEAST_ROWS:
        return None
    rank = math.ceil((len(apart) + 1) * INTERVAL)
    return {"half_width": float(np.sort(apart)[min(rank, len(apart)) - 1]), "interval": INTERVAL, "rows": len(apart)}


def settled(answer: dict[str, Any], head: Mapping[str, Any]) -> dict[str, Any]:
    """The answer with its interval, where the head knows one."""
    half = head.get("half_width")
    if half is None or "value" not in answer:
        return answer
    return answer | {"low": answer["value"] - half, "high": answer["value"] + half}


def trivial(spec: Spec) -> np.ndarray:
    """The median of the training targets [1], in spreads from their mean: no constant has a smaller absolute error."""
    return np.array([(spec["median"] - spec["mean"]) / spec["spread"]], dtype=np.float32)


def fit_linear(features: Any, targets: np.ndarray, spec: Spec, *, strength: float, seed: int) -> Any:
    """Ridge regression: (weight [1, width], bias [1]) as float32. strength: the inverse of the penalty, as in `classify`."""
    from scipy import sparse
    from sklearn.linear_model import Ridge

    made = features.tocsr() if sparse.issparse(features) else np.asarray(features, dtype=np.float64)
    found = Ridge(alpha=1 / strength, random_state=seed).fit(made, targets)
    return found.coef_.reshape(1, -1).astype(np.float32), np.array([found.intercept_], dtype=np.float32)


def same(answer: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether both say the same number, to a thousandth of it."""
    return math.isclose(answer.get("value", math.nan), other.get("value", math.nan), rel_tol=1e-3, abs_tol=1e-6)


def audit(targets: Sequence[Any], rows: Sequence[int]) -> list[Finding]:
    """Targets that lie far from all others, as slips of the decimal point do."""
    values = np.array([cells.number(value) for value in targets], dtype=np.float64)
    there = np.flatnonzero(np.isfinite(values))
    if len(there) < LEAST_ROWS:
        return []
    low, high = np.quantile(values[there], [0.25, 0.75])
    reach = FAR * (high - low)
    far = there[(values[there] < low - reach) | (values[there] > high + reach)] if reach > 0 else there[:0]
    if not 0 < len(far) <= 0.01 * len(there):  # more are a long tail
        return []
    far = far[np.argsort(-np.abs(values[far] - np.median(values[there])))]
    return [
        Finding(
            code="audit.far-target",
            severity="note",
            message=f"{len(far):,} targets lie far from all others, such as {values[far[0]]:g}; half of them lie between {low:g} and {high:g}.",
            advice="Look whether they are slips. A squared error is ruled by them.",
            count=len(far),
            rows=tuple(rows[i] for i in far.tolist()),
            details={"low": float(low), "high": float(high)},
        )
    ]


def figures(
    examples: Examples, answers: Sequence[dict[str, Any]], target: str, spec: Spec, *, mistakes: int = 30
) -> dict[str, Any]:
    """What was answered against what was right, and the worst mistakes."""
    told = [(i, answer["value"]) for i, answer in enumerate(answers) if "value" in answer]
    truth = examples.targets[target]
    step = max(1, len(told) // POINTS)
    worst = sorted(told, key=lambda pair: -abs(pair[1] - truth[pair[0]]))[:mistakes]
    return {
        "scatter": [[truth[i], value] for i, value in told[::step]],
        "mistakes": [
            {
                "row": int(examples.rows[i]),
                "inputs": {
                    name: "" if isinstance(value, bytes) else str(value)[:600]
                    for name, value in examples.inputs[i].items()
                },
                "expected": f"{truth[i]:.6g}",
                "answered": f"{value:.6g}",
            }
            for i, value in worst
        ],
    }


def _errors(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec) -> np.ndarray:
    """Of each row [n]; a row that could not be answered counts as if the training mean had been told."""
    return np.array([a.get("value", spec["mean"]) - t for a, t in zip(answers, targets, strict=True)], dtype=np.float64)


def _absolute(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    return np.column_stack([np.abs(_errors(answers, targets, spec)), np.ones(len(targets))])


def _squared(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    # Of targets around the training mean, whose squares are not so large that their difference is lost.
    values = np.asarray(targets, dtype=np.float64) - spec["mean"]
    return np.column_stack([_errors(answers, targets, spec) ** 2, np.ones(len(targets)), values, values**2])


def _inside(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    held = [a.get("low", math.nan) <= t <= a.get("high", math.nan) for a, t in zip(answers, targets, strict=True)]
    return np.column_stack([np.array(held, dtype=np.float64), np.ones(len(targets))])


def _mean(sums: np.ndarray) -> np.ndarray:
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1e-300))


def _root(sums: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(_mean(sums)))


def _explained(sums: np.ndarray) -> np.ndarray:
    error, number, total, squares = np.moveaxis(sums, -1, 0)
    around = squares - total**2 / np.maximum(number, 1e-300)
    return np.asarray(1 - error / np.where(around > 0, around, np.nan))


METRICS: Mapping[str, Metric] = {
    "mae": Metric("", "lower", False, False, _absolute, _mean, share=False),
    "rmse": Metric("", "lower", False, False, _squared, _root, share=False),
    "r2": Metric("", "higher", False, False, _squared, _explained),
    "interval_coverage": Metric("", "higher", True, False, _inside, _mean),
}
