"""Classification: one of a fixed set of classes for each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sartor.data import cells
from sartor.data.dataset import Dataset, Examples, Finding, Rows
from sartor.task import Call, Metric, Spec

PRIMARY = "accuracy"
WANTS = "at least two values, each in several rows"
MAX_CLASSES = 2000
PRIOR_ROWS = 2.0  # that shrink the ratios of counts in `plane`
BINS = 15  # of the reliability diagram and the expected calibration error (Guo et al. 2017, section 3)


def suits(values: Sequence[Any]) -> bool:
    """At least two distinct values, each standing for a group of rows: far fewer values than rows."""
    present = [value for value in values if value is not None]
    known = [value for value in present if not cells.unknown(value)]
    if known and all(map(cells.is_number, known)) and not all(cells.number(value).is_integer() for value in known):
        return False  # measured, not named
    if known and all(cells.items(value) is not None for value in known):
        return False  # lists of names
    distinct = len(set(map(str, present)))
    return 2 <= distinct <= min(MAX_CLASSES, max(2, len(present) // 2))


def examples(dataset: Dataset, rows: np.ndarray, target: str, *, group: str | None = None) -> Examples:
    """One example per row with a target."""
    rows = np.asarray(rows, dtype=np.int64)
    values = Rows(dataset.table, [target], rows).column(target)
    usable = np.array([value is not None and str(value).strip() != "" for value in values], dtype=bool)
    rows = rows[usable] if len(rows) else rows
    labels = [str(value).strip() for value, keep in zip(values, usable, strict=True) if keep]
    groups = rows.copy()
    if group is not None:
        names = Rows(dataset.table, [group], rows).column(group)
        _, groups = np.unique(np.array([str(name) for name in names]), return_inverse=True)
    inputs = Rows(dataset.table, [column.name for column in dataset.schema.inputs], rows)
    return Examples(inputs=inputs, targets={target: labels}, rows=rows, groups=groups)


def learn(targets: Sequence[Any]) -> Spec:
    """The classes in order of their names, and how many training examples each has."""
    counts = Counter(str(target) for target in targets)
    classes = sorted(counts)
    return {"classes": classes, "counts": [counts[name] for name in classes]}


def encode(targets: Sequence[Any], spec: Spec) -> np.ndarray:
    """Class numbers [n] int64; -1 for a class that the training split did not have."""
    number = {name: i for i, name in enumerate(spec["classes"])}
    return np.array([number.get(str(target), -1) for target in targets], dtype=np.int64)


def head(width: int, spec: Spec) -> Any:
    """A linear layer to one logit per class, started at zero so that training starts from equal odds."""
    from torch import nn

    layer = nn.Linear(width, len(spec["classes"]))
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def loss(outputs: Any, targets: Any, spec: Spec, *, smoothing: float = 0.0, class_weights: Any = None) -> Any:
    """Cross-entropy per example [B], with label smoothing (Szegedy et al. 2016, section 7)."""
    from torch.nn import functional

    return functional.cross_entropy(
        outputs.float(), targets, weight=class_weights, label_smoothing=smoothing, reduction="none"
    )


def imitate(outputs: Any, told: Any, *, temperature: float) -> Any:
    """Cross-entropy per example [B] to what a teacher says, both softened; times the temperature squared, so that gradients stay of one size (Hinton et al. 2015, section 2)."""
    from torch.nn import functional

    wanted = functional.softmax(told / temperature, dim=-1)
    return temperature**2 * functional.cross_entropy(outputs.float() / temperature, wanted, reduction="none")


def likeliest(outputs: np.ndarray) -> np.ndarray:
    """The codes of the likeliest classes [n], of outputs [n, classes]."""
    return outputs.argmax(axis=1)


def infer(call: Call, batch: Mapping[str, np.ndarray], output: str) -> np.ndarray:
    """Logits [B, classes] from one call of the graph `forward`."""
    return call("forward", batch)[output]


def decode(outputs: np.ndarray, spec: Spec) -> list[dict[str, Any]]:
    """The likeliest class, its probability, and every class's."""
    outputs = np.asarray(outputs, dtype=np.float64)
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    classes = spec["classes"]
    return [
        {
            "label": classes[best],
            "probability": float(row[best]),
            "probabilities": dict(zip(classes, row.tolist(), strict=True)),
        }
        for row, best in zip(probabilities, probabilities.argmax(axis=1).tolist(), strict=True)
    ]


