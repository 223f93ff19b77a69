"""Delimited text (CSV, TSV and their kin): its encoding, delimiter, quoting and header are found out from the bytes.

Each rule is written at the function that decides it. A row that does not fit is set aside with its line, and
reading goes on at the next one, so a quotation mark that is never closed costs one row and not the rest of the file.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from sartor.data.cells import is_number
from sartor.data.source import File
from sartor.errors import InputError

MAX_CELL = 16 << 20  # characters in one cell
MAX_LINE = 64 << 20  # characters in one line; a file without line ends is not a table
SAMPLE_LINES = 2_000
_TOO_LONG = f"a line of more than {MAX_LINE:,} characters: a table ends each row with a line end"

_DELIMITERS = (",", "\t", ";", "|")
_OWN = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t"}
_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars", "@": "@"}
_HEADERS = """
    id idx index text texts sentence sentence1 sentence2 review reviews comment content body message query question
    answer title description summary premise hypothesis utterance tweet document headline name date label labels target
    class category intent sentiment topic y rating score stars polarity emotion quality gold_label
    文本 内容 标题 评论 句子 问题 标签 类别 分类 意图 情感 编号
"""
_KNOWN_HEADERS = frozenset(_HEADERS.split())
# The commonest hundred characters of modern Chinese: about four in ten of running text.
_COMMON_HAN = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
    "用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实"
)
_MAGIC = {
    b"PK\x03\x04": "a zip archive or an Office document: save the sheet as CSV (UTF-8), or name the file .zip",
    b"PAR1": "Parquet: name the file .parquet",
    b"\x1f\x8b": "gzip: name the file .gz",
    b"\xd0\xcf\x11\xe0": "an old Office document: save the sheet as CSV (UTF-8)",
    **dict.fromkeys(
        (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFFWEBP"),
        "an image: give a folder of images, in a folder for each class, or a table that names their files",
    ),
    **dict.fromkeys(
        (b"RIFFWAVE", b"fLaC\0", b"fLaC\x80", b"OggS\0", b"ID3\2", b"ID3\3", b"ID3\4"),
        "a recording: give a folder of recordings, in a folder for each class, or a table that names their files",
    ),
    b"%PDF": "a PDF: copy its table into a CSV (UTF-8)",
    **dict.fromkeys(
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "a pickle, which can run code when it is opened and is never read: save the table as Parquet or CSV",
    ),
    b"SQLite format 3": "a database: export the table as CSV",
    b"ARROW1": "Arrow: save it as Parquet",
}

_AS_TEXT = "if it is a table, save it as CSV (UTF-8), JSON Lines or Parquet"


@dataclass(frozen=True)
class Encoding:
    """A codec. `damaged`: single rows are not valid in it; their bad bytes arrive as lone surrogates."""

    codec: str
    damaged: bool = False

    @property
    def errors(self) -> str:
        return "surrogateescape" if self.damaged else "strict"


@dataclass(frozen=True)
class Dialect:
    """How a delimited file is read. delimiter None: a row is a line. last_only: it is split at its last one."""

    encoding: Encoding
    delimiter: str | None
    width: int
    quoted: bool = False
    skip_space: bool = False
    last_only: bool = False
    header: tuple[str, ...] | None = None

    def __str__(self) -> str:
        parts = [self.encoding.codec]
        parts.append(f"cells between {_NAMES[self.delimiter]}" if self.delimiter else "one column")
        if self.delimiter:
            parts.append("quotes read" if self.quoted else "quotes kept as they are")
        parts.append("with a header" if self.header else "without a header")
        return ", ".join(parts)


class Row(NamedTuple):
    """A row of a file: its cells, or why it cannot be read. line: its first, counted from 1."""

    line: int
    cells: tuple[str, ...]
    fault: str = ""


def sniff(file: File, *, header: Sequence[str] | None = None) -> Dialect:
    """Finds out how a file is to be read. `header`: that of a file already read, which this one may repeat, or some of it.

    Raises: InputError `data.empty`, `data.binary`, `data.encoding`, `data.duplicate-column`, `data.header-width`.
    """
    if not file.head(1 << 20).strip(b"\x00\r\n\t \xef\xbb\xbf\xff\xfe"):
        raise InputError("data.empty", path=file.name)
    encoding = find_encoding(file)
    dialect = _find_dialect(file, encoding)
    first = next(_physical(file, dialect), None)
    sample = [row for row in islice(rows(file, dialect), SAMPLE_LINES) if not row.fault]
    if first is None or (not sample and dialect.delimiter is None):
        raise InputError("data.empty", path=file.name)
    names = tuple(cell.strip() for cell in first.cells)
    if any(map(_escaped, names)):
        _refuse(file, f"its first line is not valid {encoding.codec}, as the other lines are")
    if len(first.cells) != dialect.width:
        if len(first.cells) > 1 and _name_like(names) and not _repeats(names, sample):
            raise InputError("data.header-width", path=file.name, names=len(names), cells=dialect.width)
        return dialect
    body = [row.cells for row in sample[1:]]
    if not set(names) <= set(header or ()) and not is_header(names, body):
        return dialect
    named = tuple(name or f"column_{i + 1}" for i, name in enumerate(names))
    twice = [name for name, count in Counter(named).items() if count > 1]
    if twice:
        raise InputError("data.duplicate-column", path=file.name, names=", ".join(repr(name) for name in twice))
    return replace(dialect, header=named)


def rows(file: File, dialect: Dialect) -> Iterator[Row]:
    """Every row but the header and blank lines; rows that do not fit carry a `fault`."""
    stream = _physical(file, dialect)
    if dialect.header:
        next(stream, None)
    for row in stream:
        if not row.fault and len(row.cells) != dialect.width:
            row = Row(row.line, row.cells, f"has {len(row.cells)} cells where {dialect.width} are expected")
        elif dialect.header and not row.fault and tuple(map(_bare, row.cells)) == dialect.header:
            row = Row(row.line, row.cells, "repeats the header")
        elif not row.fault and dialect.encoding.damaged and any(_escaped(cell) for cell in row.cells):
            row = Row(row.line, row.cells, f"is not valid {dialect.encoding.codec}")
        yield row


def find_encoding(file: File) -> Encoding:
    """The encoding of a file, decided in this order; every answer decodes the whole file, strictly.

    1. A byte-order mark: UTF-8, UTF-16 or UTF-32.
    2. Zero bytes: UTF-16 without a mark if that gives lines of characters that exist, else it is not text.
    3. Valid UTF-8. Also when at least twenty of its characters beyond ASCII are valid for each byte that is not: then
       the rows with such bytes are set aside.
    4. GB18030, if the result looks Chinese: nearly all of it in the common half of GB 2312, with a natural share of
       the hundred commonest characters. (Latin-1 and Cyrillic bytes often decode as GB18030 too, into rare characters.)
    5. Latin-1 if no byte is in 0x80–0x9F, else cp1252 (which has letters there); never when more than three bytes in
       ten lie beyond ASCII, as they do in Cyrillic, Korean or Japanese encodings that are not on this list.

    Raises: InputError `data.binary`, `data.encoding`.
    """
    head = file.head(1 << 16)
    for mark, codec in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if head.startswith(mark):
            return _whole(file, (codec,)) or _refuse(
                file, f"it begins with the mark of {codec} but is not valid {codec}"
            )
    start = head[:4] + head[8:12] if head.startswith(b"RIFF") else head  # the size stands between
    for magic, what in _MAGIC.items():
        if start.startswith(magic):
            raise InputError("data.binary", path=file.name, found=what)
    if b"\x00" in head:
        for codec in ("utf-16-le", "utf-16-be"):
            if _looks_assigned(head[: len(head) // 2 * 2].decode(codec, "replace")):
                found = _whole(file, (codec,))
                if found is not None:
                    return found
        line = head.count(b"\n", 0, head.index(b"\x00")) + 1
        raise InputError("data.binary", path=file.name, found=f"a zero byte in line {line}: {_AS_TEXT}")
    control = sum(head.count(bytes([code])) for code in (*range(1, 7), *range(14, 27)))
    if control > 0.01 * len(head):
        raise InputError("data.binary", path=file.name, found=f"control characters: {_AS_TEXT}")
    found = _whole(file, ("utf-8",))
    if found is not None:
        return found
    with file.open() as stream:
        start = stream.read(4 << 20)
    if _looks_chinese(start[: 1 << 18]):
        found = _whole(file, ("gb18030",))
        if found is not None:
            return found
    beyond = len(start.translate(None, bytes(range(128))))
    if beyond > 0.3 * len(start):
        _refuse(file, "it is neither UTF-8 nor GB18030, and too little of it is ASCII for Latin-1")
    high = any(re.search(rb"[\x80-\x9f]", piece) for piece in _pieces(file))
    return _whole(file, ("cp1252",) if high else ("latin-1", "cp1252")) or _refuse(
        file, "it is not valid UTF-8, GB18030, Latin-1 or cp1252"
    )


def decode(data: bytes) -> str | None:
    """One small text by the rules of `find_encoding`; None when it is not text."""
    try:
        encoding = find_encoding(File("", "", len(data), lambda: io.BytesIO(data)))
        return data.decode(encoding.codec)  # strictly: half a text is no text
    except (InputError, UnicodeDecodeError):
        return None


def is_header(names: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns.

    Never, when more than one cell is empty, or one is a number, long (over 40 characters or 5 words), ends a sentence,
    or is a value that its column repeats. Otherwise when a column gives it away: it is all numbers
    while the first cell is not, or all names of files; or its values keep repeating, each of them, and the first cell is none of them; or
    half of the names are ones that people give to columns. Without further rows only such names count.
    """
    filled = [name for name in names if name]
    if not filled or len(filled) < len(names) - 1 or not _name_like(filled):
        return False
    known = sum(name.lower().replace(" ", "_") in _KNOWN_HEADERS for name in filled)
    if _repeats(names, [Row(0, tuple(cells)) for cells in body]):
        return False
    for i, name in enumerate(names):
        values = [cells[i].strip() for cells in body if cells[i].strip()]
        if not values or not name:
            continue
        if sum(map(_numeric, values)) >= 0.95 * len(values):
            return True
        if not _FILE_NAME.search(name) and sum(map(bool, map(_FILE_NAME.search, values))) >= 0.95 * len(values):
            return True
        counts = Counter(values)
        # One value that is there once is all that the first row would be; if others are too, nothing is proven.
        if len(counts) <= len(values) / 2 and min(counts.values()) > 1:
            return True
    return 2 * known >= len(filled)


