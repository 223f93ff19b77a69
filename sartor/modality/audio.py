"""Audio: recordings, kept as the bytes that they were encoded in.

`read` gives a `Sound`: all channels averaged, at the rate that it was recorded with. Whatever needs another rate asks `resampled`, which gives the
same samples in training and in serving.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import struct
import wave
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from sartor import sound
from sartor.data.dataset import Finding
from sartor.data.encoded import NotBytes, decoded
from sartor.errors import RowError
from sartor.mel import LogMel
from sartor.sound import Header, Sound, Unreadable, resampled

EXPECTS = "a recording"
WIDGET = "file:audio/*"
MAX_BYTES = sound.MAX_BYTES  # of one recording as it arrives
TABULAR = False
USUAL_RATE = 16_000  # Hz: what speech needs, and the most that is made of a recording unless more is asked for
SAMPLE = 2_000  # values whose headers are read for a profile
LOOKED_AT = 200  # values from which a column is recognised
MOST_PARTS = 20
LEAST_PART_S = 0.02


def recognise(column: pa.ChunkedArray) -> float:
    """1 for bytes of which most begin as recordings do, else 0."""
    kind = column.type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        return 0.0
    places = np.unique(np.linspace(0, len(column) - 1, min(LOOKED_AT, len(column))).astype(int))
    # A buffer is a view: a value of many megabytes is not copied for the sake of its first bytes.
    starts = [memoryview(value.as_buffer())[:8192] for place in places if (value := column[int(place)]).is_valid]
    told = [bool(sound.magic(start)) for start in starts]
    return 1.0 if told and 2 * sum(told) > len(told) else 0.0


def read(value: Any, column: str) -> Sound:
    """The decoded recording, from its bytes, from base64 (as it is, as a `data:` URL, or as {"base64": …}), or from one that was read before.

    Raises: RowError `row.bad-value`; InputError `leaf.missing-package` without the package soundfile.
    """
    if isinstance(value, Sound):
        return value
    try:
        return sound.decode(_bytes(value))
    except Unreadable as error:
        raise RowError("row.bad-value", column=column, expected=EXPECTS, found=str(error)) from None


def profile(values: Sequence[Any]) -> dict[str, Any]:
    """Durations, and the shares of rates and of numbers of channels (by their text), from the headers of at most 2,000 values."""
    headers = _headers(values)
    seconds = np.array([header.seconds for header in headers] or [0.0])
    rates = Counter(header.rate for header in headers)
    channels = Counter(header.channels for header in headers)
    total = max(1, len(headers))
    return {
        "seconds_median": float(np.median(seconds)),
        "seconds_99": float(np.quantile(seconds, 0.99)),
        "rate_usual": rates.most_common(1)[0][0] if rates else 0,
        "rates": {str(rate): count / total for rate, count in rates.most_common()},
        "channels": {str(number): count / total for number, count in channels.most_common()},
    }


def usual_rate(values: Sequence[Any]) -> int:
    """The rate that most of these recordings have, at most 16 kHz; that of none is 16 kHz."""
    return min(int(profile(values)["rate_usual"]) or USUAL_RATE, USUAL_RATE)


def audit(column: str, values: Sequence[Any], rows: Sequence[int]) -> list[Finding]:
    """Nothing that `flaws` does not find: it listens to every recording, and a sample would only be told of twice."""
    return []


def key(value: Any) -> str | None:
    """A digest of rate and samples, so that the same sound is the same in WAV and in FLAC; None where there is nothing to hear."""
    try:
        heard = read(value, "")
    except RowError:
        return None
    return hashlib.blake2b(heard.samples.data, digest_size=16, salt=struct.pack("<Q", heard.rate)).hexdigest()


# ---- flaws

SILENT = 5e-4  # of full scale, that the loudest sample is below: −66 dB
FULL_SCALE, FLAT = 0.99, 1e-4  # a sample is clipped that is as loud as that, and as the one before it
CLIPPED = 1e-3  # share of the samples
OFFSET, OFFSET_SHARE = 0.01, 0.1  # mean of a channel, of full scale and of its own deviation
FEW = 0.05  # share of rows, up to which lengths far from the usual ones are told of: beyond it they are usual
FAR_TIMES = 3.0  # the median, or a third of it, that a length is at least beyond to be told of
FAR_SPREADS = 4.0  # of the logarithms of lengths, that it is beyond as well
LEAST_FOR_LENGTHS = 20  # recordings


@dataclass
class _Heard:
    """What was found in the recordings of a column; each list of rows with what is told of its first."""

    broken: list[tuple[int, str]] = field(default_factory=list)
    silent: list[int] = field(default_factory=list)
    clipped: list[tuple[int, float]] = field(default_factory=list)
    offset: list[tuple[int, float]] = field(default_factory=list)
    headers: list[tuple[int, Header]] = field(default_factory=list)


def flaws(column: str, values: Iterable[Any], rows: Sequence[int]) -> list[Finding]:
    """Recordings that cannot be decoded, are silent, clipped, off centre or far longer or shorter than the others, and mixed rates and channels.

    Every recording is decoded once, piece by piece, its channels apart.
    """
    heard = _Heard()
    for value, row in zip(values, rows, strict=True):
        if value is not None:
            _listen(value, row, heard)
    total = len(heard.headers)
    found = []
    if heard.broken:
        row, why = heard.broken[0]
        found.append(
            _finding(
                "broken",
                "warning",
                f"{_count(len(heard.broken))} in {column!r} cannot be decoded and {_is(len(heard.broken))} left out; row {row + 1} has {why}.",
                "Fetch or record them again, or remove the rows.",
                column,
                [row for row, _ in heard.broken],
                {"reasons": [why for _, why in heard.broken]},
            )
        )
    if heard.silent:
        count = len(heard.silent)
        found.append(
            _finding(
                "silent",
                "warning",
                f"{_count(count)} in {column!r} {_is(count)} silent (never louder than {20 * np.log10(SILENT):.0f} dB of full scale), "
                f"such as row {heard.silent[0] + 1}.",
                "Remove them, unless silence is one of the classes: a model learns to tell their labels from nothing.",
                column,
                heard.silent,
            )
        )
    if heard.clipped:
        count, (row, share) = len(heard.clipped), max(heard.clipped, key=lambda item: item[1])
        found.append(
            _finding(
                "clipped",
                "warning" if count > 0.1 * total else "note",
                f"{_count(count)} in {column!r} {_is(count)} clipped: more than {CLIPPED:.1%} of the samples are cut off at full scale, "
                f"in row {row + 1} {share:.1%}.",
                "Record with less gain. If classes differ in how loud they are, a model may tell them by the clipping.",
                column,
                [row for row, _ in heard.clipped],
                {"shares": [round(share, 6) for _, share in heard.clipped]},
            )
        )
    if heard.offset:
        count, (row, mean) = len(heard.offset), max(heard.offset, key=lambda item: abs(item[1]))
        found.append(
            _finding(
                "offset",
                "note",
                f"{_count(count)} in {column!r} {_is(count)} off centre: the mean of the samples is not zero, in row {row + 1} {mean:+.3f} of full scale.",
                "It is a fault of the device that recorded them. Subtract the mean, and check whether devices and classes go together.",
                column,
                [row for row, _ in heard.offset],
                {"means": [round(mean, 6) for _, mean in heard.offset]},
            )
        )
    found += _mixed(column, "rates", {row: f"{header.rate:,} Hz" for row, header in heard.headers})
    found += _mixed(column, "channels", {row: _channels(header.channels) for row, header in heard.headers})
    return found + _lengths(column, heard.headers)


def _listen(value: Any, row: int, heard: _Heard) -> None:
    """Takes one recording down."""
    peak = clipped = count = 0.0
    sums = squares = last = np.zeros(1)
    try:
        with sound.opened(_bytes(value)) as (header, blocks):
            for block in blocks:
                loud = np.abs(block)
                peak = max(peak, float(loud.max()))
                before = np.concatenate([last if count else block[:1] + 1, block[:-1]])
                clipped += np.count_nonzero((loud >= FULL_SCALE) & (np.abs(block - before) <= FLAT))
                last = block[-1:]
                sums = sums + block.sum(axis=0, dtype=np.float64)
                squares = squares + np.square(block, dtype=np.float64).sum(axis=0)
                count += len(block)
    except Unreadable as error:
        heard.broken.append((row, str(error)))
        return
    heard.headers.append((row, header))
    if peak < SILENT:
        heard.silent.append(row)
        return
    if (share := clipped / (count * header.channels)) > CLIPPED:
        heard.clipped.append((row, share))
    means = sums / count
    deviation = np.sqrt(np.maximum(0.0, squares / count - means**2))
    off = np.flatnonzero((np.abs(means) >= OFFSET) & (np.abs(means) >= OFFSET_SHARE * deviation))
    if len(off):
        heard.offset.append((row, float(means[off[0]])))


def _mixed(column: str, what: str, values: dict[int, str]) -> list[Finding]:
    """Whether recordings differ in what their header says."""
    counts = Counter(values.values())
    if len(counts) < 2:
        return []
    (main, main_count), *others = counts.most_common()
    rows = [row for row, value in values.items() if value != main]
    told = ", ".join(f"{value} ({count:,})" for value, count in others[:4]) + (", …" if len(others) > 4 else "")
    mended = "brought to one rate" if what == "rates" else "averaged to one channel"
    return [
        _finding(
            what,
            "note",
            f"Most recordings in {column!r} have {main} ({main_count:,} of {len(values):,}), others {told}, such as row {rows[0] + 1}.",
            f"They are {mended}. Check that classes do not go with it: a model would learn the device and not the sound.",
            column,
            rows,
            {"counts": dict(counts.most_common())},
        )
    ]


def _channels(number: int) -> str:
    return f"{number} channel{'' if number == 1 else 's'}"


def _lengths(column: str, headers: Sequence[tuple[int, Header]]) -> list[Finding]:
    """Recordings that are far shorter or longer than the others."""
    if len(headers) < LEAST_FOR_LENGTHS:
        return []
    logs = np.log([header.seconds for _, header in headers])
    middle = float(np.median(logs))
    spread = 1.4826 * float(np.median(np.abs(logs - middle)))  # of a normal law, from the median
    far = np.abs(logs - middle) > max(np.log(FAR_TIMES), FAR_SPREADS * spread)
    found = []
    for what, chosen in (("short", far & (logs < middle)), ("long", far & (logs > middle))):
        places = np.flatnonzero(chosen)
        if not len(places) or len(places) > FEW * len(headers):
            continue
        row, header = headers[int(places[np.argmax(np.abs(logs[places] - middle))])]
        found.append(
            _finding(
                what,
                "note",
                f"{_count(len(places))} in {column!r} {_is(len(places))} far {what}er than the others (the median is {_seconds(float(np.exp(middle)))}), "
                f"such as row {row + 1} of {_seconds(header.seconds)}.",
                "Listen to them: they may be cut off, or not be cut at all.",
                column,
                [headers[int(place)][0] for place in places],
            )
        )
    return found


def _finding(
    what: str, severity: Any, message: str, advice: str, column: str, rows: Sequence[int], details: Any = None
) -> Finding:
    return Finding(
        code=f"audit.audio-{what}",
        severity=severity,
        message=message,
        advice=advice,
        count=len(rows),
        rows=tuple(rows),
        details={"column": column, **(details or {})},
    )


def _count(number: int) -> str:
    return f"{number:,} recording{'' if number == 1 else 's'}"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


# ---- nearly the same

COMPARED_RATE = 8_000  # Hz: what is above 4 kHz is the first that a codec gives up
COMPARED_S = 60.0  # of a recording, from its beginning
SHAPE = {"rate": COMPARED_RATE, "window_s": 0.064, "hop_s": 0.008, "bands": 16, "low_hz": 200.0, "high_hz": 3_400.0}
RANGE = 6.0  # nepers of energy below the loudest, beyond which everything is silence: noise there is what codecs change
MOMENTS, APART = 4, 3  # of a patch, and frames from one to the next: 72 ms and the window
BITS = 4  # of a patch: so copies agree in about 0.9 of the places, takes of one word by one speaker in 0.44, other words in 0.23
LEAST_S = 0.1  # shorter recordings are the same or they are not
COMMON = 0.5  # of the energy of each, that two recordings must have in common
WHITENED = 0.6  # power of the magnitudes that is left, so that a hum in both does not make two recordings alike: with 1, codecs harm less and hums more


def sketch(values: Sequence[Any], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Signatures [n, size] uint32 that are equal in as many places as recordings are alike, and which recordings are long and loud enough [n bool].

    Each place has a template of its own, drawn at random, and describes in a few bits the patch of the log-mel spectrogram that fits the template
    best: as of MinHash's smallest hash, it hangs on that patch alone, whatever is cut off elsewhere. Bits are signs of projections (Charikar 2002) as
    in the fingerprints of Haitsma and Kalker (2002).
    """
    made = np.zeros((len(values), size), dtype=np.uint32)
    enough = np.zeros(len(values), dtype=bool)
    where, what = _templates(size)
    transform = LogMel(**SHAPE)  # type: ignore[arg-type]
    for place, value in enumerate(values):
        try:
            samples = _compared(value)
        except RowError:
            continue
        if len(samples) < LEAST_S * COMPARED_RATE or np.abs(samples).max() < SILENT:
            continue
        patches = _patches(transform(samples))
        best = patches[np.argmax(patches @ where, axis=0)]  # [size, width]
        bits = np.einsum("sbw,sw->sb", what, best) > 0
        made[place] = bits @ (1 << np.arange(BITS))
        enough[place] = True
    return made, enough


