"""Finds the files that a source (a path, a folder, a zip archive, a hub data set) means, and the part that each is.

Nothing is extracted: members of an archive are read in place, after the archive's own list has been checked.
"""

from __future__ import annotations

import fnmatch
import gzip
import lzma
import os
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import yaml

from sartor import leaves
from sartor.data.dataset import PARTS
from sartor.errors import InputError, Problems, near

PART_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("calib", "calibration"), "calib"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("unlabelled", "unlabeled", "unsup", "unsupervised"), "unlabelled"),
}
TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json", ".parquet", ".txt")
TEXT_SUFFIXES = (".txt", ".text", ".md", "")
MEDIA_SUFFIXES = {
    **dict.fromkeys(
        (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm", ".pbm"), "image"
    ),
    **dict.fromkeys((".wav", ".flac", ".ogg", ".mp3"), "audio"),
}
LITTER = frozenset(("thumbs.db", "desktop.ini"))  # what systems leave in folders
ADVICE = {  # what to do with a file that is known but not read
    ".xlsx": "Save the sheet as CSV (UTF-8).",
    ".xls": "Save the sheet as CSV (UTF-8).",
    ".ods": "Save the sheet as CSV (UTF-8).",
    ".pkl": "A pickle can run code when it is opened, so it is never read; save the table as Parquet or CSV.",
    ".pickle": "A pickle can run code when it is opened, so it is never read; save the table as Parquet or CSV.",
    ".arff": "Save it as CSV.",
    ".xml": "Save it as CSV or JSON Lines.",
    ".db": "Export the table as CSV or Parquet.",
    ".sqlite": "Export the table as CSV or Parquet.",
    ".tar": "Extract it and give the folder, or pack it as .zip.",
    ".tgz": "Extract it and give the folder, or pack it as .zip.",
    ".7z": "Extract it and give the folder, or pack it as .zip.",
    ".rar": "Extract it and give the folder, or pack it as .zip.",
}
READABLE = ".csv, .tsv, .json, .jsonl, .parquet, .txt (text<TAB>label), a folder of tables, texts, pictures or recordings, a .zip of a folder, or the id of a hub data set"
OUTSIDE, MISSING = "lies outside of the folder that it is looked for in", "is not there"
LINK, LINKED_FOLDER = "is a link out of the folder", "is a link to a folder, which is not followed"
# What libraries raise of a file that is cut off or damaged, beside OSError.
BROKEN = (zlib.error, lzma.LZMAError, EOFError, zipfile.BadZipFile, NotImplementedError)

MAX_FILES = 250_000  # of a folder or an archive: the full aclImdb has 100,000
MAX_ARCHIVE_BYTES = 16 << 30  # uncompressed, all members
MAX_RATIO, RATIO_FREE_BYTES = 200, 100 << 20  # text packs 2 to 10 times; a bomb packs 1,000 times
MAX_CARD_BYTES = 1 << 20  # of the YAML at the head of README.md


@dataclass(frozen=True)
class File:
    """Bytes with a name. `name`: as the user knows it. `inner`: the path inside the folder or archive, with "/". `stray`: why it is not read."""

    name: str
    inner: str
    size: int
    opener: Callable[[], BinaryIO]
    path: Path | None = None  # where it lies
    stray: str = ""

    @property
    def suffix(self) -> str:
        """Lower case, of the content: ".csv" for x.csv.gz."""
        return PurePosixPath(self.inner.lower().removesuffix(".gz")).suffix

    @property
    def packed(self) -> bool:
        """Whether the bytes that lie there are not the content."""
        return self.inner.lower().endswith(".gz")

    def open(self) -> BinaryIO:
        """A fresh stream of the content, decompressed."""
        return cast(BinaryIO, _Unpacked(self)) if self.packed else self.opener()

    def head(self, count: int) -> bytes:
        """The first bytes of the content."""
        with self.open() as stream:
            return stream.read(count)


class _Unpacked(gzip.GzipFile):
    """The content of a .gz, refused where it is a bomb: it grows further than text can."""

    def __init__(self, file: File) -> None:
        self.packed = file.opener()
        super().__init__(mode="rb", fileobj=self.packed)
        self.file, self.most, self.given = file, max(RATIO_FREE_BYTES, MAX_RATIO * file.size), 0

    def read(self, size: int | None = -1) -> bytes:
        return self._counted(super().read(size))

    def read1(self, size: int = -1) -> bytes:
        return self._counted(super().read1(size))

    def close(self) -> None:
        super().close()
        self.packed.close()  # which gzip leaves open

    def _counted(self, data: bytes) -> bytes:
        self.given += len(data)
        if self.given > self.most:
            reason = f"it unpacks to more than {MAX_RATIO} times its size, as no text does"
            raise InputError("data.archive", path=self.file.name, reason=reason)
        return data


class Resolver:
    """Finds the media that the tables of one source name: in the table's own folder, in the whole source, in archives beside the table.

    root: the folder of the source; None where it is an archive, whose members are then given. Nothing is followed out of either.
    """

    def __init__(self, root: Path | None, members: Iterable[File] = ()) -> None:
        self.root = root
        self.members = {file.inner: file for file in members}
        self.inner = {file.name: file.inner for file in members}  # the full paths, whatever `_descend` makes of them
        self.refused: dict[Path, str] = {}  # archives beside a table that cannot be used, and why
        self._boundary = root and _boundary(root)
        self._real: dict[Path, Path | None] = {}
        self._beside: dict[Path, list[_Archive]] = {}

    def find(self, table: File, name: str) -> File | str:
        """The file that a table names, or what is wrong with that: OUTSIDE or MISSING."""
        told = name.strip().replace("\\", "/")
        pure = PurePosixPath(told)
        if not pure.parts or "\0" in told:
            return MISSING
        if pure.is_absolute() or ".." in pure.parts or re.match(r"[A-Za-z]:", told):
            return OUTSIDE
        if self.root is None:
            folder = PurePosixPath(self.inner.get(table.name, table.inner)).parent
            paths = [(base / pure).as_posix() for base in (folder, *folder.parents)]
            return next((self.members[path] for path in paths if path in self.members), MISSING)
        folders = self._folders(table, self.root)
        for place in folders:
            found = self._on_disk(place, pure)
            if found != MISSING:
                return found
        return self._in_archives(folders[0], pure) or MISSING

    def places(self, table: File) -> str:
        """Where `find` looks, in words."""
        if self.root is None:
            return f"the archive of {table.name}"
        folders = self._folders(table, self.root)
        archives = [archive.path.name for archive in self._archives(folders[0])]
        refused = [f"{path.name} (refused: {why})" for path, why in self.refused.items() if path.parent == folders[0]]
        beside = ", ".join([*archives, *refused][:8]) or "no archive"
        return f"{', '.join(map(str, folders))}; {beside} lies beside the table"

    def _folders(self, table: File, root: Path) -> list[Path]:
        """The folders where media of a table may lie: its own, and those above it up to the source's."""
        own = table.path.parent if table.path else root
        return [own, *(folder for folder in own.parents if folder.is_relative_to(root))]

    def _on_disk(self, folder: Path, pure: PurePosixPath) -> File | str:
        path = folder / pure
        try:
            if path.parent not in self._real:  # asked once for a folder, not for each of its files
                self._real[path.parent] = path.parent.resolve(strict=True) if path.parent.is_dir() else None
            real = self._real[path.parent]
            if real is None:
                return MISSING
            if path.is_symlink():
                real = path.resolve(strict=True)
            if self._boundary is None or not real.is_relative_to(self._boundary):
                return OUTSIDE
            return _file(path, pure.as_posix(), str(path)) if path.is_file() else MISSING
        except (OSError, RuntimeError, ValueError):  # a name that is too long, links in a ring
            return MISSING

    def _in_archives(self, folder: Path, pure: PurePosixPath) -> File | None:
        """In an archive of this folder, whether or not its members stand below a folder that the name lacks, or lack one that it has."""
        top, rest = pure.parts[0], "/".join(pure.parts[1:])
        for archive in sorted(self._archives(folder), key=lambda archive: archive.path.stem != top):
            names = [pure.as_posix(), f"{archive.top}/{pure.as_posix()}", rest if archive.path.stem == top else ""]
            for name in names:
                if name in archive.members:
                    return archive.members[name]
        return None

    def _archives(self, folder: Path) -> list[_Archive]:
        """The archives that lie directly in this folder."""
        if folder not in self._beside:
            self._beside[folder] = []
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() == ".zip" and _visible(path.name) and path.is_file():
                    try:
                        members = {file.inner: file for file in _archive(path)}
                    except InputError as error:  # it may have nothing to do with the table
                        self.refused[path] = str(error.fields["reason"])
                        continue
                    tops = {name.split("/", 1)[0] for name in members}
                    self._beside[folder].append(_Archive(path, members, tops.pop() if len(tops) == 1 else ""))
        return self._beside[folder]


@dataclass(frozen=True)
class _Archive:
    """An archive beside a table. members: by path. top: the one folder that all of them lie in, if there is one."""

    path: Path
    members: Mapping[str, File]
    top: str


def _boundary(root: Path) -> Path:
    """The folder that no link may lead out of: the source itself; of a copy in the hub's cache, which is made of links, all of the copy."""
    real = root.resolve()
    for folder in (real, *real.parents):
        if folder.parent.name == "snapshots" and (folder.parent.parent / "blobs").is_dir():
            return folder.parent.parent
    return real


@dataclass(frozen=True)
class Piece:
    """Files that are read as one: one table, or texts, images or sounds whose class is the folder they lie in.

    kind: "table", or what each file is one of: "text", "image", "audio". labels: for those one per file (None in the unlabelled
    part); empty for a table. strays: (file, why it is not read), of those among them. class_names: {column: names} where the numbers of
    a column stand for names, as the card of a hub data set says. resolver: finds the media that a table names.
    """

    part: str | None
    files: tuple[File, ...]
    kind: str = "table"
    labels: tuple[str | None, ...] = ()
    strays: tuple[tuple[File, str], ...] = ()
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    resolver: Resolver | None = None


def find(source: str | Path | Mapping[str, Any]) -> list[Piece]:
    """What to read, in the order of PARTS.

    Raises: InputError `data.not-found`, `data.part-name`, `data.part-ambiguous`, `data.folder`, `data.format`,
    `data.archive`, `data.hub-…`; several at once as Problems.
    """
    if not isinstance(source, Mapping):
        pieces = _locate(str(source))
    else:
        pieces = _parts(source)
    return sorted(pieces, key=lambda piece: -1 if piece.part is None else PARTS.index(piece.part))


def _parts(source: Mapping[str, Any]) -> list[Piece]:
    """The pieces of parts that were named one by one."""
    errors: list[InputError] = []
    pieces: list[Piece] = []
    for name, place in source.items():
        part = PART_NAMES.get(str(name).lower())
        if part is None:
            known = ", ".join(PARTS)
            errors.append(InputError("data.part-name", name=name, near=near(str(name), PARTS), known=known))
            continue
        for one in place if isinstance(place, list | tuple) else [place]:
            try:
                pieces += _of_part(part, str(one))
            except InputError as error:
                errors.append(error)
    if len(errors) > 1:
        raise Problems(errors)
    if errors:
        raise errors[0]
    if not pieces:
        raise InputError("data.not-found", path="{}", near="", readable=READABLE)
    return pieces


def _of_part(part: str, place: str) -> list[Piece]:
    """The pieces of one part. A folder with parts of its own stands for that part of it."""
    found = _locate(place, loose=part == "unlabelled")
    own = [piece for piece in found if piece.part in (None, part)]
    if not own:
        raise InputError("data.part-inside", part=part, path=place, found=", ".join(str(p.part) for p in found))
    return [
        replace(piece, part=part, labels=(None,) * len(piece.labels) if part == "unlabelled" else piece.labels)
        for piece in own
    ]


def _locate(source: str, *, loose: bool = False) -> list[Piece]:
    """The pieces behind one path or hub id. `loose`: texts and media that lie in no class are wanted too."""
    path = _path(source)
    if path.is_dir():
        return _tree(_folder(path), source, Resolver(path), loose=loose)
    if path.suffix.lower() == ".zip" and path.is_file():
        files = _archive(path)
        return _tree(files, source, Resolver(None, files), loose=loose)
    if path.is_file():
        return [Piece(None, (_single(path),), resolver=Resolver(path.parent))]
    folder, _, config = source.rpartition(":")
    if folder and _path(folder).is_dir():
        return _tree(_folder(_path(folder)), folder, Resolver(_path(folder)), config=config)
    if _may_be_hub_id(source):
        name, _, config = source.partition(":")
        copy = _snapshot(name)
        return _tree(_folder(copy), name, Resolver(copy), config=config or None)
    if path.is_symlink():
        raise InputError("data.link", path=source, target=os.readlink(path))
    if path.exists():
        raise InputError("data.special", path=source, kind=_special(path.stat().st_mode))
    siblings = sorted(os.listdir(path.parent)) if path.parent.is_dir() else []
    raise InputError("data.not-found", path=source, near=near(path.name, siblings), readable=READABLE)


def _path(source: str) -> Path:
    try:
        return Path(source).expanduser()
    except RuntimeError:  # ~somebody who is not known here
        return Path(source)


def _special(mode: int) -> str:
    kinds = {
        stat.S_ISFIFO: "a named pipe",
        stat.S_ISSOCK: "a socket",
        stat.S_ISCHR: "a device",
        stat.S_ISBLK: "a device",
    }
    return next((told for is_kind, told in kinds.items() if is_kind(mode)), "of an unknown kind")


def _single(path: Path) -> File:
    file = _file(path, path.name, str(path))
    if file.suffix in ADVICE:
        raise InputError("data.format", path=path, suffix=file.suffix, advice=ADVICE[file.suffix], readable=READABLE)
    return file


def _file(path: Path, inner: str, name: str, stray: str = "") -> File:
    size = 0 if stray else path.stat().st_size
    return File(as_utf8(name), as_utf8(inner), size, lambda: path.open("rb"), path, stray)


def as_utf8(name: str) -> str:
    """The name of a file with what is not UTF-8 in it replaced: such a name can be opened, but neither stored nor shown."""
    return name if name.isascii() else name.encode("utf-8", "replace").decode("utf-8")


def _folder(root: Path) -> list[File]:
    """Every visible file below a folder, by name. Links to files are followed within it; those that lead out of it are strays.

    Raises: InputError `data.folder`, `data.name` for a folder whose name would be that of a class; OSError for one that cannot be listed.
    """

    def fail(error: OSError) -> None:
        raise error  # which os.walk would pass over, and with it the folder

    files: list[File] = []
    boundary = _boundary(root)
    for place, folders, names in os.walk(root, onerror=fail):
        inside = Path(place).relative_to(root).as_posix()
        if as_utf8(inside) != inside:
            raise InputError("data.name", path=as_utf8(place))
        folders[:] = sorted(name for name in folders if _visible(name))
        for name in folders:
            path = Path(place) / name
            if path.is_symlink():
                files.append(_file(path, path.relative_to(root).as_posix(), str(path), LINKED_FOLDER))
        for name in sorted(names):
            path = Path(place) / name
            if _visible(name) and path.is_file():
                away = path.is_symlink() and not path.resolve().is_relative_to(boundary)
                files.append(_file(path, path.relative_to(root).as_posix(), str(path), LINK if away else ""))
        if len(files) > MAX_FILES:
            raise InputError("data.folder", path=root, found=f"more than {MAX_FILES:,} files")
    return files


def _archive(path: Path) -> list[File]:
    """Every visible member of a zip archive, checked against its own list before a byte is unpacked.

    Raises: InputError `data.archive` for names outside the archive, links, encryption, and bombs.
    """

    def refuse(reason: str) -> InputError:
        return InputError("data.archive", path=path, reason=reason)

    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise refuse(f"it cannot be opened ({error})") from None
    members = archive.infolist()
    if len(members) > MAX_FILES:
        raise refuse(f"it has more than {MAX_FILES:,} members")
    total, packed = sum(item.file_size for item in members), sum(item.compress_size for item in members)
    if total > MAX_ARCHIVE_BYTES:
        raise refuse(f"it would unpack to {total / 1e9:.0f} GB; the most is {MAX_ARCHIVE_BYTES / 1e9:.0f} GB")
    if total > RATIO_FREE_BYTES and total > MAX_RATIO * max(1, packed):
        raise refuse(f"it would unpack to {total / max(1, packed):.0f} times its size, as no text does")
    files, seen = [], set()
    for item in members:
        pure = PurePosixPath(item.filename)
        if (
            not pure.parts
            or pure.is_absolute()
            or ".." in pure.parts
            or "\\" in item.filename
            or ":" in pure.parts[0][1:2]
        ):
            raise refuse(f"its member {item.filename!r} lies outside of it")
        if stat.S_ISLNK(item.external_attr >> 16):
            raise refuse(f"its member {item.filename!r} is a link")
        if item.flag_bits & 0x1:
            raise refuse(f"its member {item.filename!r} is encrypted")
        if item.is_dir() or not all(_visible(name) for name in pure.parts):
            continue
        if item.filename in seen:
            raise refuse(f"its member {item.filename!r} is there twice")
        seen.add(item.filename)
        files.append(File(f"{path}:{item.filename}", item.filename, item.file_size, _member(archive, item)))
    return sorted(files, key=lambda file: file.inner)


def _member(archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> Callable[[], BinaryIO]:
    # zipfile stops at the declared size and checks the CRC, so the sums above hold.
    return lambda: cast(BinaryIO, archive.open(item))


def _visible(name: str) -> bool:
    return not name.startswith((".", "__MACOSX"))


def _tree(
    files: list[File], where: str, resolver: Resolver, *, config: str | None = None, loose: bool = False
) -> list[Piece]:
    """The pieces of a folder: as its card says, or tables named for parts, or files by class, or the one table. The first has the strays."""
    strays = tuple((file, file.stray) for file in files if file.stray)
    files = _descend([file for file in files if not file.stray])
    card = _card(files)
    names = _class_names(card, config)
    first, *others = _pieces(files, card, config, where, strays=strays, loose=loose)
    pieces = (replace(first, strays=(*strays, *first.strays)), *others)
    return [replace(piece, class_names=names, resolver=resolver) for piece in pieces]


def _pieces(
    files: list[File],
    card: dict[str, Any],
    config: str | None,
    where: str,
    *,
    strays: Sequence[tuple[File, str]],
    loose: bool,
) -> list[Piece]:
    """At least one. Raises: InputError `data.folder`."""
    for pieces in (_by_card(files, card, config, where), _by_name(files, where), _by_metadata(files), _by_class(files)):
        if pieces:
            return pieces
    if loose and (piece := _without_class(files)):
        return [piece]
    tables = [file for file in files if file.suffix in TABLE_SUFFIXES and not _is_prose(file)]
    if len(tables) == 1:
        return [Piece(None, (tables[0],))]
    found = "no files"
    if tables:
        listed = ", ".join(file.inner for file in tables[:8]) + (", …" if len(tables) > 8 else "")
        found = f"{len(tables)} tables ({listed})"
    elif files:
        suffixes = sorted({file.suffix or "no suffix" for file in files})
        found = f"files with {', '.join(suffixes[:8])}"
    if strays:
        file, why = strays[0]
        found += f" beside {len(strays):,} that {'is' if len(strays) == 1 else 'are'} left out ({file.inner} {why})"
    raise InputError("data.folder", path=where, found=found)


def _descend(files: list[File]) -> list[File]:
    """The same files seen from the one folder that holds them all, unless that folder is a part."""
    while True:
        tops = {file.inner.split("/", 1)[0] for file in files if "/" in file.inner}
        loose = [file for file in files if "/" not in file.inner]
        if len(tops) != 1 or any(file.suffix in TABLE_SUFFIXES and not _is_prose(file) for file in loose):
            return files
        top = tops.pop()
        if top.lower() in PART_NAMES or any(file.inner == "README.md" for file in loose):
            return files  # a part; or a hub data set, whose card speaks of paths from here
        files = [
            File(file.name, file.inner[len(top) + 1 :], file.size, file.opener, file.path)
            for file in files
            if "/" in file.inner
        ]


def _is_prose(file: File) -> bool:
    """A read-me, a licence and their like: never data."""
    stem = PurePosixPath(file.inner.lower()).stem
    return file.suffix in TEXT_SUFFIXES and bool(
        re.match(r"(readme|licen[cs]e|source|notice|changelog|citation)", stem)
    )


def _by_name(files: Sequence[File], where: str) -> list[Piece]:
    """Tables whose names say which part they are: train.csv, adult-test.csv.gz, data/train-00000-of-00002.parquet."""
    claims: dict[str, list[tuple[int, bool, File]]] = {}
    for file in files:
        if file.suffix not in TABLE_SUFFIXES or _is_prose(file):
            continue
        pure = PurePosixPath(file.inner.lower().removesuffix(".gz"))
        depth = len(pure.parts) - 1
        if file.suffix == ".txt" and depth:
            continue  # below the top a .txt is one text of a class
        told = [PART_NAMES[token] for token in re.split(r"[^a-z]+", pure.stem) if token in PART_NAMES]
        exact = pure.stem in PART_NAMES
        if not told and depth and pure.parent.name in PART_NAMES:
            told = [PART_NAMES[pure.parent.name]]
        if len(set(told)) == 1:
            claims.setdefault(told[0], []).append((depth, not exact, file))
    return [Piece(part, _agree(part, claims[part], where)) for part in PARTS if part in claims]


def _agree(part: str, claims: list[tuple[int, bool, File]], where: str) -> tuple[File, ...]:
    """The files of one part: the nearest to the top, exact names before others, shards together."""
    best = min(claim[:2] for claim in claims)
    files = [file for *rank, file in claims if tuple(rank) == best]
    if len(files) > 1 and len({_shard_of(file) for file in files}) > 1:
        raise InputError(
            "data.part-ambiguous", path=where, part=part, found=", ".join(file.inner for file in files[:8])
        )
    return tuple(files)


def _shard_of(file: File) -> str:
    """What the shards of one table have in common: the name without its running number."""
    found = re.fullmatch(r"(.*?)-?\d+-of-(\d+)(-[0-9a-f]+)?", PurePosixPath(file.inner).stem)
    if found:
        return f"{PurePosixPath(file.inner).parent}/{found[1]} of {found[2]}{file.suffix}"
    if re.fullmatch(r"\d+", PurePosixPath(file.inner).stem):
        return f"{PurePosixPath(file.inner).parent}/*{file.suffix}"
    return file.inner


def _by_metadata(files: Sequence[File]) -> list[Piece]:
    """The one table at the top that names media below it: `metadata` with a column `file_name` (Hugging Face hub, "ImageFolder"), or any other.

    Where each part has a folder with such a table of its own, `_by_name` has found them.
    """
    tables = [
        file for file in files if "/" not in file.inner and file.suffix in TABLE_SUFFIXES and file.suffix != ".txt"
    ]
    media = [PurePosixPath(file.inner).name for file in files if file.suffix in MEDIA_SUFFIXES]
    if len(tables) != 1 or not media:
        return []
    stem = PurePosixPath(tables[0].inner.lower().removesuffix(".gz")).stem
    head = tables[0].head(1 << 16).replace(b"\0", b"")  # without the zeros of UTF-16
    named = any(name.encode("utf-8", "surrogateescape") in head for name in media[:1_000])
    told = stem == "metadata" and (tables[0].suffix == ".parquet" or b"file_name" in head)
    return [Piece(None, tuple(tables))] if told or named else []


def _by_class(files: Sequence[File]) -> list[Piece]:
    """Texts, images or sounds in folders named for their class, with or without train/ test/ … above the classes.

    What most files are is read. Texts among media, or media among texts, and whatever else lies beside media, are strays.
    """
    kinds = [_kind(file) for file in files]
    paths = [PurePosixPath(file.inner).parts for file in files]
    by_part = any(
        kind is not None and len(parts) == 3 and parts[0].lower() in PART_NAMES
        for kind, parts in zip(kinds, paths, strict=True)
    )
    placed: list[_Placed] = []
    for file, kind, parts in zip(files, kinds, paths, strict=True):
        part: str | None = None
        if by_part:
            if len(parts) == 1 or parts[0].lower() not in PART_NAMES:
                continue
            part = PART_NAMES[parts[0].lower()]
            if part != "unlabelled":
                parts = parts[1:]
        if PART_NAMES.get(parts[0].lower()) == "unlabelled" and len(parts) > 1:
            placed.append(_Placed(file, kind, "unlabelled", None, len(parts) == 2 or part == "unlabelled"))
        elif len(parts) > 1 or by_part:
            placed.append(_Placed(file, kind, part, parts[0], len(parts) == 2))
    chosen = _commonest([item.kind for item in placed if item.fits])
    members = [item for item in placed if item.fits and item.kind == chosen]
    if len({item.label for item in members if item.label is not None}) < 2:
        return []
    pieces = []
    for part in dict.fromkeys(item.part for item in members):
        own = [item for item in members if item.part == part]
        strays = [(item.file, why) for item in placed if item.part == part and (why := _stray(item, chosen))]
        pieces.append(
            Piece(part, tuple(item.file for item in own), chosen, tuple(item.label for item in own), tuple(strays))
        )
    return pieces


@dataclass(frozen=True)
class _Placed:
    """A file below a folder of classes. fits: it lies directly in the folder of its class."""

    file: File
    kind: str | None
    part: str | None
    label: str | None
    fits: bool


def _kind(file: File) -> str | None:
    """What a file holds by its suffix: "image", "audio", "text" or nothing that is known."""
    if file.suffix in TEXT_SUFFIXES or file.suffix[1:].isdigit():
        return "text"
    return MEDIA_SUFFIXES.get(file.suffix)


def _commonest(kinds: Iterable[str | None]) -> str:
    """The kind of most files; where there are as many texts, they go with the media."""
    counts = Counter(kind for kind in kinds if kind is not None)
    return max(("image", "audio", "text"), key=lambda kind: counts[kind])


def _stray(item: _Placed, chosen: str) -> str:
    """Why a file below a folder of classes is not read; nothing if it is, or if it is nobody's loss."""
    name = PurePosixPath(item.file.inner).name.lower()
    if (item.fits and item.kind == chosen) or name in LITTER or _is_prose(item.file):
        return ""
    if chosen == "text" and (item.kind in (None, "text") or not item.fits):
        return ""  # lists of addresses, notes and the like that lie beside the texts
    if item.kind != chosen:
        return f"is no {chosen} that can be read ({item.file.suffix or 'without a suffix'}), as most files here are"
    return "does not lie directly in the folder of a class"


def _without_class(files: Sequence[File]) -> Piece | None:
    """All texts, or all media of the kind that most are, without a class; nothing where a table lies there that may name them."""
    kinds = [None if _is_prose(file) else _kind(file) for file in files]
    chosen = _commonest(kinds)
    found = tuple(file for file, kind in zip(files, kinds, strict=True) if kind == chosen)
    if chosen == "text":
        return Piece(None, found, chosen, (None,) * len(found)) if len(found) > 1 else None  # one text is a table
    if not found or any(file.suffix in TABLE_SUFFIXES and file.suffix not in TEXT_SUFFIXES for file in files):
        return None
    strays = [
        (file, f"is no {chosen} that can be read ({file.suffix or 'without a suffix'}), as most files here are")
        for file, kind in zip(files, kinds, strict=True)
        if kind not in (chosen, None)
    ]
    return Piece(None, found, chosen, (None,) * len(found), tuple(strays))


def _card(files: Sequence[File]) -> dict[str, Any]:
    """The YAML at the head of README.md, as the hub writes it; {} when there is none."""
    file = next((file for file in files if file.inner == "README.md"), None)
    if file is None:
        return {}
    head = file.head(MAX_CARD_BYTES).decode("utf-8", "replace").removeprefix("\ufeff")
    begin, *lines = head.split("\n")
    marks = (number for number, line in enumerate(lines) if line.rstrip() == "---")
    if begin.rstrip() != "---" or (end := next(marks, None)) is None:
        return {}
    try:
        data = yaml.safe_load("\n".join(lines[:end]))
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        # PyYAML lets through what its own constructors raise, such as KeyError for `!!bool maybe`.
        return {}
    return data if isinstance(data, dict) else {}


def _by_card(files: Sequence[File], card: dict[str, Any], config: str | None, where: str) -> list[Piece]:
    """The files that the card's `configs:` names (Hugging Face hub, "Manual configuration" of data sets)."""
    configs = [item for item in _list(card.get("configs")) if isinstance(item, dict) and item.get("data_files")]
    if not configs and config is None:
        return []
    names = [_word(item.get("config_name", "default")) for item in configs]
    if config is None:
        chosen = [item for item in configs if item.get("default") or item.get("config_name", "default") == "default"]
        chosen = chosen[:1] or (configs if len(configs) == 1 else [])
    else:
        chosen = [item for item, name in zip(configs, names, strict=True) if name == config]
    if not chosen:
        example = f"{where}:{names[0]}" if names else where
        raise InputError("data.hub-config", path=where, known=", ".join(names) or "none", example=example)
    held: dict[str, list[File]] = {}
    for split, patterns in _data_files(chosen[0]["data_files"]):
        part = PART_NAMES.get(split.lower())
        if part is None:
            continue
        matches = [file for file in files if any(_matches(file.inner, pattern) for pattern in patterns)]
        held.setdefault(part, []).extend(file for file in matches if file.suffix in TABLE_SUFFIXES)
    return [Piece(part, tuple(held[part])) for part in PARTS if held.get(part)]


def _data_files(entry: Any) -> Iterable[tuple[str, list[str]]]:
    if isinstance(entry, str):
        yield "train", [entry]
        return
    for item in _list(entry):
        if isinstance(item, dict):
            yield _word(item.get("split", "train")), [_word(path) for path in _list(item.get("path"))]
        else:
            yield "train", [_word(item)]


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern.removeprefix("./")) or name.startswith(pattern.rstrip("/") + "/")


def _class_names(card: dict[str, Any], config: str | None) -> dict[str, tuple[str, ...]]:
    """{column: names} from the card's `dataset_info:` features of dtype class_label."""
    infos = [item for item in _list(card.get("dataset_info")) if isinstance(item, dict)]
    wanted = [item for item in infos if config and item.get("config_name") == config] or infos[:1]
    names: dict[str, tuple[str, ...]] = {}
    for feature in _list(wanted[0].get("features")) if wanted else []:
        dtype = feature.get("dtype") if isinstance(feature, dict) else None
        label = dtype.get("class_label") if isinstance(dtype, dict) else None
        told = label.get("names") if isinstance(label, dict) else None
        if isinstance(told, dict):
            told = list(told.values())  # {'0': first, '1': second, …}, in order
        if isinstance(told, list):
            names[_word(feature.get("name"))] = tuple(map(_word, told))
    return names


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _word(value: Any) -> str:
    """A scalar as text. Nothing else is: lists that refer to one another write out to any length ("billion laughs")."""
    return str(value) if isinstance(value, str | int | float) else ""


def _may_be_hub_id(source: str) -> bool:
    """owner/name, with :configuration perhaps; not the path of a file that is missing, nor one below a folder here."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:[\w.-]+)?", source):
        return False
    suffix = PurePosixPath(source.lower().removesuffix(".gz")).suffix
    return suffix not in (*TABLE_SUFFIXES, *ADVICE, ".zip") and not Path(source.split("/")[0]).is_dir()


def _snapshot(name: str) -> Path:
    """The folder of a hub data set: from the local cache, else downloaded.

    Raises: InputError `data.hub-missing`, `leaf.missing-package`.
    """
    hub = leaves.need_package("huggingface_hub", feature=f"The hub data set {name!r}", extra="train")
    errors, constants = import_module("huggingface_hub.errors"), import_module("huggingface_hub.constants")
    patterns = [f"*{suffix}{packed}" for suffix in TABLE_SUFFIXES for packed in ("", ".gz")] + ["README.md"]
    patterns += [f"*{suffix}" for suffix in MEDIA_SUFFIXES]
    try:
        return Path(hub.snapshot_download(name, repo_type="dataset", local_files_only=True))
    except (errors.LocalEntryNotFoundError, errors.HFValidationError):
        pass
    try:
        return Path(hub.snapshot_download(name, repo_type="dataset", allow_patterns=patterns))
    except errors.GatedRepoError:
        reason = "its owner asks for consent: accept the terms on its page and set HF_TOKEN"
    except errors.RepositoryNotFoundError:
        reason = "the hub has no data set of that name, or it is private (then set HF_TOKEN)"
    except errors.OfflineModeIsEnabled:
        reason = "it is not in the local cache, and HF_HUB_OFFLINE is set"
    except errors.LocalEntryNotFoundError:
        reason = "it is not in the local cache, and " + (
            "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
        )
    except Exception as error:  # the hub's client lets errors of its HTTP library through, and changes that library
        reason = f"it is not in the local cache, and the hub cannot be reached ({type(error).__name__})"
    raise InputError("data.hub-missing", path=name, reason=reason, cache=constants.HF_HUB_CACHE)