_FILE_NAME = re.compile(r"[^.\s]\.[A-Za-z][A-Za-z0-9]{1,4}$")


def _bare(cell: str) -> str:
    """A cell without white space around it, and without the mark that a file begins with which was appended to another."""
    return cell.strip().removeprefix("\ufeff").strip()


def _repeats(names: Sequence[str], body: Sequence[Row]) -> bool:
    """Whether a cell of the first row is a value that its column has again and again, as a class has."""
    # Files that were pasted together repeat their whole header; that proves nothing.
    others = [cells for row in body if (cells := tuple(map(_bare, row.cells))) != tuple(names)]
    return any(name and any(len(cells) > i and cells[i] == name for cells in others) for i, name in enumerate(names))


def _name_like(names: Iterable[str]) -> bool:
    return all(
        len(name) <= 40
        and len(name.split()) <= 5
        and not _numeric(name)
        and not re.search(r"[.!?。！？，,;；:：…\n]$|\n", name)
        for name in names
        if name
    )


def _numeric(value: str) -> bool:
    return is_number(value.strip().removesuffix("%"))


def _refuse(file: File, reason: str) -> Encoding:
    raise InputError("data.encoding", path=file.name, reason=reason)


def _whole(file: File, candidates: Sequence[str]) -> Encoding | None:
    """The first candidate that the whole file is valid in; a Unicode one may have a few bad bytes."""
    for codec in candidates:
        good = bad = 0
        decoder = codecs.getincrementaldecoder(codec)("strict")
        try:
            for piece in _pieces(file):
                decoder.decode(piece)
            decoder.decode(b"", final=True)
            return Encoding(codec)
        except UnicodeDecodeError:
            if not codec.startswith("utf-8") and codec != "gb18030":
                continue
        decoder = codecs.getincrementaldecoder(codec)("surrogateescape")
        for piece in _pieces(file):
            text = decoder.decode(piece)
            bad += _escaped(text)
            good += sum(len(run) for run in re.findall(r"[^\x00-\x7f\udc80-\udcff]+", text))
        if good >= 20 * bad:
            return Encoding(codec, damaged=True)
    return None