def likeness(one: Any, other: Any) -> float:
    """The share of the energy of one recording that the other explains, as waveforms at the shift where they fit best: their squared correlation.

    Of speech, copies have 0.84 at least that were re-encoded (MP3, Vorbis, Opus), made louder or quieter, resampled, or trimmed by up to half of
    their energy. Two takes of one word by one speaker have 0.05 in the median, and 0.71 where they were most alike of 73,500: their phases differ.
    """
    from scipy import fft

    try:
        first, second = _whitened(_compared(one)), _whitened(_compared(other))
    except RowError:
        return 0.0
    length = fft.next_fast_len(len(first) + len(second) - 1, real=True)
    cross = fft.rfft(first, length) * np.conj(fft.rfft(second, length))
    # Shifts of half a sample: resampled copies that were trimmed do not meet on whole ones.
    halves = np.arange(-2 * (len(second) - 1), 2 * (len(first) - 1) + 1)
    products = 2 * np.abs(fft.irfft(cross, 2 * length)[halves])
    shifts = halves // 2
    begin, end = np.maximum(0, shifts), np.minimum(len(first), shifts + len(second))
    energy, other_energy = (np.concatenate([[0.0], np.cumsum(np.square(signal))]) for signal in (first, second))
    common, other_common = energy[end] - energy[begin], other_energy[end - shifts] - other_energy[begin - shifts]
    there = (common > COMMON * energy[-1]) & (other_common > COMMON * other_energy[-1])
    if not there.any():
        return 0.0
    return float(min(1.0, (np.square(products[there]) / (common[there] * other_common[there])).max()))


