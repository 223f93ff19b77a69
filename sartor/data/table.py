"""Opens tables: one reader per format, each of which finds the columns first and then yields the rows in batches.

Columns of delimited text are text as it stands; numbers stay numbers from JSON Lines and Parquet. Media (images, sounds) are the bytes
of their files, never decoded here: a column that names files becomes a column of what they hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from os.path import commonpath
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sartor.data import delimited
from sartor.data.dataset import SetAside, shortened
from sartor.data.source import BROKEN, MAX_RATIO, MEDIA_SUFFIXES, RATIO_FREE_BYTES, READABLE, File, Piece, Resolver
from sartor.errors import InputError

BATCH_ROWS, BATCH_CHARACTERS = 8_192, 16 << 20
MAX_COLUMNS = 4_096
MAX_JSON_ARRAY_BYTES = 256 << 20  # an array is read whole; JSON Lines has no limit
MAX_TEXT_BYTES = 16 << 20  # of one text file in a folder of classes, and of one text in Parquet
MAX_PACKED_PARQUET_BYTES = 2 << 30  # inside an archive, or packed itself, it cannot be memory-mapped
MAX_MEDIA_BYTES = 64 << 20  # of one image or sound
BATCH_BYTES = 64 << 20  # of media, and of what Parquet decodes at once, from which on a batch is full
NAMES = 100  # values of a column, by which it is told whether it names media
HEAD_BYTES = 1 << 20  # of a table that is searched for the suffix of a medium

_TOO_LARGE = f"holds a value of more than {MAX_MEDIA_BYTES >> 20} MB, or a text of more than {MAX_TEXT_BYTES >> 20} MB"
_NAME_IT = "If it is one, name it for what it holds, such as .csv."


@dataclass(frozen=True)
class Batch:
    """Some rows. arrays: one per column. lines: where each row begins in its file, from 1; in Parquet, its number.

    names: of the columns of media by place, what the file of each row is called.
    """

    arrays: list[pa.Array]
    lines: Sequence[int]
    names: Mapping[int, Sequence[str | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """One piece, opened. `batches` yields its rows, and in between those that could not be read."""

    part: str | None
    name: str
    columns: tuple[str, ...]
    types: tuple[pa.DataType, ...]
    named: bool  # False: the columns are known by their place alone
    batches: Callable[[], Iterator[Batch | SetAside]]
    how: str
    nested: tuple[str, ...] = ()
    advice: str = "Texts that contain the delimiter must stand in quotes."  # when most rows cannot be read
    media: Callable[[], Iterator[File]] | None = None  # the files that its rows name, in their order
    # Of columns of names of which no file is there: what `data.media-missing` tells, should they be needed.
    absent: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def open_piece(piece: Piece, header: tuple[str, ...] | None = None) -> list[Table]:
    """The tables of a piece: one per file, or one of all texts. header: of a table before it, which a file may repeat.

    Raises: InputError `data.*`.
    """
    if piece.kind in MEDIA_SUFFIXES.values():
        return [_open_media(piece)]
    if piece.labels:
        return [_open_texts(piece)]
    first, *others = [_with_media(_open(file, piece, header), file, piece) for file in piece.files]
    left = ", ".join(f"{file.inner} {why}" for file, why in piece.strays[:4]) + (", …" if len(piece.strays) > 4 else "")
    return [replace(first, how=f"{first.how}; left out: {left}") if left else first, *others]


def media_of(pieces: Sequence[Piece]) -> Iterator[File]:
    """The media that the rows of tables name, in their order: what was read beside the files of the pieces themselves."""
    named: tuple[str, ...] | None = None
    for piece in pieces:
        if not piece.labels and any(_may_name_media(file) for file in piece.files):
            tables = open_piece(piece, named)
            named = named or next((table.columns for table in tables if table.named), None)
            for table in tables:
                yield from table.media() if table.media else ()


def name_of(piece: Piece) -> str:
    """The file, or the folder that holds the files."""
    names = [file.name for file in piece.files]
    return names[0] if len(names) == 1 else commonpath([names[0], names[-1]])


def _open(file: File, piece: Piece, header: tuple[str, ...] | None) -> Table:
    head = file.head(1 << 12)
    if not head:
        raise InputError("data.empty", path=file.name)
    if file.suffix == ".parquet":
        return _open_parquet(file, piece)
    if file.suffix in (".jsonl", ".ndjson", ".json"):
        return _open_json(file, piece)
    if file.suffix in (".csv", ".tsv", ".tab", ".txt"):
        return _open_delimited(file, piece, header)
    # An unknown suffix is no reason to refuse what is plainly a table.
    if head.startswith(b"PAR1"):
        return _open_parquet(file, piece)
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{"):
        return _open_json(file, piece)
    table = _open_delimited(file, piece, header)
    if len(table.columns) < 2 and piece.part != "unlabelled":
        raise InputError(
            "data.format", path=file.name, suffix=file.suffix or "without a suffix", advice=_NAME_IT, readable=READABLE
        )
    return table


def _open_delimited(file: File, piece: Piece, header: tuple[str, ...] | None) -> Table:
    dialect = delimited.sniff(file, header=header)
    columns = dialect.header or tuple(f"column_{i + 1}" for i in range(dialect.width))

    def batches() -> Iterator[Batch | SetAside]:
        held: list[delimited.Row] = []
        characters = 0
        for row in delimited.rows(file, dialect):
            if row.fault:
                yield SetAside(file.name, row.line, row.fault)
                continue
            held.append(row)
            characters += sum(map(len, row.cells))
            if len(held) >= BATCH_ROWS or characters >= BATCH_CHARACTERS:
                yield batch(held)
                held, characters = [], 0
        if held:
            yield batch(held)

    def batch(held: list[delimited.Row]) -> Batch:
        cells = zip(*(row.cells for row in held), strict=True)
        return Batch([pa.array(column, pa.large_string()) for column in cells], [row.line for row in held])

    types = tuple(pa.large_string() for _ in columns)
    return Table(piece.part, file.name, columns, types, dialect.header is not None, batches, str(dialect))


def _open_json(file: File, piece: Piece) -> Table:
    """JSON Lines, or one array of objects. Read twice: once for the columns and their types, once for the rows."""
    encoding = delimited.find_encoding(file)
    kinds: dict[str, set[type]] = {}
    for _, record in _records(file, encoding):
        if isinstance(record, dict):
            for name, value in record.items():
                kinds.setdefault(name, set()).add(_kind(value))
        if len(kinds) > MAX_COLUMNS:
            raise InputError("data.columns-many", path=file.name, count=len(kinds), most=MAX_COLUMNS)
    if not kinds:
        bad = ((line, record) for line, record in _records(file, encoding) if isinstance(record, str))
        line, first = next(bad, (0, ""))
        if not first:
            raise InputError("data.no-rows", path=file.name)
        raise InputError("data.json", path=file.name, reason=f"line {line} {first}")
    names = {name: piece.class_names[name] for name in kinds if name in piece.class_names and int in kinds[name]}
    types = {name: pa.large_string() if name in names else _json_type(kinds[name]) for name in kinds}

    def array(name: str, records: list[dict[str, Any]]) -> pa.Array:
        values = [record.get(name) for record in records]
        if name in names:
            return _named(pa.array(values, pa.int64()), names[name])
        if pa.types.is_large_string(types[name]):
            return pa.array([_as_text(value) for value in values], pa.large_string())
        if pa.types.is_float64(types[name]):
            values = [None if value is None else float(value) for value in values]
        return pa.array(values, types[name])

    def batches() -> Iterator[Batch | SetAside]:
        records = _records(file, encoding)
        while part := list(islice(records, BATCH_ROWS)):
            yield from (SetAside(file.name, line, record) for line, record in part if isinstance(record, str))
            good = [record for _, record in part if isinstance(record, dict)]
            if good:
                lines = [line for line, record in part if isinstance(record, dict)]
                yield Batch([array(name, good) for name in kinds], lines)

    nested = tuple(name for name, seen in kinds.items() if seen - {type(None)} == {dict})
    advice = "Every line must be one whole JSON object."
    columns = tuple(kinds)
    return Table(piece.part, file.name, columns, tuple(types.values()), True, batches, "JSON Lines", nested, advice)


def _records(file: File, encoding: delimited.Encoding) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(line, object) or (line, why it is none)."""
    first = file.head(1 << 12).decode(encoding.codec, "ignore").lstrip("\ufeff \r\n\t")[:1]
    if first == "[":
        yield from _array_records(file, encoding)
        return
    for number, line in enumerate(delimited.lines(file, encoding), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            yield number, f"is not JSON ({error.msg.removesuffix(' at')}, column {error.colno})"
            continue
        except (ValueError, RecursionError) as error:
            yield number, f"is not JSON that can be read ({_why(error)})"
            continue
        yield number, record if isinstance(record, dict) else "is not a JSON object"


def _why(error: Exception) -> str:
    return "it is nested too deep" if isinstance(error, RecursionError) else str(error)[:80]


def _array_records(file: File, encoding: delimited.Encoding) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with file.open() as stream:
        data = stream.read(MAX_JSON_ARRAY_BYTES + 1)
    if len(data) > MAX_JSON_ARRAY_BYTES:
        reason = f"it is an array of more than {MAX_JSON_ARRAY_BYTES >> 20} MB"
        raise InputError("data.json", path=file.name, reason=reason)
    try:
        records = json.loads(data.decode(encoding.codec, encoding.errors))
    except json.JSONDecodeError as error:
        reason = f"its array is not JSON ({error.msg.removesuffix(' at')}, line {error.lineno}, column {error.colno})"
        raise InputError("data.json", path=file.name, reason=reason) from None
    except (ValueError, RecursionError) as error:
        reason = f"its array is not JSON that can be read ({_why(error)})"
        raise InputError("data.json", path=file.name, reason=reason) from None
    for number, record in enumerate(records, 1):
        yield number, record if isinstance(record, dict) else "is not a JSON object"


def _kind(value: Any) -> type:
    """dict for whatever is nested; str for a whole number that Arrow has no type for."""
    if isinstance(value, list | dict):
        return dict
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return str
    return type(value)


def _json_type(kinds: set[type]) -> pa.DataType:
    held = kinds - {type(None)}
    if held == {bool}:
        return pa.bool_()
    if held == {int}:
        return pa.int64()
    return pa.float64() if held and held <= {int, float} else pa.large_string()


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    text = json.dumps(value, ensure_ascii=False, sort_keys=True) if isinstance(value, list | dict) else str(value)
    # JSON can carry half of a surrogate pair; UTF-8 cannot.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _open_parquet(file: File, piece: Piece) -> Table:
    source = _parquet_source(file)
    parquet = pq.ParquetFile(source, memory_map=True)
    unpacked = sum(parquet.metadata.row_group(group).total_byte_size for group in range(parquet.num_row_groups))
    most = max(RATIO_FREE_BYTES, MAX_RATIO * file.size)
    bomb = {"path": file.name, "reason": f"it unpacks to more than {MAX_RATIO} times its size, as no table does"}
    if unpacked > most:
        raise InputError("data.broken", **bomb)
    schema = parquet.schema_arrow
    twice = {name for name in schema.names if schema.names.count(name) > 1}
    if twice:
        raise InputError("data.duplicate-column", path=file.name, names=", ".join(map(repr, sorted(twice))))
    names = _parquet_class_names(schema) | {
        name: told for name, told in piece.class_names.items() if name in schema.names
    }
    names = {name: told for name, told in names.items() if pa.types.is_integer(schema.field(name).type)}
    sizes = _rows_at_once(source, parquet, sum(max(map(len, told), default=0) for told in names.values()))
    kept: dict[str, pa.DataType] = {}
    for column in schema:
        kind = pa.large_string() if column.name in names else _plain(column.type)
        if _is_binary(column.type):
            kind = _binary_type(parquet, column.name, sizes)
        elif _is_hub_media(column.type):
            kind = pa.large_binary()
        if kind is not None and column.name != "__index_level_0__":  # pandas writes its row numbers under that name
            kept[column.name] = kind
    dropped = [name for name in schema.names if name not in kept]
    binary = {name for name, kind in kept.items() if pa.types.is_large_binary(kind)}
    nested = tuple(name for name in kept if name not in binary and pa.types.is_nested(schema.field(name).type))

    def batches() -> Iterator[Batch | SetAside]:
        before, given = 0, 0
        parquet = pq.ParquetFile(_parquet_source(file), memory_map=True)
        for group, rows in enumerate(sizes):
            for batch in parquet.iter_batches(batch_size=rows, row_groups=[group], columns=list(kept)):
                batch.validate(full=True)  # a file may call bytes text that are no UTF-8
                arrays = [_plainly(batch.column(name), kind, names.get(name)) for name, kind in kept.items()]
                lengths = {name: _lengths(array) for name, array in zip(kept, arrays, strict=True)}
                given += sum(int(length.sum()) for length in lengths.values())
                if given > most:
                    raise InputError("data.broken", **bomb)
                large = np.zeros(len(batch), dtype=bool)
                for name, length in lengths.items():
                    large |= length > (MAX_MEDIA_BYTES if name in binary else MAX_TEXT_BYTES)
                lines = before + 1 + np.arange(len(batch))
                before += len(batch)
                yield from (SetAside(file.name, line, _TOO_LARGE) for line in lines[large].tolist())
                if large.any():
                    arrays = [array.filter(pa.array(~large)) for array in arrays]
                if not large.all():
                    yield Batch(arrays, lines[~large].tolist())

    how = "Parquet" + (f"; not read, because they hold bytes: {', '.join(dropped)}" if dropped else "")
    how += "".join(f"; the numbers of {name} became the class names in its metadata" for name in names)
    return Table(piece.part, file.name, tuple(kept), tuple(kept.values()), True, batches, how, nested)


def _parquet_source(file: File) -> Any:
    """What Arrow opens: the path, or all bytes of what is packed."""
    if file.path is not None and not file.packed:
        return file.path
    with file.open() as stream:
        data = stream.read(MAX_PACKED_PARQUET_BYTES + 1)
    if len(data) > MAX_PACKED_PARQUET_BYTES:
        raise InputError("data.broken", path=file.name, reason="too large inside an archive; extract it")
    return pa.BufferReader(data)


def _rows_at_once(source: Any, parquet: pq.ParquetFile, named: int) -> list[int]:
    """For each row group, how many rows hold about BATCH_BYTES, by what is stored of them and by their dictionaries.

    In a dictionary a value stands once, for any number of rows: it is taken that every row has the longest one. named: characters of the
    longest names that stand for numbers.
    """
    columns = range(len(parquet.schema))
    variable = [place for place in columns if parquet.schema.column(place).physical_type == "BYTE_ARRAY"]
    encoded = pq.ParquetFile(source, memory_map=True, read_dictionary=variable)  # gives all of it with the first row
    sizes = []
    for group in range(parquet.num_row_groups):
        told = parquet.metadata.row_group(group)
        values = max((told.column(place).num_values for place in columns), default=0) // max(1, told.num_rows)
        first = next(encoded.iter_batches(batch_size=1, row_groups=[group]), None)
        longest = named + sum(_longest(array, values) for array in (first.columns if first is not None else ()))
        usual = told.total_byte_size // max(1, told.num_rows)
        sizes.append(max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, longest, usual))))
    return sizes