def _pieces(file: File) -> Iterator[bytes]:
    with file.open() as stream:
        while piece := stream.read(1 << 20):
            yield piece


def _escaped(text: str) -> int:
    return 0 if text.isascii() else len(re.findall("[\udc80-\udcff]", text))


def _looks_assigned(text: str) -> bool:
    """Whether there are line ends, and hardly a character that nobody uses.

    Text with one stray zero byte has no line ends where UTF-16 wants them; read in the wrong byte order it falls among
    unassigned and private characters.
    """
    odd = sum(character == "\ufffd" or unicodedata.category(character) in ("Cn", "Co", "Cs") for character in text)
    return "\n" in text and odd <= 0.01 * len(text)


def _looks_chinese(data: bytes) -> bool:
    text = data.decode("gb18030", "ignore")
    beyond = [character for character in text if character > "\x7f"]
    han = [character for character in beyond if "\u4e00" <= character <= "\u9fff"]
    if not han:
        return False
    level_1 = 0
    for character in han:
        encoded = character.encode("gb18030")
        level_1 += len(encoded) == 2 and 0xB0 <= encoded[0] <= 0xD7 and encoded[1] >= 0xA1
    common = sum(character in _COMMON_HAN for character in han)
    # 0.08 is five times what characters drawn evenly from GB 2312 would give; short texts are judged by level 1 alone.
    return level_1 >= 0.8 * len(han) and len(han) >= 0.6 * len(beyond) and (len(han) < 30 or common >= 0.08 * len(han))


