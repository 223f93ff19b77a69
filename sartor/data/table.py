"""Opens tables: one reader per format, each of which finds the columns first and then yields the rows in batches.

Columns of delimited text are text as it stands; numbers stay numbers from JSON Lines and Parquet.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from os.path import commonpath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sartor.data import delimited
from sartor.data.dataset import SetAside
from sartor.data.source import READABLE, File, Piece
from sartor.errors import InputError

BATCH_ROWS, BATCH_CHARACTERS = 8_192, 16 << 20
MAX_COLUMNS = 4_096
MAX_JSON_ARRAY_BYTES = 256 << 20  # an array is read whole; JSON Lines has no limit
MAX_TEXT_BYTES = 16 << 20  # of one text file in a folder of classes
MAX_PACKED_PARQUET_BYTES = 2 << 30  # inside an archive it cannot be memory-mapped

_NAME_IT = "If it is one, name it for what it holds, such as .csv."

Batch = list[pa.Array]  # one array per column


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


def open_piece(piece: Piece, header: tuple[str, ...] | None = None) -> list[Table]:
    """The tables of a piece: one per file, or one of all texts. header: of a table before it, which a file may repeat.

    Raises: InputError `data.*`.
    """
    if piece.labels:
        return [_open_texts(piece)]
    return [_open(file, piece, header) for file in piece.files]


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
        held: list[tuple[str, ...]] = []
        characters = 0
        for row in delimited.rows(file, dialect):
            if row.fault:
                yield SetAside(file.name, row.line, row.fault)
                continue
            held.append(row.cells)
            characters += sum(map(len, row.cells))
            if len(held) >= BATCH_ROWS or characters >= BATCH_CHARACTERS:
                yield [pa.array(cells, pa.large_string()) for cells in zip(*held, strict=True)]
                held, characters = [], 0
        if held:
            yield [pa.array(cells, pa.large_string()) for cells in zip(*held, strict=True)]

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
                yield [array(name, good) for name in kinds]

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
    parquet = _parquet(file)
    schema = parquet.schema_arrow
    twice = {name for name in schema.names if schema.names.count(name) > 1}
    if twice:
        raise InputError("data.duplicate-column", path=file.name, names=", ".join(map(repr, sorted(twice))))
    names = _parquet_class_names(schema) | {
        name: told for name, told in piece.class_names.items() if name in schema.names
    }
    names = {name: told for name, told in names.items() if pa.types.is_integer(schema.field(name).type)}
    kept: dict[str, pa.DataType] = {}
    for field in schema:
        kind = pa.large_string() if field.name in names else _plain(field.type)
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            kind = _binary_type(parquet, field.name)
        if kind is not None and field.name != "__index_level_0__":  # pandas writes its row numbers under that name
            kept[field.name] = kind
    dropped = [name for name in schema.names if name not in kept]
    nested = tuple(name for name in kept if pa.types.is_nested(schema.field(name).type))

    def batches() -> Iterator[Batch | SetAside]:
        for batch in _parquet(file).iter_batches(batch_size=BATCH_ROWS, columns=list(kept)):
            batch.validate(full=True)  # a file may call bytes text that are no UTF-8
            yield [_plainly(batch.column(name), kind, names.get(name)) for name, kind in kept.items()]

    how = "Parquet" + (f"; not read, because they hold bytes: {', '.join(dropped)}" if dropped else "")
    how += "".join(f"; the numbers of {name} became the class names in its metadata" for name in names)
    return Table(piece.part, file.name, tuple(kept), tuple(kept.values()), True, batches, how, nested)


def _parquet(file: File) -> pq.ParquetFile:
    if file.path is not None:
        return pq.ParquetFile(file.path, memory_map=True)
    with file.open() as stream:
        data = stream.read(MAX_PACKED_PARQUET_BYTES + 1)
    if len(data) > MAX_PACKED_PARQUET_BYTES:
        raise InputError("data.broken", path=file.name, reason="too large inside an archive; extract it")
    return pq.ParquetFile(io.BytesIO(data))


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
    """The type that a column of this type is kept as; None for bytes and what holds them (images, sounds)."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_boolean(kind) or pa.types.is_int64(kind) or pa.types.is_float64(kind):
        return kind
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    return None if "binary" in str(kind) else pa.large_string()


def _binary_type(parquet: pq.ParquetFile, name: str) -> pa.DataType | None:
    """Older writers leave text unmarked: it is text if its first values are."""
    try:
        for batch in parquet.iter_batches(batch_size=256, columns=[name]):
            pc.cast(batch.column(0), pa.large_string())
            return pa.large_string()
    except pa.ArrowInvalid:
        pass
    return None


def _plainly(array: pa.Array, kind: pa.DataType, names: tuple[str, ...] | None) -> pa.Array:
    if names is not None:
        return _named(pc.cast(array, pa.int64()), names)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
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
                yield [pa.array(texts, pa.large_string()), pa.array(labels, pa.large_string())]
                texts, labels = [], []
        if texts:
            yield [pa.array(texts, pa.large_string()), pa.array(labels, pa.large_string())]

    types = (pa.large_string(), pa.large_string())
    classes = len({label for label in piece.labels if label is not None})
    how = f"one text per file, {classes} folders as classes" if classes else "one text per file"
    return Table(piece.part, name_of(piece), ("text", "label"), types, True, batches, how)
