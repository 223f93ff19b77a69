"""Rows in Arrow with what is known of them: the nouns Dataset, Schema, Splits, Examples and Finding.

A dataset is one table. Where the user gave parts (train, test, …) they stand below one another in that table, and `part`
says which row came from where. Splits are row numbers, never copies.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sartor.errors import InputError, near

PARTS = ("train", "valid", "calib", "test", "unlabelled")
MOST_KEPT = 1_000  # rows of a finding, in the report
Role = Literal["input", "target", "group", "time", "other"]
Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Column:
    """One column: its `kind` is the name of a modality leaf, or 'label', 'number', 'category', 'identifier', 'unknown'."""

    name: str
    kind: str
    role: Role


@dataclass(frozen=True)
class Schema:
    """The columns of a dataset, and why each has the role it has. tasks: of each target by its column, in the order in which they were asked for."""

    columns: tuple[Column, ...]
    reasons: tuple[str, ...] = ()
    tasks: Mapping[str, str] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.role == "input")

    @property
    def targets(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.role == "target")

    def has_classes(self, target: str) -> bool:
        """Whether the values of a target are names of classes."""
        return any(column.kind == "label" for column in self.targets if column.name == target)


@dataclass(frozen=True)
class SetAside:
    """A row of a file that could not be read. It is counted and named, never silently dropped."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Rows, their schema and where they came from.

    `table`: Arrow, memory-mapped where it came from disk. `part`: for each row the index in PARTS of the part it was given
    in, or -1 where one file was given. `fingerprint`: sha256 over the rows' contents, column names and parts. `names`: of columns
    of media, what the file of each row is called, where it is known.
    """

    table: pa.Table
    schema: Schema
    part: np.ndarray
    fingerprint: str
    source: str
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()  # how it was read: encoding, delimiter, header
    files: tuple[tuple[str, str], ...] = ()  # (part or "", file), in the order of the rows
    names: Mapping[str, Sequence[str | None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.table.num_rows

    def rows_of(self, part: str) -> np.ndarray:
        """Row numbers that were given as this part, ascending."""
        return np.flatnonzero(self.part == PARTS.index(part))

    @property
    def given_parts(self) -> tuple[str, ...]:
        present = set(np.unique(self.part).tolist())
        return tuple(name for index, name in enumerate(PARTS) if index in present)


class Rows(Sequence[dict[str, Any]]):
    """Rows of a table as {column: value}, made when they are asked for."""

    def __init__(self, table: pa.Table, columns: Sequence[str], index: np.ndarray) -> None:
        self.table = table.select(list(columns))
        self.columns = tuple(columns)
        self.numbers = np.asarray(index, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, slice):
            return Rows(self.table, self.columns, self.numbers[item])
        row = int(self.numbers[item])
        return {name: self.table.column(name)[row].as_py() for name in self.columns}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        size = rows_at_once(self.table, most=1024)
        for start in range(0, len(self.numbers), size):
            yield from self.table.take(pa.array(self.numbers[start : start + size])).to_pylist()

    def column(self, name: str) -> Sequence[Any]:
        """The values of one column for these rows, in order; bytes are read when they are asked for."""
        if pa.types.is_large_binary(self.table.column(name).type):
            return _Bytes(Rows(self.table, [name], self.numbers))
        return self.table.column(name).take(pa.array(self.numbers)).to_pylist()  # type: ignore[no-any-return]


class Joined(Sequence[dict[str, Any]]):
    """The rows of several sequences, one after the other, made when they are asked for."""

    def __init__(self, *parts: Sequence[dict[str, Any]]) -> None:
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, slice):
            return [self[place] for place in range(*item.indices(len(self)))]
        place = range(len(self))[int(item)]
        which = int(np.searchsorted(self.ends, place, side="right"))
        return self.parts[which][place - int(self.ends[which]) + len(self.parts[which])]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for part in self.parts:
            yield from part


class _Bytes(Sequence[Any]):
    """The values of the one column of some rows."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, slice):
            return _Bytes(self.rows[item])
        return next(iter(self.rows[item].values()))

    def __iter__(self) -> Iterator[Any]:
        return (value for row in self.rows for value in row.values())


def without_bytes(dataset: Dataset, rows: np.ndarray) -> pa.Table:
    """These rows with what the files of media are called in place of what they hold; nothing where that is not known."""
    table = dataset.table.take(pa.array(rows))
    for place, name in enumerate(table.column_names):
        if pa.types.is_large_binary(table.schema.field(place).type):
            names = dataset.names.get(name) or [None] * len(dataset)
            table = table.set_column(place, name, pa.array([names[row] for row in rows.tolist()], pa.large_string()))
    return table


