"""Log-mel filterbank energies: how loud a sound is in each band of pitch, every hundredth of a second. No torch, no librosa.

The mel scale is HTK's, 2595 · log10(1 + f / 700) (O'Shaughnessy 1987, "Speech Communication"; Young et al., "The HTK Book", 5.4), with
triangular filters of height one, as in torchaudio; Kaldi's filters and Slaney's (librosa's default) are there for bodies that were trained on them.
Transforms are in float64: in float32 the logarithm of what is 60 dB below the loudest of its frame is off by 2e-4, and it takes no longer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

FLOOR = 1e-8  # of an energy: about what the rounding of 16-bit samples leaves, so that digital silence is no outlier
CHUNK = 64  # frames that are transformed at once: a quarter of a megabyte at 16 kHz stays in the cache; all at once took twice as long


@dataclass(frozen=True)
class LogMel:
    """Samples float32 [n] at `rate` Hz -> natural logarithm of mel energies, float32 [frames, bands].

    window_s, hop_s: of the Hann window and from one to the next. low_hz, high_hz: where the lowest band begins and the highest ends;
    half the rate when left out. Frames stand wholly inside the samples (no reflection at the ends), so that frames = 1 + (n − window) // hop;
    fewer samples than a window are filled up with zeros.

    >>> LogMel(16_000)(np.zeros(16_000, dtype=np.float32)).shape
    (98, 64)
    """

    rate: int
    window_s: float = 0.025
    hop_s: float = 0.010
    bands: int = 64
    low_hz: float = 20.0
    high_hz: float | None = None
    filters: np.ndarray = field(init=False, repr=False, compare=False)  # [bins, bands] float64
    _taper: np.ndarray = field(init=False, repr=False, compare=False)  # [window] float64

    def __post_init__(self) -> None:
        high = self.rate / 2 if self.high_hz is None else self.high_hz
        if not 0 <= self.low_hz < high <= self.rate / 2:
            raise ValueError(f"bands from {self.low_hz} to {high} Hz do not fit a rate of {self.rate} Hz")
        bins = 1 << (self.window - 1).bit_length()
        # A band narrower than the spacing of the transform's bins would hear nothing: then the transform is made longer.
        while (filters := filter_bank(self.rate, bins, self.bands, self.low_hz, high)).max(axis=0).min() <= 0:
            bins *= 2
        object.__setattr__(self, "filters", filters)
        # Periodic, as for transforms: a symmetric window is for filter design.
        taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)
        object.__setattr__(self, "_taper", taper)

    @property
    def window(self) -> int:
        """Samples of a frame."""
        return max(2, round(self.window_s * self.rate))

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return max(1, round(self.hop_s * self.rate))

    def frames(self, samples: int) -> int:
        """How many frames so many samples give; at least one."""
        return 1 + max(0, samples - self.window) // self.hop

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """[n] -> [frames, bands] float32."""
        if len(samples) < self.window:
            samples = np.concatenate([samples, np.zeros(self.window - len(samples), dtype=np.float32)])
        framed = np.lib.stride_tricks.sliding_window_view(samples, self.window)[:: self.hop]
        found = np.empty((len(framed), self.bands), dtype=np.float32)
        length = 2 * (len(self.filters) - 1)
        for begin in range(0, len(framed), CHUNK):
            spectrum = np.fft.rfft(framed[begin : begin + CHUNK] * self._taper, n=length)
            power = np.square(spectrum.real) + np.square(spectrum.imag)
            found[begin : begin + CHUNK] = np.log(np.maximum(power @ self.filters, FLOOR))
        return found


def filter_bank(rate: int, length: int, bands: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Triangles of height one whose corners are evenly spaced in mel, over the bins of a transform of `length`: [length / 2 + 1, bands]."""
    corners = hertz(np.linspace(mel(low_hz), mel(high_hz), bands + 2))
    return _triangles(np.fft.rfftfreq(length, 1 / rate), corners)


def kaldi_filter_bank(rate: int, length: int, bands: int, low_hz: float, high_hz: float) -> np.ndarray:
    """As `filter_bank`, but straight lines in mel and not in hertz: Kaldi's (mel-computations.cc, `MelBanks`)."""
    return _triangles(mel(np.fft.rfftfreq(length, 1 / rate)), np.linspace(mel(low_hz), mel(high_hz), bands + 2))


def slaney_filter_bank(rate: int, length: int, bands: int, low_hz: float, high_hz: float) -> np.ndarray:
    """As `filter_bank`, but on Slaney's mel scale and of area one (in hertz): that of librosa and of Whisper (Slaney 1998, "Auditory Toolbox").

    That scale is linear up to 1 kHz, 15 mel, and then 27 mel are a factor of 6.4.
    """
    ends = np.array([low_hz, high_hz])
    above = 15 + 27 * np.log(np.maximum(ends, 1_000) / 1_000) / np.log(6.4)
    low, high = np.where(ends < 1_000, ends * 15 / 1_000, above)
    mels = np.linspace(low, high, bands + 2)
    corners = np.where(mels < 15, mels * 1_000 / 15, 1_000 * 6.4 ** ((mels - 15) / 27))
    return _triangles(np.fft.rfftfreq(length, 1 / rate), corners) * 2 / (corners[2:] - corners[:-2])


def _triangles(at: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Triangles of height one over places [n], each from one corner [bands + 2] to the next but one: [n, bands]."""
    rising = (at[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - at[:, None]) / (corners[2:] - corners[1:-1])
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)))


def mel(frequency_hz: np.ndarray | float) -> np.ndarray:
    """Hertz to mel."""
    return np.asarray(2595 * np.log10(1 + np.asarray(frequency_hz) / 700))


def hertz(mels: np.ndarray | float) -> np.ndarray:
    """Mel to hertz."""
    return np.asarray(700 * (10 ** (np.asarray(mels) / 2595) - 1))