def _find_dialect(file: File, encoding: Encoding) -> Dialect:
    """The delimiter under which most rows have the same number of cells, and whether quotes are to be read.

    The delimiter that the suffix promises wins ties and needs half of the rows to agree; another needs four in five,
    and in a .txt, which may be prose, 19 in 20. A .txt that has none of these may still end each line in a delimiter
    and one of a few labels.
    """
    sample = list(islice(lines(file, encoding), SAMPLE_LINES))
    own = _OWN.get(file.suffix)
    best: tuple[tuple[float, bool, int], str] | None = None
    for delimiter in _DELIMITERS:
        fits = [_fit(sample, delimiter, quoted) for quoted in (True, False)]
        share, width = max((fit.share, fit.width) for fit in fits)
        first = any(fit.first == fit.width for fit in fits if fit.share == share)
        need = 0.5 if delimiter == own and file.suffix != ".txt" else 0.95 if file.suffix == ".txt" else 0.8
        if width < 2 or share < need:
            continue
        rank = (round(share, 2) - (0 if first else 0.1), delimiter == own, width)
        if best is None or rank > best[0]:
            best = rank, delimiter
    if best is None:
        return _single_column(file, encoding, sample)
    delimiter = best[1]
    quoted = _reads_quotes(file, encoding, delimiter)
    after = [cell for line in sample for cell in line.split(delimiter)[1:]] if delimiter in ",;|" else []
    skip_space = bool(after) and all(cell.startswith(" ") for cell in after)
    fit = _fit(sample, delimiter, quoted)
    return Dialect(encoding, delimiter, fit.width, quoted, skip_space)


def _single_column(file: File, encoding: Encoding, sample: Sequence[str]) -> Dialect:
    filled = [line.rstrip("\r\n") for line in sample if line.strip()]
    if file.suffix == ".txt":
        for delimiter in ("\t", "@", "|", ";"):
            ends = [line.rpartition(delimiter)[2].strip() for line in filled if delimiter in line]
            few = len(set(ends)) <= max(2, len(filled) / 2)
            if filled and len(ends) == len(filled) and few and max(map(len, ends)) <= 60:
                return Dialect(encoding, delimiter, 2, last_only=True)
    elif own := _OWN.get(file.suffix):
        names = filled[0].split(own) if filled else []
        if len(names) > 1 and _name_like(names):
            return Dialect(encoding, own, len(names), quoted=True)  # a header, and rows that do not keep to it
        if any(line.startswith('"') for line in filled):
            return Dialect(encoding, own, 1, quoted=True)
    return Dialect(encoding, None, 1)


@dataclass(frozen=True)
class _Fit:
    """How well lines parse: the commonest width and its share of the rows, the first row's width, faults of quoting."""

    share: float
    width: int
    first: int
    faults: int