def _longest(array: pa.Array, values: int) -> int:
    """The bytes of the longest value in a column's dictionaries, however deep they lie. values: of one row, where it holds several."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return int(pc.max(pc.binary_length(array.dictionary)).as_py() or 0)
    if pa.types.is_struct(kind):
        return sum(_longest(array.field(place), values) for place in range(kind.num_fields))
    if pa.types.is_map(kind):
        return values * (_longest(array.keys, 1) + _longest(array.items, 1))
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return values * _longest(array.values, 1) if listed else 0


def _lengths(array: pa.Array) -> np.ndarray:
    """The bytes of each value [n] of text or bytes; of others 0, as they have a length of their own."""
    if not (pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)):
        return np.zeros(len(array), dtype=np.int64)
    return np.asarray(pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False), dtype=np.int64)


def _parquet_class_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Names of classes that Hugging Face `datasets` writes into the metadata of its Parquet files."""
    try:
        info = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = info.get("info", {}).get("features", {})
        told = {name: item.get("names") for name, item in features.items() if isinstance(item, dict)}
    except (ValueError, AttributeError):
        return {}
    return {name: tuple(map(str, found)) for name, found in told.items() if found and name in schema.names}


def _plain(kind: pa.DataType) -> pa.DataType | None:
    """The type that a column of this type is kept as; None for lists and the like that hold bytes."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_boolean(kind) or pa.types.is_int64(kind) or pa.types.is_float64(kind):
        return kind
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    return None if "binary" in str(kind) else pa.large_string()


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_hub_media(kind: pa.DataType) -> bool:
    """A struct of the bytes and the path of a file: how Hugging Face `datasets` writes images and sounds."""
    if not pa.types.is_struct(kind) or {field.name for field in kind} != {"bytes", "path"}:
        return False
    return _is_binary(kind.field("bytes").type)


def _binary_type(parquet: pq.ParquetFile, name: str, sizes: Sequence[int]) -> pa.DataType:
    """Older writers leave text unmarked: it is text if its first values are."""
    for group, rows in enumerate(sizes):
        for batch in parquet.iter_batches(batch_size=min(16, rows), row_groups=[group], columns=[name]):
            there = batch.column(0).filter(pc.fill_null(pc.greater(pc.binary_length(batch.column(0)), 0), False))
            if len(there):
                try:
                    pc.cast(there, pa.large_string())
                except pa.ArrowInvalid:
                    return pa.large_binary()
                return pa.large_string()
    return pa.large_string()


def _plainly(array: pa.Array, kind: pa.DataType, names: tuple[str, ...] | None) -> pa.Array:
    if names is not None:
        return _named(pc.cast(array, pa.int64()), names)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_large_binary(kind) and pa.types.is_struct(array.type):
        array = pc.struct_field(array, "bytes")
    if pa.types.is_nested(array.type):
        texts = [
            None if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in array.to_pylist()
        ]
        return pa.array(texts, pa.large_string())
    return pc.cast(array, kind)


def _named(numbers: pa.Array, names: tuple[str, ...]) -> pa.Array:
    """Names for numbers; a number without a name (the hub writes -1 for "no label") becomes nothing."""
    known = pc.and_(pc.greater_equal(numbers, 0), pc.less(numbers, len(names)))
    return pc.take(pa.array(names, pa.large_string()), pc.if_else(known, numbers, None))


def _open_texts(piece: Piece) -> Table:
    """One row per file: its text, and the folder that it lies in."""

    def batches() -> Iterator[Batch | SetAside]:
        yield from (SetAside(file.name, 1, why) for file, why in piece.strays)
        texts: list[str] = []
        labels: list[str | None] = []
        for file, label in zip(piece.files, piece.labels, strict=True):
            with file.open() as stream:
                data = stream.read(MAX_TEXT_BYTES + 1)
            text = delimited.decode(data) if len(data) <= MAX_TEXT_BYTES else None
            if text is None:
                large = f"is longer than {MAX_TEXT_BYTES >> 20} MB"
                yield SetAside(file.name, 1, large if len(data) > MAX_TEXT_BYTES else "is not text in a known encoding")
                continue
            texts.append(text.strip().replace("\r\n", "\n"))
            labels.append(label)
            if len(texts) >= BATCH_ROWS:
                yield batch(texts, labels)
                texts, labels = [], []
        if texts:
            yield batch(texts, labels)

    def batch(texts: list[str], labels: list[str | None]) -> Batch:
        return Batch([pa.array(texts, pa.large_string()), pa.array(labels, pa.large_string())], [1] * len(texts))

    types = (pa.large_string(), pa.large_string())
    classes = len({label for label in piece.labels if label is not None})
    how = f"one text per file, {classes} folders as classes" if classes else "one text per file"
    return Table(piece.part, name_of(piece), ("text", "label"), types, True, batches, how)


# Media: one file per row, in folders of classes or named by a table.


def _open_media(piece: Piece) -> Table:
    """One row per file: its bytes as they are, and the folder that it lies in where that is a class."""
    classes = len({label for label in piece.labels if label is not None})

    def batch(held: list[bytes], labels: list[str | None], names: list[str]) -> Batch:
        arrays = [pa.array(held, pa.large_binary()), pa.array(labels, pa.large_string())]
        return Batch(arrays if classes else arrays[:1], [1] * len(held), {0: names})

    def batches() -> Iterator[Batch | SetAside]:
        yield from (SetAside(file.name, 1, why) for file, why in piece.strays)
        held: list[bytes] = []
        labels: list[str | None] = []
        names: list[str] = []
        size = 0
        for file, label in zip(piece.files, piece.labels, strict=True):
            data = _bytes_of(file)
            if isinstance(data, str):
                yield SetAside(file.name, 1, data)
                continue
            held.append(data)
            labels.append(label)
            names.append(file.inner)
            size += len(data)
            if len(held) >= BATCH_ROWS or size >= BATCH_BYTES:
                yield batch(held, labels, names)
                held, labels, names, size = [], [], [], 0
        if held:
            yield batch(held, labels, names)

    columns = (piece.kind, "label") if classes else (piece.kind,)
    types = (pa.large_binary(), pa.large_string())[: len(columns)]
    how = f"one {piece.kind} per file" + (f", {classes} folders as classes" if classes else "")
    advice = f"Leave in the folders only files of {piece.kind} that can be opened."
    return Table(piece.part, name_of(piece), columns, types, True, batches, how, advice=advice)


def _bytes_of(file: File) -> bytes | str:
    """What a file of media holds, or why it is set aside. One that cannot be read does not cost the others."""
    large = f"is larger than {MAX_MEDIA_BYTES >> 20} MB"
    if file.size > MAX_MEDIA_BYTES:
        return large
    try:
        with file.open() as stream:
            data = stream.read(MAX_MEDIA_BYTES + 1)
    except (OSError, *BROKEN) as error:
        return f"cannot be read ({str(error)[:80]})"
    if len(data) > MAX_MEDIA_BYTES:
        return large
    return data or "is empty"


def _with_media(table: Table, file: File, piece: Piece) -> Table:
    """The table with what the files hold that its rows name, where it has columns of such names; else the table as it is.

    A row whose file cannot be had is set aside. A column of which none of the first NAMES is there only mentions files, and stays text.
    Raises, while rows are read: InputError `data.media-missing` when most files cannot be had.
    """
    resolver = piece.resolver
    named = _named_media(table) if resolver is not None and _may_name_media(file) else {}
    if resolver is None or not named:
        return table
    kinds: dict[int, str] = {}
    absent: dict[str, dict[str, Any]] = {}
    for place, names in named.items():
        wrong = [item for item in (resolver.find(file, name) for name in names) if isinstance(item, str)]
        if len(wrong) < len(names):
            kinds[place] = _medium(names[0])
        else:
            column = table.columns[place]
            absent[column] = _missing(file, resolver, repr(column), len(names), len(names), names[0], wrong[0])
    if absent:
        told = " and ".join(map(repr, absent))
        table = replace(table, how=f"{table.how}; no file that {told} names is there, so it is text", absent=absent)
    if not kinds:
        return table

    def found(name: str | None) -> File | str | None:
        """The file of a name, or why there is none; nothing for an empty cell."""
        return resolver.find(file, name) if name and name.strip() else None

    def media() -> Iterator[File]:
        for batch in table.batches():
            if isinstance(batch, Batch):
                for names in _cells(batch, kinds):
                    yield from (item for item in map(found, names) if isinstance(item, File))

    def batches() -> Iterator[Batch | SetAside]:
        asked, lost = 0, list[tuple[str, str]]()

        def read(name: str | None) -> bytes | str | None:
            nonlocal asked
            item = found(name)
            asked += item is not None
            if isinstance(item, str):
                lost.append((shortened(name, 200), item))
            return _bytes_of(item) if isinstance(item, File) else item

        for batch in table.batches():
            yield from [batch] if isinstance(batch, SetAside) else _filled(batch, kinds, read, file)
        if 2 * len(lost) > asked:
            columns = " and ".join(repr(table.columns[place]) for place in kinds)
            raise InputError("data.media-missing", **_missing(file, resolver, columns, len(lost), asked, *lost[0]))

    told = ", ".join(f"{table.columns[place]} ({kind})" for place, kind in kinds.items())
    return replace(
        table,
        columns=tuple(_media_name(table, place, kinds) for place in range(len(table.columns))),
        types=tuple(pa.large_binary() if place in kinds else kind for place, kind in enumerate(table.types)),
        batches=batches,
        how=f"{table.how}; files named in {told}",
        advice="Put the files that it names where it says, whole, or leave those rows out.",
        media=media,
    )


def _missing(
    file: File, resolver: Resolver, columns: str, missing: int, total: int, example: str, reason: str
) -> dict[str, Any]:
    """What `data.media-missing` tells."""
    told = {"path": file.name, "columns": columns, "missing": missing, "total": total}
    return told | {"example": shortened(example, 200), "reason": reason, "places": resolver.places(file)}


def _may_name_media(file: File) -> bool:
    """Whether it is worth reading rows to see: somewhere at its beginning stands a suffix of media, or it is packed."""
    if file.suffix == ".parquet":
        return True
    head = file.head(HEAD_BYTES).replace(b"\0", b"").lower()  # without the zeros of UTF-16
    return head.startswith(b"par1") or any(suffix.encode() in head for suffix in MEDIA_SUFFIXES)


def _named_media(table: Table) -> dict[int, list[str]]:
    """{column: its first NAMES values} of the columns where all of these are paths of media. Where media stand in a table themselves, names are just names."""
    if any(pa.types.is_large_binary(kind) for kind in table.types):
        return {}
    seen: dict[int, list[str]] = {place: [] for place, kind in enumerate(table.types) if pa.types.is_large_string(kind)}
    suited = set(seen)
    for batch in table.batches():
        if isinstance(batch, SetAside):
            continue
        for place in sorted(suited):
            values = (value.strip() for value in batch.arrays[place].to_pylist() if value)
            seen[place] += islice((value for value in values if value), NAMES - len(seen[place]))
            if not all(map(_medium, seen[place])):
                suited.remove(place)
        if all(len(seen[place]) >= NAMES for place in suited):
            break
    return {place: seen[place] for place in sorted(suited) if seen[place]}


def _medium(name: str) -> str:
    """The kind of media that a path names; nothing if it names none, or an address elsewhere."""
    return "" if "://" in name else MEDIA_SUFFIXES.get(PurePosixPath(name.lower()).suffix, "")


def _media_name(table: Table, place: int, kinds: Mapping[int, str]) -> str:
    """What a column is called: `file_name`, the hub's, becomes what it names."""
    name, kind = table.columns[place], kinds.get(place, "")
    return kind if name == "file_name" and kind and kind not in table.columns else name