def trivial(spec: Spec) -> np.ndarray:
    """Log frequencies [classes] of the training split: the majority class always wins."""
    counts = np.asarray(spec["counts"], dtype=np.float64)
    return np.log(counts / counts.sum()).astype(np.float32)


def fit_linear(features: Any, targets: np.ndarray, spec: Spec, *, strength: float, seed: int) -> Any:
    """One linear output per class: (weight [classes, width], bias [classes]) as float32.

    features: [n, width], dense or CSR. strength: the inverse of the L2 penalty (scikit-learn's C). Dense features get a
    logistic regression, see `_jointly`; sparse ones the squared hinge, see `plane`, whose outputs are margins that
    still need a scale to be logits.
    """
    from scipy import sparse

    number = len(spec["classes"])
    weight = np.zeros((number, features.shape[1]), dtype=np.float32)
    bias = np.full(number, -20.0, dtype=np.float32)  # a class without rows never wins
    present, codes = np.unique(targets, return_inverse=True)
    if len(present) == 1:
        bias[present[0]] = 0.0
    elif sparse.issparse(features):
        weight[present], bias[present] = _against_the_rest(features.tocsr(), codes, strength, seed)
    else:
        weight[present], bias[present] = _jointly(features, codes, strength)
    return weight, bias


def _against_the_rest(features: Any, codes: np.ndarray, strength: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The `plane` of each class against the rest: (weight, bias)."""
    classes = int(codes.max()) + 1
    features = features.astype(np.float64)  # liblinear's own type, converted once
    total = rows_with(features)
    weight = np.zeros((classes, features.shape[1]), dtype=np.float32)
    bias = np.zeros(classes, dtype=np.float32)
    for code in range(classes):
        weight[code], bias[code] = plane(features, codes == code, total, strength=strength, seed=seed)
        if classes == 2:
            weight[1], bias[1] = -weight[0], -bias[0]  # the other side of the same plane
            break
    return weight, bias


def plane(
    features: Any, inside: np.ndarray, total: np.ndarray, *, strength: float, seed: int
) -> tuple[np.ndarray, float]:
    """Linear support vectors of some rows against the others, in the dual (Hsieh et al. 2008): (weight [width], bias).

    features: CSR in float64. inside [n bool]: the rows of the class. total: `rows_with` of all. Features are weighed by the root of |log ratio|
    of the rows that have them inside and outside the class (the ratio of Wang and Manning 2012), which the weights then absorb. Both counts are
    shrunk by PRIOR_ROWS rows in the class's own proportion; the usual +1 favours rare features of rare classes and lost .008 with 77
    classes, where this won .003.
    """
    from sklearn.svm import LinearSVC

    had, share = rows_with(features[inside]), float(np.mean(inside))
    ratio = (had / share + PRIOR_ROWS) / ((total - had) / (1 - share) + PRIOR_ROWS)
    ratio = np.sqrt(np.abs(np.log(ratio)))
    weighed = features.copy()
    weighed.data *= ratio[features.indices]
    # Unit mean square per row, so that one strength means the same for every class and data set.
    ratio /= (size := float(np.sqrt(np.square(weighed.data).sum() / len(inside))) or 1.0)
    weighed.data /= size
    solver = LinearSVC(C=strength, tol=0.05, max_iter=200, random_state=seed).fit(weighed, inside)
    return solver.coef_[0] * ratio, float(solver.intercept_[0])


def rows_with(features: Any) -> np.ndarray:
    """How many rows have each feature [width] float32. features: CSR."""
    return np.bincount(features.indices, minlength=features.shape[1]).astype(np.float32)


def _jointly(features: np.ndarray, codes: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Multinomial logistic regression by L-BFGS (Liu and Nocedal 1989), in float32: (weight [classes, width], bias).

    The features should be centred and of about unit variance, or 100 iterations do not suffice. The products run on all
    of torch's threads: three to five times as fast as scikit-learn's solver (8,002 rows of 384, 77 classes).
    """
    import torch
    from torch.nn import functional

    x, y = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)), torch.from_numpy(codes)
    solution = torch.zeros(x.shape[1] + 1, int(codes.max()) + 1, requires_grad=True)  # the last row is the bias
    penalty = 1 / (2 * strength * len(x))
    solver = torch.optim.LBFGS(
        [solution], max_iter=100, tolerance_grad=1e-4, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        solver.zero_grad()
        logits = torch.addmm(solution[-1], x, solution[:-1])
        loss = functional.cross_entropy(logits, y) + penalty * solution[:-1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(closure)
    found = solution.detach().numpy()
    return found[:-1].T, found[-1]


def same(answer: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether both name the same class."""
    return bool(answer.get("label") == other.get("label"))


def audit(targets: Sequence[Any], rows: Sequence[int]) -> list[Finding]:
    """Classes with too few examples, and imbalance."""
    counts = Counter(str(target) for target in targets)
    if not counts:
        return []
    findings = []
    rare = {name: count for name, count in sorted(counts.items(), key=lambda item: item[1]) if count < 10}
    if rare:
        findings.append(
            Finding(
                code="audit.rare-class",
                severity="warning",
                message=f"{len(rare)} of {len(counts)} classes have fewer than 10 rows: "
                + ", ".join(f"{name!r} {count}" for name, count in list(rare.items())[:8])
                + (", …" if len(rare) > 8 else "."),
                advice="Label more rows of these classes, or merge them with a class that is answered in the same way.",
                count=sum(rare.values()),
                rows=tuple(row for target, row in zip(targets, rows, strict=True) if str(target) in rare)[:1000],
                details={"classes": rare},
            )
        )
    name, most = counts.most_common(1)[0]
    share, even = most / sum(counts.values()), 1 / len(counts)
    if share > min(0.9, max(0.6, 3 * even)) and len(counts) > 1:
        findings.append(
            Finding(
                code="audit.imbalance",
                severity="note",
                message=f"{share:.1%} of the rows are {name!r}; always answering that would score {share:.1%} accuracy.",
                advice="Judge by macro_f1, or by recall for the classes that matter, beside accuracy.",
                count=most,
                details={"share": share, "class": name},
            )
        )
    return findings


def figures(
    examples: Examples, answers: Sequence[dict[str, Any]], target: str, spec: Spec, *, mistakes: int = 30
) -> dict[str, Any]:
    """The confusion matrix, the reliability bins, and the most confident mistakes."""
    labels = list(spec["classes"])
    number = {name: i for i, name in enumerate(labels)}
    targets = examples.targets[target]
    for name in sorted(
        set(targets) - set(labels)
    ):  # a class that training never saw still counts as a row of the matrix
        number[name] = len(labels)
        labels.append(name)
    matrix = np.zeros((len(labels), len(labels)), dtype=int)
    bins = np.zeros((BINS, 3))
    wrong = []
    for i, (answer, expected) in enumerate(zip(answers, targets, strict=True)):
        if "label" not in answer:
            continue
        matrix[number[expected], number[answer["label"]]] += 1
        right = answer["label"] == expected
        bins[_bin(answer["probability"])] += (1, answer["probability"], right)
        if not right:
            wrong.append((answer["probability"], i))
    wrong.sort(reverse=True)
    return {
        "confusion": {"labels": labels, "matrix": matrix.tolist()},
        "reliability": [
            {"low": i / BINS, "high": (i + 1) / BINS, "n": int(n), "confidence": total / n, "accuracy": right / n}
            for i, (n, total, right) in enumerate(bins)
            if n
        ],
        "mistakes": [
            {
                "row": int(examples.rows[i]),
                "inputs": {
                    name: "" if isinstance(value, bytes) else str(value)[:600]
                    for name, value in examples.inputs[i].items()
                },
                "expected": targets[i],
                "answered": answers[i]["label"],
                "probability": probability,
            }
            for probability, i in wrong[:mistakes]
        ],
    }


def _bin(probability: float) -> int:
    return min(BINS - 1, int(probability * BINS))


def _correct(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    right = [answer.get("label") == target for answer, target in zip(answers, targets, strict=True)]
    return np.column_stack([np.array(right, dtype=np.float64), np.ones(len(right))])


def _recall(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    of_class = np.array([target == for_class for target in targets], dtype=np.float64)
    named = np.array([answer.get("label") == for_class for answer in answers], dtype=np.float64)
    return np.column_stack([of_class * named, of_class])


def _precision(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    of_class = np.array([target == for_class for target in targets], dtype=np.float64)
    named = np.array([answer.get("label") == for_class for answer in answers], dtype=np.float64)
    return np.column_stack([of_class * named, named])


def _f1_parts(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    """Per class: hits, answers, targets [n, 3 · classes]. Classes that only the targets have count too."""
    classes = sorted(set(spec["classes"]) | set(targets))
    number = {name: i for i, name in enumerate(classes)}
    parts = np.zeros((len(targets), 3, len(classes)))
    for i, (answer, target) in enumerate(zip(answers, targets, strict=True)):
        parts[i, 2, number[target]] = 1
        if "label" in answer:
            parts[i, 1, number[answer["label"]]] = 1
            parts[i, 0, number[target]] = answer["label"] == target
    return parts.reshape(len(targets), -1)


def _macro_f1(sums: np.ndarray) -> np.ndarray:
    hits, named, of_class = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    total = named + of_class
    f1 = np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0)
    present = total > 0  # a class that neither side names has no F1
    return np.asarray(f1.sum(-1) / np.maximum(1, present.sum(-1)))


def _log_losses(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    given = [answer.get("probabilities", {}).get(target, 0.0) for answer, target in zip(answers, targets, strict=True)]
    # 1e-15 as in scikit-learn: one impossible answer must not make the mean infinite.
    return np.column_stack([-np.log(np.clip(given, 1e-15, 1.0)), np.ones(len(given))])


def _calibration_parts(
    answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any
) -> np.ndarray:
    parts = np.zeros((len(targets), 2, BINS))
    for i, (answer, target) in enumerate(zip(answers, targets, strict=True)):
        told = answer.get("probabilities") or {}
        best = answer.get("label") or max(told, key=lambda name: told[name], default=None)  # also where it was withheld
        probability = told.get(best, 1.0)  # what could not be answered counts as surely wrong
        parts[i, 0, _bin(probability)] = probability - (best == target)
        parts[i, 1, _bin(probability)] = 1
    return parts.reshape(len(targets), -1)


def _expected_calibration_error(sums: np.ndarray) -> np.ndarray:
    gap, number = np.moveaxis(sums.reshape(*sums.shape[:-1], 2, -1), -2, 0)
    return np.asarray(np.abs(gap).sum(-1) / np.maximum(1, number.sum(-1)))


def _balanced_accuracy(sums: np.ndarray) -> np.ndarray:
    hits, _, of_class = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    recalls = np.divide(hits, of_class, out=np.zeros_like(of_class), where=of_class > 0)
    return np.asarray(recalls.sum(-1) / np.maximum(1, (of_class > 0).sum(-1)))


def _placements(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    """What each example adds to the area under the ROC curve of each class against the rest [n, 5 · classes + 1].

    Of a class: the share of the others' scores that lie below an example of it, whether it is one; the share of its scores above an
    example of another, whether it is one; the area itself (DeLong et al. 1988). In weighted sums of these the area is linear up to the
    second order (its Hájek projection), so it can be resampled, by groups too. Of two classes one speaks for both. Equal scores count half.
    """
    classes = spec["classes"] if len(spec["classes"]) > 2 else spec["classes"][-1:]
    parts = np.zeros((len(targets), 5 * len(classes) + 1))
    parts[:, -1] = 1
    for place, name in enumerate(classes):
        own = np.array([target == name for target in targets], dtype=bool)
        if not own.any() or own.all():
            continue  # a class without examples, or without others, has no curve
        # What could not be answered ranks as if it were wrong.
        scores = np.array(
            [
                answer["probabilities"].get(name, 0.0) if "probabilities" in answer else (-1.0 if mine else 2.0)
                for answer, mine in zip(answers, own, strict=True)
            ]
        )
        mine, others = np.sort(scores[own]), np.sort(scores[~own])
        below = (np.searchsorted(others, scores[own], "left") + np.searchsorted(others, scores[own], "right")) / 2
        above = (
            len(mine) - (np.searchsorted(mine, scores[~own], "left") + np.searchsorted(mine, scores[~own], "right")) / 2
        )
        parts[own, 5 * place], parts[own, 5 * place + 1] = below / len(others), 1
        parts[~own, 5 * place + 2], parts[~own, 5 * place + 3] = above / len(mine), 1
        parts[:, 5 * place + 4] = below.mean() / len(others)
    return parts


def _area(sums: np.ndarray) -> np.ndarray:
    """The mean over classes; NaN where no class has examples on both sides."""
    below, own, above, others, area = np.moveaxis(sums[..., :-1].reshape(*sums.shape[:-1], -1, 5), -1, 0)
    there = (own > 0) & (others > 0)
    whole = np.where(there, below / np.maximum(own, 1e-300) + above / np.maximum(others, 1e-300), 0.0)
    found = np.where(there, np.clip(whole - area / np.maximum(sums[..., -1:], 1e-300), 0.0, 1.0), 0.0)
    count = there.sum(-1)
    return np.where(count > 0, found.sum(-1) / np.maximum(1, count), np.nan)


def _noise_of_calibration(stats: np.ndarray) -> float:
    """What a bootstrap replicate of the calibration error is expected to be where the probabilities are right.

    Gaps of a bin are then normal around 0; a replicate doubles their variance, and the mean of |z| is sqrt(2 / pi).
    """
    gap, number = np.moveaxis(stats.reshape(len(stats), 2, -1), 1, 0)
    return float(np.sqrt(2 / np.pi * 2 * (gap**2).sum(axis=0)).sum() / max(1, number.sum()))


def _ratio(sums: np.ndarray) -> np.ndarray:
    trials = sums[..., 1]
    return np.divide(sums[..., 0], trials, out=np.full_like(trials, np.nan), where=trials > 0)


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric("", "higher", True, False, _correct, _ratio),
    "macro_f1": Metric("", "higher", False, False, _f1_parts, _macro_f1, averages=True),
    "balanced_accuracy": Metric("", "higher", False, False, _f1_parts, _balanced_accuracy, averages=True),
    "auroc": Metric("", "higher", False, False, _placements, _area, averages=True),
    "recall": Metric("", "higher", True, True, _recall, _ratio),
    "precision": Metric("", "higher", True, True, _precision, _ratio),
    "log_loss": Metric("nats", "lower", False, False, _log_losses, _ratio),
    "calibration_error": Metric(
        "", "lower", False, False, _calibration_parts, _expected_calibration_error, _noise_of_calibration
    ),
}
