"""Small pictures, recordings and tables that a model learns from; and hostile ones, each a small file that costs much or means nothing."""

from __future__ import annotations

import csv
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
soundfile = pytest.importorskip("soundfile")

RATE = 8_000


def stripes(number: int, *, across: bool, side: int = 24) -> np.ndarray:
    """A picture [side, side, 3] uint8 of noisy stripes, down or across."""
    rng = np.random.default_rng(number)
    wave = 127 + 90 * np.sin(np.arange(side) * rng.uniform(0.6, 1.2) + rng.uniform(0, 6))
    pixels = np.broadcast_to(wave[None, :] if across else wave[:, None], (side, side))[..., None] * rng.uniform(
        0.5, 1, 3
    )
    return np.clip(pixels + rng.normal(0, 12, (side, side, 3)), 0, 255).astype(np.uint8)


def packed(pixels: np.ndarray, kind: str = "PNG", **asked: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **asked)
    return file.getvalue()


def tone(number: int, pitch: float, seconds: float = 0.4) -> np.ndarray:
    """Samples float32 of a noisy tone near this pitch in Hz."""
    rng = np.random.default_rng(number)
    time = np.arange(int(seconds * RATE)) / RATE
    wave = np.sin(2 * np.pi * pitch * rng.uniform(0.95, 1.05) * time + rng.uniform(0, 6)) * rng.uniform(0.2, 0.5)
    return (wave + rng.normal(0, 0.02, len(time))).astype(np.float32)


def recorded(samples: np.ndarray, kind: str = "WAV", *, rate: int = RATE, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, rows: bytes) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _zeros(count: int) -> bytes:
    """So many zero bytes, deflated without being made."""
    packer, made = zlib.compressobj(9), []
    for begin in range(0, count, 1 << 24):
        made.append(packer.compress(bytes(min(1 << 24, count - begin))))
    return b"".join([*made, packer.flush()])


def _broken_checksum() -> bytes:
    data = bytearray(packed(stripes(1, across=True)))
    at = data.index(b"IDAT") + 10
    data[at] ^= 0xFF
    return bytes(data)


def _scans() -> bytes:
    data = packed(stripes(2, across=True, side=1_024), "JPEG", progressive=True)
    at = data.index(b"\xff\xda")
    empty = data[at : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
    return data[:at] + empty * 3_000 + data[at:]


def _wide_wav(*, channels: int = 1, rate: int = RATE, frames: int = 100, told: int | None = None) -> bytes:
    body = bytes(2 * channels * frames)
    size = told if told is not None else len(body)
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + size)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", size)
        + body
    )


CLASSES = ("down", "across")


def _class(number: int) -> str:
    """Of every two rows one each, but for one in twenty that says the other."""
    return CLASSES[(number + (number % 20 == 7)) % 2]


def pictures(folder: Path, count: int) -> Path:
    """A folder of stripes, in a folder for each direction."""
    for number in range(count):
        file = folder / _class(number) / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(packed(stripes(number, across=bool(number % 2))))
    return folder


def recordings(folder: Path, count: int) -> Path:
    """A folder of tones, in a folder for low and one for high ones."""
    for number in range(count):
        file = folder / _class(number) / f"{number:03}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(recorded(tone(number, (330, 880)[number % 2])))
    return folder


def table(file: Path, count: int) -> Path:
    """Two numbers, of which one tells the label."""
    rng = np.random.default_rng(0)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["weight", "height", "label"])
        for number in range(count):
            writer.writerow([f"{rng.normal(number % 2, 0.4):.4f}", f"{rng.normal():.4f}", CLASSES[number % 2]])
    return file


GOOD_PNG, GOOD_JPEG = packed(stripes(3, across=True, side=64)), packed(stripes(4, across=True, side=64), "JPEG")

PICTURES: dict[str, bytes] = {
    "a PDF": b"%PDF-1.7\n" + bytes(300),
    "a web page": b"<!doctype html><script>alert(1)</script>",
    "a vector drawing": b'<svg xmlns="http://www.w3.org/2000/svg" width="1e9" height="1e9"><image href="file:///etc/passwd"/></svg>',
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n{1} loop\n",
    "random bytes": np.random.default_rng(5).bytes(4_000),
    "a cut PNG": GOOD_PNG[: len(GOOD_PNG) // 2],
    "a cut JPEG": GOOD_JPEG[: len(GOOD_JPEG) // 3],
    "a PNG of 8 bytes": GOOD_PNG[:8],
    "a PNG with a wrong checksum": _broken_checksum(),
    "a PNG of 50,000 by 50,000 that holds nothing": _png(50_000, 50_000, _zeros(100)),
    "a PNG of 12,000 by 12,000 zeros": _png(12_000, 12_000, _zeros(12_000 * 12_001)),
    "a PNG of 4 billion by 1": _png(2**31 - 1, 1, _zeros(100)),
    "a PGM that says 100,000 by 100,000": b"P5\n100000 100000\n255\n" + bytes(50),
    "a BMP of other size than it says": b"BM"
    + struct.pack("<IHHI", 70, 0, 0, 54)
    + struct.pack("<IiiHHIIiiII", 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0)
    + bytes(16),
    "a GIF header alone": b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(3),
    "a WebP of 16,383 by 16,383": b"RIFF"
    + struct.pack("<I", 22)
    + b"WEBPVP8L"
    + struct.pack("<I", 10)
    + b"\x2f"
    + struct.pack("<I", 0x0FFFFFFF)
    + bytes(5),
    "a JPEG of thousands of scans": _scans(),
    "a TIFF whose directory points at itself": b"II*\0"
    + struct.pack("<I", 8)
    + struct.pack("<H", 1)
    + bytes(12)
    + struct.pack("<I", 8),
}
RECORDINGS: dict[str, bytes] = {
    "text": b"this is no recording, whatever it is called",
    "a picture": GOOD_PNG,
    "a cut WAV": recorded(tone(1, 440))[:900],
    "a cut FLAC": recorded(tone(2, 440), "FLAC")[:700],
    "a cut Ogg": recorded(tone(3, 440), "OGG")[:600],
    "a WAV without samples": _wide_wav(frames=0),
    "a WAV that promises four gigabytes": _wide_wav(told=1_500_000_000),
    "64 channels": _wide_wav(channels=64),
    "a rate of a million": _wide_wav(rate=1_000_000),
    "a rate of nothing": _wide_wav(rate=0),
    "samples that are no numbers": recorded(np.full(400, np.nan, dtype=np.float32), subtype="FLOAT"),
    "samples without end": recorded(np.full(400, np.inf, dtype=np.float32), subtype="FLOAT"),
    "an hour of silence in FLAC": recorded(np.zeros(3_600 * RATE, dtype=np.int16), "FLAC"),
    "an MP3 frame alone": b"\xff\xfb\x90\x64" + bytes(413),
    "RIFF and nothing": b"RIFF\xff\xff\xff\xffWAVE",
}
CELLS: dict[str, Any] = {
    "words for a number": "a lot",
    "infinity": "inf",
    "a number beyond all floats": "1e999",
    "four hundred digits": "9" * 400,
    "a list": [1, 2],
    "an object": {"value": 1},
    "a number in hexadecimal": "0x1F",
    "ten megabytes of text": "x" * 10_000_000,
}
