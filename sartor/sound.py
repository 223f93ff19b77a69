"""Recordings as encoded bytes: what their header says, and their samples. WAV, FLAC, Ogg (Vorbis, Opus) and MP3, by libsndfile.

libsndfile believes what it finds: it reads as much of a WAV file as there is, of Ogg what its checksums spare, and of an MP3 of variable
bit rate without an index only what it guesses to be there. So what is cut off or broken is looked for in the bytes first.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Any

import numpy as np

from sartor.leaves import need_package

MAX_BYTES = 50_000_000  # of a file
MAX_SECONDS = 600.0
MAX_SAMPLES = 60_000_000  # of all channels together: ten minutes of stereo at 48 kHz
MAX_CHANNELS = 16
LEAST_RATE, MAX_RATE = 1_000, 192_000  # Hz
BLOCK = 1 << 18  # samples of all channels that are decoded at once
MAX_PAGES, MAX_CHUNKS = (
    250_000,
    10_000,
)  # of an Ogg and of a WAV file, so that looking through them takes no longer than decoding
LOUDEST = (
    2.0**31
)  # of a sample, where full scale is 1: files of floats sometimes hold integers, and energies of more overflow
FORMATS = "WAV, FLAC, Ogg or MP3"


class Unreadable(ValueError):
    """A recording that cannot be read; the message completes 'this row has …'."""


@dataclass(frozen=True, eq=False)
class Sound:
    """Decoded samples: float32 [n], the mean of the channels, full scale from −1 to 1; `rate` of them a second."""

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


@dataclass(frozen=True)
class Header:
    """What a file says of itself. `frames`: samples of each channel, as far as it says."""

    rate: int  # Hz
    channels: int
    frames: int
    format: str

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


def magic(blob: Any) -> str:
    """The format that the first bytes speak of: 'WAV', 'FLAC', 'OGG', 'MP3' or ''; a few kilobytes are enough."""
    start = bytes(blob[:12])
    if start[:4] == b"RIFF" and start[8:12] == b"WAVE":
        return "WAV"
    if start[:4] == b"fLaC":
        return "FLAC"
    if start[:4] == b"OggS":
        return "OGG"
    if start[:3] == b"ID3":
        return "MP3"
    # Three bytes are too little to go by: the next frame must begin where this one ends.
    if (found := _MPEG.match(blob)) is None:
        return ""
    size, _ = _mpeg_frame(found[0])
    return "MP3" if _MPEG.match(blob, size) else ""


@contextmanager
def opened(blob: bytes) -> Iterator[tuple[Header, Iterator[np.ndarray]]]:
    """(what the header says, when all of it can be believed and is within the limits; the samples, piece by piece: float32 [m, channels]).

    Never more than the limits is decoded, whatever the header says.
    Raises: Unreadable, here or while the pieces are taken. InputError `leaf.missing-package` without the package soundfile.
    """
    if len(blob) > MAX_BYTES:
        raise Unreadable(f"{len(blob) / 1e6:,.1f} MB, more than the {MAX_BYTES / 1e6:.0f} MB that are read")
    kind = magic(blob)
    if not kind:
        raise Unreadable(f"{_described(blob)}, which is none of {FORMATS}")
    soundfile = need_package("soundfile", feature="Reading recordings", extra="audio")
    if fault := {"WAV": _wav_fault, "OGG": _ogg_fault}.get(kind, lambda blob: "")(blob):
        raise Unreadable(fault)
    try:
        file = soundfile.SoundFile(io.BytesIO(blob))
    except (RuntimeError, TypeError, ValueError, OSError) as error:
        raise Unreadable(f"{kind} that cannot be decoded ({_said(error)})") from None
    with file:
        told = Header(int(file.samplerate), int(file.channels), int(file.frames), str(file.format))
        _check(told)
        if told.format == "MP3" and (fault := _mpeg_fault(blob, told)):
            raise Unreadable(fault)
        yield told, _blocks(file, told)


def header(blob: bytes) -> Header:
    """What the header says. Raises as `opened`."""
    with opened(blob) as (told, _):
        return told


def decode(blob: bytes) -> Sound:
    """All samples, channels averaged. Raises as `opened`."""
    with opened(blob) as (told, blocks):
        found = [block.mean(axis=1) if told.channels > 1 else block[:, 0] for block in blocks]
    samples = np.concatenate(found)
    samples += np.float32(0)  # a minus zero becomes a zero: another bit pattern for the same sound
    return Sound(samples, told.rate)


def resampled(samples: np.ndarray, rate: int, target: int) -> np.ndarray:
    """The same sound at another rate: float32 [n] -> float32 [ceil(n · target / rate)].

    A polyphase filter (scipy's `resample_poly`, Kaiser window of 5.0): nothing in it depends on more than the two rates.
    """
    if rate == target or not len(samples):
        return np.asarray(samples, dtype=np.float32)
    from scipy.signal import resample_poly

    shared = gcd(rate, target)
    up, down = target // shared, rate // shared
    return np.asarray(resample_poly(samples, up, down, window=_low_pass(max(up, down))), dtype=np.float32)


@lru_cache(maxsize=8)  # of two whole numbers without a common factor it takes up to 15 MB
def _low_pass(factor: int) -> np.ndarray:
    """The filter that `resample_poly` would design at every call, which takes longer than to apply it to a second of sound."""
    from scipy.signal import firwin

    return np.asarray(firwin(2 * 10 * factor + 1, 1 / factor, window=("kaiser", 5.0)), dtype=np.float32)


def _check(told: Header) -> None:
    if not LEAST_RATE <= told.rate <= MAX_RATE:
        raise Unreadable(f"a recording at {told.rate:,} Hz; rates from {LEAST_RATE:,} to {MAX_RATE:,} Hz are read")
    if told.channels > MAX_CHANNELS:
        raise Unreadable(f"a recording of {told.channels:,} channels; the most is {MAX_CHANNELS}")
    if told.frames >= 2**62:
        raise Unreadable(f"{told.format} that does not say how long it is")
    if not told.frames:
        raise Unreadable("a recording without samples")
    _check_length(told.frames, told)


def _check_length(frames: int, told: Header) -> None:
    if frames > MAX_SECONDS * told.rate:
        raise Unreadable(f"a recording of {_lasting(frames / told.rate)}; the most is {_lasting(MAX_SECONDS)}")
    if frames * told.channels > MAX_SAMPLES:
        raise Unreadable(f"a recording of {frames * told.channels:,} samples; the most is {MAX_SAMPLES:,}")


def _blocks(file: Any, told: Header) -> Iterator[np.ndarray]:
    size, done = max(1, BLOCK // told.channels), 0
    while True:
        try:
            block = file.read(min(size, max(1, told.frames - done)), dtype="float32", always_2d=True)
        except (RuntimeError, TypeError, ValueError, OSError) as error:
            raise Unreadable(f"{told.format} that cannot be decoded ({_said(error)})") from None
        if not len(block):
            break
        done += len(block)
        _check_length(done, told)
        if not float(np.abs(block).max()) <= LOUDEST:  # nor is a maximum with NaN among the samples
            raise Unreadable("a recording with samples that are no numbers, or beyond all bounds")
        yield block
    # Decoders of MP3 may give up a frame or two at the end.
    if done < told.frames - (2 * 1152 if told.format == "MP3" else 0) or not done:
        raise Unreadable(f"a recording that is cut off: {done:,} of its {told.frames:,} samples are there")


def _wav_fault(blob: bytes) -> str:
    """What is wrong with the chunks of a WAV file, or ''."""
    place = 12
    for _ in range(MAX_CHUNKS):
        if place + 8 > len(blob):
            break
        name, size = struct.unpack_from("<4sI", blob, place)
        place += 8
        if name == b"data":
            # A program that writes into a pipe does not know the size beforehand and writes the largest there is.
            if size < 0x7FFFF000 and place + size > len(blob):
                return f"a recording that is cut off: {len(blob) - place:,} of its {size:,} bytes are there"
            return ""
        place += size + size % 2
    return "WAV that cannot be decoded (it has no samples)"


def _ogg_fault(blob: bytes) -> str:
    """What is wrong with the pages of an Ogg file, or '' (RFC 3533, section 6)."""
    place = 0
    for _ in range(MAX_PAGES):
        if place == len(blob):
            return ""
        segments = blob[place + 26] if place + 27 <= len(blob) else 0
        end = place + 27 + segments + sum(blob[place + 27 : place + 27 + segments])
        if blob[place : place + 4] != b"OggS":
            return "Ogg that cannot be decoded (there are other bytes between its pages)"
        if place + 27 > len(blob) or end > len(blob):
            return "a recording that is cut off: its last page is not whole"
        page = bytearray(blob[place:end])
        (wanted,) = struct.unpack_from("<I", page, 22)
        page[22:26] = bytes(4)
        if _ogg_checksum(bytes(page)) != wanted:
            return "Ogg that cannot be decoded (the checksum of a page is wrong)"
        place = end
    return f"Ogg of more than {MAX_PAGES:,} pages"


# Ogg's checksum is zlib's with all bits the other way round, and without its complements.
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def _ogg_checksum(page: bytes) -> int:
    return int(f"{zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF:032b}"[::-1], 2)


# kbit/s by index 1 to 14 (ISO 11172-3, 2.4.2.3; ISO 13818-3, 2.4.2.3): of MPEG 1 layers 1, 2, 3, of MPEG 2 layer 1 and layers 2 and 3.
_KBITS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


# Every header that can be: so many set bits, then no reserved version, layer, bit rate or rate.
_MPEG = re.compile(
    b"\xff["
    + b"".join(re.escape(bytes([b])) for b in range(0xE0, 0x100) if b >> 3 & 3 != 1 and b >> 1 & 3)
    + b"]["
    + b"".join(re.escape(bytes([b])) for b in range(0x10, 0xF0) if b >> 2 & 3 != 3)
    + b"].",
    re.DOTALL,
)


def _mpeg_frame(found: bytes) -> tuple[int, int]:
    """(bytes, samples) of an MPEG audio frame with this header [4 bytes]."""
    version, layer = found[1] >> 3 & 3, 4 - (found[1] >> 1 & 3)
    generation = 1 if version == 3 else 2
    bits, rate = 1000 * _KBITS[generation, layer][(found[2] >> 4) - 1], _RATES[version][found[2] >> 2 & 3]
    padding = found[2] >> 1 & 1
    if layer == 1:
        return 4 * (12 * bits // rate + padding), 384
    samples = 576 if generation == 2 and layer == 3 else 1152
    return samples // 8 * bits // rate + padding, samples


def _mpeg_fault(blob: bytes, told: Header) -> str:
    """Whether an MP3 has other samples than its header (or, without one, libsndfile) says; else ''."""
    place, counted = 0, 0
    while blob[place : place + 3] == b"ID3" and place + 10 <= len(blob):
        place += 10 + sum((blob[place + 6 + i] & 0x7F) << (21 - 7 * i) for i in range(4))
    while counted <= MAX_SECONDS * told.rate and (found := _MPEG.search(blob, place)):
        size, samples = _mpeg_frame(found[0])
        place = found.start() + size
        if place <= len(blob):
            counted += samples
    slack = 4 * 1152 + told.frames // 50  # the frame of the index has no sound, and decoders add and take away some
    if counted + slack < told.frames:
        return f"a recording that is cut off: {_lasting(counted / told.rate)} of its {_lasting(told.seconds)} are there"
    if told.frames + slack < counted:
        return "MP3 whose index is missing or wrong, so that only a part could be decoded: write it anew as FLAC or WAV"
    return ""


def _described(blob: bytes) -> str:
    """What bytes are that are not of a recording that is read."""
    for start, begin, name in _OTHERS:
        if blob[begin : begin + len(start)] == start:
            return name
    return "nothing (0 bytes)" if not blob else f"{len(blob):,} bytes that begin with {bytes(blob[:8]).hex(' ')}"


_OTHERS = (
    (b"ftyp", 4, "MPEG-4 (m4a, mp4)"),
    (b"\x1aE\xdf\xa3", 0, "Matroska (webm, mka)"),
    (b"FORM", 0, "AIFF"),
    (b".snd", 0, "AU"),
    (b"\x89PNG", 0, "a PNG image"),
    (b"\xff\xd8\xff", 0, "a JPEG image"),
    (b"PK\x03\x04", 0, "a ZIP archive"),
    (b"\x1f\x8b", 0, "a gzip archive"),
)


def _said(error: Exception) -> str:
    """What libsndfile said, without the address of the object that it was given."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".")


def _lasting(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"
