"""Writes tones/: short sounds made here, in folders named for what they are: chords, falling and rising tones, clicks, and noise."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent / "tones"
RATE, SECONDS, EACH = 8_000, 0.6, 160


def sound(kind: str, rng: np.random.Generator) -> np.ndarray:
    """One of a kind, [RATE · SECONDS] in −1 to 1, with noise and a loudness of its own."""
    t = np.arange(int(RATE * SECONDS)) / RATE
    base = rng.uniform(180, 900)
    if kind == "chord":
        made = sum(np.sin(2 * np.pi * base * ratio * t) for ratio in (1, 1.25, 1.5)) / 3
    elif kind in ("rising", "falling"):
        bend = rng.uniform(0.4, 1.2) * (1 if kind == "rising" else -0.6)
        made = np.sin(2 * np.pi * base * (t + bend * t**2 / 2 / SECONDS))
    elif kind == "clicks":
        made = np.zeros_like(t)
        for place in np.arange(rng.uniform(0, 0.1), SECONDS, rng.uniform(0.05, 0.12)):
            made[int(place * RATE) : int(place * RATE) + 24] = rng.choice([-1, 1])
    else:
        made = np.convolve(rng.normal(size=len(t)), np.ones(int(rng.integers(1, 8))), mode="same")
        made = made / np.abs(made).max()
    return np.clip(rng.uniform(0.2, 0.9) * made + rng.uniform(0.01, 0.15) * rng.normal(size=len(t)), -1, 1)


def main() -> None:
    """800 recordings of 0.6 s at 8 kHz."""
    rng = np.random.default_rng(0)
    kinds = ("chord", "clicks", "falling", "noise", "rising")
    for kind in kinds:
        (HERE / kind).mkdir(parents=True, exist_ok=True)
        for number in range(EACH):
            with wave.open(str(HERE / kind / f"{number:03d}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE)
                file.writeframes((32767 * sound(kind, rng)).astype("<i2").tobytes())
    print(f"{EACH * len(kinds):,} recordings in {HERE}")


if __name__ == "__main__":
    main()
