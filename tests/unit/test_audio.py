"""Recordings: every way that they arrive in and are broken, what makes two of them the same, and flaws that were planted."""

from __future__ import annotations

import base64
import io
import re
import struct
import sys
import zlib

import numpy as np
import pyarrow as pa
import pytest

from sartor import sound
from sartor.data import near
from sartor.data.dataset import Column, Dataset, Schema
from sartor.errors import InputError, RowError
from sartor.modality import audio

soundfile = pytest.importorskip("soundfile")
RATE = 16_000
FORMATS = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]


def voice(seed, seconds=1.0, rate=RATE):
    """A gliding harmonic tone whose loudness comes and goes, with some noise: float32 [n]."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate)) / rate
    pitch = rng.uniform(90, 250) * np.exp(np.cumsum(rng.normal(0, 0.004, len(time_s))) * 0.02)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    timbre = rng.random(20) / np.arange(1, 21)
    tone = sum(a * np.sin((k + 1) * phase + rng.uniform(0, 6)) for k, a in enumerate(timbre))
    loud = np.interp(time_s, np.linspace(0, seconds, 12), rng.random(12))
    made = loud * (tone + rng.normal(0, 0.02, len(time_s)))
    return (0.5 * made / np.abs(made).max()).astype(np.float32)


def encoded(samples, rate=RATE, kind="WAV", subtype=None, **more):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype, **more)
    return file.getvalue()


def refusal(value):
    with pytest.raises(RowError) as caught:
        audio.read(value, "sound")
    assert caught.value.code == "row.bad-value"
    assert caught.value.fields["column"] == "sound"
    return str(caught.value)


# ---- reading


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
def test_every_format_is_recognised_and_decoded(kind, subtype):
    samples = voice(0)
    blob = encoded(samples, kind=kind, subtype=subtype)
    assert audio.recognise(pa.chunked_array([pa.array([blob, None], pa.large_binary())])) == 1.0
    heard = audio.read(blob, "sound")
    assert heard.samples.dtype == np.float32
    assert heard.samples.ndim == 1
    assert (heard.rate, len(heard.samples)) == (RATE, len(samples))
    exact = subtype in ("PCM_16", "FLOAT")
    assert np.abs(heard.samples - samples).max() < (1e-4 if exact else 0.5)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"\x89PNG\r\n\x1a\n" + bytes(100)] * 3, pa.large_binary()),
        pa.array([b"RIFF\0\0\0\0AVI LIST"] * 3, pa.large_binary()),
        pa.array([b"\xff\xd8\xff\xe0" + bytes(100)] * 3, pa.large_binary()),
        pa.array(["RIFF0000WAVE"] * 3),
        pa.array([None, None], pa.large_binary()),
        pa.array([], pa.large_binary()),
        pa.array([1.0]),
    ],
)
def test_other_columns_are_not_recognised(column):
    assert audio.recognise(pa.chunked_array([column])) == 0.0


def test_a_recording_arrives_as_bytes_base64_data_url_object_or_read_before():
    blob = encoded(voice(1, 0.1))
    text = base64.b64encode(blob).decode()
    expected = audio.read(blob, "sound")
    broken = "\n".join(text[i : i + 76] for i in range(0, len(text), 76))
    forms = [memoryview(blob), bytearray(blob), text, broken, f"data:audio/wav;base64,{text}", {"base64": text}]
    forms += [f"\n data:audio/wav;base64,\n{text}", f" {text}\n", text.rstrip("="), f"DATA:audio/wav; BASE64 ,{text}"]
    for value in (*forms, base64.urlsafe_b64encode(blob).decode()):
        assert (audio.read(value, "sound").samples == expected.samples).all()
    assert audio.read(expected, "sound") is expected


@pytest.mark.parametrize(
    "value", [None, 3, 2.5, True, [1, 2], {}, {"base64": 3}, {"path": "/etc/passwd"}, "", "no base64!", "data:,hello"]
)
def test_what_is_no_recording_is_refused(value):
    assert "takes a recording" in refusal(value)


def test_the_name_of_a_file_is_told_from_base64():
    assert "the name of a file, not what it holds" in refusal("wav/0001.WAV")
    assert "text that is not base64" in refusal("no name.of a file")


def test_channels_are_averaged():
    left, right = voice(2), voice(3)
    heard = audio.read(encoded(np.stack([left, right], axis=1), subtype="FLOAT"), "sound")
    assert heard.samples == pytest.approx((left + right) / 2, abs=1e-6)


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_what_is_cut_off_is_refused(kind, subtype, share):
    blob = encoded(voice(4, 2.0), kind=kind, subtype=subtype)
    refusal(blob[: int(share * len(blob))])


@pytest.mark.parametrize(("kind", "subtype"), [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_what_is_corrupt_is_refused(kind, subtype):
    blob = bytearray(encoded(voice(5), kind=kind, subtype=subtype))
    middle = len(blob) // 2
    blob[middle : middle + 50] = np.random.default_rng(0).bytes(50)
    assert "cannot be decoded" in refusal(bytes(blob))


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
def test_nothing_but_a_row_error_comes_of_broken_bytes(kind, subtype):
    blob = encoded(voice(6, 0.3), kind=kind, subtype=subtype)
    rng = np.random.default_rng(1)
    for _ in range(60):
        broken = bytearray(blob)
        for _ in range(rng.integers(1, 5)):
            broken[int(rng.integers(0, min(len(broken), 200) if rng.random() < 0.6 else len(broken)))] = int(
                rng.integers(256)
            )
        try:
            heard = audio.read(
                bytes(broken[: rng.integers(0, len(broken) + 1)] if rng.random() < 0.3 else broken), "sound"
            )
        except RowError:
            continue
        assert np.isfinite(heard.samples).all()
        assert len(heard.samples) <= sound.MAX_SECONDS * heard.rate


def test_samples_that_are_no_numbers_are_refused():
    for value in (np.nan, np.inf, 1e30):
        samples = voice(7, 0.1)
        samples[50] = value
        assert "no numbers" in refusal(encoded(samples, subtype="FLOAT"))


def test_a_file_without_samples_is_refused():
    assert "without samples" in refusal(encoded(np.zeros(0, dtype=np.float32)))


def flac_of(frames):
    """A FLAC file whose header says that it has so many samples."""
    blob = bytearray(encoded(voice(8, 0.2), kind="FLAC"))
    blob[21] = blob[21] & 0xF0 | frames >> 32
    blob[22:26] = struct.pack(">I", frames & 0xFFFFFFFF)
    return bytes(blob)


@pytest.mark.parametrize("frames", [0, RATE * 601, 2**36 - 1])
def test_giants_and_endless_files_are_refused_from_the_header(frames, monkeypatch):
    monkeypatch.setattr(sound, "_blocks", lambda *_: pytest.fail("decoded"))
    assert "the most is 10 min" in refusal(flac_of(frames)) or frames == 0


def test_never_more_than_the_limit_is_decoded_when_the_header_lies(monkeypatch):
    blob = encoded(voice(9, 2.0))
    monkeypatch.setattr(sound, "MAX_SECONDS", 1.0)
    monkeypatch.setattr(sound, "BLOCK", 1000)
    monkeypatch.setattr(sound, "_check", lambda told: None)
    read = []
    inner = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, n, **more: read.append(n) or inner(self, n, **more))
    refusal(blob)
    assert sum(read) <= RATE + 1000


def test_a_header_that_promises_more_than_there_is_is_refused():
    assert "cannot be decoded" in refusal(flac_of(RATE * 500)) or "cut off" in refusal(flac_of(RATE * 500))


def test_large_files_many_channels_and_strange_rates_are_refused(monkeypatch):
    blob = encoded(voice(10, 0.1))
    assert "channels; the most" in refusal(blob[:22] + struct.pack("<H", 1000) + blob[24:])
    for rate in (1, 10, 2**31 - 1):
        assert "Hz are read" in refusal(blob[:24] + struct.pack("<I", rate) + blob[28:])
    monkeypatch.setattr(sound, "MAX_BYTES", 1000)
    assert "MB that are read" in refusal(blob)
    assert "MB that are read" in refusal({"base64": "A" * 10_000})


def test_what_was_written_into_a_pipe_does_not_know_its_size_and_is_read():
    blob = encoded(voice(11, 0.2), subtype="PCM_16")
    for size in (0xFFFFFFFF, 0x7FFFFFFF):
        assert len(audio.read(blob[:40] + struct.pack("<I", size) + blob[44:], "sound").samples) == 3200


def test_an_mp3_of_which_only_a_part_could_be_decoded_is_refused():
    rng = np.random.default_rng(0)
    quiet_then_loud = rng.normal(0, 1, 5 * RATE) * np.repeat([1e-4, 0.2], [RATE, 4 * RATE])
    blob = encoded(quiet_then_loud.astype(np.float32), kind="MP3", bitrate_mode="VARIABLE", compression_level=0.0)
    assert len(audio.read(blob, "sound").samples) == 5 * RATE
    second = next(i for i in range(4, 2000) if blob[i] == 0xFF and blob[i + 1] == blob[1])
    assert "only a part" in refusal(
        blob[second:]
    )  # libsndfile takes its first frames, which are small, for all of them


def test_tags_before_and_behind_an_mp3_do_no_harm():
    blob = encoded(voice(12, 5.0), kind="MP3")
    picture = b"\xff\xfb\x90\0" * 32
    tagged = b"ID3\x04\0\0\0\0\x01\0" + picture + blob + b"TAG" + bytes(125)
    assert len(audio.read(tagged, "sound").samples) == 5 * RATE


def test_other_formats_are_named_in_what_is_said_of_them():
    assert "MPEG-4" in refusal(b"\0\0\0\x20ftypM4A " + bytes(100))
    assert "webm" in refusal(b"\x1aE\xdf\xa3" + bytes(100))
    assert "WAV, FLAC, Ogg or MP3" in refusal(b"hello")


def test_without_soundfile_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(InputError) as caught:
        audio.read(encoded_before, "sound")
    assert caught.value.code == "leaf.missing-package"
    assert "sartor[audio]" in str(caught.value)


encoded_before = encoded(voice(13, 0.1))


# ---- resampling, headers, keys


@pytest.mark.parametrize("target", [8_000, 16_000, 22_050, 44_099])
def test_resampling_is_that_of_scipy(target):
    from scipy.signal import resample_poly

    samples = voice(14, 0.5)
    shared = np.gcd(RATE, target)
    found = audio.resampled(samples, RATE, target)
    assert found.dtype == np.float32
    assert len(found) == -(-len(samples) * target // RATE)
    if target == RATE:
        assert (found == samples).all()
    else:
        assert (found == resample_poly(samples, target // shared, RATE // shared)).all()


def test_a_profile_tells_durations_rates_and_channels():
    values = [encoded(voice(i, 0.2)) for i in range(3)] + [
        encoded(np.stack([voice(3, 1.0)] * 2, axis=1), 8_000),
        b"junk",
        None,
    ]
    told = audio.profile(values)
    assert told["seconds_median"] == pytest.approx(0.2)
    assert told["seconds_99"] == pytest.approx(2.0, abs=0.1)
    assert told["rates"] == {"16000": 0.75, "8000": 0.25}
    assert told["channels"] == {"1": 0.75, "2": 0.25}
    assert audio.usual_rate(values) == told["rate_usual"] == 16_000
    assert audio.usual_rate([encoded(voice(0, 0.1, 44_100), 44_100)]) == 16_000
    assert audio.profile([])["seconds_median"] == 0.0


def test_the_same_sound_has_the_same_key_whatever_it_is_stored_as():
    samples = (voice(15) * 32_767).astype(np.int16)
    wav, flac = encoded(samples, subtype="PCM_16"), encoded(samples, kind="FLAC")
    twice = encoded(np.stack([samples, samples], axis=1), subtype="PCM_16")
    assert audio.key(wav) == audio.key(flac) == audio.key(twice) == audio.key(audio.read(wav, ""))
    assert audio.key(wav) != audio.key(encoded(voice(16)))
    assert audio.key(wav) != audio.key(encoded(samples, 8_000, subtype="PCM_16"))
    assert audio.key(b"junk") is audio.key(None) is None


# ---- nearly the same


def copies(samples):
    loud = samples * np.float32(0.3)
    return {
        "mp3": encoded(samples, kind="MP3"),
        "vorbis": encoded(samples, kind="OGG", subtype="VORBIS", compression_level=0.7),
        "opus": encoded(samples, kind="OGG", subtype="OPUS"),
        "quieter": encoded(loud),
        "upside down": encoded(-samples),
        "trimmed": encoded(samples[700:-1300]),
        "padded": encoded(np.concatenate([np.zeros(1111, dtype=np.float32), samples, np.zeros(99, dtype=np.float32)])),
        "other rate": encoded(audio.resampled(samples, RATE, 22_050), 22_050),
        "all of it": encoded(audio.resampled(loud[701:-999], RATE, 11_025), 11_025, kind="MP3"),
    }


def test_copies_are_like_each_other_and_other_recordings_are_not():
    one, other = voice(17, 1.5), voice(18, 1.5)
    for name, copy in copies(one).items():
        assert audio.likeness(encoded(one), copy) >= near.ALIKE, name
        assert audio.likeness(encoded(other), copy) < 0.3, name
    assert audio.likeness(b"junk", encoded(one)) == 0.0
    assert audio.likeness(encoded(np.zeros(8000, dtype=np.float32)), encoded(one)) == 0.0


def test_a_hum_that_two_recordings_share_does_not_make_them_alike():
    time_s = np.arange(2 * RATE) / RATE
    hum = sum(np.sin(2 * np.pi * 120 * k * time_s) / k for k in (1, 2, 3, 5))
    made = [
        encoded((0.2 * (hum + 0.1 * np.random.default_rng(i).normal(size=2 * RATE))).astype(np.float32)) for i in (0, 1)
    ]
    assert audio.likeness(*made) < 0.5


def test_near_duplicates_are_found_and_nothing_else():
    originals = [voice(100 + i, 1.0) for i in range(30)]
    values = [encoded(samples) for samples in originals]
    for samples in originals[:5]:
        values += copies(samples).values()
    table = pa.table({"sound": pa.array(values, pa.large_binary()), "label": ["a"] * len(values)})
    schema = Schema((Column("sound", "audio", "input"), Column("label", "label", "target")))
    dataset = Dataset(table, schema, np.full(len(values), -1), "", "")
    found = near.groups(dataset, np.arange(len(values)), np.arange(len(values)))
    count = len(copies(originals[0]))
    expected = [[number, *range(30 + number * count, 30 + (number + 1) * count)] for number in range(5)]
    assert [rows.tolist() for rows in found] == expected


def test_a_sketch_does_not_depend_on_its_neighbours_and_leaves_out_what_says_nothing():
    values = [
        encoded(voice(19)),
        None,
        b"junk",
        encoded(np.zeros(RATE, dtype=np.float32)),
        encoded(voice(20, 0.05)),
        encoded(voice(21)),
    ]
    made, enough = audio.sketch(values, 64)
    assert made.shape == (6, 64)
    assert made.dtype == np.uint32
    assert enough.tolist() == [True, False, False, False, False, True]
    assert (audio.sketch(values[:1], 64)[0][0] == made[0]).all()
    assert (made[0] == made[5]).mean() < 0.6


# ---- features


def words(kinds, each, seed):
    """Recordings of so many glides that differ in where they begin and end, and their kinds."""
    rng = np.random.default_rng(seed)
    made, labels = [], []
    for kind in range(kinds):
        for _ in range(each):
            time_s = np.arange(int(rng.uniform(0.3, 0.5) * RATE)) / RATE
            begin, end = (300, 900, 2000)[kind % 3], (500, 1500, 400)[kind // 3 % 3]
            pitch = np.linspace(begin, end, len(time_s)) * rng.uniform(0.9, 1.1)
            tone = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) + rng.normal(0, 0.05, len(time_s))
            silence = rng.normal(0, 1e-3, (2, int(rng.uniform(0, 0.1) * RATE)))
            samples = rng.uniform(0.05, 0.6) * np.concatenate([silence[0], tone, silence[1]])
            made.append(encoded(samples.astype(np.float32)))
            labels.append(kind)
    return made, np.array(labels)


def test_a_linear_model_on_the_features_tells_sounds_apart():
    from sklearn.linear_model import LogisticRegression

    values, labels = words(9, 12, 0)
    others, truth = words(9, 6, 1)
    made = audio.features([*values, *others], len(values))
    assert made.dtype == np.float32
    assert made[: len(values)].std() == pytest.approx(1, abs=0.1)
    model = LogisticRegression(C=0.1, max_iter=300).fit(made[: len(values)], labels)
    assert model.score(made[len(values) :], truth) > 0.95


def test_features_of_rows_to_learn_from_do_not_hang_on_the_others_and_are_finite():
    values = [encoded(voice(i, 0.3)) for i in range(5)]
    strange = [None, b"junk", encoded(np.zeros(10, dtype=np.float32)), encoded(voice(9, 0.01), 44_100)]
    alone, beside = audio.features(values, 5), audio.features([*values, *strange], 5)
    assert (alone == beside[:5]).all()
    assert np.isfinite(beside).all()
    assert (beside[5:7] == 0).all()
    assert audio.features(strange[:2], 2).shape == (2, alone.shape[1])


# ---- flaws


def found_in(values):
    findings = audio.flaws("sound", iter(values), range(len(values)))
    assert all(item.advice and item.count == len(item.rows) and item.details["column"] == "sound" for item in findings)
    return {item.code.removeprefix("audit.audio-"): item for item in findings}


def test_clean_recordings_have_no_flaws():
    rng = np.random.default_rng(0)
    values = [encoded(voice(i, float(rng.uniform(0.5, 1.5)))) for i in range(30)]
    tone = np.sin(2 * np.pi * 50 * np.arange(RATE) / RATE).astype(np.float32)  # at full scale, and not clipped
    assert found_in([*values, encoded(tone), None]) == {}
    assert audio.audit("sound", values, range(30)) == []


def test_planted_flaws_are_found_with_their_rows():
    values = [encoded(voice(i, 1.0)) for i in range(40)]
    values[3], values[4] = values[3][:5000], b"no recording"
    values[7] = encoded(np.zeros(RATE, dtype=np.float32))
    noise = np.random.default_rng(0).normal(0, 1, RATE).astype(np.float32)
    values[11] = encoded(np.clip(noise, -1, 1))
    values[12] = encoded(np.stack([np.clip(noise, -1, 1), voice(13)], axis=1))
    values[17] = encoded(voice(17) * 0.3 + np.float32(0.2))
    values[22] = encoded(voice(22, 0.05))
    values[23] = encoded(voice(23, 9.0))
    values[31] = encoded(voice(31, 1.0, 8_000), 8_000)
    found = found_in(values)
    assert {code: item.rows for code, item in found.items()} == {
        "broken": (3, 4),
        "silent": (7,),
        "clipped": (11, 12),
        "offset": (17,),
        "channels": (12,),
        "rates": (31,),
        "short": (22,),
        "long": (23,),
    }
    assert found["broken"].severity == "warning"
    assert "row 4 has a recording that is cut off" in found["broken"].message
    assert found["rates"].details["counts"] == {"16,000 Hz": 37, "8,000 Hz": 1}
    assert "have 1 channel (37 of 38), others 2 channels (1), such as row 13." in found["channels"].message
    assert found["offset"].details["means"] == [pytest.approx(0.2, abs=0.02)]


def test_clipping_is_seen_across_pieces_and_lengths_that_vary_by_nature_are_not_told_of(monkeypatch):
    monkeypatch.setattr(sound, "BLOCK", 100)
    clipped = encoded(np.clip(voice(0) * 8, -1, 1))
    assert found_in([clipped])["clipped"].rows == (0,)
    rng = np.random.default_rng(2)
    assert found_in([encoded(voice(i, float(np.exp(rng.normal(-1, 1))))) for i in range(40)]) == {}


# ---- explaining and showing


@pytest.mark.parametrize(("seconds", "count"), [(0.001, 1), (0.1, 5), (1.0, 20), (5.0, 20)])
def test_parts_are_equal_pieces_of_time_and_left_out_ones_are_silent(seconds, count):
    heard = audio.read(encoded(voice(24, seconds), subtype="FLOAT"), "sound")
    parts = audio.parts(heard)
    assert len(parts) == count
    assert [begin for begin, _ in parts] == [0, *(end for _, end in parts[:-1])]
    assert parts[-1][1] == len(heard.samples)
    begin, end = parts[len(parts) // 2]
    left = audio.leave_out(heard, begin, end)
    assert not left.samples[begin:end].any()
    assert (np.delete(left.samples, np.s_[begin:end]) == np.delete(heard.samples, np.s_[begin:end])).all()
    assert heard.samples[begin:end].any()
    assert re.fullmatch(r"\d+\.\d\d–\d+\.\d\d s", audio.part_text(heard, begin, end))


def test_an_empty_cell_has_no_parts():
    assert audio.parts(None) == []


@pytest.mark.parametrize("seconds", [0.001, 0.3, 30.0])
def test_a_recording_is_shown_as_a_small_waveform(seconds):
    shown = audio.show(encoded(voice(25, seconds)))
    assert len(shown) <= 2048
    assert shown.startswith("<svg")
    assert f"{seconds:.2f} s, 16 kHz" in shown
    assert "<" not in audio.show(b"<script>")


def test_the_picture_is_a_png_whose_low_pitches_stand_below():
    tone = np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE).astype(np.float32)
    url = audio.picture(encoded(tone))
    blob = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    assert blob[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", blob[16:24])
    assert (width, height) == (98, 64)
    begin = blob.index(b"IDAT")
    (size,) = struct.unpack(">I", blob[begin - 4 : begin])
    assert (
        zlib.crc32(blob[begin : begin + 4 + size]) == struct.unpack(">I", blob[begin + 4 + size : begin + 8 + size])[0]
    )
    grey = np.frombuffer(zlib.decompress(blob[begin + 4 : begin + 4 + size]), dtype=np.uint8).reshape(height, width + 1)
    assert not grey[:, 0].any()
    darkest = int(grey[:, 1:].mean(axis=1).argmin())
    assert darkest > height / 2
    assert audio.picture(b"junk") == ""
