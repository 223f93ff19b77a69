"""Reads a source into a Dataset: rows in Arrow, one table for all parts, with a fingerprint of what they hold.

Files are read in batches into one chunk per column (taking rows from a column of many chunks copies all of it), on disk
where there is a cache. Whatever a label was in its file, here it is text.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sartor.data import cells
from sartor.data.dataset import PARTS, Dataset, Schema, SetAside, as_text, load_arrow, save_arrow
from sartor.data.schema import NESTED, infer
from sartor.data.source import BROKEN, File, Piece, as_utf8, find
from sartor.data.table import MAX_COLUMNS, Table, media_of, name_of, open_piece
from sartor.errors import InputError

_BROKEN = (*BROKEN, pa.ArrowException)
Roles = Callable[[pa.Table], tuple[Schema, str]]  # `infer`, with what the user asked for


@dataclass(frozen=True)
class _Rows:
    """What reading gave, before any column has a role. runs: (part, rows) in the order of the table."""

    table: pa.Table
    runs: tuple[tuple[str | None, int], ...]
    set_aside: tuple[SetAside, ...]
    notes: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]  # (file, column that it lacks)
    names: Mapping[str, Sequence[str | None]]  # of columns of media, what the file of each row is called
    absent: Mapping[str, Mapping[str, Any]]  # of columns of names of which no file is there, `data.media-missing`


def read(
    source: str | Path | Mapping[str, Any],
    *,
    input: str | Sequence[str] | None = None,
    target: str | Mapping[str, str | None] | None = None,
    task: str | None = None,
    cache: Path | None = None,
) -> Dataset:
    """Reads rows and finds out what their columns are.

    source: a file, a folder, a zip archive, a hub data set id, or {part: any of these} with parts of PARTS. target: as of `infer`. cache: a
    folder where the rows are kept as an Arrow file and memory-mapped, under a name made of what was read.
    A column of numbers of which most with a comma cannot mean thousands (1,5 and 0,250) has decimal commas: they become points, and 1,234
    is 1.234 there. Without such a column around it, 1,234 is a thousand and more.
    Example: `read("reviews.csv", target="label")`.
    Raises: InputError `data.*`, `schema.*`.
    """
    roles = partial(infer, input=input, target=target, task=task)
    with _told(source):
        pieces = find(source)
        rows = _read(pieces, None, roles) if cache is None else _kept(pieces, cache, (input, target, task), roles)
    part = np.concatenate(
        [np.full(count, -1 if name is None else PARTS.index(name), dtype=np.int8) for name, count in rows.runs]
    )
    schema, _ = roles(rows.table)
    _check_missing(rows, schema)
    table, notes = _typed(rows.table, schema)
    return Dataset(
        table=table,
        schema=schema,
        part=part,
        fingerprint=fingerprint(rows.table, part),
        source=_describe(source),
        set_aside=rows.set_aside,
        notes=(*rows.notes, *notes),
        files=tuple((piece.part or "", name_of(piece)) for piece in pieces),
        names=rows.names,
    )


def rows(source: str | Path) -> list[dict[str, Any]]:
    """The rows of a file as {column: value}, without asking what its columns are; a text that is not there is empty, and decimal commas are points.

    Raises: InputError `data.*`.
    """
    with _told(source):
        table = _read(find(source), None, infer).table
    texts = [pa.types.is_large_string(field.type) for field in table.schema]
    columns = [
        pc.fill_null(_with_points(column) if _has_decimal_commas(column) and _holds_numbers(column) else column, "")
        if text
        else column
        for column, text in zip(table.columns, texts, strict=True)
    ]
    return pa.table(columns, names=table.column_names).to_pylist()  # type: ignore[no-any-return]


@contextmanager
def _told(source: Any) -> Iterator[None]:
    """Whatever a broken file makes a library raise, as a message of ours."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise  # of the cache: nothing is wrong with the source
        if error.errno is not None and not isinstance(error, pa.ArrowException):
            path = as_utf8(str(error.filename or _describe(source)))
            raise InputError("data.system", path=path, reason=error.strerror) from error
        raise InputError("data.broken", path=_describe(source), reason=error) from error
    except _BROKEN as error:
        reason = str(error).strip().rstrip(".") or "it ends too early"
        raise InputError("data.broken", path=_describe(source), reason=reason) from error
    except RecursionError as error:
        raise InputError("data.broken", path=_describe(source), reason="it is nested too deep") from error
    except UnicodeError as error:
        raise InputError("data.encoding", path=_describe(source), reason=str(error)) from error