def _fit(lines: Iterable[str], delimiter: str, quoted: bool) -> _Fit:
    widths: Counter[int] = Counter()
    first = faults = 0
    reader = _reader(lines, delimiter, quoted=quoted, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error:
            # At the end of a sample a quoted cell may just be cut; elsewhere a quote stands where none may.
            faults += 1
            continue
        if cells:
            first = first or len(cells)
            widths[len(cells)] += 1
    if not widths:
        return _Fit(0.0, 0, 0, faults)
    width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
    return _Fit(count / (sum(widths.values()) + faults), width, first, faults)


def _reads_quotes(file: File, encoding: Encoding, delimiter: str) -> bool:
    """Whether quotation marks enclose cells, decided over the whole file.

    Reading them must break no rule of CSV and make more rows agree on their width than leaving them alone, or as many;
    in a tab-separated file, which seldom needs quotes, as many is not enough: some cell must hold a doubled quote, or
    all of a column be enclosed. If reading them breaks rules (a lone quote in prose), they are kept unless that leaves
    fewer rows whole.
    """
    if not any('"' in line for line in lines(file, encoding)):
        return True
    read = _fit(lines(file, encoding), delimiter, True)
    kept = _fit(lines(file, encoding), delimiter, False)
    if read.faults:
        return read.share > kept.share
    if read.share > kept.share or delimiter != "\t":
        return read.share >= kept.share
    return read.share == kept.share and _encloses(lines(file, encoding), delimiter)


def _encloses(lines: Iterable[str], delimiter: str) -> bool:
    """Whether quotes evidently enclose cells: one holds a doubled quote and no single, or a column is all enclosed."""
    total = 0
    enclosed: Counter[int] = Counter()
    for number, line in enumerate(lines):
        for i, cell in enumerate(line.rstrip("\r\n").split(delimiter)):
            if len(cell) >= 2 and cell[0] == cell[-1] == '"':
                inner = cell[1:-1]
                if '""' in inner and '"' not in inner.replace('""', ""):
                    return True
                enclosed[i] += number > 0
        total += number > 0 and bool(line.strip())
    return total > 0 and max(enclosed.values(), default=0) == total


def _physical(file: File, dialect: Dialect) -> Iterator[Row]:
    """Every row that is not blank, the header among them. A row that fails over several lines costs only its first."""
    source = lines(file, dialect.encoding)
    if dialect.delimiter is None or dialect.last_only:
        for number, line in enumerate(source, 1):
            text = line.rstrip("\r\n")
            if text.strip():
                halves = text.rpartition(dialect.delimiter)[::2] if dialect.delimiter else (text,)
                fault = "" if not dialect.delimiter or dialect.delimiter in text else f"has no {dialect.delimiter!r}"
                yield Row(number, tuple(halves), fault)
        return
    again: deque[str] = deque()
    taken: list[str] = []

    def feed() -> Iterator[str]:
        while True:
            line = again.popleft() if again else next(source, None)
            if line is None:
                return
            taken.append(line)
            yield line

    number = 1
    settings = {"quoted": dialect.quoted, "skip_space": dialect.skip_space}
    reader = _reader(feed(), dialect.delimiter, strict=True, **settings)
    while True:
        taken.clear()
        fault = ""
        cells: list[str] = []
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = f"cannot be parsed ({error})"
        used = len(taken)
        if used > 1 and (fault or len(cells) != dialect.width):
            fault, used = "opens a quote that is not closed", 1
            again.extendleft(reversed(taken[1:]))
            # The reader may have met the end of the file inside that quote, and would not look again.
            reader = _reader(feed(), dialect.delimiter, strict=True, **settings)
        elif fault and len(taken[0]) <= MAX_CELL:
            # A quote that closes in mid-cell breaks the rules but not the row.
            cells, fault = next(_reader(taken[:1], dialect.delimiter, strict=False, **settings), []), ""
        if cells or fault:
            yield Row(number, tuple(cell.replace("\r\n", "\n") if "\r" in cell else cell for cell in cells), fault)
        number += used


def _reader(
    lines: Iterable[str], delimiter: str, *, quoted: bool, strict: bool, skip_space: bool = False
) -> Iterator[list[str]]:
    csv.field_size_limit(
        max(csv.field_size_limit(), MAX_CELL)
    )  # of the process; its 128 KiB is too little for documents
    return csv.reader(
        lines,
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=strict,
        skipinitialspace=skip_space,
    )


def lines(file: File, encoding: Encoding) -> Iterator[str]:
    """Lines with their ends, as csv wants them.

    Raises: InputError `data.binary` for a line beyond MAX_LINE.
    """
    with file.open() as raw, io.TextIOWrapper(raw, encoding.codec, encoding.errors, newline="") as text:
        while line := text.readline(MAX_LINE):
            if len(line) == MAX_LINE and not line.endswith(("\n", "\r")):
                raise InputError("data.binary", path=file.name, found=_TOO_LONG)
            yield line