def _filled(
    batch: Batch, kinds: Mapping[int, str], read: Callable[[str | None], bytes | str | None], file: File
) -> Iterator[Batch | SetAside]:
    """The rows of a batch with bytes for names, in batches of about BATCH_BYTES. read: the bytes of a name, or what is wrong with it."""
    kept: list[int] = []
    held: list[list[bytes | None]] = []
    called: list[tuple[str | None, ...]] = []
    size = 0

    def filled() -> Batch:
        columns = zip(kinds, zip(*held, strict=True), strict=True)
        media = {place: pa.array(column, pa.large_binary()) for place, column in columns}
        rows = pa.array(kept)
        arrays = [media[i] if i in media else array.take(rows) for i, array in enumerate(batch.arrays)]
        named = dict(zip(kinds, zip(*called, strict=True), strict=True))
        return Batch(arrays, [batch.lines[row] for row in kept], named)

    for row, names in enumerate(_cells(batch, kinds)):
        data: list[bytes | None] = []
        for name in names:
            item = read(name)
            if isinstance(item, str):
                yield SetAside(file.name, batch.lines[row], f"names {shortened(name, 200)!r}, which {item}")
                break
            data.append(item)
        else:
            kept.append(row)
            held.append(data)
            called.append(names)
            size += sum(len(item) for item in data if item is not None)
        if size >= BATCH_BYTES:
            yield filled()
            kept, held, called, size = [], [], [], 0
    if kept:
        yield filled()


def _cells(batch: Batch, kinds: Mapping[int, str]) -> Iterator[tuple[str | None, ...]]:
    """The cells of each row that name media."""
    return zip(*(batch.arrays[place].to_pylist() for place in kinds), strict=True)