def rows_at_once(table: pa.Table, *, most: int, held_bytes: int = 64 << 20) -> int:
    """How many rows of a table hold about so many bytes, from 1 to `most`."""
    usual = max(1, table.nbytes // max(1, table.num_rows))
    return int(max(1, min(most, held_bytes // usual)))


def check_column(dataset: Dataset, name: str) -> None:
    """Raises: InputError `schema.unknown-column`, with the nearest name."""
    known = dataset.table.column_names
    if name not in known:
        raise InputError(
            "schema.unknown-column", column=name, near=near(name, known), known=", ".join(map(repr, known))
        )


def texts_of(dataset: Dataset, rows: np.ndarray, columns: Iterable[str]) -> dict[str, list[str | None]]:
    """The values of columns for these rows, as text without the white space around it: what `where COLUMN == VALUE` compares.

    Raises: InputError `schema.unknown-column`.
    """
    found: dict[str, list[str | None]] = {}
    for name in columns:
        check_column(dataset, name)
        values = as_text(dataset.table.column(name).take(pa.array(rows)))
        found[name] = pc.utf8_trim_whitespace(values).to_pylist()
    return found


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values of a column as text. Bytes are none: in place of each stands its sha256."""
    if not pa.types.is_large_binary(column.type):
        return column.cast(pa.large_string())
    told = (hashlib.sha256(value.as_buffer()).hexdigest() if value.is_valid else None for value in column)
    return pa.chunked_array([pa.array(told, pa.large_string())])


@dataclass(frozen=True)
class Examples:
    """What learning and measuring see. A task makes them from rows: one per row unless it says otherwise.

    inputs: one {column: value} per example. targets: per target column one value per example.
    rows: the row of the dataset that each came from. groups: examples with the same number are not independent; by
    default every example is its own group.
    """

    inputs: Sequence[dict[str, Any]]
    targets: dict[str, list[Any]]
    rows: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: np.ndarray) -> Examples:
        """The examples at these positions."""
        return Examples(
            inputs=_take(self.inputs, index),
            targets={name: [values[i] for i in index] for name, values in self.targets.items()},
            rows=self.rows[index],
            groups=self.groups[index],
        )

    @property
    def grouped(self) -> bool:
        return len(np.unique(self.groups)) < len(self.groups)


def _take(inputs: Sequence[dict[str, Any]], index: np.ndarray) -> Sequence[dict[str, Any]]:
    if isinstance(inputs, Rows):
        return Rows(inputs.table, inputs.columns, inputs.numbers[index])
    return [inputs[int(i)] for i in index]


@dataclass(frozen=True)
class Splits:
    """Row numbers of each split, and the rule that made them. No row stands in two splits."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    calib: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    unlabelled: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    group: str | None = None  # the column that says which rows belong together
    rule: str = ""
    leaked: np.ndarray = field(
        default_factory=lambda: np.empty(0, dtype=np.int64)
    )  # test rows whose inputs are in train

    def sizes(self) -> dict[str, int]:
        return {name: len(getattr(self, name)) for name in PARTS}


@dataclass(frozen=True)
class Finding:
    """One thing that the audit found: what, how bad, which rows, what to do. Of the rows the record keeps 1,000 at most."""

    code: str
    severity: Severity
    message: str
    advice: str
    count: int
    rows: tuple[int, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        details = {
            name: value[:MOST_KEPT] if isinstance(value, list) else value for name, value in self.details.items()
        }
        return asdict(self) | {"rows": list(self.rows[:MOST_KEPT]), "details": details}


def save_arrow(table: pa.Table, path: Path) -> pa.Table:
    """Writes a table as an Arrow file and gives it back memory-mapped.

    One chunk stays one chunk: taking 1,024 rows from 60 chunks of 10,000 texts took 19 ms, as Arrow first joins them
    all; from one chunk of them 0.14 ms.
    """
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return load_arrow(path)


def load_arrow(path: Path) -> pa.Table:
    """A table from an Arrow file, memory-mapped."""
    with pa.memory_map(str(path), "r") as source:
        return pa.ipc.open_file(source).read_all()


def numbered(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """A column of categories as numbers: (codes [n] int64, -1 where there is none; names, what they stand for, without blanks around)."""
    encoded = pc.dictionary_encode(pc.utf8_trim_whitespace(as_text(column))).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # what combine_chunks gives hangs on the number of chunks
        encoded = encoded.chunk(0)
    names = encoded.dictionary.to_pylist()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    if "" in names:
        codes[codes == names.index("")] = -1
    return codes, names


def shortened(value: Any, most: int = 40) -> str:
    """One line without control characters, of at most so many characters: a message may end in a terminal or a log."""
    text = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in str(value)[: 4 * most])
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
