"""Leakage beyond equal rows: groups and times that stand on both sides of a split, and parts that are not alike.

A column is only called a group where its rows are measurably alike, or where its name says so: that many values repeat is
true of prices too. Inputs are compared on samples of at most SAMPLE rows of each side, drawn from the seed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from sartor import leaves
from sartor.data import doubt, near
from sartor.data.cells import are_dates, instant
from sartor.data.dataset import PARTS, Dataset, Finding, Rows, Severity, as_text, numbered, shortened
from sartor.data.schema import speaks_for_itself
from sartor.data.split import row_keys

SAMPLE = 2_000  # rows of each side whose inputs are compared
LEAST_ROWS = 100  # of a part or column, below which nothing is concluded
LEAST_GROUPS = 20
PERMUTATIONS = 99
SURE = 5.0  # standard deviations of the permuted value, by which rows of a group must be more alike
ALIKE_LABELS = 0.2  # excess of agreement over chance, as a share of what is left to 1 (Cohen 1960)
ALIKE_INPUTS = 0.1  # excess of likeness (Jaccard) of two rows of a group over two of different groups
LATE = 0.01  # share of training rows later than the middle of the test rows, from which a split is not one by time
BINS = 5  # of equal size, into which time is cut
LEAST_EFFECT, STRONG_EFFECT = 0.1, 0.3  # Cramér's V: small and medium (Cohen 1988, for one degree of freedom)
LEAST_AUC, STRONG_AUC = 0.6, 0.75
LEAST_P = 1e-3
GROUP_NAME = re.compile(
    r"(^|[\W_])(user|customer|client|patient|author|speaker|session|thread|conversation|dialog(ue)?|document|doc|case|group|"
    r"household|account|device|source)s?([\W_]*(id|no|nr|number|key|name))?$|用户|客户|患者|病人|作者|会话|对话|文档|设备|账号",
    re.IGNORECASE,
)
EPOCH_NAME = re.compile(r"(^|[\W_])(time|timestamp|ts|date|created|updated|epoch)([\W_]|$)|时间|日期", re.IGNORECASE)


def leakage(
    dataset: Dataset, codes: np.ndarray, usable: np.ndarray, *, target: str, seed: int, group: str | None = None
) -> list[Finding]:
    """`audit.group-leak`, `audit.time-leak` and `audit.shift`, each at most once.

    codes [n]: a number per row for its label, a value of the column `target`, -1 without one. usable [n bool]: rows with a label and an input.
    group: the column whose rows will be kept together, of which nothing need be proposed.
    """
    rows = np.flatnonzero(usable & np.isin(dataset.part, [-1, PARTS.index("train")]))
    if len(rows) < LEAST_ROWS:
        return []
    train, test, judged = _sides(dataset, usable)
    classes = codes if dataset.schema.has_classes(target) else None
    scene = _Scene(dataset, target, classes, rows, train, test, judged, np.random.default_rng(seed))
    found = _groups(scene, group) + _times(scene)
    if len(train) >= LEAST_ROWS and len(test) >= LEAST_ROWS:
        found += _shift(scene)
    return found


@dataclass(frozen=True)
class _Scene:
    """What is looked at. codes: a number per row for its class in the column `target` [n], None where there are no classes. rows: to learn from, in any part
    or in none; train, test: the two sides of a split that was given, and the name of the one that judges."""

    dataset: Dataset
    target: str
    codes: np.ndarray | None
    rows: np.ndarray
    train: np.ndarray
    test: np.ndarray
    judged: str
    rng: np.random.Generator


def _sides(dataset: Dataset, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """(rows to learn from, rows that judge them, the name of that part); both empty where one of them was not given."""
    nothing = np.empty(0, dtype=np.int64)
    for judged in ("test", "valid"):
        if {"train", judged} <= set(dataset.given_parts):
            sides = [np.flatnonzero(usable & (dataset.part == PARTS.index(name))) for name in ("train", judged)]
            return sides[0], sides[1], judged
    return nothing, nothing, ""


@dataclass(frozen=True)
class _Group:
    """A column whose rows may belong together. agreement, likeness: excess over chance, 0 where it is not sure."""

    name: str
    values: np.ndarray  # a number per row of the dataset, -1 without a value
    agreement: float
    likeness: float

    @property
    def tied(self) -> bool:
        return self.agreement > 0 or self.likeness > 0


def _groups(scene: _Scene, kept: str | None) -> list[Finding]:
    """The column with the strongest tie, or with a group's name, that stands on both sides or would after a split."""
    dataset, test, judged = scene.dataset, scene.test, scene.judged
    columns = [group for name in _others(dataset) if (group := _group(scene, name)) and _matters(group)]
    columns.sort(key=lambda group: -max(group.agreement, group.likeness))
    if len(test):
        for group in columns:
            shared = np.intersect1d(group.values[scene.train], group.values[test])
            shared = shared[shared >= 0]
            leaked = test[np.isin(group.values[test], shared)]
            if len(leaked) > 0.01 * len(test):
                return [_group_leak(dataset, group, leaked, test, judged, len(shared))]
        return []
    for group in columns:
        if group.tied and group.name != kept:
            return [_group_proposal(group, scene.rows)]
    return []