def _compared(value: Any) -> np.ndarray:
    """The beginning of a recording at the rate at which recordings are compared. Raises: RowError."""
    heard = read(value, "")
    return resampled(heard.samples[: round(COMPARED_S * heard.rate)], heard.rate, COMPARED_RATE)


@lru_cache(maxsize=4)
def _templates(size: int) -> tuple[np.ndarray, np.ndarray]:
    """(the template of each place [width, size], its projections [size, BITS, width])."""
    rng = np.random.default_rng(0)
    width = MOMENTS * int(SHAPE["bands"])
    return rng.normal(size=(width, size)), rng.normal(size=(size, BITS, width))


def _patches(levels: np.ndarray) -> np.ndarray:
    """Frames [frames, bands] a few at a time, each patch without its mean: [patches, MOMENTS · bands]. Silence stands before and after."""
    reach = APART * (MOMENTS - 1)
    levels = np.pad(np.maximum(levels - levels.max(), -RANGE), ((reach, reach), (0, 0)), constant_values=-RANGE)
    count = len(levels) - reach
    patches = np.concatenate([levels[i * APART : i * APART + count] for i in range(MOMENTS)], axis=1)
    return np.asarray(patches - patches.mean(axis=1, keepdims=True))


def _whitened(samples: np.ndarray) -> np.ndarray:
    """The samples with the magnitudes of their spectrum drawn together, in float64."""
    from scipy import fft

    length = fft.next_fast_len(len(samples), real=True)
    spectrum = fft.rfft(samples.astype(np.float64), length)
    magnitudes = np.abs(spectrum)
    floor = 1e-6 * magnitudes.max() + 1e-12
    return np.asarray(fft.irfft(spectrum * (magnitudes + floor) ** (WHITENED - 1), length)[: len(samples)])


