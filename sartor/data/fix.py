"""What an audit's findings let a program mend, and what a person should look at.

`clean` does only what is certain and says of every row it touched why: it removes repeats and rows without an input or a label, takes
training rows out that also stand in the test part, and mends characters. Labels are never changed: what may be
wrong there goes to `to_label`, the most valuable first.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from sartor import leaves
from sartor.data.dataset import PARTS, Dataset, Finding, without_bytes
from sartor.data.split import row_keys
from sartor.errors import InputError

REMOVED = {
    "audit.duplicate": "repeats an earlier row of the same part",
    "audit.empty-input": "has nothing to learn from",
    "audit.missing-target": "has no label",
}
# What a person should look at, in this order, and what for.
ASKED = {
    "audit.conflict": "the same input stands under different labels",
    "audit.wrong-label": "other rows contradict the label",
    "audit.outlier": "it is unlike all other rows",
    "audit.label-spelling": "the label may be another one, written in a second way",
    "audit.single-row-class": "it is the only row of its class",
}
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run (OWASP, CSV injection)


@dataclass(frozen=True)
class Touch:
    """One row that was changed or removed. row: counted from 1 in its part. column, before, after: of a value that was mended."""

    part: str
    row: int
    why: str
    column: str = ""
    before: str = ""
    after: str = ""


def clean(dataset: Dataset, findings: Sequence[Finding]) -> tuple[Dataset, list[Touch]]:
    """The rows without what can only harm, and every touch, in the order of the rows."""
    touched: dict[int, list[Touch]] = {}
    place = places(dataset)

    def touch(row: int, why: str, **facts: str) -> None:
        part = int(dataset.part[row])
        touched.setdefault(row, []).append(Touch(PARTS[part] if part >= 0 else "", int(place[row]), why, **facts))

    removed: dict[int, str] = {}
    for finding in findings:
        for row in finding.rows if finding.code in REMOVED else ():
            removed.setdefault(row, REMOVED[finding.code])
    for row, part in _seen_elsewhere(dataset, findings):
        removed.setdefault(row, f"also stands in {part}")
    for row, why in removed.items():
        touch(row, f"removed: it {why}")
    table = dataset.table
    for column in dataset.schema.inputs:
        mend = getattr(leaves.load("modality", column.kind), "mend", None)
        if mend is None:
            continue
        values = table.column(column.name).to_pylist()
        for row, value in enumerate(values):
            if value is None or row in removed:
                continue
            mended, reasons = mend(value)
            if reasons:
                touch(row, f"mended: {', '.join(reasons)}", column=column.name, before=str(value), after=str(mended))
                values[row] = mended
        at = table.column_names.index(column.name)
        table = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
    kept = np.setdiff1d(np.arange(len(dataset)), list(removed))
    made = Dataset(
        **{
            **vars(dataset),
            "table": table.take(pa.array(kept)),
            "part": dataset.part[kept],
            "names": {name: [names[row] for row in kept.tolist()] for name, names in dataset.names.items()},
        }
    )
    return made, [one for row in sorted(touched) for one in touched[row]]


def _seen_elsewhere(dataset: Dataset, findings: Sequence[Finding]) -> Iterable[tuple[int, str]]:
    """(row, the part that judges) of rows to learn from that a leak has in a part that judges; the judging part stays as it is."""
    keys = row_keys(dataset)
    for finding in findings:
        seen, judged = finding.details.get("seen"), finding.details.get("judged")
        if not finding.code.startswith(("audit.leak", "audit.near-leak")) or seen is None:
            continue
        twins = finding.details.get("twins")  # rows of `seen` that are nearly the same, where keys do not tell
        rows = np.flatnonzero(dataset.part == PARTS.index(seen))
        found = twins if twins is not None else rows[np.isin(keys[rows], keys[list(finding.rows)])]
        yield from ((int(row), str(judged)) for row in found)


def places(dataset: Dataset) -> np.ndarray:
    """The number of each row in its part [n], from 1."""
    place = np.empty(len(dataset), dtype=np.int64)
    for part in np.unique(dataset.part):
        rows = np.flatnonzero(dataset.part == part)
        place[rows] = np.arange(1, len(rows) + 1)
    return place


def write(dataset: Dataset, touches: Sequence[Touch], path: Path) -> list[Path]:
    """Writes the rows as CSV, a file for each given part beside `path`, and the touches as `….log.csv`. Returns the files.

    Media stay where they are: in their column stands what their file is called, as in the table or seen from the folder that was read.

    Raises: InputError `export.exists` before anything is written.
    """
    named = dataset.given_parts
    parts = {path.with_name(f"{path.stem}.{name}{path.suffix}"): name for name in named} if named else {path: ""}
    log = path.with_name(f"{path.stem}.log.csv")
    refuse_existing([*parts, log])
    for file, name in parts.items():
        rows = dataset.rows_of(name) if name else np.arange(len(dataset))
        pa.csv.write_csv(without_bytes(dataset, rows), file)
    header = ["part", "row", "why", "column", "before", "after"]
    _write_for_people(log, header, ([getattr(one, name) for name in header] for one in touches))
    return [*parts, log]


def to_label(dataset: Dataset, findings: Sequence[Finding], *, target: str | Collection[str]) -> list[dict[str, Any]]:
    """Rows for a person to look at, each once, the most valuable first: {part, row, why, inputs…, target, suggested}.

    target: a column, or several, which all stand in a row; what is suggested is for the one that `why` names.
    """
    place = places(dataset)
    labels = {name: dataset.table.column(name) for name in ([target] if isinstance(target, str) else target)}
    shown = without_bytes(dataset, np.arange(len(dataset)))
    inputs = [column.name for column in dataset.schema.inputs]
    told: dict[int, dict[str, Any]] = {}
    for code, why in ASKED.items():
        for finding in findings:
            if finding.code != code and not finding.code.startswith(f"{code}-"):
                continue
            better = finding.details.get("suggested", [""] * len(finding.rows))
            for row, suggested in zip(finding.rows, better, strict=True):
                part = int(dataset.part[row])
                of_one = finding.details.get("target")
                told.setdefault(
                    row,
                    {
                        "part": PARTS[part] if part >= 0 else "",
                        "row": int(place[row]),
                        "why": f"{of_one}: {why}" if of_one else why,
                        **{name: shown.column(name)[row].as_py() for name in inputs},
                        **{name: column[row].as_py() for name, column in labels.items()},
                        "suggested": suggested,
                    },
                )
    return list(told.values())


def write_to_label(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes rows for a person as CSV with an empty last column for the answer.

    Raises: InputError `export.exists`.
    """
    refuse_existing([path])
    header = list(rows[0]) if rows else ["part", "row", "why"]
    _write_for_people(path, [*header, "label_is"], ([*row.values(), ""] for row in rows))


def refuse_existing(files: Iterable[Path]) -> None:
    """Raises: InputError `export.exists`."""
    for file in files:
        if file.exists():
            raise InputError("export.exists", path=file)


def _write_for_people(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """CSV that a spreadsheet opens without running anything in it."""
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow([_inert(name) for name in header])
        writer.writerows([[_inert(value) for value in row] for row in rows])


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
