"""Several classes may hold for one row, or none of them: tags, topics, genres.

Each class has its own log odds and its own threshold. A row of which nobody said anything has no target; a row whose list is
empty has one: that none of the classes holds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sartor.data import cells
from sartor.data.dataset import Dataset, Examples, Finding, Rows
from sartor.task import Call, Metric, Spec

PRIMARY = "micro_f1"
WANTS = "lists of names that come again"
EXCLUSIVE = False  # of the classes more than one may hold
MAX_CLASSES = 2000
SEPARATORS = ("|", ";", "；", "、", ",", "，")  # in a text, those first that are seldom part of a name
THRESHOLD = 0.5
SAMPLE = 5_000  # cells from which the separator of a column is told
SELDOM = 0.05  # share of cells below which a separator gives way to one that comes later
# What a column of texts is like that nobody called tags: shares of its cells, of its pieces, and pieces per name.
TOGETHER, AGAIN, OFTEN, LEAST_AGAIN = 0.2, 0.8, 3, 3
LEAST_ROWS = 50  # that thresholds are taken from
PRIOR_ROWS = 10.0  # of a class, that draw its threshold to THRESHOLD


def parse(cell: Any, separator: str | None = None) -> tuple[str, ...] | None:
    """The classes that a cell names, each once; () of an empty list, None where a cell says nothing or is no list of names.

    separator: of a text's names; the first of SEPARATORS that the text has when left out.

    >>> parse('["urgent", "billing"]'), parse("urgent | billing"), parse([]), parse("")
    (('urgent', 'billing'), ('urgent', 'billing'), (), None)
    """
    listed = cells.items(cell)
    if listed is None:
        if cells.unknown(cell):
            return None
        text = str(cell)
        mark = next((one for one in SEPARATORS if one in text), None) if separator is None else separator
        listed = text.split(mark) if mark else [text]
    elif not listed:
        return ()
    names = [_name(item) for item in listed if item is not None]
    if None in names:
        return None
    return tuple(dict.fromkeys(name for name in names if name)) or None


def _name(item: Any) -> str | None:
    """An item of a list as the name of a class; None of what names nothing: a list, an object, a measured number."""
    if isinstance(item, str):
        return item.strip()
    if isinstance(item, bool) or not isinstance(item, int | float) or not float(item).is_integer():
        return None
    return str(int(item))


def separator_of(values: Iterable[Any]) -> str | None:
    """What parts the names in a column's texts: the first of SEPARATORS that at least SELDOM of them have, else the commonest; None without any.

    One for the whole column, so that a comma in a name is left alone where names are parted by something else.
    """
    texts = [value for value in values if isinstance(value, str) and cells.items(value) is None]
    held = {mark: count for mark in SEPARATORS if (count := sum(mark in text for text in texts))}
    often = [mark for mark, count in held.items() if count >= SELDOM * len(texts)]
    return next(iter(often), None) or max(held, key=lambda mark: held[mark], default=None)


def suits(values: Sequence[Any]) -> bool:
    """Lists of names that come again, each once in a list; or texts in which names are parted that come again in other company."""
    known = [value for value in values if not cells.unknown(value)]
    listed = sum(cells.items(value) is not None for value in known)
    if not allows(values) or all(map(cells.is_number, known)):
        return False
    if listed >= 0.95 * len(known):
        # Of the words of a sentence, or of a tag for each of them, some stand in one list twice.
        repeated = sum(len(set(map(str, cells.items(v) or ()))) < len(cells.items(v) or ()) for v in known)
        return repeated <= 0.01 * len(known)
    separator = separator_of(known)
    if separator is None or listed:
        return False
    pieces = [[piece.strip() for piece in str(value).split(separator) if piece.strip()] for value in known]
    counts = Counter(piece for row in pieces for piece in row)
    sets = {frozenset(row) for row in pieces}
    company = Counter(piece for one in sets for piece in one)
    again = [piece for piece, count in company.items() if count > 1]
    total = sum(counts.values())
    return (
        sum(len(row) > 1 for row in pieces) >= TOGETHER * len(pieces)
        and sum(len(set(row)) < len(row) for row in pieces) <= 0.01 * len(pieces)
        and len(again) >= LEAST_AGAIN
        and sum(counts[piece] for piece in again) >= AGAIN * total
        and total >= OFTEN * len(counts)
        and _loose(pieces)
    )


def _loose(pieces: Sequence[Sequence[str]]) -> bool:
    """Whether cells have now more and now fewer names, or names have no fixed place; "city, state" is one name of two parts."""
    if len({len(row) for row in pieces}) > 1:
        return True
    places: dict[str, set[int]] = {}
    for row in pieces:
        for place, piece in enumerate(row):
            places.setdefault(piece, set()).add(place)
    return sum(len(seen) > 1 for seen in places.values()) >= LEAST_AGAIN


def allows(values: Sequence[Any]) -> bool:
    """Whether a column can be of this task where somebody says that it is: at least two classes, that come again."""
    known = [value for value in values if not cells.unknown(value)]
    separator = separator_of(known)
    told = [names for names in (parse(value, separator or "") for value in known) if names is not None]
    counts = Counter(name for names in told for name in names)
    return (
        len(told) >= 0.5 * max(1, len(known))
        and 2 <= len(counts) <= MAX_CLASSES
        and sum(counts.values()) >= 2 * len(counts)
    )


def written(values: Sequence[Any]) -> list[str | None]:
    """Each cell in one way of writing, whatever the order of its names: a JSON list; None of those that have no target."""
    return [None if names is None else json.dumps(sorted(names), ensure_ascii=False) for names in _parsed(values)]


def strata(values: Sequence[Any]) -> np.ndarray:
    """A number per cell [n] int64: of the rarest class that it names, so that a draw by them has its share of each."""
    told = _parsed(values)
    counts = Counter(name for names in told if names for name in names)
    number = {name: 2 + i for i, name in enumerate(sorted(counts))}
    return np.array(
        [
            number[min(names, key=lambda name: (counts[name], name))] if names else int(names is not None)
            for names in told
        ],
        dtype=np.int64,
    )


def _parsed(values: Sequence[Any]) -> list[tuple[str, ...] | None]:
    separator = separator_of(values[:: max(1, -(-len(values) // SAMPLE))]) or ""
    return [parse(value, separator) for value in values]


def examples(dataset: Dataset, rows: np.ndarray, target: str, *, group: str | None = None) -> Examples:
    """One example per row that says which classes hold; its target is a tuple of names."""
    rows = np.asarray(rows, dtype=np.int64)
    separator = _separator(dataset.table.column(target)) or ""
    told = [parse(value, separator) for value in Rows(dataset.table, [target], rows).column(target)]
    usable = np.array([names is not None for names in told], dtype=bool)
    rows = rows[usable] if len(rows) else rows
    groups = rows.copy()
    if group is not None:
        names = Rows(dataset.table, [group], rows).column(group)
        _, groups = np.unique(np.array([str(name) for name in names]), return_inverse=True)
    inputs = Rows(dataset.table, [column.name for column in dataset.schema.inputs], rows)
    return Examples(
        inputs=inputs, targets={target: [names for names in told if names is not None]}, rows=rows, groups=groups
    )


def _separator(column: pa.ChunkedArray) -> str | None:
    """Of a whole column, so that it is the same for every split."""
    there = column.drop_null()
    places = np.unique(np.linspace(0, max(0, len(there) - 1), min(SAMPLE, len(there))).astype(np.int64))
    return separator_of(there.take(pa.array(places)).to_pylist())


def learn(targets: Sequence[Any]) -> Spec:
    """The classes in order of their names, how many training examples each holds for, and how many examples there are."""
    counts = Counter(name for names in targets for name in set(names))
    classes = sorted(counts)
    return {"classes": classes, "counts": [counts[name] for name in classes], "rows": len(targets)}


def encode(targets: Sequence[Any], spec: Spec) -> np.ndarray:
    """Which classes hold [n, classes] float32, 1 or 0; those that the training split did not have are left out."""
    number = {name: i for i, name in enumerate(spec["classes"])}
    made = np.zeros((len(targets), len(number)), dtype=np.float32)
    for row, names in zip(made, targets, strict=True):
        row[[number[name] for name in names if name in number]] = 1
    return made


def known(encoded: np.ndarray) -> np.ndarray:
    """All [n]: of a target with a class that nobody knows, the other classes are known not to hold or to hold."""
    return np.ones(len(encoded), dtype=bool)


def head(width: int, spec: Spec) -> Any:
    """A linear layer to the log odds of each class, started at those of its frequency."""
    import torch
    from torch import nn

    layer = nn.Linear(width, len(spec["classes"]))
    nn.init.zeros_(layer.weight)
    layer.bias.data = torch.from_numpy(trivial(spec))
    return layer


def loss(outputs: Any, targets: Any, spec: Spec, *, smoothing: float = 0.0, class_weights: Any = None) -> Any:
    """Binary cross-entropy per example [B], the mean over classes. smoothing: draws targets to 1/2. Classes are not weighed."""
    from torch.nn import functional

    wanted = targets * (1 - smoothing) + 0.5 * smoothing
    return functional.binary_cross_entropy_with_logits(outputs.float(), wanted, reduction="none").mean(1)


def imitate(outputs: Any, told: Any, *, temperature: float) -> Any:
    """Binary cross-entropy per example [B] to what a teacher says of each class, both softened, times the temperature squared."""
    from torch.nn import functional

    wanted = (told / temperature).sigmoid()
    losses = functional.binary_cross_entropy_with_logits(outputs.float() / temperature, wanted, reduction="none")
    return temperature**2 * losses.mean(1)


def infer(call: Call, batch: Mapping[str, np.ndarray], output: str) -> np.ndarray:
    """Log odds [B, classes] from one call of the graph `forward`."""
    return call("forward", batch)[output]


def decode(outputs: np.ndarray, spec: Spec) -> list[dict[str, Any]]:
    """The classes that hold, the likeliest first, and the probability of every class."""
    outputs = np.clip(np.asarray(outputs, dtype=np.float64), -700, 700)
    limits = spec.get("thresholds", {})
    told = [dict(zip(spec["classes"], row, strict=True)) for row in (1 / (1 + np.exp(-outputs))).tolist()]
    return [{"labels": _holding(one, limits), "probabilities": one} for one in told]


def _holding(probabilities: Mapping[str, float], limits: Mapping[str, float]) -> list[str]:
    """The classes whose probability reaches their threshold, the likeliest first."""
    holding = [name for name, share in probabilities.items() if share >= limits.get(name, THRESHOLD)]
    return sorted(holding, key=lambda name: -probabilities[name])


def settle(answers: Sequence[Mapping[str, Any]], targets: Sequence[Any]) -> dict[str, Any] | None:
    """What a head is to know besides: `thresholds`, {class: from which probability on it holds}, by which F1 is best on these rows.

    Of each class by itself (Lewis et al. 2004, section 5: SCut), in log odds, drawn to even odds where few rows have it. None of few
    rows, or where micro F1 is no better with them.
    """
    pairs = [(one["probabilities"], set(names)) for one, names in zip(answers, targets, strict=True) if "labels" in one]
    if len(pairs) < LEAST_ROWS:
        return None
    classes = list(pairs[0][0])
    shares = np.array([list(told.values()) for told, _ in pairs], dtype=np.float64)
    truth = np.array([[name in names for name in classes] for _, names in pairs], dtype=bool)
    odds = np.log(np.clip(shares, 1e-9, 1 - 1e-9)) - np.log1p(-np.clip(shares, 1e-9, 1 - 1e-9))
    cuts = np.array([_cut(odds[:, i], truth[:, i]) for i in range(len(classes))])
    limits = 1 / (1 + np.exp(-cuts))

    def micro(named: np.ndarray) -> float:
        return float(2 * (named & truth).sum() / max(1, named.sum() + truth.sum()))

    if micro(shares >= limits) <= micro(shares >= THRESHOLD):
        return None
    return {"thresholds": dict(zip(classes, limits.tolist(), strict=True)), "rows": len(pairs)}


def _cut(odds: np.ndarray, truth: np.ndarray) -> float:
    """The log odds from which on a class is best said to hold; 0 where none of the rows has it. odds, truth: [n]."""
    positive = int(truth.sum())
    if not positive:
        return 0.0
    order = np.argsort(-odds, kind="stable")
    odds, hits = odds[order], np.cumsum(truth[order])
    # Halfway to the next lower one; below the last there is none.
    between = np.append((odds[:-1] + odds[1:]) / 2, odds[-1])
    f1 = 2 * hits / (np.arange(1, len(odds) + 1) + positive)
    f1[:-1][odds[:-1] == odds[1:]] = -1.0  # no threshold parts those
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    found = between[best[np.argmin(np.abs(between[best]))]]
    return float(found * positive / (positive + PRIOR_ROWS))


def settled(answer: dict[str, Any], head: Mapping[str, Any]) -> dict[str, Any]:
    """The answer by the thresholds that the head knows."""
    limits = head.get("thresholds")
    if not limits or "labels" not in answer:
        return answer
    return answer | {"labels": _holding(answer["probabilities"], limits)}


def trivial(spec: Spec) -> np.ndarray:
    """The log odds of how often each class holds in the training split [classes], half a row shrunk, so that they are finite."""
    counts = np.asarray(spec["counts"], dtype=np.float64)
    return np.log((counts + 0.5) / (spec["rows"] - counts + 0.5)).astype(np.float32)


def fit_linear(features: Any, targets: np.ndarray, spec: Spec, *, strength: float, seed: int) -> Any:
    """One linear output per class: (weight [classes, width], bias [classes]) as float32.

    features: [n, width], dense or CSR. targets: [n, classes]. strength: the inverse of the L2 penalty (scikit-learn's C). Dense features get
    logistic regressions; sparse ones the planes of `classify`, whose outputs are margins that still need a scale to be log odds.
    """
    from scipy import sparse

    if not sparse.issparse(features):
        return _jointly(features, targets, trivial(spec), strength)
    from sartor.task.classify import plane, rows_with

    made = features.tocsr().astype(np.float64)
    holds, total = targets > 0.5, rows_with(made)
    weight, bias = np.zeros((holds.shape[1], made.shape[1]), dtype=np.float32), trivial(spec)
    for i in np.flatnonzero(holds.any(0) & ~holds.all(0)):  # of the others there is nothing to tell apart
        weight[i], bias[i] = plane(made, holds[:, i], total, strength=strength, seed=seed)
    return weight, bias


def _jointly(features: np.ndarray, targets: np.ndarray, bias: np.ndarray, strength: float) -> tuple[Any, Any]:
    """A logistic regression of each class, all of them at once by L-BFGS in float32: (weight [classes, width], bias). See `classify`."""
    import torch
    from torch.nn import functional

    x, y = (torch.from_numpy(np.ascontiguousarray(one, dtype=np.float32)) for one in (features, targets))
    solution = torch.zeros(x.shape[1] + 1, y.shape[1])  # the last row is the bias
    solution[-1] = torch.from_numpy(bias)
    solution.requires_grad_(True)
    penalty = 1 / (2 * strength * len(x))
    solver = torch.optim.LBFGS(
        [solution], max_iter=100, tolerance_grad=1e-4, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        solver.zero_grad()
        logits = torch.addmm(solution[-1], x, solution[:-1])
        loss = functional.binary_cross_entropy_with_logits(logits, y, reduction="sum") / len(x)
        loss = loss + penalty * solution[:-1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(closure)
    found = solution.detach().numpy()
    return found[:-1].T, found[-1]


def same(answer: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether both name the same classes."""
    return ("labels" in answer) == ("labels" in other) and set(answer.get("labels", ())) == set(other.get("labels", ()))


def audit(targets: Sequence[Any], rows: Sequence[int]) -> list[Finding]:
    """Classes with too few examples, and those that hold for every one. targets: as they are written, or tuples of names."""
    told = _parsed(targets)
    counts = Counter(name for names in told if names for name in names)
    total = sum(names is not None for names in told)
    found = []
    rare = {name: count for name, count in sorted(counts.items(), key=lambda item: (item[1], item[0])) if count < 10}
    if rare:
        having = tuple(row for names, row in zip(told, rows, strict=True) if not rare.keys().isdisjoint(names or ()))
        found.append(
            Finding(
                code="audit.rare-class",
                severity="warning",
                message=f"{len(rare)} of {len(counts)} classes hold for fewer than 10 rows: "
                + ", ".join(f"{name!r} {count}" for name, count in list(rare.items())[:8])
                + (", …" if len(rare) > 8 else "."),
                advice="Label more rows of these classes, or merge them with a class that means nearly the same.",
                count=len(having),
                rows=having[:1000],
                details={"classes": rare},
            )
        )
    always = sorted(name for name, count in counts.items() if count == total)
    if always:
        found.append(
            Finding(
                code="audit.constant-class",
                severity="warning",
                message=f"{', '.join(map(repr, always[:8]))} {'holds' if len(always) == 1 else 'hold'} for each of {total:,} rows: "
                "nothing can be learned of when it does not.",
                advice="Leave it out, or add rows for which it does not hold.",
                count=total,
                details={"classes": always},
            )
        )
    return found


def figures(
    examples: Examples, answers: Sequence[dict[str, Any]], target: str, spec: Spec, *, mistakes: int = 30
) -> dict[str, Any]:
    """Of every class how many rows have it, were found and were named wrongly; and the worst mistakes, whose probabilities are furthest off."""
    truth = examples.targets[target]
    told = [i for i, answer in enumerate(answers) if "labels" in answer]
    classes, right, named = _decisions([answers[i] for i in told], [truth[i] for i in told], spec)
    shares = _shares([answers[i] for i in told], classes, right)
    off = np.abs(right - shares).sum(1)
    wrong = np.flatnonzero((right != named).any(1))
    return {
        "by_class": [
            {"class": name, "rows": int(rows), "hits": int(hits), "false_alarms": int(false)}
            for name, rows, hits, false in zip(
                classes, right.sum(0), (right & named).sum(0), (named & ~right).sum(0), strict=True
            )
        ],
        "mistakes": [
            {
                "row": int(examples.rows[told[i]]),
                "inputs": {
                    name: "" if isinstance(value, bytes) else str(value)[:600]
                    for name, value in examples.inputs[told[i]].items()
                },
                "expected": ", ".join(truth[told[i]]) or "–",
                "answered": ", ".join(answers[told[i]]["labels"]) or "–",
            }
            for i in wrong[np.argsort(-off[wrong], kind="stable")][:mistakes].tolist()
        ],
    }


def _decisions(
    answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(classes, those that hold [n, classes] bool, those that are named). Classes that only the targets have come last."""
    classes = [*spec["classes"], *sorted({name for names in targets for name in names} - set(spec["classes"]))]
    number = {name: i for i, name in enumerate(classes)}
    sides = np.zeros((2, len(targets), len(classes)), dtype=bool)
    for i, (answer, names) in enumerate(zip(answers, targets, strict=True)):
        sides[0, i, [number[name] for name in names]] = True
        sides[1, i, [number[name] for name in answer.get("labels", ())]] = True
    return classes, sides[0], sides[1]


def _shares(answers: Sequence[dict[str, Any]], classes: Sequence[str], right: np.ndarray) -> np.ndarray:
    """The probability of every class [n, classes]; of a row that could not be answered as if all of it were wrong."""
    made = np.where(right, 0.0, 1.0)
    for row, answer in zip(made, answers, strict=True):
        if "probabilities" in answer:
            row[:] = [answer["probabilities"].get(name, 0.0) for name in classes]
    return made


def _unanswered(answers: Sequence[dict[str, Any]]) -> np.ndarray:
    return np.array(["labels" not in answer for answer in answers], dtype=bool)


def _micro(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    """Hits, names, classes that hold [n, 3]. What a row has that could not be answered is missed."""
    _, right, named = _decisions(answers, targets, spec)
    return np.column_stack([(right & named).sum(1), named.sum(1), right.sum(1)]).astype(np.float64)


def _macro(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    """Of every class: hits, names, rows that it holds for [n, 3 · classes]."""
    _, right, named = _decisions(answers, targets, spec)
    return np.stack([right & named, named, right], axis=1).reshape(len(targets), -1).astype(np.float64)


def _exact(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    _, right, named = _decisions(answers, targets, spec)
    return np.column_stack([(right == named).all(1) & ~_unanswered(answers), np.ones(len(targets))]).astype(np.float64)


def _wrong(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    """Wrong decisions and decisions [n, 2]. They are no independent trials, as those of one row hang together."""
    classes, right, named = _decisions(answers, targets, spec)
    wrong = np.where(_unanswered(answers), len(classes), (right != named).sum(1))
    return np.column_stack([wrong, np.full(len(targets), len(classes))]).astype(np.float64)


def _of_class(answers: Sequence[dict[str, Any]], targets: Sequence[Any], name: Any) -> tuple[np.ndarray, np.ndarray]:
    right = np.array([name in names for names in targets], dtype=np.float64)
    return right, np.array([name in answer.get("labels", ()) for answer in answers], dtype=np.float64)


def _recall(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    right, named = _of_class(answers, targets, for_class)
    return np.column_stack([right * named, right])


def _precision(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    right, named = _of_class(answers, targets, for_class)
    return np.column_stack([right * named, named])


def _log_losses(answers: Sequence[dict[str, Any]], targets: Sequence[Any], spec: Spec, for_class: Any) -> np.ndarray:
    """Of each row the mean over its classes, and 1 [n, 2]."""
    classes, right, _ = _decisions(answers, targets, spec)
    shares = _shares(answers, classes, right)
    given = np.clip(np.where(right, shares, 1 - shares), 1e-15, 1.0)  # as in `classify`
    return np.column_stack([-np.log(given).mean(1), np.ones(len(targets))])


def _f1(sums: np.ndarray) -> np.ndarray:
    """From hits, names and what holds, in the last axis; 0 where nothing holds and nothing is named, as in scikit-learn."""
    total = sums[..., 1] + sums[..., 2]
    return np.asarray(np.divide(2 * sums[..., 0], total, out=np.zeros_like(total), where=total > 0))


def _mean_f1(sums: np.ndarray) -> np.ndarray:
    parts = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, -1)
    present = (parts[..., 1] + parts[..., 2]) > 0  # a class that neither side names has no F1
    return np.asarray(_f1(parts).sum(-1) / np.maximum(1, present.sum(-1)))


def _ratio(sums: np.ndarray) -> np.ndarray:
    trials = sums[..., 1]
    return np.asarray(np.divide(sums[..., 0], trials, out=np.full_like(trials, np.nan), where=trials > 0))


METRICS: Mapping[str, Metric] = {
    "micro_f1": Metric("", "higher", False, False, _micro, _f1, averages=True),
    "macro_f1": Metric("", "higher", False, False, _macro, _mean_f1, averages=True),
    "exact_match": Metric("", "higher", True, False, _exact, _ratio),
    "hamming": Metric("", "lower", False, False, _wrong, _ratio),
    "recall": Metric("", "higher", True, True, _recall, _ratio),
    "precision": Metric("", "higher", True, True, _precision, _ratio),
    "log_loss": Metric("nats", "lower", False, False, _log_losses, _ratio),
}