# ---- features

SEGMENTS = 8  # of equal length, from the first to the last sound
COEFFICIENTS = 20  # of the cepstrum
BANDS = 40
LOUD = 11.0  # nepers of energy below the loudest: where the sound begins and ends (48 dB)


def features(values: Sequence[Any], seen: int) -> np.ndarray:
    """Mel cepstra in eight segments of time, their spread and how fast they change, and the duration: [n, 201] float32.

    seen: centre and scale are those of the first so many recordings, and so is the rate that all are brought to. What cannot be decoded stands in
    the centre.
    """
    from scipy.fft import dct

    rate = usual_rate(values[:seen])
    transform = LogMel(rate, bands=BANDS)
    made = np.full((len(values), COEFFICIENTS * (SEGMENTS + 2) + 1), np.nan)
    for place, value in enumerate(values):
        try:
            heard = read(value, "")
        except RowError:
            continue
        levels = transform(resampled(heard.samples, heard.rate, rate))
        loud = np.flatnonzero(levels.max(axis=1) > levels.max() - LOUD)
        cepstra = dct(levels[loud[0] : loud[-1] + 1].astype(np.float64), norm="ortho", axis=1)[:, :COEFFICIENTS]
        change = np.abs(np.diff(cepstra, axis=0)).mean(axis=0) if len(cepstra) > 1 else np.zeros(COEFFICIENTS)
        made[place] = np.concatenate(
            [_in_segments(cepstra).ravel(), cepstra.std(axis=0), change, [np.log(len(cepstra))]]
        )
    known = made[:seen][np.isfinite(made[:seen, 0])]
    if not len(known):
        return np.zeros(made.shape, dtype=np.float32)
    spread = known.std(axis=0)
    return np.nan_to_num((made - known.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)).astype(np.float32)