def fingerprint(table: pa.Table, part: np.ndarray) -> str:
    """sha256 over the column names, the part and the values of every row; values count as the text they are written as, media as their bytes.

    So it is the same for the same rows in CSV and in Parquet, and whatever their file is called.
    """
    digest = hashlib.sha256(b"sartor rows 1\0" + np.ascontiguousarray(part, dtype=np.int8).tobytes())
    for name in table.column_names:
        lengths, values = hashlib.sha256(), hashlib.sha256()
        most = 1 << (8 if pa.types.is_large_binary(table.schema.field(name).type) else 16)  # a batch may be copied
        for batch in table.select([name]).to_batches(max_chunksize=most):
            text = _variable(batch.column(0))
            lengths.update(
                pc.fill_null(pc.binary_length(text), -1).to_numpy(zero_copy_only=False).astype("<i8").tobytes()
            )
            values.update(_characters(text)[1])
        digest.update(name.encode() + b"\0" + lengths.digest() + values.digest())
    return digest.hexdigest()


def _read(pieces: Sequence[Piece], spill: Path | None, roles: Roles) -> _Rows:
    """All pieces, one below the other. spill: as of `_Sink`."""
    tables: list[Table] = []
    for piece in pieces:
        header = next((table.columns for table in tables if table.named), None)
        tables += open_piece(piece, header)
    columns, types = _align(tables)
    if len(columns) > MAX_COLUMNS:
        raise InputError("data.columns-many", path=tables[0].name, count=len(columns), most=MAX_COLUMNS)
    sink = _Sink(columns, types, spill)
    set_aside: list[SetAside] = []
    notes: list[str] = []
    missing: list[tuple[str, str]] = []
    runs: list[tuple[str | None, int]] = []
    names: dict[str, list[str | None]] = {
        name: [] for name, kind in zip(columns, types, strict=True) if pa.types.is_large_binary(kind)
    }
    for table in tables:
        places = _places(table, tables, columns, roles)
        for name, place in zip(columns, places, strict=True):
            if name in names and place is not None and table.columns[place] in table.absent:
                raise InputError("data.media-missing", **table.absent[table.columns[place]])  # other parts have theirs
        if table.part != "unlabelled":
            missing += [(table.name, name) for name, place in zip(columns, places, strict=True) if place is None]
        extra = [name for i, name in enumerate(table.columns) if i not in places]
        before, count = len(set_aside), 0
        for batch in table.batches():
            if isinstance(batch, SetAside):
                set_aside.append(batch)
            else:
                more = sink.write(batch.arrays, places)
                count += more
                for name, place in zip(columns, places, strict=True):
                    if name in names:
                        names[name] += batch.names.get(-1 if place is None else place) or [None] * more
        bad = len(set_aside) - before
        if bad > count:
            first = set_aside[before]
            raise InputError(
                "data.unreadable",
                path=table.name,
                bad=bad,
                total=bad + count,
                line=first.line,
                reason=first.reason,
                advice=table.advice,
            )
        if not count:
            raise InputError("data.no-rows", path=table.name)
        runs.append((table.part, count))
        notes.append(
            f"{table.name}: {table.how}; {count:,} rows"
            + (f", {bad:,} set aside" if bad else "")
            + (f"; columns not used because other parts lack them: {', '.join(extra)}" if extra else "")
        )
    nested = {name for table in tables for name in table.nested}
    absent = {name: told for table in tables for name, told in table.absent.items()}
    return _Rows(sink.table(nested), tuple(runs), tuple(set_aside), tuple(notes), tuple(missing), names, absent)


# Putting the parts together.


def _align(tables: Sequence[Table]) -> tuple[tuple[str, ...], tuple[pa.DataType, ...]]:
    """The columns of the whole: those of the first labelled part, named as the first part that has names."""
    labelled = [table for table in tables if table.part != "unlabelled"] or list(tables)
    named = next((table for table in labelled if table.named), labelled[0])
    first = labelled[0] if labelled[0].named or len(labelled[0].columns) != len(named.columns) else named
    types: list[pa.DataType] = []
    for i, name in enumerate(first.columns):
        held = set()
        for table in labelled:
            place = _place(name, i, table, first.columns)
            if place is not None:
                held.add(table.types[place])
        types.append(_common(held))
    return first.columns, tuple(types)