def _matters(group: _Group) -> bool:
    return group.tied or bool(GROUP_NAME.search(group.name))


def _group_leak(
    dataset: Dataset, group: _Group, leaked: np.ndarray, test: np.ndarray, judged: str, shared: int
) -> Finding:
    share = len(leaked) / len(test)
    example = dataset.table.column(group.name)[int(leaked[0])].as_py()
    severity: Severity = "warning" if group.tied and share > 0.05 else "note"
    return Finding(
        code="audit.group-leak",
        severity=severity,
        message=f"{len(leaked):,} of the {len(test):,} {judged} rows ({share:.1%}) share their {group.name!r} with training rows: "
        f"{shared:,} values stand on both sides, such as {shortened(example)!r}{_tie(group)}.",
        advice=f"A score on them is too good for a new {group.name!r}. Make the parts so that each value stands in one of them, "
        f"or give one file and --group {group.name!r}.",
        count=len(leaked),
        rows=tuple(leaked.tolist()),
        details={
            "column": group.name,
            "part": judged,
            "share": share,
            "shared_values": shared,
            "agreement": group.agreement,
            "likeness": group.likeness,
        },
    )


def _group_proposal(group: _Group, rows: np.ndarray) -> Finding:
    values = group.values[rows]
    _, times = np.unique(values[values >= 0], return_counts=True)
    repeated = int(times[times > 1].sum())
    return Finding(
        code="audit.group-leak",
        severity="note",
        message=f"{repeated:,} of {len(rows):,} rows share their {group.name!r} with another row{_tie(group)}; a random split puts "
        "them on both sides.",
        advice=f"If the model will meet a new {group.name!r}, give --group {group.name!r}: each value then stays on one side.",
        count=repeated,
        details={
            "column": group.name,
            "values": len(times),
            "agreement": group.agreement,
            "likeness": group.likeness,
        },
    )


def _tie(group: _Group) -> str:
    told = []
    if group.agreement:
        told.append(f"have one label {group.agreement:.0%} of the way from chance to always")
    if group.likeness:
        told.append(f"are more alike by {group.likeness:.2f} (Jaccard) than rows of different ones")
    return f"; rows of one value {' and '.join(told)}" if told else ""


def _group(scene: _Scene, name: str) -> _Group | None:
    """A column as groups: many values, most rows' repeated, none of them a large share; numbers with fractions and dates are none."""
    column = scene.dataset.table.column(name)
    if pa.types.is_floating(column.type) or _instants(scene.dataset, name) is not None:
        return None
    values, _ = numbered(column)
    mine = values[scene.rows]
    filled = mine[mine >= 0]
    _, times = np.unique(filled, return_counts=True)
    if len(times) < LEAST_GROUPS or times.max() > 0.2 * len(mine) or times[times > 1].sum() < 0.3 * len(mine):
        return None
    present = scene.rows[mine >= 0]
    agreement = 0.0 if scene.codes is None else _agreement(values[present], scene.codes[present], scene.rng)
    return _Group(name, values, agreement, _likeness(scene.dataset, values, present, scene.rng))


def _agreement(values: np.ndarray, codes: np.ndarray, rng: np.random.Generator) -> float:
    """How much oftener than by chance two rows of one value have the same label, as a share of what is left to 1; 0 if unsure."""
    _, group = np.unique(values, return_inverse=True)
    _, label = np.unique(codes, return_inverse=True)
    number = int(label.max()) + 1
    sizes = np.bincount(group).astype(np.float64)
    pairs = float((sizes * (sizes - 1)).sum())

    def same(label: np.ndarray) -> float:
        _, counts = np.unique(group * number + label, return_counts=True)
        return float((counts.astype(np.float64) * (counts - 1)).sum()) / pairs

    measured = same(label)
    chance = np.array([same(rng.permutation(label)) for _ in range(PERMUTATIONS)])
    excess = (measured - chance.mean()) / max(1e-9, 1 - chance.mean())
    sure = measured - chance.mean() > SURE * max(chance.std(), 1e-9)
    return float(excess) if sure and excess >= ALIKE_LABELS else 0.0