def _in_segments(cepstra: np.ndarray) -> np.ndarray:
    """The mean of each segment [SEGMENTS, width]; a frame that lies in two counts in both, by its share."""
    edges = np.linspace(0, len(cepstra), SEGMENTS + 1)
    sums = np.concatenate([np.zeros((1, cepstra.shape[1])), np.cumsum(cepstra, axis=0)])
    whole = np.minimum(edges.astype(int), len(cepstra) - 1)
    at = sums[whole] + (edges - whole)[:, None] * cepstra[whole]
    return np.asarray(np.diff(at, axis=0) * SEGMENTS / len(cepstra))


# ---- explaining and showing

SHOWN = 120  # columns of a waveform
HEIGHT = 40  # pixels
PICTURE = (300, 64)  # pixels of a spectrogram: time, bands


def parts(value: Any) -> list[tuple[int, int]]:
    """At most 20 equal pieces of time, as (begin, end) in samples; none of an empty cell."""
    if value is None:
        return []
    heard = read(value, "")
    count = int(np.clip(heard.seconds / LEAST_PART_S, 1, MOST_PARTS))
    edges = np.linspace(0, len(heard.samples), count + 1).round().astype(int)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def leave_out(value: Any, begin: int, end: int) -> Sound:
    """The recording with silence in place of one of its parts, so that what comes after it stays where it is."""
    heard = read(value, "")
    samples = heard.samples.copy()
    samples[begin:end] = 0
    return Sound(samples, heard.rate)