def _place(name: str, index: int, table: Table, columns: tuple[str, ...]) -> int | None:
    """Which column of a part is this one: by name, whatever its case, or by place where the part has no names."""
    if table.columns == columns:
        return index
    if not table.named or all(other.startswith("column_") for other in columns):
        return index if len(table.columns) == len(columns) else None
    if name in table.columns:
        return table.columns.index(name)
    folded = [other.casefold().strip() for other in table.columns]
    return folded.index(name.casefold().strip()) if folded.count(name.casefold().strip()) == 1 else None


def _common(types: set[pa.DataType]) -> pa.DataType:
    if len(types) == 1:
        return next(iter(types))
    if pa.large_binary() in types:
        return pa.large_binary()
    return pa.float64() if types == {pa.int64(), pa.float64()} else pa.large_string()


def _places(table: Table, tables: Sequence[Table], columns: tuple[str, ...], roles: Roles) -> list[int | None]:
    """For each column of the whole, the column of this part.

    Raises: InputError `data.columns` when nothing fits.
    """
    places = [_place(name, i, table, columns) for i, name in enumerate(columns)]
    if any(place is not None for place in places):
        return places
    if table.part == "unlabelled" and len(table.columns) == 1:
        # A plain list of texts: they can only be the one input.
        first = next(other for other in tables if other.part != "unlabelled")
        name = _only_input(first, columns, roles)
        return [0 if column == name else None for column in columns]
    raise InputError(
        "data.columns",
        path=table.name,
        found=", ".join(table.columns) if table.named else f"{len(table.columns)} columns without names",
        other=tables[0].name,
        known=", ".join(columns),
    )


def _only_input(table: Table, columns: tuple[str, ...], roles: Roles) -> str:
    """The input column of a part, as its first batch tells."""
    batch = next(item for item in table.batches() if not isinstance(item, SetAside))
    schema, _ = roles(pa.table(batch.arrays, names=list(columns)))
    if len(schema.inputs) > 1:
        known = ", ".join(column.name for column in schema.inputs)
        raise InputError("data.columns", path="The unlabelled part", found="one column", other=table.name, known=known)
    return schema.inputs[0].name


def _check_missing(rows: _Rows, schema: Schema) -> None:
    """A part may lack a column that plays no role, but not an input or the target; nor may the files that an input names be missing."""
    absent = [rows.absent[column.name] for column in schema.inputs if column.name in rows.absent]
    if absent:
        raise InputError("data.media-missing", **absent[0])
    needed = {column.name for column in (*schema.inputs, *schema.targets)}
    lacking = [(file, column) for file, column in rows.missing if column in needed]
    if lacking:
        file, column = lacking[0]
        raise InputError("data.column-missing", path=file, column=column, known=", ".join(rows.table.column_names))


def _typed(table: pa.Table, schema: Schema) -> tuple[pa.Table, list[str]]:
    """Labels as text, whatever they were; texts that are not there as empty ones; numbers with a point for the decimals. And notes of the last."""
    notes = []
    for column in schema.columns:
        place = table.column_names.index(column.name)
        values = table.column(place)
        if column.kind == "label" and not pa.types.is_large_string(values.type):
            values = _label_text(values)
        elif (
            column.role == "input"
            and column.kind == "text"
            and values.null_count
            and not pa.types.is_large_binary(values.type)
        ):
            values = pc.fill_null(values, "")
        elif column.role != "other" and column.kind == "number" and _has_decimal_commas(values):
            values = _with_points(values)
            notes.append(
                f"{column.name!r}: a comma stands before the decimals, so that 12,5 is read as 12.5 and 1,234 as 1.234"
            )
        else:
            continue
        table = table.set_column(place, column.name, values)
    return table, notes


def _has_decimal_commas(values: pa.ChunkedArray) -> bool:
    """Whether most of the numbers with one comma cannot mean thousands, and none has a comma for thousands beyond doubt (1,234.5 and 1,234,567)."""
    if not pa.types.is_large_string(values.type):
        return False
    commas = _count(values, cells.DECIMAL_COMMA)
    if not commas or _count(values, cells.THOUSANDS):
        return False
    return 2 * _count(values, cells.EITHER) < commas


