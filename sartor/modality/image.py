"""Images: photographs, scans and drawings, as the bytes of their files.

A value arrives as bytes (or as base64 over HTTP) and is read as an array of RGB. Nothing is believed of it before it is checked: size, magic
bytes, dimensions, and only then is it decoded, whole, by Pillow's plugin for what the magic bytes say and by no other.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import logging
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sartor import leaves
from sartor.data.dataset import Finding, Severity
from sartor.data.encoded import NotBytes, decoded
from sartor.errors import RowError

EXPECTS = "an image"
WIDGET = "file:image/*"
TABULAR = False

MAX_BYTES = 20_000_000  # of one image as it arrives
MAX_PIXELS = 50_000_000  # of one image; Pillow holds 4 bytes for each, and as many again while it is taken out
LEAST_SIDE = 1_024  # pixels of the shorter side, to which a far larger JPEG is reduced: no model looks at more
MAX_SCANNED = 1_000_000_000  # pixels of a JPEG times its scans: a progressive one usually has ten, and each costs a pass over all pixels
LEAST_SCANNED = 10_000  # pixels that a scan costs as much as, however few there are
MAX_MARKERS = 1_000_000  # of a JPEG, among which scans are counted
STRIP_PIXELS = 1_000_000  # that are converted at once
SMALL_PIXELS = 1_000_000  # up to which images are the same if their pixels are; of larger ones the bytes must be
MOST_PROFILED = 2_000
SAME_COLOUR = 3  # levels of 255 that a colour varies by in a JPEG of one colour
TINY = 20  # pixels of the shorter side, below which an image is told to be tiny
MIXED = 16  # times the pixels of the smallest, that the largest have where sizes are told to be mixed
MOST_KEYS = 250_000  # that are remembered
THUMBNAIL = 64  # pixels of a side, to which images are reduced where they are compared
HEAD = 64  # bytes in which the magic ones lie

_KNOWN = "JPEG, PNG, WebP, BMP, GIF, TIFF, PGM, PPM or PBM"
_NAMES = {"WEBP": "WebP", "PPM": "PNM", "MPO": "JPEG"}
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")  # Pillow's names of grey with more than 8 bits
_GREY = ("1", "L", "LA", "La", *_DEEP)


class _UnreadableError(Exception):
    """Says in words what a value is that cannot be read as an image, and what had been expected."""

    def __init__(self, found: str, expected: str = EXPECTS) -> None:
        self.expected = expected
        super().__init__(found)


def recognise(column: pa.ChunkedArray) -> float:
    """1 where most values begin as images do; what their files were called does not count."""
    if not (pa.types.is_large_binary(column.type) or pa.types.is_binary(column.type)):
        return 0.0
    heads = [head for head in pc.binary_slice(column, 0, HEAD).to_pylist() if head]
    return float(2 * sum(bool(_format(head)) for head in heads) > len(heads))


def read(value: Any, column: str) -> np.ndarray:
    """The pixels [height, width, 3] uint8, RGB, the right way up, on white where they are transparent.

    value: the bytes of a file; base64 of them as a string, a data: URL or {"base64": …}; or an array that was read before.
    """
    try:
        return _pixels(value, least=LEAST_SIDE)
    except _UnreadableError as error:
        raise RowError("row.bad-value", column=column, expected=error.expected, found=str(error)) from None


# From what arrives to pixels.


def _pixels(value: Any, *, least: int) -> np.ndarray:
    """As `read`. least: pixels of the shorter side, below which no JPEG is reduced while it is decoded. Raises: _UnreadableError."""
    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3 or not value.size:
            shape = " × ".join(map(str, value.shape))
            raise _UnreadableError(
                f"an array [{shape}] of {value.dtype}", f"{EXPECTS}: an array [height, width, 3] of uint8"
            )
        _check_dimensions(value.shape[1], value.shape[0])
        return value
    data = _bytes_of(value)
    image = _opened(data)
    name = _told(image.format)
    try:
        if image.format in ("JPEG", "MPO"):
            image.draft(None, (least, least))
        image.load()
        pixels = _rgb(image)
        turn = _orientation(image)
    except _UnreadableError:
        raise
    except MemoryError:
        raise _UnreadableError(f"a {name} that does not fit the memory") from None
    except Exception as error:  # whatever a broken file makes one of Pillow's plugins raise
        why = (
            "ends too early"
            if re.search("truncat|not enough|end of file|EOF", str(error), re.IGNORECASE)
            else "is broken"
        )
        raise _UnreadableError(f"a {name} that {why}") from None
    del image
    return np.ascontiguousarray(_turned(pixels, turn))


def _tried(value: Any, *, least: int) -> np.ndarray | None:
    """The pixels of a value, or None where it has none."""
    try:
        return _pixels(value, least=least)
    except _UnreadableError:
        return None


def _bytes_of(value: Any) -> bytes:
    """The bytes of the file, from whichever form a value comes in. Raises: _UnreadableError."""
    try:
        data = decoded(value, most=MAX_BYTES)
    except NotBytes as error:
        how = ", in base64 where it is sent as text" if isinstance(value, str | dict) else ""
        raise _UnreadableError(str(error), EXPECTS + how) from None
    if not data:
        raise _UnreadableError("nothing")
    if len(data) > MAX_BYTES:
        raise _UnreadableError(f"{len(data) / 1e6:,.1f} MB", _at_most(f"{MAX_BYTES / 1e6:.0f} MB"))
    return data


def _format(head: bytes) -> str:
    """Pillow's name of the format that these first bytes are of, or nothing."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    # Two letters are too few: the size of the header that follows is one of those that there are.
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124):
        return "BMP"
    return "PPM" if re.match(rb"P[1-6][ \t\r\n#]", head) else ""