def _likeness(dataset: Dataset, values: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> float:
    """How much more alike the inputs of two rows of one value are than those of two values; 0 if unsure or unknown."""
    inputs = dataset.schema.inputs
    if not near.sketches(dataset):
        return 0.0
    leaf = leaves.load("modality", inputs[0].kind)
    order = rows[rng.permutation(len(rows))]
    order = order[np.argsort(values[order], kind="stable")]
    place = np.flatnonzero(values[order[1:]] == values[order[:-1]])
    place = place if len(place) <= SAMPLE else rng.choice(place, SAMPLE, replace=False)
    if len(place) < LEAST_GROUPS:
        return 0.0
    one, other = order[place], order[place + 1]
    stranger = rng.permutation(other)
    names = [column.name for column in inputs]
    sketches, enough = [], []
    for side in (one, other, stranger):
        sketch, told = leaf.sketch(near.wholes(leaf, Rows(dataset.table, names, side)), 64)
        sketches.append(sketch)
        enough.append(told)
    apart = enough[0] & enough[1] & enough[2] & (values[one] != values[stranger])
    if apart.sum() < LEAST_GROUPS:
        return 0.0
    excess = (sketches[0] == sketches[1])[apart].mean(1) - (sketches[0] == sketches[2])[apart].mean(1)
    error = excess.std() / np.sqrt(len(excess))
    return float(excess.mean()) if excess.mean() >= ALIKE_INPUTS and excess.mean() > SURE * error else 0.0


def _times(scene: _Scene) -> list[Finding]:
    """The first column of dates by which training rows come after test rows, or by which labels or inputs drift."""
    train, test = scene.train, scene.test
    for name in _others(scene.dataset):
        instants = _instants(scene.dataset, name)
        if instants is None:
            continue
        drift = _drift(scene, instants)
        if len(test) < LEAST_ROWS:
            if drift and not len(test):
                return [_time_proposal(name, drift, len(scene.rows))]
            continue
        known = test[np.isfinite(instants[test])]
        if not len(known):
            continue
        middle = float(np.median(instants[known]))
        with np.errstate(invalid="ignore"):
            late = train[instants[train] > middle]
        if len(late) > LATE * len(train):
            return [_time_leak(name, late, train, scene.judged, middle, drift)]
    return []


def _time_leak(
    name: str, late: np.ndarray, train: np.ndarray, judged: str, middle: float, drift: dict[str, Any]
) -> Finding:
    share = len(late) / len(train)
    day = datetime.fromtimestamp(middle, UTC).date().isoformat()
    return Finding(
        code="audit.time-leak",
        severity="warning" if drift else "note",
        message=f"{len(late):,} of the {len(train):,} training rows ({share:.1%}) are later by {name!r} than half of the {judged} rows "
        f"({day}){_drifted(drift)}.",
        advice=f"A score on this {judged} part is one about the past, and too good for the future. Put the latest rows into {judged} and "
        "those before them into train.",
        count=len(late),
        rows=tuple(late.tolist()),
        details={"column": name, "part": judged, "share": share, "middle": day, "drift": drift},
    )


def _time_proposal(name: str, drift: dict[str, Any], count: int) -> Finding:
    return Finding(
        code="audit.time-leak",
        severity="note",
        message=f"The data drift with {name!r}{_drifted(drift)}; a random split trains on the future of its test rows.",
        advice=f"Sort by {name!r} and give the latest rows as --test and those before them as --train: the score is then one about rows "
        "to come.",
        count=count,
        details={"column": name, "drift": drift},
    )


def _drifted(drift: dict[str, Any]) -> str:
    told = []
    if "labels" in drift:
        told.append(f"labels change with time (Cramér's V {drift['labels']['effect']:.2f})")
    if "inputs" in drift:
        told.append(f"the first and the last fifth are told apart by their inputs (AUC {drift['inputs']['auc']:.2f})")
    return f": {' and '.join(told)}" if told else ""


def _drift(scene: _Scene, instants: np.ndarray) -> dict[str, Any]:
    """What changes over fifths of time: labels, inputs; empty where nothing surely does."""
    rows = scene.rows[np.isfinite(instants[scene.rows])]
    if len(rows) < LEAST_ROWS:
        return {}
    edges = np.unique(np.quantile(instants[rows], np.arange(1, BINS) / BINS))
    fifth = np.searchsorted(edges, instants[rows], side="left")
    if len(np.unique(fifth)) < 2:
        return {}
    drift: dict[str, Any] = {}
    if scene.codes is not None:
        labels = _association(fifth, scene.codes[rows])
        if labels["p"] < LEAST_P and labels["effect"] >= LEAST_EFFECT:
            drift["labels"] = labels
    inputs = _told_apart(scene.dataset, rows[fifth == fifth.min()], rows[fifth == fifth.max()], scene.rng)
    if inputs and inputs["low"] >= LEAST_AUC:
        drift["inputs"] = inputs
    return drift


def _shift(scene: _Scene) -> list[Finding]:
    """How the part that judges differs from the one that is learned from: labels, inputs, languages."""
    dataset, train, test, judged = scene.dataset, scene.train, scene.test, scene.judged
    told: list[str] = []
    strong = False
    details: dict[str, Any] = {"part": judged}
    if scene.codes is not None:
        side = np.repeat([0, 1], [len(train), len(test)])
        both = scene.codes[np.concatenate([train, test])]
        labels = _association(side, both)
        if labels["p"] < LEAST_P and labels["effect"] >= LEAST_EFFECT:
            code, before, after = _most_moved(side, both)
            name = dataset.table.column(scene.target)[
                int(np.concatenate([train, test])[np.flatnonzero(both == code)[0]])
            ].as_py()
            details["labels"] = labels
            told.append(f"{shortened(name)!r} is {before:.1%} of train and {after:.1%} of {judged}")
            strong |= labels["effect"] >= STRONG_EFFECT
    inputs = _told_apart(dataset, train, test, scene.rng)
    if inputs and inputs["low"] >= LEAST_AUC:
        details["inputs"] = inputs
        told.append(
            f"a model tells their inputs apart with an AUC of {inputs['auc']:.2f} (at least {inputs['low']:.2f}; 0.5 is chance)"
        )
        strong |= inputs["low"] >= STRONG_AUC
    for column, languages in _languages(dataset, train, test, scene.rng).items():
        details.setdefault("languages", {})[column] = languages
        told.append(
            f"{languages['language']} is {languages['train']:.1%} of {column!r} in train and {languages['judged']:.1%} in {judged}"
        )
        strong |= languages["distance"] >= STRONG_EFFECT
    if not told:
        return []
    return [
        Finding(
            code="audit.shift",
            severity="warning" if strong else "note",
            message=f"The {judged} rows are not like the training rows: {'; '.join(told)}.",
            advice=f"The score on {judged} is for data like {judged}. If that is what will come, train on more such rows; if not, "
            f"draw {judged} and train from the same rows.",
            count=len(test),
            details=details,
        )
    ]


def _association(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """{p, effect}: Pearson's test of independence, and Cramér's V corrected for bias (Bergsma 2013)."""
    from scipy.stats import chi2_contingency

    _, first = np.unique(one, return_inverse=True)
    _, second = np.unique(other, return_inverse=True)
    rows, columns, count = int(first.max()) + 1, int(second.max()) + 1, len(first)
    if min(rows, columns) < 2:
        return {"p": 1.0, "effect": 0.0}
    table = np.bincount(first * columns + second, minlength=rows * columns).reshape(rows, columns)
    statistic, p, freedom, _ = chi2_contingency(table, correction=False)
    phi = max(0.0, float(statistic) / count - freedom / (count - 1))
    least = min(side - (side - 1) ** 2 / (count - 1) for side in (rows, columns)) - 1
    return {"p": float(p), "effect": float(np.sqrt(phi / max(least, 1e-9)))}


def _most_moved(side: np.ndarray, codes: np.ndarray) -> tuple[int, float, float]:
    """(the label whose share changes most, its share before, its share after)."""
    found, code = np.unique(codes, return_inverse=True)
    shares = [np.bincount(code[side == part], minlength=len(found)) / max(1, (side == part).sum()) for part in (0, 1)]
    most = int(np.abs(shares[0] - shares[1]).argmax())
    return int(found[most]), float(shares[0][most]), float(shares[1][most])


def _told_apart(
    dataset: Dataset, one: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> dict[str, float] | None:
    """{auc, low, high} of a model that tells which side an input is from; None where inputs have no features.

    The classifier two-sample test (Lopez-Paz and Oquab 2017) by naive Bayes, on rows that it was not fitted on; the 95 % interval of
    Hanley and McNeil (1982).
    """
    from scipy.stats import rankdata

    known = all(hasattr(leaves.load("modality", column.kind), "features") for column in dataset.schema.inputs)
    if not known or min(len(one), len(other)) < LEAST_ROWS:
        return None
    sides = [rows if len(rows) <= SAMPLE else rng.choice(rows, SAMPLE, replace=False) for rows in (one, other)]
    rows = np.concatenate(sides)
    is_other = np.repeat([0, 1], [len(side) for side in sides])
    # An input that stands on one side twice would be known from the rows that the model was fitted on: equal keys share a fold.
    made = doubt.features(dataset, rows, seen=len(rows))
    scores = doubt.fit(made, is_other, row_keys(dataset)[rows], classes=2, seed=0).probabilities[:, 1]
    first, second = len(sides[0]), len(sides[1])
    above = rankdata(scores)[is_other == 1].sum() - second * (second + 1) / 2
    auc = float(above / (first * second))
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (second - 1) * (q1 - auc**2) + (first - 1) * (q2 - auc**2)) / (first * second)
    error = 1.96 * np.sqrt(max(0.0, variance))
    return {"auc": auc, "low": max(0.0, auc - error), "high": min(1.0, auc + error)}


def _languages(
    dataset: Dataset, train: np.ndarray, test: np.ndarray, rng: np.random.Generator
) -> dict[str, dict[str, Any]]:
    """The language whose share differs most, of each input where shares surely differ, and by LEAST_EFFECT in all."""
    found = {}
    for column in dataset.schema.inputs:
        leaf = leaves.load("modality", column.kind)
        if not hasattr(leaf, "profile"):
            continue
        sides = [rows if len(rows) <= SAMPLE else rng.choice(rows, SAMPLE, replace=False) for rows in (train, test)]
        shares = [
            leaf.profile(Rows(dataset.table, [column.name], rows).column(column.name)).get("languages", {})
            for rows in sides
        ]
        names = sorted(set(shares[0]) | set(shares[1]))
        if not names:
            continue
        counts = [
            [round(share.get(name, 0.0) * len(rows)) for name in names]
            for share, rows in zip(shares, sides, strict=True)
        ]
        held = [np.repeat(np.arange(len(names)), each) for each in counts]
        side = np.repeat([0, 1], [len(each) for each in held])
        moved = {name: abs(shares[0].get(name, 0.0) - shares[1].get(name, 0.0)) for name in names if name != "?"}
        distance = sum(moved.values()) / 2
        if distance >= LEAST_EFFECT and _association(side, np.concatenate(held))["p"] < LEAST_P:
            most = max(moved, key=lambda name: moved[name])
            found[column.name] = {
                "language": most,
                "train": shares[0].get(most, 0.0),
                "judged": shares[1].get(most, 0.0),
                "distance": distance,
            }
    return found


def _others(dataset: Dataset) -> list[str]:
    return [
        column.name
        for column in dataset.schema.columns
        if column.role not in ("input", "target") and column.kind != "unknown" and not speaks_for_itself(column.kind)
    ]


def _instants(dataset: Dataset, name: str) -> np.ndarray | None:
    """Seconds since 1970 [n], NaN without one, of a column of dates; None if it is another kind of column.

    Dates begin with the year; one such as 03/04/2024 can be read in two ways. Numbers are seconds or milliseconds where the name
    of the column says that it is a time.
    """
    column = dataset.table.column(name)
    if pa.types.is_temporal(column.type):
        if pa.types.is_time(column.type) or pa.types.is_duration(column.type):
            return None
        stamps = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64()).to_numpy().astype(np.float64) / 1e6
        return np.asarray(stamps)
    values = as_text(column).to_pylist()
    sample = [value for value in values[:: max(1, len(values) // 200)] if value and value.strip()]
    if not sample:
        return None
    if EPOCH_NAME.search(name) and all(re.fullmatch(r"\s*\d{9,13}(\.\d+)?\s*", value) for value in sample):
        return np.array([_epoch(value) for value in values])
    return np.array([instant(value) for value in values]) if are_dates(sample) else None


def _epoch(value: str | None) -> float:
    try:
        seconds = float(value or "nan")
    except ValueError:
        return float("nan")
    return seconds / 1000 if seconds > 1e11 else seconds