def _holds_numbers(values: pa.ChunkedArray) -> bool:
    """Whether nearly all cells that hold anything write numbers."""
    empty = pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(values)), pa.array([*cells.UNKNOWN], pa.large_string()))
    there = len(values) - values.null_count - (pc.sum(empty).as_py() or 0)
    numbers = _count(values, cells.NUMBER) + _count(values, cells.DECIMAL_COMMA) - _count(values, cells.EITHER)
    return there > 0 and numbers >= 0.95 * there


def _count(values: pa.ChunkedArray, pattern: str) -> int:
    return int(pc.sum(pc.match_substring_regex(values, f"^{pattern}$")).as_py() or 0)


def _with_points(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same cells with points for decimal commas."""
    return pc.if_else(
        pc.match_substring_regex(values, f"^{cells.DECIMAL_COMMA}$"), pc.replace_substring(values, ",", "."), values
    )


def _label_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_floating(values.type):  # pandas makes whole numbers floats as soon as one is missing
        values = pc.if_else(pc.is_finite(values), values, None)
        if pc.all(pc.equal(pc.round(values), values)).as_py():
            values = pc.cast(values, pa.int64())
    return as_text(values)


class _Sink:
    """Takes batches and makes one table of one chunk per column, holding nothing twice.

    spill: a folder for the characters of texts and the bytes of media while they are gathered; None keeps them in memory.
    """

    def __init__(self, columns: tuple[str, ...], types: tuple[pa.DataType, ...], spill: Path | None) -> None:
        self.columns = columns
        self.gathered = [
            _Texts(kind, spill / f"{i}.characters" if spill else None) if _varies(kind) else _Values(kind)
            for i, kind in enumerate(types)
        ]

    def write(self, arrays: Sequence[pa.Array], places: Sequence[int | None]) -> int:
        """Adds rows; `places` as of `_places`. The number of rows."""
        count = len(arrays[0])
        for gathered, place in zip(self.gathered, places, strict=True):
            gathered.add(pa.nulls(count) if place is None else arrays[place])
        return count

    def table(self, nested: Iterable[str]) -> pa.Table:
        """All of it. Columns in `nested` are marked as holding JSON."""
        arrays = [gathered.array() for gathered in self.gathered]
        fields = [
            pa.field(name, array.type, metadata=NESTED if name in nested else None)
            for name, array in zip(self.columns, arrays, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


class _Values:
    """Gathers numbers and truth values."""

    def __init__(self, kind: pa.DataType) -> None:
        self.kind = kind
        self.arrays: list[pa.Array] = []

    def add(self, array: pa.Array) -> None:
        self.arrays.append(pc.cast(array, self.kind))

    def array(self) -> pa.Array:
        return pa.concat_arrays(self.arrays)


class _Texts:
    """Gathers text or bytes: in a file, or in a bytearray, which grows in place where pages can be remapped."""

    def __init__(self, kind: pa.DataType, spill: Path | None) -> None:
        self.kind = kind
        self.spill = spill
        self.file = spill.open("wb") if spill else None
        self.characters = bytearray()
        self.lengths: list[np.ndarray] = []
        self.valid: list[np.ndarray] = []

    def add(self, array: pa.Array) -> None:
        text = _variable(array, self.kind)
        offsets, characters = _characters(text)
        self.lengths.append(np.diff(offsets))
        self.valid.append(pc.is_valid(text).to_numpy(zero_copy_only=False))
        if self.file:
            self.file.write(characters)
        else:
            self.characters += memoryview(characters)

    def array(self) -> pa.Array:
        offsets = np.concatenate([[0], *self.lengths]).astype(np.int64)
        np.cumsum(offsets, out=offsets)
        valid = np.concatenate(self.valid)
        missing = int((~valid).sum())
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little")) if missing else None
        buffers = [bitmap, pa.py_buffer(offsets), self._buffer(int(offsets[-1]))]
        return pa.Array.from_buffers(self.kind, len(valid), buffers, missing, 0)

    def _buffer(self, size: int) -> pa.Buffer:
        if self.file and self.spill:
            self.file.close()
            return pa.memory_map(str(self.spill)).read_buffer() if size else pa.py_buffer(b"")
        return pa.py_buffer(self.characters)


def _varies(kind: pa.DataType) -> bool:
    """Whether values of this type have a length each: text and bytes."""
    return bool(pa.types.is_large_string(kind) or pa.types.is_large_binary(kind))


def _variable(array: pa.Array, kind: pa.DataType | None = None) -> pa.Array:
    """The values as large_binary if that is asked for, or if they are bytes already; else as the text they are written as."""
    if pa.types.is_large_binary(array.type):
        return array
    text = pc.cast(array, pa.large_string())
    return pc.cast(text, pa.large_binary()) if kind == pa.large_binary() else text


def _characters(text: pa.Array) -> tuple[np.ndarray, pa.Buffer]:
    """The offsets [n + 1] of a large_string or large_binary array and the bytes that they lie in, whatever it is a slice of."""
    if text.null_count:  # what is not there may have a length
        text = pc.fill_null(text, "" if pa.types.is_large_string(text.type) else b"")
    _, offsets_buffer, data = text.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    if data is None or not len(text):
        return np.zeros(len(text) + 1, dtype=np.int64), pa.py_buffer(b"")
    return offsets, data.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))


# The cache: a table as an Arrow file, and beside it as JSON what else reading gave. The JSON is written last.


def _kept(pieces: Sequence[Piece], cache: Path, asked: tuple[Any, ...], roles: Roles) -> _Rows:
    """The rows from the cache; when they are not in it, they are read into it first."""
    arrow = cache / f"{_key(pieces, asked)}.arrow"
    rows = _load(arrow)
    if rows is not None:
        return rows
    # A folder of its own, so that an interrupted reading leaves nothing to trust.
    spill = cache / f".reading-{uuid.uuid4().hex[:8]}"
    spill.mkdir(parents=True)
    try:
        rows = _read(pieces, spill, roles)
        save_arrow(rows.table, spill / "rows")
        os.replace(spill / "rows", arrow)
        told = {
            "bytes": arrow.stat().st_size,
            "runs": rows.runs,
            "set_aside": [asdict(item) for item in rows.set_aside],
            "notes": rows.notes,
            "missing": rows.missing,
            "names": rows.names,
            "absent": rows.absent,
        }
        (spill / "told").write_text(json.dumps(told), encoding="utf-8")
        os.replace(spill / "told", arrow.with_suffix(".json"))
        return replace(rows, table=load_arrow(arrow))
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def _load(arrow: Path) -> _Rows | None:
    try:
        told = json.loads(arrow.with_suffix(".json").read_text(encoding="utf-8"))
        if arrow.stat().st_size != told["bytes"]:
            return None
        return _Rows(
            table=load_arrow(arrow),
            runs=tuple((part, count) for part, count in told["runs"]),
            set_aside=tuple(SetAside(**item) for item in told["set_aside"]),
            notes=tuple(told["notes"]),
            missing=tuple((file, column) for file, column in told["missing"]),
            names=told["names"],
            absent=told["absent"],
        )
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowInvalid):
        return None


def _key(pieces: Sequence[Piece], asked: tuple[Any, ...]) -> str:
    """sha256 over the bytes and names of the files and of the media that they name, what is asked of them, and the code that reads them."""
    digest = hashlib.sha256(json.dumps(asked).encode())
    for code in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(hashlib.sha256(code.read_bytes()).digest())
    for piece in pieces:
        names = [file.name for file in piece.files], [(file.name, why) for file, why in piece.strays]
        told = [piece.part, piece.kind, piece.labels, sorted(piece.class_names.items()), names]
        digest.update(json.dumps(told).encode())
        for file in piece.files:
            digest.update(_digest(file, piece.kind))
    for file in media_of(pieces):
        digest.update(file.name.encode("utf-8", "surrogateescape") + b"\0" + _digest(file, "media"))
    return digest.hexdigest()[:32]


def _digest(file: File, kind: str) -> bytes:
    """sha256 of the bytes of a file. One of media that cannot be read is set aside when it is read, and has the digest of why."""
    try:
        with file.opener() as stream:
            return hashlib.file_digest(stream, "sha256").digest()  # type: ignore[arg-type]
    except (OSError, *_BROKEN) as error:
        if kind in ("table", "text"):
            raise
        return hashlib.sha256(str(error).encode()).digest()


def _describe(source: str | Path | Mapping[str, Any]) -> str:
    if isinstance(source, Mapping):
        return as_utf8(", ".join(f"{part}={place}" for part, place in source.items()))
    return as_utf8(str(source))
