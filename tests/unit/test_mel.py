"""Log-mel energies against the plain reference of transformers, and what must hold of any sound."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from sartor import mel


def noise(n, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, n).astype(np.float32)


def chirp(n, rate):
    time_s = np.arange(n) / rate
    return (0.5 * np.sin(2 * np.pi * (100 + 900 * time_s) * time_s)).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("sound", [noise, lambda n: chirp(n, n), lambda n: noise(n) * np.float32(1e-3)])
def test_energies_are_those_of_the_plain_reference(rate, sound):
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    samples = sound(rate)
    made = mel.LogMel(rate)
    length = 2 * (len(made.filters) - 1)
    filters = mel_filter_bank(length // 2 + 1, 64, 20.0, rate / 2, rate, norm=None, mel_scale="htk")
    expected = spectrogram(
        samples,
        window_function(made.window, "hann"),
        frame_length=made.window,
        hop_length=made.hop,
        fft_length=length,
        power=2.0,
        center=False,
        mel_filters=filters,
        mel_floor=mel.FLOOR,
        log_mel="log",
        dtype=np.float64,
    ).T
    found = made(samples)
    assert found.dtype == np.float32
    assert found.shape == expected.shape == (made.frames(rate), 64)
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 401, 559, 560, 16_000])
def test_there_are_as_many_frames_as_were_told(samples):
    made = mel.LogMel(16_000)
    assert len(made(noise(samples))) == made.frames(samples) >= 1


@pytest.mark.parametrize(("rate", "bands"), [(8_000, 64), (8_000, 128), (4_000, 80), (44_100, 128), (96_000, 64)])
def test_every_band_hears_something(rate, bands):
    made = mel.LogMel(rate, bands=bands)
    assert (made.filters.max(axis=0) > 0).all()
    assert made(noise(rate)).min() > np.log(mel.FLOOR)


def test_silence_is_the_floor_and_never_minus_infinity():
    assert mel.LogMel(8_000)(np.zeros(8_000, dtype=np.float32)) == pytest.approx(np.log(mel.FLOOR))


def test_a_tone_is_loudest_in_the_band_that_holds_its_pitch():
    made = mel.LogMel(16_000)
    corners = mel.hertz(np.linspace(mel.mel(20), mel.mel(8_000), 66))
    for frequency in (300, 1_000, 3_000, 7_000):
        tone = np.sin(2 * np.pi * frequency * np.arange(16_000) / 16_000).astype(np.float32)
        band = int(made(tone).mean(axis=0).argmax())
        assert corners[band] < frequency < corners[band + 2]


def test_ten_times_louder_is_two_log_ten_more_in_every_band():
    made = mel.LogMel(16_000)
    assert made(noise(16_000) * 10) - made(noise(16_000)) == pytest.approx(2 * np.log(10), abs=1e-4)


def test_a_frame_does_not_depend_on_what_comes_long_after_it():
    made, samples = mel.LogMel(16_000), noise(48_000)
    whole = made(samples)
    for seconds in (1, 2):
        begun = made(samples[: seconds * 16_000])
        assert np.abs(begun - whole[: len(begun)]).max() < 1e-5


def test_mel_and_hertz_undo_each_other():
    frequencies = np.linspace(0, 24_000, 100)
    assert mel.hertz(mel.mel(frequencies)) == pytest.approx(frequencies)
    assert float(mel.mel(1_000)) == pytest.approx(1_000, abs=0.1)  # the scale's fixed point


def test_bands_that_do_not_fit_the_rate_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        mel.LogMel(8_000, high_hz=8_000)


def test_the_light_half_has_it():
    code = "import sartor.mel, sys; assert not {'torch', 'librosa', 'scipy', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
