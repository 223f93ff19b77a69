"""The audit: what is wrong with the data, found before any training and told with numbers, an example and what to do.

It looks at rows and their targets; each modality and each task adds what only it can know.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sartor import leaves
from sartor.data import doubt, leakage, naming, near, personal, telling
from sartor.data.dataset import PARTS, Column, Dataset, Finding, Rows, Severity, as_text, numbered, shortened
from sartor.data.doubt import Embed
from sartor.data.schema import speaks_for_itself
from sartor.data.split import row_keys
from sartor.data.target import Target, leading, tasks_of

MOST_ROWS = 1_000  # lines or classes that the details of a finding name
DOUBTED = ("audit.wrong-label", "audit.conflict", "audit.near-leak")
SAMPLE = 20_000  # values that a modality looks at, and texts that are searched for the names of their labels
WRONG_RATE = 0.02  # of wrong labels, from which on they are a warning
LEAST_FOR_OUTLIERS = 200  # values
LEAST_PIECES = 12  # of a value
LEAST_ALONE = 0.4  # share of pieces that stand nowhere else
FAR, LEAST_SPREAD = 4.0, 0.02  # in spreads from the median; of the spread
TELLING = ("audit.label-in-text", "audit.gives-away")  # that say already of a column that it tells the label
MOST_CELLS = 6  # of a row of a table, in a message
ORDER: tuple[Severity, ...] = ("error", "warning", "note")


def audit(
    dataset: Dataset,
    *,
    target: Target,
    task: str = "classify",
    seed: int = 0,
    group: str | None = None,
    embed: Embed | None = None,
) -> list[Finding]:
    """Everything found, the worst first. seed: of the samples, where all rows would take too long.

    target: a column of the task, or {column: its task} of several. Then what is wrong with the inputs is told once, and what is wrong with a
    target of each; rows that lack one are told and looked at no further, as nothing is learned from them.
    group: the column whose rows will be kept together. embed: what rows are embedded with, by which labels are doubted as well.
    """
    targets = tasks_of(target, task)
    each = {name: labels_of(dataset, name, of) for name, of in targets.items()}
    labels = _together(list(each.values()))
    keys = row_keys(dataset)
    labelled = dataset.part != PARTS.index("unlabelled")
    rng = np.random.default_rng(seed)
    found: list[Finding] = []
    found += _unreadable(dataset)
    found += _empty(dataset, keys)
    for name, own in each.items():
        found += _unlabelled_rows(dataset, own, labelled, name)
    usable = labelled & (keys >= 0) & (labels.codes >= 0)
    found += _duplicates(dataset, keys, labels, usable)
    # Of inputs that stand twice, numbers beside classes hardly ever are the same.
    told = _together([own for name, own in each.items() if dataset.schema.has_classes(name)] or [labels])
    found += _leaks(dataset, keys, told, usable)
    found += _near(dataset, keys, told, usable)
    first = leading(targets, dataset.schema)
    found += leakage.leakage(dataset, each[first].codes, usable, target=first, seed=seed, group=group)
    for name, own in each.items():
        more = _of_target(dataset, name, targets[name], keys, own, usable, seed=seed, embed=embed, rng=rng)
        found += more if len(each) == 1 else [_named_for(name, finding) for finding in more]
    for column in dataset.schema.inputs:
        found += _by_modality(dataset, column, rng)
        found += _outliers(dataset, column, keys, usable)
    found = [_with_files(dataset, finding) for finding in found]
    return sorted(found, key=lambda finding: (ORDER.index(finding.severity), finding.code))


def _of_target(
    dataset: Dataset,
    target: str,
    task: str,
    keys: np.ndarray,
    labels: Labels,
    usable: np.ndarray,
    *,
    seed: int,
    embed: Embed | None,
    rng: np.random.Generator,
) -> list[Finding]:
    """What is wrong with one target, or given away of it."""
    learning = usable & np.isin(dataset.part, [-1, PARTS.index("train")])
    found = _conflicts(dataset, keys, labels, usable)
    if dataset.schema.has_classes(target):
        found += _lonely_classes(labels, learning)
        found += _unseen_classes(dataset, labels, usable, learning)
        found += _spellings(labels, usable)
        found += _label_in_text(dataset, labels, learning, rng)
        found += _telling_names(dataset, labels, usable)
        if any(speaks_for_itself(column.kind) for column in dataset.schema.inputs):
            # Of a table's rows that look alike some turn out one way and some the other, and no label is wrong.
            found += _wrong_labels(dataset, keys, labels, usable, learning, seed, embed)
    found += _telling_columns(dataset, labels, learning)
    if dataset.schema.has_classes(target):
        told = [finding.details["column"] for finding in found if finding.code in TELLING]
        found += _telling_words(dataset, labels, learning, rng, told)
    rows = np.flatnonzero(learning)
    if len(rows):
        found += leaves.load("task", task).audit(labels.of(rows), rows.tolist())
    return found


def _named_for(target: str, finding: Finding) -> Finding:
    """The finding as that of one target of several."""
    told = finding.details | {"target": target}
    return replace(finding, message=f"{shortened(target)}: {finding.message}", details=told)


def doubted(findings: Iterable[Finding]) -> np.ndarray:
    """Rows that make poor judges: their label is doubtful, or they are nearly the same as a row that was learned from."""
    told = [finding.rows for finding in findings if finding.code.startswith(DOUBTED)]
    return (
        np.unique(np.concatenate([np.array(rows, dtype=np.int64) for rows in told])) if told else np.empty(0, np.int64)
    )


class Labels:
    """The targets as numbers: `codes` [n] int64, -1 where there is none; `names` what they stand for."""

    def __init__(self, codes: np.ndarray, names: list[str]) -> None:
        self.codes = codes
        self.names = names

    def of(self, rows: Iterable[int]) -> list[str]:
        return [self.names[self.codes[row]] for row in rows]


def _together(each: Sequence[Labels]) -> Labels:
    """The labels of every target as one: none where one is missing, the same where all are."""
    if len(each) == 1:
        return each[0]
    codes = np.column_stack([labels.codes for labels in each])
    _, first, together = np.unique(codes, axis=0, return_index=True, return_inverse=True)
    names = [
        " / ".join(labels.names[labels.codes[row]] if labels.codes[row] >= 0 else "" for labels in each)
        for row in first
    ]
    return Labels(np.where((codes >= 0).all(axis=1), together.reshape(-1), -1), names)


def labels_of(dataset: Dataset, target: str, task: str = "classify") -> Labels:
    column = dataset.table.column(target)
    leaf = leaves.load("task", task)
    if hasattr(leaf, "written"):
        column = pa.chunked_array([pa.array(leaf.written(column.to_pylist()), pa.large_string())])
    return Labels(*numbered(column))


def _unreadable(dataset: Dataset) -> list[Finding]:
    if not dataset.set_aside:
        return []
    first = dataset.set_aside[0]
    count = len(dataset.set_aside)
    return [
        Finding(
            code="audit.unreadable",
            severity="warning",
            message=f"{_rows(count)} could not be read and {_is(count)} left out; the first is in {first.file}, line "
            f"{first.line}: it {first.reason}.",
            advice="Mend these lines, or leave them out."
            if first.file.lower().endswith((".jsonl", ".ndjson"))
            else "Mend these lines, or leave them out; texts that contain the delimiter must stand in quotes.",
            count=count,
            details={"lines": [[item.file, item.line, item.reason] for item in dataset.set_aside[:MOST_ROWS]]},
        )
    ]


def _empty(dataset: Dataset, keys: np.ndarray) -> list[Finding]:
    rows = np.flatnonzero(keys == -1)
    for column in dataset.schema.inputs:
        values = dataset.table.column(column.name)
        if pa.types.is_large_binary(values.type):  # of what is there and cannot be read its modality tells
            rows = rows[values.take(pa.array(rows)).is_null().to_numpy()]
    if not len(rows):
        return []
    names = " and ".join(repr(column.name) for column in dataset.schema.inputs)
    return [
        Finding(
            code="audit.empty-input",
            severity="warning",
            message=f"{_rows(len(rows))} {_has(len(rows))} nothing in {names} and {_is(len(rows))} left out; "
            f"the first is {_where(dataset, rows[0])}.",
            advice="Fill them in or remove them. A model answers an empty input from how frequent the classes are.",
            count=len(rows),
            rows=_named(rows),
        )
    ]


def _unlabelled_rows(dataset: Dataset, labels: Labels, labelled: np.ndarray, target: str) -> list[Finding]:
    rows = np.flatnonzero(labelled & (labels.codes < 0))
    if not len(rows):
        return []
    return [
        Finding(
            code="audit.missing-target",
            severity="warning",
            message=f"{_rows(len(rows))} {_has(len(rows))} no {target!r} and {_is(len(rows))} left out; "
            f"the first is {_where(dataset, rows[0])}: {_show(dataset, rows[0])}.",
            advice="Label them, or give them as the part 'unlabelled'.",
            count=len(rows),
            rows=_named(rows),
        )
    ]


def _duplicates(dataset: Dataset, keys: np.ndarray, labels: Labels, usable: np.ndarray) -> list[Finding]:
    """Rows that repeat an earlier one of the same part, label and all."""
    rows = np.flatnonzero(usable)
    identity = np.column_stack([dataset.part[rows].astype(np.int64), keys[rows], labels.codes[rows]])
    _, first, inverse = np.unique(identity, axis=0, return_index=True, return_inverse=True)
    repeats = rows[first[inverse.reshape(-1)] != np.arange(len(rows))]
    if not len(repeats):
        return []
    example = int(repeats[0])
    earlier = int(rows[(keys[rows] == keys[example]) & (labels.codes[rows] == labels.codes[example])][0])
    share = len(repeats) / len(rows)
    return [
        Finding(
            code="audit.duplicate",
            severity="warning" if share > 0.01 else "note",
            message=f"{_rows(len(repeats))} ({share:.1%}) {_repeat(len(repeats))} an earlier row of the same part: "
            f"{_where(dataset, example)} is {_where(dataset, earlier)} again, {_show(dataset, example)}.",
            advice="They count double. Splits made here keep them on one side; remove them if nothing happened twice.",
            count=len(repeats),
            rows=_named(repeats),
            details={"share": share},
        )
    ]


def _conflicts(dataset: Dataset, keys: np.ndarray, labels: Labels, usable: np.ndarray) -> list[Finding]:
    """The same inputs under different labels, in any parts."""
    rows = np.flatnonzero(usable)
    pairs = np.unique(np.column_stack([keys[rows], labels.codes[rows]]), axis=0)
    torn, times = np.unique(pairs[:, 0], return_counts=True)
    torn = torn[times > 1]
    if not len(torn):
        return []
    affected = rows[np.isin(keys[rows], torn)]
    same = rows[keys[rows] == keys[affected[0]]]
    names = " and ".join(repr(shortened(name)) for name in sorted(set(labels.of(same))))
    noun = "text" if all(column.kind == "text" for column in dataset.schema.inputs) else "input"
    noun += "" if len(torn) == 1 else "s"
    return [
        Finding(
            code="audit.conflict",
            severity="warning",
            message=f"{len(torn):,} {noun} {'stands' if len(torn) == 1 else 'stand'} under different labels, in "
            f"{_rows(len(affected)).lower()}: {_show(dataset, int(affected[0]))} is {names}.",
            advice="Decide for one label each; no model can answer both.",
            count=len(affected),
            rows=_named(affected),
            details={"inputs": len(torn)},
        )
    ]


def _leaks(dataset: Dataset, keys: np.ndarray, labels: Labels, usable: np.ndarray) -> list[Finding]:
    """Inputs of a part that judges or chooses which also stand in one that came before it."""
    found: list[Finding] = []
    held = {name: np.flatnonzero(usable & (dataset.part == PARTS.index(name))) for name in dataset.given_parts}
    for seen, judged in (("train", "test"), ("train", "valid"), ("valid", "test")):
        before, rows = held.get(seen, np.empty(0, int)), held.get(judged, np.empty(0, int))
        if not len(before) or not len(rows):
            continue
        leaked = rows[np.isin(keys[rows], keys[before])]
        if not len(leaked):
            continue
        if _same_rows(before, rows, keys, labels):
            found.append(_same(dataset, seen, judged, leaked))
            continue
        share = len(leaked) / len(rows)
        example = int(leaked[0])
        twin = int(before[keys[before] == keys[example]][0])
        clash = int((labels.codes[leaked] != _first_code(leaked, before, keys, labels)).sum())
        found.append(
            Finding(
                code="audit.leak" if (seen, judged) == ("train", "test") else f"audit.leak-{seen}-{judged}",
                severity="error" if judged == "test" and share > 0.05 else "warning" if judged == "test" else "note",
                message=f"{len(leaked):,} of the {len(rows):,} {judged} rows ({share:.1%}) also stand in {seen}"
                + (f", {clash:,} of them under another label" if clash else "")
                + f": {_where(dataset, example)} is {_where(dataset, twin)}, {_show(dataset, example)}.",
                advice=f"A score on these rows shows memory, not skill. Remove them from {seen}; the report also gives "
                "the score without them.",
                count=len(leaked),
                rows=_named(leaked),
                details={"seen": seen, "judged": judged, "share": share, "other_label": clash},
            )
        )
    return found


def _near(dataset: Dataset, keys: np.ndarray, labels: Labels, usable: np.ndarray) -> list[Finding]:
    """Inputs that differ from another by a few characters, in one part and across parts that judge."""
    alike = near.groups(dataset, np.flatnonzero(usable), keys)
    repeats: list[int] = []
    earlier: dict[int, int] = {}
    torn = 0
    for rows in alike:
        parts = dataset.part[rows]
        for part in np.unique(parts):
            of_part = rows[parts == part]
            fresh = of_part[np.unique(keys[of_part], return_index=True)[1]]
            fresh.sort()
            repeats += fresh[1:].tolist()
            earlier |= dict.fromkeys(fresh[1:].tolist(), int(fresh[0]))
            torn += int((labels.codes[fresh[1:]] != labels.codes[fresh[0]]).sum())
    found = []
    if repeats:
        repeats.sort()
        share, example = len(repeats) / max(1, int(usable.sum())), repeats[0]
        found.append(
            Finding(
                code="audit.near-duplicate",
                severity="warning" if share > 0.05 else "note",
                message=f"{_rows(len(repeats))} ({share:.1%}) {'is' if len(repeats) == 1 else 'are'} nearly the same as an earlier row of the "
                f"same part"
                + (f", {torn:,} of them under another label" if torn else "")
                + f": {_where(dataset, example)}, "
                f"{_show(dataset, example)}, and {_where(dataset, earlier[example])}, {_show(dataset, earlier[example])}.",
                advice="They count nearly double. Where they come from templates or from one event, give its column as --group, so that "
                "they stay on one side of a split.",
                count=len(repeats),
                rows=tuple(repeats),
                details={"share": share, "other_label": torn},
            )
        )
    for seen, judged in (("train", "test"), ("train", "valid"), ("valid", "test")):
        if {seen, judged} <= set(dataset.given_parts):
            found += _near_leak(dataset, keys, alike, seen, judged)
    return found


def _near_leak(dataset: Dataset, keys: np.ndarray, alike: list[np.ndarray], seen: str, judged: str) -> list[Finding]:
    leaked: dict[int, int] = {}
    twins: set[int] = set()
    for rows in alike:
        before, after = (rows[dataset.part[rows] == PARTS.index(name)] for name in (seen, judged))
        # Those that are exactly the same have a finding of their own.
        close = before[~np.isin(keys[before], keys[after])]
        if len(close) and len(after):
            # A group is a chain: only a row that is itself alike to one on the other side is its twin.
            leaked |= dict(near.pairs(dataset, after, close))
            twins |= dict(near.pairs(dataset, close, after)).keys()
    if not leaked:
        return []
    total = int((dataset.part == PARTS.index(judged)).sum())
    example = min(leaked)
    share = len(leaked) / total
    return [
        Finding(
            code="audit.near-leak" if (seen, judged) == ("train", "test") else f"audit.near-leak-{seen}-{judged}",
            severity="warning" if judged == "test" and share > 0.01 else "note",
            message=f"{len(leaked):,} of the {total:,} {judged} rows ({share:.1%}) are nearly the same as a row of {seen}: "
            f"{_where(dataset, example)}, {_show(dataset, example)}, and {_where(dataset, leaked[example])}, "
            f"{_show(dataset, leaked[example])}.",
            advice=f"A score on these rows shows memory more than skill. `sartor audit --fix` takes their twins out of {seen}.",
            count=len(leaked),
            rows=tuple(sorted(leaked)),
            details={"seen": seen, "judged": judged, "share": share, "twins": sorted(twins)},
        )
    ]


def _first_code(rows: np.ndarray, before: np.ndarray, keys: np.ndarray, labels: Labels) -> np.ndarray:
    """For each row the label of the first row in `before` with its key."""
    known, first = np.unique(keys[before], return_index=True)
    return np.asarray(labels.codes[before[first[np.searchsorted(known, keys[rows])]]])


def _same_rows(one: np.ndarray, other: np.ndarray, keys: np.ndarray, labels: Labels) -> bool:
    """Whether two parts hold the same rows, in whatever order."""
    if len(one) != len(other):
        return False
    sides = [np.sort(keys[rows] * (len(labels.names) + 1) + labels.codes[rows]) for rows in (one, other)]
    return bool((sides[0] == sides[1]).all())


def _same(dataset: Dataset, seen: str, judged: str, leaked: np.ndarray) -> Finding:
    files = {part: [name for given, name in dataset.files if given == part] for part in (seen, judged)}
    names = {part: ", ".join(given) or dataset.source for part, given in files.items()}
    if names[seen] == names[judged]:
        what = f"The same file is given as {seen} and as {judged}: {names[seen]}"
    else:
        what = f"{names[judged]}, given as {judged}, holds the same rows as {names[seen]}, given as {seen}"
    return Finding(
        code="audit.same-rows" if judged == "test" and seen == "train" else f"audit.same-rows-{seen}-{judged}",
        severity="error",
        message=f"{what}. All {len(leaked):,} {judged} rows are in {seen}.",
        advice=f"Leave {judged} out and a part of {seen} will be held back, or give rows that were never trained on.",
        count=len(leaked),
        rows=_named(leaked),
        details={"seen": seen, "judged": judged, "files": names},
    )


def _wrong_labels(
    dataset: Dataset,
    keys: np.ndarray,
    labels: Labels,
    usable: np.ndarray,
    learning: np.ndarray,
    seed: int,
    embed: Embed | None,
) -> list[Finding]:
    """Labels that contradict what the other rows teach: rows worst first, and for each the label that fits better."""
    judging = {
        name: np.flatnonzero(usable & (dataset.part == PARTS.index(name)))
        for name in dataset.given_parts
        if name not in ("train", "unlabelled")
    }
    told = doubt.doubts(dataset, keys, labels.codes, np.flatnonzero(learning), judging, seed=seed, embed=embed)
    return [_doubtful(dataset, labels, part, doubts) for part, doubts in told.items() if len(doubts.wrong)]


def _doubtful(dataset: Dataset, labels: Labels, part: str, doubts: doubt.Doubts) -> Finding:
    rows = doubts.rows[doubts.wrong]
    given = labels.of(rows)
    suggested = [labels.names[code] for code in doubts.classes[doubts.suggested[doubts.wrong]]]
    count, worst = len(rows), int(rows[0])
    effect = (
        f"They teach what is not so, and on rows labelled in the same way no model scores much above {1 - doubts.rate:.0%}."
        if part == "train"
        else f"Where they are wrong, a perfect model loses up to {count / len(doubts.rows):.1%} of accuracy on them."
    )
    return Finding(
        code="audit.wrong-label" if part == "train" else f"audit.wrong-label-{part}",
        severity="warning" if doubts.low >= WRONG_RATE else "note",
        message=f"{_rows(count)} of {len(doubts.rows):,}"
        + ("" if part == "train" else f" of {part}")
        + f" probably {_has(count)} a wrong label: {_where(dataset, worst)}, {_show(dataset, worst)}, is "
        f"{shortened(given[0])!r} and reads like {shortened(suggested[0])!r}.",
        advice=f"{effect} `sartor audit --to-label` writes them for a person to look at, the most doubtful first.",
        count=count,
        rows=tuple(rows.tolist()),
        details={
            "part": part,
            "suggested": suggested,
            "pairs": [[*pair, times] for pair, times in Counter(zip(given, suggested, strict=True)).most_common(100)],
            "rate": doubts.rate,
            "low": doubts.low,
            "high": doubts.high,
        },
    )


def _outliers(dataset: Dataset, column: Column, keys: np.ndarray, usable: np.ndarray) -> list[Finding]:
    """Values made of what no other value has: another language, code, a slip of the paste."""
    leaf = leaves.load("modality", column.kind)
    if not hasattr(leaf, "rarity"):
        return []
    rows = np.flatnonzero(usable)
    rows = rows[np.sort(np.unique(keys[rows], return_index=True)[1])]  # of rows that are the same one
    if len(rows) < LEAST_FOR_OUTLIERS:
        return []
    alone, pieces = leaf.rarity(Rows(dataset.table, [column.name], rows).column(column.name))
    enough = pieces >= LEAST_PIECES
    if enough.sum() < LEAST_FOR_OUTLIERS:
        return []
    middle = float(np.median(alone[enough]))
    spread = max(
        LEAST_SPREAD, 1.4826 * float(np.median(np.abs(alone[enough] - middle)))
    )  # of a normal law, from the median
    far = np.flatnonzero(enough & (alone > LEAST_ALONE) & (alone > middle + FAR * spread))
    if not len(far):
        return []
    far = far[np.argsort(-alone[far], kind="stable")]
    worst = int(rows[far[0]])
    return [
        Finding(
            code="audit.outlier",
            severity="note",
            message=f"{_rows(len(far))} of {column.name!r} {_is(len(far))} unlike all others: of {_where(dataset, worst)}, "
            f"{_show(dataset, worst)}, {alone[far[0]]:.0%} of the pieces stand nowhere else (usually {middle:.0%}).",
            advice="Look whether they belong there. A model learns nothing from them, and answers such rows at random.",
            count=len(far),
            rows=_named(rows[far]),
            details={"column": column.name, "alone": alone[far][:MOST_ROWS].tolist(), "usually": middle},
        )
    ]


def _lonely_classes(labels: Labels, learning: np.ndarray) -> list[Finding]:
    """Classes with a single row to learn from. (The task's own audit tells of those with few.)"""
    rows = np.flatnonzero(learning)
    counts = np.bincount(labels.codes[rows], minlength=len(labels.names))
    lonely = np.flatnonzero(counts == 1)
    if not len(lonely):
        return []
    return [
        Finding(
            code="audit.single-row-class",
            severity="error",
            message=f"{len(lonely):,} of {int((counts > 0).sum()):,} classes {_has(len(lonely))} one row only, so "
            f"nothing can be learned or checked: {_list(labels.names[code] for code in lonely)}.",
            advice="Label more rows of these classes, merge them with another, or leave them out.",
            count=len(lonely),
            rows=_named(rows[np.isin(labels.codes[rows], lonely)]),
            details={"classes": [labels.names[code] for code in lonely[:MOST_ROWS]]},
        )
    ]


def _unseen_classes(dataset: Dataset, labels: Labels, usable: np.ndarray, learning: np.ndarray) -> list[Finding]:
    """Classes of a given part that have no row to learn from."""
    found = []
    known = np.unique(labels.codes[learning])
    for name in dataset.given_parts:
        rows = np.flatnonzero(usable & (dataset.part == PARTS.index(name)))
        strange = rows[~np.isin(labels.codes[rows], known)]
        if name in ("train", "unlabelled") or not len(strange) or not len(known):
            continue
        classes = [labels.names[code] for code in np.unique(labels.codes[strange])]
        found.append(
            Finding(
                code="audit.unseen-class",
                severity="error",
                message=f"{len(classes):,} {'class' if len(classes) == 1 else 'classes'} in {name} "
                f"{_is(len(classes))} not in train, in {_rows(len(strange)).lower()}, which can only be answered "
                f"wrongly: {_list(classes)}.",
                advice="Check how the labels are written in each part, or add rows of these classes to train.",
                count=len(strange),
                rows=_named(strange),
                details={"part": name, "classes": classes[:MOST_ROWS]},
            )
        )
    return found


def _spellings(labels: Labels, usable: np.ndarray) -> list[Finding]:
    """Classes that look like one, written in two ways: in all but letters and digits, or by a letter in a rare one."""
    counts = Counter(labels.of(np.flatnonzero(usable)))
    groups: dict[str, list[str]] = {}
    for name in counts:
        groups.setdefault(_folded(name), []).append(name)
    alike = [sorted(names, key=lambda name: -counts[name]) for names in groups.values() if len(names) > 1]
    words = [name for name in counts if len(name) >= 5 and not re.search(r"\d", name)]
    for rare in words[:500]:
        # A slip of the keyboard seldom is the first letter; "legal" and "illegal" are two classes.
        common = [
            name
            for name in words
            if name[0] == rare[0] and counts[name] >= 10 and counts[rare] <= max(1, 0.02 * counts[name])
        ]
        close = difflib.get_close_matches(rare, common, n=1, cutoff=0.8)
        if close and _folded(close[0]) != _folded(rare):
            alike.append([close[0], rare])
    if not alike:
        return []
    told = "; ".join(" and ".join(f"{shortened(name)!r} ({counts[name]:,})" for name in names) for names in alike[:4])
    odd = {name for names in alike for name in names[1:]}
    rows = np.flatnonzero(usable & np.isin(labels.codes, [i for i, name in enumerate(labels.names) if name in odd]))
    return [
        Finding(
            code="audit.label-spelling",
            severity="warning",
            message=f"{len(alike):,} {'pair' if len(alike) == 1 else 'pairs'} of classes may be one, written in two "
            f"ways: {told}.",
            advice="Write each label in one way; they are counted as different classes.",
            count=len(rows),
            rows=_named(rows),
            details={"alike": alike[:100]},
        )
    ]


def _folded(name: str) -> str:
    """Letters and digits alone, unless that is nothing or a number ("<=50K." is "<=50K", but "+1" is not "-1")."""
    text = unicodedata.normalize("NFKC", name).casefold()
    letters = re.sub(r"[\W_]+", "", text)
    if not letters or letters.isdigit():
        return text.strip()
    return re.sub(r"[\s._\-–—/]+", "", text)


def _telling_columns(dataset: Dataset, labels: Labels, learning: np.ndarray) -> list[Finding]:
    """Columns from whose value the label follows nearly always, judged on values that occur at least twice."""
    found = []
    rows = np.flatnonzero(learning)
    if not len(rows):
        return []
    majority = np.bincount(labels.codes[rows]).max() / len(rows)
    for column in dataset.schema.columns:
        if column.role in ("target", "group") or column.kind == "unknown":
            continue
        values = as_text(dataset.table.column(column.name).take(pa.array(rows)))
        encoded = pc.dictionary_encode(pc.utf8_trim_whitespace(values)).combine_chunks()
        encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
        codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        pairs, times = np.unique(np.column_stack([codes, labels.codes[rows]]), axis=0, return_counts=True)
        value, start = np.unique(pairs[:, 0], return_index=True)
        total, best = np.add.reduceat(times, start), np.maximum.reduceat(times, start)
        again = (total > 1) & (value >= 0)
        covered = int(total[again].sum())
        # Values that occur once tell nothing; a column of such (an identifier, free text) is not judged.
        if covered < 0.5 * len(rows) or again.sum() < 2:
            continue
        told = float(best[again].sum() / covered)
        # Few repetitions agree by chance: each value needs five rows on average, and the majority must not be enough.
        if told < 0.98 or covered < 5 * again.sum() or majority > 0.9:
            continue
        found.append(_telling(column, told, int(again.sum()), covered))
    return found


def _telling(column: Column, share: float, values: int, rows: int) -> Finding:
    used = column.role == "input"
    return Finding(
        code="audit.gives-away",
        severity="error" if used else "note",
        message=f"Column {column.name!r} gives the label away: its {values:,} values tell it in {share:.1%} of "
        f"{rows:,} rows." + ("" if used else " It is not used as an input."),
        advice="Will it be known when the model is used? If it is made from the label, leave it out of the inputs."
        if used
        else "Nothing to do, unless it was meant as an input.",
        count=rows,
        details={"column": column.name, "share": share, "values": values},
    )


def _telling_names(dataset: Dataset, labels: Labels, usable: np.ndarray) -> list[Finding]:
    """A sign in the names of files that goes with the labels: what each stands for, and the files that are labelled otherwise."""
    found = []
    rows = np.flatnonzero(usable)
    for column in dataset.schema.inputs:
        names = dataset.names.get(column.name)
        told = naming.naming([names[row] for row in rows.tolist()], labels.codes[rows]) if names and len(rows) else None
        if told is None:
            continue
        otherwise = rows[told.otherwise]
        listed = ", ".join(
            f"{shortened(sign)!r} for {shortened(labels.names[code])!r} ({right:,} of {count:,})"
            for sign, code, count, right in told.signs[:8]
        )
        message = f"The names of the files tell the label in {told.share:.1%} of {_rows(len(rows)).lower()}: {told.place} is {listed}"
        message += ", …." if len(told.signs) > 8 else "."
        if len(otherwise):
            row = int(otherwise[0])
            message += (
                f" {_rows(len(otherwise))} {_is(len(otherwise))} labelled otherwise: {_where(dataset, row)}, "
                f"{_called(dataset, column.name, row)}, is {shortened(labels.names[labels.codes[row]])!r}."
            )
        found.append(
            Finding(
                code="audit.names-tell",
                severity="warning" if len(otherwise) else "note",
                message=message,
                advice="No model reads names. If they were given by those who made the files, compare what each sign stands for with its label: "
                "of classes that were permuted, every label is wrong and fits all the others. Look at the rows that are labelled otherwise.",
                count=len(otherwise) or len(rows),
                rows=_named(otherwise),
                details={
                    "column": column.name,
                    "place": told.place,
                    "signs": [[sign, labels.names[code], count, right] for sign, code, count, right in told.signs],
                },
            )
        )
    return found


def _label_in_text(dataset: Dataset, labels: Labels, learning: np.ndarray, rng: np.random.Generator) -> list[Finding]:
    """Texts that name their own label, in most rows of most classes, while others' texts do not."""
    rows = _sample(np.flatnonzero(learning), SAMPLE, rng)
    others = _sample(rows, 2_000, rng)
    counts = Counter(labels.codes[rows].tolist())
    found = []
    for column in dataset.schema.inputs:
        if column.kind != "text":
            continue
        texts = _spaced(dataset.table.column(column.name).take(pa.array(rows)))
        apart = _spaced(dataset.table.column(column.name).take(pa.array(others)))
        telling: dict[str, float] = {}
        for code, count in counts.items():
            name = _spaced(pa.chunked_array([[labels.names[code]]]))[0].as_py().strip()
            if len(name) < (2 if not name.isascii() else 3) or name.isdigit():
                continue
            own = texts.filter(pa.array(labels.codes[rows] == code))
            inside = pc.sum(pc.match_substring(own, name)).as_py() or 0
            if inside <= 0.5 * count:
                continue
            strangers = apart.filter(pa.array(labels.codes[others] != code))
            outside = (pc.sum(pc.match_substring(strangers, name)).as_py() or 0) / max(1, len(strangers))
            if outside < 0.2 * inside / count:
                telling[labels.names[code]] = inside / count
        if len(telling) > 0.5 * len(counts):
            share = sum(
                telling[labels.names[code]] * count for code, count in counts.items() if labels.names[code] in telling
            )
            example = next(iter(telling))
            found.append(
                Finding(
                    code="audit.label-in-text",
                    severity="error" if share > 0.9 * len(rows) else "warning",
                    message=f"The texts in {column.name!r} name their own label in {share / len(rows):.1%} of the "
                    f"rows, in {len(telling):,} of {len(counts):,} classes: {telling[example]:.1%} of the rows of "
                    f"{shortened(example)!r} contain that word.",
                    advice="If the label was written into the text, take it out: a model learns to copy it, and "
                    "new texts have none.",
                    count=round(share),
                    details={"column": column.name, "classes": dict(list(telling.items())[:100])},
                )
            )
    return found


def _telling_words(
    dataset: Dataset, labels: Labels, learning: np.ndarray, rng: np.random.Generator, told: Sequence[str]
) -> list[Finding]:
    """Texts one of whose words is enough to tell the label of nearly every row, but the columns `told` of already."""
    rows = _sample(np.flatnonzero(learning), telling.ROWS, rng)
    found = []
    for column in dataset.schema.inputs:
        if column.kind != "text" or column.name in told:
            continue
        leaf = leaves.load("modality", column.kind)
        values = Rows(dataset.table, [column.name], rows).column(column.name)
        texts = [str(value or "")[: telling.MOST_CHARACTERS].casefold() for value in values]
        words = telling.telling(texts, [leaf.parts(text) for text in texts], labels.codes[rows])
        if words is None:
            continue
        listed = ", ".join(
            f"{shortened(word)!r} for {shortened(labels.names[code])!r} ({right:,} of {count:,} rows)"
            for word, code, right, count in words.words[:4]
        )
        found.append(
            Finding(
                code="audit.words-tell",
                severity="warning",
                message=f"Column {column.name!r} gives the label away: one word of it is enough to tell the label in {words.share:.1%} of "
                f"{len(rows):,} rows. The words that tell most: {listed}.",
                advice="Will it be known, and written in this way, when the model is used? If it is made from the label, leave it out of the inputs. "
                "If not, a small model of words will do.",
                count=round(words.share * len(rows)),
                details={
                    "column": column.name,
                    "share": words.share,
                    "words": [[word, labels.names[code], right, count] for word, code, right, count in words.words],
                },
            )
        )
    return found


def _spaced(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Lower case, with spaces for what joins words in a label's name."""
    return pc.replace_substring_regex(pc.utf8_lower(texts), r"[\s_\-/]+", " ")


def _by_modality(dataset: Dataset, column: Column, rng: np.random.Generator) -> list[Finding]:
    leaf = leaves.load("modality", column.kind)
    rows = _sample(np.arange(len(dataset)), SAMPLE, rng)
    values = Rows(dataset.table, [column.name], rows).column(column.name)
    found: list[Finding] = leaf.audit(column.name, values, rows.tolist())
    if len(rows) < len(dataset):
        note = f"(Of {SAMPLE:,} rows that were looked at.)"
        found = [
            replace(item, message=f"{item.message} {note}", details={**item.details, "looked_at": SAMPLE})
            for item in found
        ]
    if hasattr(leaf, "flaws"):
        every = Rows(dataset.table, [column.name], np.arange(len(dataset)))
        flaws = leaf.flaws(column.name, (value for row in every for value in row.values()), range(len(dataset)))
        for item in flaws:
            called = _called(dataset, column.name, item.rows[0]) if item.rows else ""
            found.append(
                replace(item, message=f"{item.message} Row {item.rows[0] + 1:,} is {called}.") if called else item
            )
    return found


def _sample(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def _named(rows: np.ndarray) -> tuple[int, ...]:
    return tuple(rows.tolist())


def _where(dataset: Dataset, row: int) -> str:
    """A row as its owner would count it: by its place in its part, from 1."""
    part = int(dataset.part[row])
    place = int(np.count_nonzero(dataset.part[: row + 1] == part))
    return f"row {place:,}" + (f" of {PARTS[part]}" if part >= 0 else "")


def _show(dataset: Dataset, row: int) -> str:
    """The inputs of a row, short: texts in quotes, of a table its first cells with their names; bytes speak to nobody."""
    cells = [column.name for column in dataset.schema.inputs if not speaks_for_itself(column.kind)]
    told = []
    for name, value in Rows(dataset.table, [column.name for column in dataset.schema.inputs], np.array([row]))[
        0
    ].items():
        if isinstance(value, bytes):
            told += [called] if (called := _called(dataset, name, row)) else []
            continue
        shown = shortened(personal.mask(value) if isinstance(value, str) else value, 30 if name in cells else 80)
        told.append(f"{name} {shown}" if name in cells else f"“{shown}”")
    return " / ".join(told[:MOST_CELLS]) + (", …" if len(told) > MOST_CELLS else "") or "what it holds"


def _with_files(dataset: Dataset, finding: Finding) -> Finding:
    """The finding with what the files of its rows are called, where they are media."""
    media = [column.name for column in dataset.schema.inputs if dataset.names.get(column.name)]
    if not media or not finding.rows:
        return finding
    files = [dataset.names[media[0]][row] for row in finding.rows[:MOST_ROWS]]
    return replace(finding, details=finding.details | {"files": files}) if any(files) else finding


def _called(dataset: Dataset, column: str, row: int) -> str:
    """What the file of a row of media is called; nothing where that is not known."""
    names = dataset.names.get(column)
    return shortened(names[row] or "", 80) if names else ""


def _list(names: Iterable[str], most: int = 6) -> str:
    told = [repr(shortened(name)) for name in names]
    return ", ".join(told[:most]) + (", …" if len(told) > most else "")


def _rows(count: int) -> str:
    return "One row" if count == 1 else f"{count:,} rows"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _has(count: int) -> str:
    return "has" if count == 1 else "have"


def _repeat(count: int) -> str:
    return "repeats" if count == 1 else "repeat"