def part_text(value: Any, begin: int, end: int) -> str:
    """What a part is called: '0.10–0.20 s'."""
    rate = read(value, "").rate
    return f"{begin / rate:.2f}–{end / rate:.2f} s"


SMALLER_S = 2.0  # of a recording that is kept to try


def smaller(value: Any) -> bytes:
    """The beginning of a recording as WAV of 16 bits, for a bundle to keep. What cannot be decoded is given back as it is."""
    try:
        heard = read(value, "")
    except RowError:
        return bytes(value)
    packed = io.BytesIO()
    with wave.open(packed, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(heard.rate)
        samples = heard.samples[: int(SMALLER_S * heard.rate)]
        file.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return packed.getvalue()


def show(value: Any) -> str:
    """A waveform as inline SVG, with the duration and the rate; what cannot be decoded as its reason."""
    try:
        heard = read(value, "")
    except RowError as error:
        return html.escape(str(error.fields["found"]))
    edges = np.linspace(0, len(heard.samples), min(SHOWN, len(heard.samples)) + 1).astype(int)[:-1]
    high = np.maximum.reduceat(heard.samples, edges)
    low = np.minimum.reduceat(heard.samples, edges)
    scale = HEIGHT / 2 / max(float(np.abs(heard.samples).max()), SILENT)
    tops = np.round(HEIGHT / 2 - scale * high).astype(int)
    tall = np.maximum(1, np.round(scale * (high - low)).astype(int))
    path = "".join(f"M{2 * x + 1} {top}v{down}" for x, (top, down) in enumerate(zip(tops, tall, strict=True)))
    told = f"{_seconds(heard.seconds)}, {heard.rate / 1000:g} kHz"
    return (
        f'<svg role="img" aria-label="{told}" width="{2 * SHOWN}" height="{HEIGHT}" viewBox="0 0 {2 * SHOWN} {HEIGHT}">'
        f'<path d="{path}" stroke="currentColor" stroke-width="1.5"/></svg> {told}'
    )


def picture(value: Any) -> str:
    """The log-mel spectrogram as a `data:` URL of a grey PNG: low pitches below, 60 dB from black to white, time drawn together to 300 pixels.

    '' for what cannot be decoded.
    """
    try:
        heard = read(value, "")
    except RowError:
        return ""
    rate = min(heard.rate, USUAL_RATE)
    levels = LogMel(rate, bands=PICTURE[1])(resampled(heard.samples, heard.rate, rate))
    edges = np.linspace(0, len(levels), min(PICTURE[0], len(levels)) + 1).astype(int)[:-1]
    levels = np.maximum.reduceat(levels, edges, axis=0)
    below = (levels.max() - levels) * 10 / np.log(10)  # dB
    grey = 255 * np.clip(below / 60, 0, 1)
    return "data:image/png;base64," + base64.b64encode(_png(grey.T[::-1].round().astype(np.uint8))).decode()


def _png(grey: np.ndarray) -> bytes:
    """An image of 8-bit grey [height, width] as PNG (W3C, "Portable Network Graphics", 5 and 11)."""
    height, width = grey.shape
    lines = np.concatenate([np.zeros((height, 1), dtype=np.uint8), grey], axis=1)  # before each line: no filter
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


# ---- values as they arrive


def _bytes(value: Any) -> bytes:
    """The encoded recording. Raises: Unreadable."""
    try:
        return decoded(value, most=sound.MAX_BYTES)
    except NotBytes as error:
        raise Unreadable(str(error)) from None


def _headers(values: Sequence[Any]) -> list[Header]:
    """The headers of at most SAMPLE values, spread evenly; of those that have one that can be believed."""
    places = range(len(values)) if len(values) <= SAMPLE else np.linspace(0, len(values) - 1, SAMPLE).astype(int)
    found = []
    for place in places:
        value = values[int(place)]
        if isinstance(value, Sound):
            found.append(Header(value.rate, 1, len(value.samples), ""))
        elif value is not None:
            try:
                found.append(sound.header(_bytes(value)))
            except Unreadable:
                continue
    return found


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 60 else f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