def _told(kind: str | None) -> str:
    return _NAMES.get(kind or "", kind or "file")


def _at_most(what: str) -> str:
    return f"{EXPECTS} of at most {what}"


@lru_cache(maxsize=1)
def _pillow() -> Any:
    """The module PIL.Image. Raises: InputError `leaf.missing-package`."""
    leaves.need_package("PIL", feature="Reading images", extra="image")
    # What is wrong with an image is told by findings and errors.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    # Once: `catch_warnings` around each image would be seen by other threads, and undone by them.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    return import_module("PIL.Image")


def _opened(data: bytes) -> Any:
    """A Pillow image whose header is read and checked, and not a pixel yet. Raises: _UnreadableError."""
    kind = _format(data[:HEAD])
    if not kind:
        raise _UnreadableError("bytes of another kind", f"{EXPECTS} ({_KNOWN})")
    library = _pillow()
    if kind == "WEBP":
        # Its decoder takes memory for all pixels twice, and as soon as it is opened.
        _check_dimensions(*_webp_size(data), most=MAX_PIXELS // 2)
    try:
        image = library.open(io.BytesIO(data), formats=("JPEG", "MPO") if kind == "JPEG" else (kind,))
        # One tile may be larger than all of the image; its sides may be told as floats, and those be no numbers.
        tile = [int(_number(image.tag_v2.get(tag, 0))) for tag in (322, 323)] if kind == "TIFF" else [0, 0]
    except library.DecompressionBombError:
        raise _UnreadableError("a picture of far more", _at_most(f"{MAX_PIXELS / 1e6:.0f} million pixels")) from None
    except Exception:
        raise _UnreadableError(f"a {_told(kind)} whose header is broken") from None
    _check_dimensions(*image.size)
    _check_dimensions(*tile)
    if kind == "JPEG":
        _check_scans(data, max(LEAST_SCANNED, image.size[0] * image.size[1]))
    return image


def _check_dimensions(width: int, height: int, *, most: int = MAX_PIXELS) -> None:
    """Raises: _UnreadableError."""
    if width * height > most:
        expected = _at_most(f"{most / 1e6:.0f} million pixels")
        raise _UnreadableError(f"{width:,} × {height:,}, {width * height / 1e6:,.0f} million", expected)


def _check_scans(data: bytes, pixels: int) -> None:
    """Raises: _UnreadableError."""
    most = MAX_SCANNED // pixels
    # Counting the bytes alone is quick, but they also stand in previews, and by chance behind the end.
    if data.count(b"\xff\xda") > most and _has_scans(data, most + 1):
        raise _UnreadableError(f"a JPEG of more than {most:,} scans")


# No byte 255 of a scan is one: a zero follows those, and the marks of a restart end no scan.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)


def _has_scans(data: bytes, count: int) -> bool:
    """Whether a JPEG has so many scans before its end, going from marker to marker as a decoder does (ITU-T T.81, B.1.1)."""
    place = 2
    for _ in range(MAX_MARKERS):
        found = _MARKER.search(data, place)
        if found is None or found[1] == b"\xd9":
            return False
        count -= found[1] == b"\xda"
        if not count:
            return True
        place = found.end()
        if found[1] >= b"\xc0":  # the others stand alone; the length of these is told by two bytes, and counts them
            place += max(2, int.from_bytes(data[place : place + 2], "big"))
    return True


def _webp_size(data: bytes) -> tuple[int, int]:
    """(width, height) as the header says, (0, 0) where it cannot be told (RFC 9649)."""
    chunk = data[12:16]
    if chunk == b"VP8 " and len(data) >= 30:
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    if chunk == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    if chunk == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return 0, 0


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _rgb(image: Any) -> np.ndarray:
    """The pixels of a loaded image [height, width, 3] uint8; taken out in strips, so that they are not held a third time."""
    width, height = image.size
    low, high = _range(image) if image.mode in _DEEP else (0.0, 0.0)
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = image if rows >= height else image.crop((0, top, width, min(height, top + rows)))
        if image.mode in _DEEP:
            grey = (np.asarray(strip).astype(np.float32) - low) * (255 / max(high - low, 1e-30))
            if not np.isfinite(grey).all():
                raise _UnreadableError("values that are no numbers")
            pixels[top : top + rows] = np.clip(np.rint(grey), 0, 255).astype(np.uint8)[:, :, None]
        elif image.has_transparency_data:
            strip = strip.convert("LA") if strip.mode == "La" else strip
            strip = strip.convert("RGBA")
            white = _pillow().new("RGBA", strip.size, "white")
            pixels[top : top + rows] = np.asarray(_pillow().alpha_composite(white, strip).convert("RGB"))
        else:
            pixels[top : top + rows] = np.asarray(strip.convert("RGB"))
    return pixels


def _range(image: Any) -> tuple[float, float]:
    """The values of black and white in grey with more than 8 bits: of 16 bits all there are; of others the least and the greatest."""
    if image.mode.startswith("I;16"):
        return 0.0, 65535.0
    low, high = map(float, image.getextrema())
    usual = 65535.0 if image.mode == "I" else 1.0
    return (0.0, usual) if low >= 0 and high <= usual else (low, high)


def _orientation(image: Any) -> int:
    """How the pixels lie, 1 to 8, by EXIF; 1 (as they should) where it says nothing that makes sense."""
    try:
        # Not the method of a PNG, which decodes it to see whether EXIF follows the pixels.
        told = _pillow().Image.getexif(image).get(0x0112, 1)
    except Exception:  # EXIF may be broken in as many ways as it has fields
        return 1
    return told if isinstance(told, int) and 1 <= told <= 8 else 1


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels the right way up (EXIF 2.3, table 6)."""
    if orientation >= 5:  # rows are columns
        pixels = pixels.transpose(1, 0, 2)
    flipped, mirrored = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return pixels[:: -1 if flipped else 1, :: -1 if mirrored else 1]


# What the audit and the planner want to know.


def profile(values: Sequence[Any]) -> dict[str, Any]:
    """Median width and height in pixels, the share that is grey by its header, and of each format, from at most MOST_PROFILED headers."""
    if len(values) > MOST_PROFILED:
        values = [values[int(i)] for i in np.linspace(0, len(values) - 1, MOST_PROFILED)]
    heads = [head for head in map(_head, values) if isinstance(head, _Head)]
    formats = Counter(head.format for head in heads)
    return {
        "width_median": float(np.median([head.width for head in heads] or [0])),
        "height_median": float(np.median([head.height for head in heads] or [0])),
        "grey": sum(head.mode in _GREY for head in heads) / max(1, len(heads)),
        "formats": {name: count / len(heads) for name, count in formats.most_common()},
    }


@dataclass(frozen=True)
class _Head:
    """What the header of an image says. width, height: in pixels, the right way up. clear: a palette with transparent colours."""

    format: str
    mode: str
    width: int
    height: int
    turned: bool
    animated: bool
    clear: bool


def _head(value: Any) -> _Head | str:
    """The header of a value, or what the value is instead of an image."""
    try:
        if isinstance(value, np.ndarray):
            height, width = _pixels(value, least=LEAST_SIDE).shape[:2]
            grey = bool((value == value[:, :, :1]).all())
            return _Head("array", "L" if grey else "RGB", width, height, False, False, False)
        data = _bytes_of(value)
        image = _opened(data)
    except _UnreadableError as error:
        return str(error)
    if image.format == "PNG" and _tells_late(data):
        with suppress(Exception):  # of a broken file; its header still says what it says
            image.load()
    turn = _orientation(image)
    width, height = image.size if turn < 5 else image.size[::-1]
    clear = animated = False
    with suppress(Exception):  # to see whether another picture follows, Pillow looks behind the first
        clear = image.mode in ("P", "PA") and image.has_transparency_data
        animated = bool(getattr(image, "is_animated", False)) and image.format != "MPO"
    return _Head(_told(image.format), image.mode, width, height, turn != 1, animated, clear)


def _tells_late(data: bytes) -> bool:
    """Whether a PNG may have EXIF behind its pixels, where only who decodes it meets it."""
    last = data.rfind(b"IDAT")
    return any(data.find(name, last) >= 0 for name in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"))


def audit(column: str, values: Sequence[Any], rows: Sequence[int]) -> list[Finding]:
    """Nothing that a sample would show: `flaws` looks at every image."""
    return []


def flaws(column: str, values: Iterable[Any], rows: Sequence[int]) -> list[Finding]:
    """Images that cannot be decoded, that are blank or tiny, and what is unusual about how they are stored."""
    held: dict[str, list[int]] = {}
    why: dict[str, Counter[str]] = {}
    areas: list[tuple[int, int, int]] = []  # pixels, width, height
    count = 0

    def note(what: str, row: int, detail: str = "") -> None:
        held.setdefault(what, []).append(row)
        why.setdefault(what, Counter())[detail] += 1

    for value, row in zip(values, rows, strict=True):
        if value is None or (isinstance(value, bytes | str) and not value):
            continue
        count += 1
        head = _head(value)
        try:
            pixels = _pixels(value, least=THUMBNAIL)
        except _UnreadableError as error:
            note("corrupt", row, str(error))
            continue
        if isinstance(head, str):
            continue
        areas.append((head.width * head.height, head.width, head.height))
        if int((pixels.max(axis=(0, 1)) - pixels.min(axis=(0, 1))).max()) <= SAME_COLOUR:
            note("blank", row)
        if min(head.width, head.height) < TINY:
            note("tiny", row, f"{head.width} × {head.height}")
        if head.mode in _DEEP or head.mode in ("CMYK", "LAB") or head.clear:
            note("mode", row, "a palette with transparent colours" if head.clear else _MODES.get(head.mode, head.mode))
        if head.turned:
            note("turned", row)
        if head.animated:
            note("animated", row, head.format)
    found = [_flaw(what, column, held[what], why[what], count) for what in _FLAWS if what in held]
    return found + _sizes(column, areas)


_MODES = {
    "CMYK": "CMYK",
    "F": "grey in floating point",
    "I": "grey of more than 8 bits",
    "LAB": "CIE Lab",
} | dict.fromkeys(("I;16", "I;16B", "I;16L", "I;16N"), "grey of 16 bits")
_FLAWS: dict[str, tuple[str, Severity, str, str]] = {
    "corrupt": (
        "audit.image-corrupt",
        "warning",
        "cannot be decoded",
        "Fetch them again from their source. They count as empty: nothing is learned from them, and no model can answer them.",
    ),
    "blank": (
        "audit.image-blank",
        "warning",
        "of one colour all over",
        "Look at their source: a scan of nothing, or a placeholder for a picture that was missing, teaches a model to guess.",
    ),
    "tiny": (
        "audit.image-tiny",
        "note",
        "smaller than {tiny} pixels on a side",
        "If they are thumbnails, give the originals: little can be told from so few pixels.",
    ),
    "mode": (
        "audit.image-mode",
        "note",
        "stored in an unusual way",
        "They are converted to RGB with 8 bits, transparent parts to white. Check that they look as they should, and that the images a model "
        "will be asked about are stored likewise.",
    ),
    "turned": (
        "audit.image-rotated",
        "note",
        "stored on their side or mirrored, with the turn in EXIF",
        "They are turned upright here. Other programs may not do that: if they were labelled in one that does not, check the labels.",
    ),
    "animated": (
        "audit.image-animated",
        "note",
        "made of several pictures",
        "Only the first is looked at. If another one matters, take it out and give that.",
    ),
}


def _flaw(what: str, column: str, rows: Sequence[int], why: Counter[str], count: int) -> Finding:
    code, severity, said, advice = _FLAWS[what]
    said = said.format(tiny=TINY)
    told = ", ".join(f"{detail} ({number:,})" for detail, number in why.most_common(4) if detail)
    is_ = "" if said.startswith("cannot") else "is " if len(rows) == 1 else "are "
    images = "image" if len(rows) == 1 else "images"
    return Finding(
        code=code,
        severity=severity,
        message=f"{len(rows):,} of {count:,} {images} in {column!r} {is_}{said}{f': {told}' if told else ''}; "
        f"the first is that of row {rows[0] + 1:,}.",
        advice=advice,
        count=len(rows),
        rows=tuple(rows),
        details={"column": column, "kinds": dict(why.most_common(100))},
    )


def _sizes(column: str, areas: Sequence[tuple[int, int, int]]) -> list[Finding]:
    """Images of very different sizes, where the largest twentieth has MIXED times the pixels of the smallest."""
    ordered = sorted(areas)
    if not ordered:
        return []
    few, many = ordered[len(ordered) // 20], ordered[len(ordered) - 1 - len(ordered) // 20]
    if many[0] < MIXED * few[0]:
        return []
    (width, height), times = Counter(area[1:] for area in areas).most_common(1)[0]
    return [
        Finding(
            code="audit.image-sizes",
            severity="note",
            message=f"The images in {column!r} are of very different sizes: from {ordered[0][1]:,} × {ordered[0][2]:,} to "
            f"{ordered[-1][1]:,} × {ordered[-1][2]:,} pixels, most often {width:,} × {height:,} ({times / len(areas):.0%}).",
            advice="A model sees them all at one size. If size goes with the class, such as scans beside thumbnails, it may learn that instead.",
            count=len(areas),
            details={"column": column, "pixels_low": few[0], "pixels_high": many[0]},
        )
    ]


def key(value: Any) -> str | None:
    """A digest of the pixels, so that one picture in two containers is the same; of the bytes where there are more than SMALL_PIXELS.

    None for what cannot be decoded: such a row is as good as empty.
    """
    try:
        data = value if isinstance(value, np.ndarray) else _bytes_of(value)
    except _UnreadableError:
        return None
    told = _digest(data)
    return _remembered(_KEYS, told, MOST_KEYS, lambda: _key(data, told))


Kept = TypeVar("Kept")


def _remembered(held: dict[bytes, Kept], told: bytes, most: int, make: Callable[[], Kept]) -> Kept:
    """What is held under a digest, made where it is not. Other threads may empty what is held at any time."""
    try:
        return held[told]
    except KeyError:
        made = make()
    if len(held) >= most:
        held.clear()
    held[told] = made
    return made


_KEYS: dict[bytes, str | None] = {}  # of bytes by their digest: rows are asked for their keys several times in a build


def _key(data: bytes | np.ndarray, told: bytes) -> str | None:
    head = _head(data)
    if isinstance(head, str):
        return None
    small = head.width * head.height <= SMALL_PIXELS
    pixels = _tried(data, least=LEAST_SIDE if small else THUMBNAIL)
    if pixels is None:
        return None
    return _digest(pixels).hex() if small else told.hex()


def _digest(value: bytes | np.ndarray) -> bytes:
    if isinstance(value, bytes):
        return hashlib.blake2b(value, digest_size=16).digest()
    shape = np.array(value.shape, dtype="<i8").tobytes()
    return hashlib.blake2b(shape + np.ascontiguousarray(value).tobytes(), digest_size=16).digest()


# Likeness: whether two images are copies of one, by small versions of them.

COARSE = 32  # pixels of a side, where images are registered and sketched
MOST_THUMBNAILS = 4_096  # that are remembered, of 12 KB each
FLAT = 2.0  # levels of 255: standard deviation of the detail, below which there is too little to compare


@dataclass(frozen=True)
class _Thumbnail:
    """An image at [THUMBNAIL, THUMBNAIL, 3] uint8, whatever its shape was. sharp: it had as many pixels at least."""

    pixels: np.ndarray
    sharp: bool


_THUMBNAILS: dict[bytes, _Thumbnail | None] = {}  # by digest of the bytes: the same ones are compared many times


def _thumbnail(value: Any) -> _Thumbnail | None:
    """None where the value cannot be decoded."""
    try:
        data = value if isinstance(value, np.ndarray) else _bytes_of(value)
    except _UnreadableError:
        return None
    told = _digest(data)
    return _remembered(_THUMBNAILS, told, MOST_THUMBNAILS, lambda: _small(data))


def _small(data: bytes | np.ndarray) -> _Thumbnail | None:
    pixels = _tried(data, least=2 * THUMBNAIL)
    if pixels is None:
        return None
    library, size = _pillow(), (THUMBNAIL, THUMBNAIL)
    # Pillow widens the filter by the scale, so that nothing is skipped where the image is much larger.
    small = library.fromarray(pixels).resize(size, library.Resampling.BILINEAR, reducing_gap=3.0)
    return _Thumbnail(np.asarray(small), min(pixels.shape[:2]) >= THUMBNAIL)


VIEWS = (0.6, 0.67, 0.74, 0.82)  # sides of the windows that a sketch looks through, as shares of the image's
VIEW_GRID, COARSE_GRID = 9, 8  # points of a side that are read of a window, of the whole image
DIRECTIONS, CODES = 32, 3  # of each hash; hashes of a window, joined
COARSE_DIRECTIONS = 2
BAND = 4  # entries of a sketch that stand or fall together, as in sartor/data/near.py


def sketch(values: Sequence[Any], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Signatures of images [n, size] uint32 of which copies share whole bands of BAND entries, and which images have detail enough for one [n bool].

    Three entries of a band hash the whole image, coarsely, so that copies agree in most of them. The fourth hashes a window, finely: the one
    of all places and VIEWS that a random template of the band fits best, so that it is the same window after a crop. The hashes are of
    cross-polytopes (Andoni et al. 2015, "Practical and optimal LSH for angular distance"): which of some random directions is nearest.
    """
    bands = -(-size // BAND)
    found, enough = np.zeros((len(values), bands, BAND), dtype=np.uint32), np.zeros(len(values), dtype=bool)
    hashes = _hashes(bands)
    for begin in range(0, len(values), 64):
        small = [_thumbnail(value) for value in values[begin : begin + 64]]
        places = [begin + i for i, thumbnail in enumerate(small) if thumbnail is not None]
        if places:
            grey = np.stack([_halved(_grey(thumbnail.pixels)) for thumbnail in small if thumbnail is not None])
            detail = _between(grey, 1.0, 4.0)
            enough[places] = detail.std(axis=(1, 2)) >= FLAT
            found[places, :, :-1] = hashes.of_wholes(_between(grey, 2.0, 6.0))
            found[places, :, -1] = hashes.of_windows(detail)
    return found.reshape(len(values), bands * BAND)[:, :size], enough


class _Hashes:
    """The random templates and directions of a number of bands, and what they say of images [n, COARSE, COARSE]."""

    def __init__(self, bands: int) -> None:
        rng = np.random.default_rng(0)
        self.bands = bands
        self.whole = rng.normal(size=(COARSE_GRID**2, bands * (BAND - 1) * COARSE_DIRECTIONS)).astype(np.float32)
        self.templates = _unit(_smooth(rng.normal(size=(bands, VIEW_GRID, VIEW_GRID)), 1.2)).reshape(bands, -1)
        directions = _smooth(rng.normal(size=(bands * CODES * DIRECTIONS, VIEW_GRID, VIEW_GRID)), 0.8)
        self.directions = _unit(directions).reshape(bands, CODES * DIRECTIONS, VIEW_GRID**2)
        points = (np.arange(VIEW_GRID) + 0.5) / VIEW_GRID * 2 - 1
        self.windows = []  # of each size: what is read along one side at every place of the window [places · VIEW_GRID, COARSE]
        for share in VIEWS:
            most = 2 * int((1 - share) * (COARSE - 1) / 2)
            shifts = np.arange(-most, most + 1) / 2  # in steps of half a pixel
            self.windows.append(_reading(shifts[:, None] + points * share * (COARSE - 1) / 2))

    def of_wholes(self, images: np.ndarray) -> np.ndarray:
        """[n, bands, BAND - 1]: which direction is nearest to the image as a whole. images: of coarse detail."""
        points = (np.arange(COARSE_GRID) + 0.5) / COARSE_GRID * 2 - 1
        reading = _reading(points[None] * 0.88 * (COARSE - 1) / 2)  # not to the edges, which are cropped first
        read = (reading @ images @ reading.T).reshape(len(images), -1)
        return _nearest((read @ self.whole).reshape(len(images), self.bands, BAND - 1, COARSE_DIRECTIONS))

    def of_windows(self, images: np.ndarray) -> np.ndarray:
        """[n, bands]: which directions are nearest to the window that each band's template fits best. images: of fine detail."""
        views = []
        for reading in self.windows:
            places = len(reading) // VIEW_GRID
            view = (reading @ images @ reading.T).reshape(len(images), places, VIEW_GRID, places, VIEW_GRID)
            views.append(view.transpose(0, 1, 3, 2, 4).reshape(len(images), places**2, VIEW_GRID**2))
        every = np.concatenate(views, axis=1)
        every -= every.mean(axis=2, keepdims=True)
        every /= every.std(axis=2, keepdims=True) + FLAT
        best = (every @ self.templates.T).argmax(axis=1)
        found = np.zeros((len(images), self.bands), dtype=np.uint32)
        for band in range(self.bands):
            window = every[np.arange(len(images)), best[:, band]]
            codes = _nearest((window @ self.directions[band].T).reshape(len(images), CODES, DIRECTIONS))
            found[:, band] = codes @ (2 * DIRECTIONS) ** np.arange(CODES)
        return found


_hashes = lru_cache(maxsize=2)(_Hashes)


def _nearest(products: np.ndarray) -> np.ndarray:
    """Which of the directions along the last axis, or of their opposites, is nearest."""
    return np.concatenate([products, -products], axis=-1).argmax(axis=-1)


def _unit(images: np.ndarray) -> np.ndarray:
    """Each image [n, height, width] with mean 0 and length 1, float32."""
    apart = images - images.mean(axis=(1, 2), keepdims=True)
    return np.asarray(apart / np.sqrt(np.square(apart).sum(axis=(1, 2), keepdims=True)), dtype=np.float32)


def _reading(points: np.ndarray) -> np.ndarray:
    """The matrix [n · m, COARSE] that reads a side of COARSE pixels at points [n, m] from its middle, between pixels in proportion."""
    return _interpolation(points.ravel(), COARSE)[0]


def _interpolation(points: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """(matrix [n, side] that reads at points in pixels from the middle, 1 where a point lies inside [n]), both float32."""
    middle = (side - 1) / 2
    place = np.clip(points + middle, 0, side - 1)
    low = np.minimum(place.astype(np.int64), side - 2)
    share = (place - low).astype(np.float32)
    matrix = np.zeros((len(points), side), dtype=np.float32)
    row = np.arange(len(points))
    matrix[row, low], matrix[row, low + 1] = 1 - share, share
    return matrix, (np.abs(points) <= middle + 0.01).astype(np.float32)


@lru_cache(maxsize=64)
def _gauss(sigma: float, side: int) -> np.ndarray:
    """The matrix [side, side] float32 that blurs along one side; at the edges with what there is."""
    place = np.arange(side)
    weights = np.exp(-0.5 * ((place[:, None] - place) / sigma) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def _smooth(images: np.ndarray, sigma: float) -> np.ndarray:
    """Square images [n, side, side], blurred."""
    blur = _gauss(sigma, images.shape[-1])
    return np.asarray(blur @ images @ blur.T)


def _between(images: np.ndarray, fine: float, coarse: float) -> np.ndarray:
    """The detail of square images that is larger than `fine` and smaller than `coarse`, in pixels (difference of Gaussians)."""
    smooth = _smooth(images, fine)
    return np.asarray(smooth - _smooth(images, coarse))


def _grey(thumbnail: np.ndarray) -> np.ndarray:
    """Luma [THUMBNAIL, THUMBNAIL] float32 (ITU-R BT.601)."""
    return np.asarray(thumbnail @ np.array([0.299, 0.587, 0.114], dtype=np.float32))


def _halved(image: np.ndarray) -> np.ndarray:
    """[height, width, …] at half the size, by means of four."""
    height, width, *rest = image.shape
    return np.asarray(image.reshape(height // 2, 2, width // 2, 2, *rest).mean(axis=(1, 3), dtype=np.float32))


STEPS = 12  # of a registration, at most
MOST_MOVED = 0.35  # by which a copy may be scaled, or moved in half sides
LEAST_SHARED = 0.5  # of the area, that must lie in both
ALIKE_DETAIL = 0.95  # correlation of the detail of two copies, see `likeness`
NO_COLOUR = 6.0  # levels of 255: differences between channels below it are the encoder's


def likeness(one: Any, other: Any) -> float:
    """How surely two images are copies of one, 0 to 1; from 0.8 on they are.

    They are registered by scale and place along both sides, from either; then the least counts of how the detail correlates (0.8 stands
    for ALIKE_DETAIL) and how far the colours agree. A copy that is mirrored, turned or without its colours is none.
    """
    first, second = _side(one), _side(other)
    if first is None or second is None:
        return 0.0
    # What an image of few pixels has not, its copy need not have.
    side = THUMBNAIL if first.sharp and second.sharp else COARSE
    found = _registered(first, second, side)
    return max(found, _registered(second, first, side)) if found else 0.0  # of copies, neither way round is hopeless


class _Side:
    """What is compared of an image, each made once: the same one is compared with many.

    sharp: as of its thumbnail. grey: by side in pixels. blurred [COARSE, COARSE]: grey as images are registered by. colour [2, COARSE / 2, COARSE / 2]: red less green, yellow less blue.
    """

    def __init__(self, thumbnail: _Thumbnail) -> None:
        self.sharp = thumbnail.sharp
        grey = _grey(thumbnail.pixels)
        self.grey = {THUMBNAIL: grey, COARSE: _halved(grey)}
        self.blurred = _smooth(self.grey[COARSE], 0.9)
        red, green, blue = np.moveaxis(_halved(_halved(thumbnail.pixels)), 2, 0)
        self.colour = np.stack([red - green, (red + green) / 2 - blue])
        self._details: dict[int, np.ndarray] = {}

    def detail(self, side: int) -> np.ndarray:
        """Detail of this many pixels of a side [side, side]."""
        if side not in self._details:
            self._details[side] = _between(self.grey[side], 0.7, 2.0)
        return self._details[side]

    @cached_property
    def solver(self) -> np.ndarray:
        """What turns the difference of another image from this one into a step of its warp [4, COARSE²]: inverse normal matrix times Jacobian."""
        still, half = self.blurred, (COARSE - 1) / 2
        along = ((np.arange(COARSE) - half) / half).astype(np.float32)
        slope = np.zeros((2, COARSE, COARSE), dtype=np.float32)
        slope[0, 1:-1] = (still[2:] - still[:-2]) * half / 2
        slope[1, :, 1:-1] = (still[:, 2:] - still[:, :-2]) * half / 2
        jacobian = np.stack([slope[0] * along[:, None], slope[0], slope[1] * along, slope[1]]).reshape(4, -1)
        normal = jacobian @ jacobian.T
        return np.asarray(np.linalg.inv(normal + (1e-3 * np.trace(normal) / 4 + 1e-6) * np.eye(4)) @ jacobian)


MOST_SIDES = 1_024  # that are remembered, of up to 80 KB each
_SIDES: dict[bytes, _Side | None] = {}


def _side(value: Any) -> _Side | None:
    """None where the value cannot be decoded."""
    try:
        data = value if isinstance(value, np.ndarray) else _bytes_of(value)
    except _UnreadableError:
        return None

    def made() -> _Side | None:
        thumbnail = _thumbnail(data)
        return None if thumbnail is None else _Side(thumbnail)

    return _remembered(_SIDES, _digest(data), MOST_SIDES, made)


def _registered(moved: _Side, still: _Side, side: int) -> float:
    """The likeness of two images, one moved onto the other, with the detail of so many pixels of a side."""
    warp = _warp(moved.blurred, still)
    if warp is None:
        return 0.0
    down, across, inside = _warping(warp, side)
    there = down @ moved.detail(side) @ across.T
    detail = 1 - (1 - _correlation(there, still.detail(side), inside)) * 0.2 / (1 - ALIKE_DETAIL)
    if detail <= 0:
        return 0.0
    down, across, inside = _warping(warp, COARSE // 2)
    colours = np.stack([(down @ moved.colour @ across.T) * inside, still.colour * inside])
    none = 2 * NO_COLOUR**2 * inside.sum()
    agreed = (2 * (colours[0] * colours[1]).sum() + none) / (np.square(colours).sum() + none)
    return float(min(detail, agreed))


def _warp(moved: np.ndarray, still: _Side) -> tuple[float, float, float, float] | None:
    """(scale down, shift down, scale across, shift across), shifts in half sides, that moves an image [COARSE, COARSE] onto another; None where it goes astray.

    Least squares by the inverse compositional algorithm (Baker and Matthews 2004), brightness and contrast matched at each step.
    """
    half = (COARSE - 1) / 2
    warp = np.array([1.0, 0.0, 1.0, 0.0])
    for _ in range(STEPS):
        down, across, inside = _warping(warp, COARSE)
        area = inside.sum()
        if area < LEAST_SHARED * inside.size or np.abs(warp - [1, 0, 1, 0]).max() > MOST_MOVED:
            return None
        there = down @ moved @ across.T
        there, here = ((image - (image * inside).sum() / area) * inside for image in (there, still.blurred))
        gain = math.sqrt(float(np.square(here).sum()) / (float(np.square(there).sum()) + 1e-6))
        step = still.solver @ (there * gain - here).ravel()
        warp[::2] /= 1 + step[::2]
        warp[1::2] -= warp[::2] * step[1::2]
        if np.abs(step).max() * half < 0.02:
            break
    return warp[0], warp[1], warp[2], warp[3]


def _warping(warp: Sequence[float] | np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(matrix for the rows, matrix for the columns, which pixels come from inside the image), each [side, side] float32."""
    half = (side - 1) / 2
    along = np.arange(side) - half
    down, inside_down = _interpolation(warp[0] * along + warp[1] * half, side)
    across, inside_across = _interpolation(warp[2] * along + warp[3] * half, side)
    return down, across, inside_down[:, None] * inside_across


def _correlation(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> float:
    area = inside.sum()
    sides = [(image - (image * inside).sum() / area) * inside for image in (one, other)]
    return float((sides[0] * sides[1]).sum() / math.sqrt(np.square(sides[0]).sum() * np.square(sides[1]).sum() + 1e-6))


CELLS, ANGLES, COLOUR_GRID = (
    (6, 4),
    9,
    8,
)  # of a histogram of gradients along a side; directions; cells of colour along a side
FEATURES = sum(cells**2 * ANGLES for cells in CELLS) + 3 * COLOUR_GRID**2  # what `features` gives of an image


def features(values: Sequence[Any], seen: int) -> np.ndarray:
    """Histograms of the directions of gradients (Dalal and Triggs 2005) and a small picture in opponent colours [n, FEATURES] float32.

    They are the same whatever images are `seen`. What cannot be decoded is all zeros.
    """
    found = np.zeros((len(values), FEATURES), dtype=np.float32)
    for begin in range(0, len(values), 64):
        small = [_thumbnail(value) for value in values[begin : begin + 64]]
        places = [begin + i for i, thumbnail in enumerate(small) if thumbnail is not None]
        if places:
            images = (
                np.stack([thumbnail.pixels for thumbnail in small if thumbnail is not None]).astype(np.float32) / 255
            )
            found[places] = np.concatenate([_gradients(images), _colours(images)], axis=1)
    return found


def _gradients(images: np.ndarray) -> np.ndarray:
    """[n, cells · ANGLES] of images [n, side, side, 3]: the square root of each cell's histogram at unit length, over grids of CELLS."""
    down, across = np.zeros_like(images), np.zeros_like(images)
    down[:, 1:-1] = images[:, 2:] - images[:, :-2]
    across[:, :, 1:-1] = images[:, :, 2:] - images[:, :, :-2]
    strongest = (down**2 + across**2).argmax(axis=3)[..., None]  # of the channels
    down, across = (np.take_along_axis(slope, strongest, axis=3)[..., 0] for slope in (down, across))
    strength = np.hypot(down, across)
    angle = np.arctan2(down, across) * (ANGLES / (2 * np.pi)) % ANGLES
    low = np.minimum(angle.astype(np.int64), ANGLES - 1)
    share = angle - low
    turned = np.stack(
        [strength * ((low == i) * (1 - share) + ((low + 1) % ANGLES == i) * share) for i in range(ANGLES)], axis=1
    )
    found = []
    for cells in CELLS:
        size = images.shape[1] / cells
        middles = (np.arange(cells) + 0.5) * size - 0.5
        pooling = np.maximum(0, 1 - np.abs(np.arange(images.shape[1]) - middles[:, None]) / size).astype(np.float32)
        histogram = (pooling @ turned @ pooling.T) / size  # [n, ANGLES, cells, cells]
        length = np.sqrt(np.square(histogram).sum(axis=1, keepdims=True) + 0.01)
        found.append(np.sqrt(histogram / length).reshape(len(images), -1))
    return np.concatenate(found, axis=1)


def _colours(images: np.ndarray) -> np.ndarray:
    """[n, 3 · COLOUR_GRID²] of images [n, side, side, 3]: brightness, red less green and yellow less blue of each cell."""
    size = images.shape[1] // COLOUR_GRID
    cells = images.reshape(len(images), COLOUR_GRID, size, COLOUR_GRID, size, 3).mean(axis=(2, 4))
    red, green, blue = np.moveaxis(cells, 3, 0)
    opponent = np.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue], axis=1)
    return np.asarray(opponent.reshape(len(images), -1))


# What an explanation leaves out, and what a page shows.

PATCHES = 7  # along each side
SHOWN = 96  # pixels of the longer side


def parts(value: Any) -> list[tuple[int, int]]:
    """The patches of a grid of PATCHES by PATCHES, row by row, each as (its number, the next); none of an empty cell."""
    return [] if value is None else [(number, number + 1) for number in range(PATCHES**2)]


def part_text(value: Any, begin: int, end: int) -> str:
    """Where a patch lies: 'row 1, column 3 of 7'."""
    row, column = divmod(begin, PATCHES)
    return f"row {row + 1}, column {column + 1} of {PATCHES}"


def leave_out(value: Any, begin: int, end: int) -> Any:
    """The pixels with these patches in the mean colour of the image. What cannot be decoded is given back as it is."""
    pixels = _tried(value, least=LEAST_SIDE)
    if pixels is None:
        return value
    height, width = pixels.shape[:2]
    rows, columns = (np.linspace(0, side, PATCHES + 1).round().astype(int) for side in (height, width))
    without = pixels.copy()
    colour = np.rint(pixels.mean(axis=(0, 1))).astype(np.uint8)
    for number in range(begin, min(end, PATCHES**2)):
        row, column = divmod(number, PATCHES)
        without[rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = colour
    return without


SMALLER, PICTURED = 224, 160  # pixels of the longer side of a picture that a bundle keeps to try, that a report shows


def smaller(value: Any) -> bytes:
    """A picture of fewer pixels as JPEG, for a bundle to keep. What cannot be decoded is given back as it is."""
    pixels = _tried(value, least=2 * SMALLER)
    return bytes(value) if pixels is None else _jpeg(pixels, SMALLER)


def picture(value: Any) -> str:
    """The image as a data: URL of at most PICTURED pixels a side; nothing where it cannot be decoded."""
    pixels = _tried(value, least=2 * PICTURED)
    return "" if pixels is None else _url(_jpeg(pixels, PICTURED))


def show(value: Any) -> str:
    """The image as an <img> of at most SHOWN pixels a side; in words where it cannot be decoded."""
    try:
        pixels = _pixels(value, least=2 * SHOWN)
    except _UnreadableError as error:
        return html.escape(f"(no image: {error})")
    head = _head(value)
    told = f"image, {head.width} × {head.height} pixels" if isinstance(head, _Head) else "image"
    return f'<img src="{_url(_jpeg(pixels, SHOWN))}" alt="{html.escape(told)}">'


def _jpeg(pixels: np.ndarray, most: int) -> bytes:
    """JPEG of these pixels, of at most so many a side."""
    library = _pillow()
    image = library.fromarray(pixels)
    image.thumbnail((most, most), library.Resampling.BILINEAR)
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=85)
    return packed.getvalue()


def _url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
