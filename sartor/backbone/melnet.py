"""A small convolutional network on log-mel spectrograms that trains from nothing: minutes on a CPU for thousands of short recordings.

Features are the mean and the maximum over time (as in PANNs, Kong et al. 2020, 10.1109/TASLP.2020.3030497), of whole frames only: how far a batch is
padded changes no answer. In training it changes a little, as the norms' means count the silence in. Of several recordings of a row each is heard
by itself, and their features stand in the order of the columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor.backbone import Card
from sartor.mel import FLOOR, LogMel
from sartor.modality import audio

TAKES = ("audio",)
TRAINS = "gradient"
CONVOLUTIONAL = True  # so that a convolution is timed before its cost is forecast
PRETRAINED = False
TRAINING: Mapping[str, Any] = {
    "epochs": 30,
    "batch_rows": 32,
    "batch_units": 8192,
    "learning_rate": 3e-3,
    "head_learning_rate": 3e-3,
    "weight_decay": 0.05,
    "warmup_share": 0.1,
    "patience": 30,
    "label_smoothing": 0.1,
}
BANDS = 64
FRAMES_PER_S = 100  # of the transform
WIDTHS = (24, 48, 96, 128, 128)  # channels of each block; the first halves frames and bands
POOLS = ((2, 2), (2, 2), (1, 2), (1, 1))  # frames and bands that become one after each of the others
LEAST_FRAMES = 16  # shorter recordings are followed by silence
LEAST_S, MOST_S = 0.25, 10.0  # of a recording that is read
SAMPLE = 1_000  # recordings from which mean and spread of each band are measured


def cards() -> list[Card]:
    """The one body of this leaf; its weights are made from the training rows."""
    return [
        Card(
            name="melnet",
            leaf="melnet",
            takes="audio",
            languages=("*",),
            licence="Apache-2.0",
            source="made from the training rows",
            size_bytes=0,
            parameters=310_952,
            note="A small convolutional network on log-mel spectrograms that trains from nothing in minutes.",
        )
    ]


def resolve_options(
    ref: str, *, columns: Sequence[str], inputs: Sequence[Mapping[str, Any]], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`rate`, the one that most recordings have, at most 16 kHz; `seconds`, the longest that is read: their 99th percentile, from 0.25 to 10."""
    values = [row[name] for row in inputs for name in columns]
    longest = audio.profile(values)["seconds_99"]
    options = {
        "rate": int(given.get("rate", audio.usual_rate(values))),
        "seconds": float(given.get("seconds", np.clip(np.ceil(10 * longest) / 10, LEAST_S, MOST_S))),
    }
    return options, dict(options)


def flops(ref: str, profile: Any) -> float:
    """Of one forward pass, as many as an encoder's products would be in the same time: convolutions as this machine does them."""
    seconds = np.clip(profile.sizes.get("seconds_median", 1.0), LEAST_S * profile.columns, MOST_S * profile.columns)
    area, total = float(seconds) * FRAMES_PER_S * BANDS / 4, 0.0
    for before, width, (frames, bands) in zip((1, *WIDTHS), WIDTHS, ((1, 1), *POOLS), strict=False):
        total += 2 * 9 * area * before * width
        area /= frames * bands
    return float(profile.convolution * total)


def start(ref: str, folder: Path, *, columns: Sequence[str], inputs: Any, seed: int, **options: Any) -> dict[str, Any]:
    """Measures mean and spread of each band, and draws the first weights. options: `rate`, `seconds`.

    Writes `processor/mel.json` and `model.safetensors`.
    """
    import torch

    from sartor import model as models

    settings: dict[str, Any] = {
        "columns": list(columns),
        "rate": int(options["rate"]),
        "seconds": float(options["seconds"]),
    }
    plain = MelProcessor(**settings, mean=[0.0] * BANDS, spread=[1.0] * BANDS)
    step = max(1, len(inputs) // SAMPLE)
    frames = np.concatenate([levels for row in plain.encode(list(inputs[::step])) for levels in row]).astype(np.float64)
    settings |= {"mean": frames.mean(axis=0).tolist(), "spread": np.maximum(frames.std(axis=0), 0.1).tolist()}
    target = folder / "processor"
    target.mkdir(parents=True, exist_ok=True)
    (target / "mel.json").write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
    meta = {"leaf": "melnet", "ref": ref, "columns": len(columns), "owns_weights": True, "quantise": "static"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        models.save(models.Model(body(folder, meta), {}), folder)
    return meta


def processor(folder: Path, meta: Mapping[str, Any]) -> MelProcessor:
    """Opens what `start` wrote."""
    return MelProcessor(**json.loads((folder / "processor" / "mel.json").read_text(encoding="utf-8")))


class MelProcessor:
    """Recordings to standardised log-mel energies; those of several columns beside each other."""

    axes: Mapping[str, Mapping[int, str]] = {"mel": {0: "batch", 2: "frames"}, "frames": {0: "batch"}}
    batch_units = 4096  # frames

    def __init__(
        self, columns: Sequence[str], rate: int, seconds: float, mean: Sequence[float], spread: Sequence[float]
    ) -> None:
        self.columns = list(columns)
        self.rate = rate
        self.most = max(LEAST_FRAMES, round(seconds * FRAMES_PER_S))
        self.transform = LogMel(rate, hop_s=1 / FRAMES_PER_S, bands=BANDS)
        self.mean = np.asarray(mean, dtype=np.float32)
        self.spread = np.asarray(spread, dtype=np.float32)

    def __call__(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """mel [B, columns, frames, bands] float32, padded with zeros to the longest of the batch; frames int64, how many of them are real: [B], or
        [B, columns] where there are several.
        """
        return self.padded(self.encode(inputs))

    def encode(self, inputs: Any) -> list[list[np.ndarray]]:
        """Standardised energies [frames, bands] float32 of every recording; of each input one for each column.

        Raises: RowError `row.bad-value` for what is no recording.
        """
        return [[self._levels(row[name], name) for name in self.columns] for row in inputs]

    def costs(self, encoded: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
        """Frames of each [n]."""
        return np.array([sum(map(len, row)) for row in encoded], dtype=np.int64)

    def length(self, inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Frames of each input [n]; nothing is transformed for it."""
        return np.array([sum(self._frames(row[name], name) for name in self.columns) for row in inputs], dtype=np.int64)

    def padded(self, encoded: Sequence[Sequence[np.ndarray]]) -> dict[str, np.ndarray]:
        """A batch of what `encode` gave."""
        count = len(self.columns)
        frames = np.array([[len(levels) for levels in row] for row in encoded], dtype=np.int64).reshape(-1, count)
        mel = np.zeros((len(encoded), count, int(frames.max(initial=LEAST_FRAMES)), BANDS), dtype=np.float32)
        for i, row in enumerate(encoded):
            for j, levels in enumerate(row):
                mel[i, j, : len(levels)] = levels
        return {"mel": mel, "frames": frames if count > 1 else frames[:, 0]}

    def augmented(
        self,
        encoded: Sequence[Sequence[np.ndarray]],
        rng: np.random.Generator,
        *,
        speed: float = 0.1,
        shift: float = 0.1,
        gain_db: float = 6.0,
        noise_db: float = 25.0,
        masks: float = 0.2,
    ) -> dict[str, np.ndarray]:
        """A batch of recordings that were changed at random, each by itself; 0 leaves a change out.

        speed: up to this share faster or slower, without a change of pitch. shift: up to this share of the frames moves out at one end, and as
        much silence in at the other. gain_db: louder or quieter by at most that. noise_db: even noise that is at least so far below the loudest
        frame, in every other recording. masks: up to this share of the frames, and of the bands, is blanked (SpecAugment, Park et al. 2019).
        """
        strengths = {"speed": speed, "shift": shift, "gain_db": gain_db, "noise_db": noise_db, "masks": masks}
        return self.padded([[self._changed(levels, rng, **strengths) for levels in row] for row in encoded])

    def _changed(
        self,
        levels: np.ndarray,
        rng: np.random.Generator,
        *,
        speed: float,
        shift: float,
        gain_db: float,
        noise_db: float,
        masks: float,
    ) -> np.ndarray:
        made = _stretched(levels, float(np.exp(rng.uniform(-speed, speed))))
        logs = made * self.spread + self.mean
        if (moved := round(float(rng.uniform(-shift, shift)) * len(logs))) != 0:
            quiet = np.broadcast_to(logs.min(axis=0), (abs(moved), BANDS))
            logs = np.concatenate([quiet, logs[:-moved]] if moved > 0 else [logs[-moved:], quiet])
        if noise_db and rng.random() < 0.5:
            # Further down than that by up to 30 dB: from what is heard to what is not.
            logs = np.logaddexp(logs, logs.max() - _nepers(noise_db + rng.uniform(0, 30)))
        logs = np.maximum(logs + _nepers(float(rng.uniform(-gain_db, gain_db))), np.log(FLOOR))
        made = ((logs - self.mean) / self.spread).astype(np.float32)
        for axis in (0, 1):
            size = made.shape[axis]
            width = int(rng.integers(0, round(masks * size) + 1))
            begin = int(rng.integers(0, size - width + 1))
            made[(slice(None),) * axis + (slice(begin, begin + width),)] = 0
        return made

    def _frames(self, value: Any, name: str) -> int:
        heard = audio.read(value, name)
        samples = -(-len(heard.samples) * self.rate // heard.rate)  # of `resampled`
        return min(max(self.transform.frames(samples), LEAST_FRAMES), self.most)

    def _levels(self, value: Any, name: str) -> np.ndarray:
        heard = audio.read(value, name)
        logs = self.transform(audio.resampled(heard.samples, heard.rate, self.rate))
        if (
            len(logs) > self.most
        ):  # the loudest stretch: what stands alone in a long recording is seldom at its beginning
            energy = np.concatenate([[0.0], np.cumsum(np.exp(logs, dtype=np.float64).sum(axis=1))])
            begin = int(np.argmax(energy[self.most :] - energy[: -self.most]))
            logs = logs[begin : begin + self.most]
        if len(logs) < LEAST_FRAMES:
            logs = np.pad(logs, ((0, LEAST_FRAMES - len(logs)), (0, 0)), constant_values=np.log(FLOOR))
        return np.asarray((logs - self.mean) / self.spread, dtype=np.float32)


def _stretched(levels: np.ndarray, factor: float) -> np.ndarray:
    """So many times as long, by linear interpolation between frames; never shorter than LEAST_FRAMES."""
    count = max(LEAST_FRAMES, round(factor * len(levels)))
    at = np.linspace(0, len(levels) - 1, count)
    begin = at.astype(int)
    end = np.minimum(begin + 1, len(levels) - 1)
    share = (at - begin).astype(np.float32)[:, None]
    return np.asarray(levels[begin] * (1 - share) + levels[end] * share)


def _nepers(decibels: float) -> float:
    """Of energy, as the logarithms of the transform are."""
    return decibels * float(np.log(10)) / 10


def channels(body: Any) -> list[tuple[Any, Any, Any, Any]]:
    """(convolution, its norm, the module that reads them, the one convolution in it) wherever channels can be taken out alone: of every block but the last.

    `body` makes as many of each as `channels` in the bundle's backbone says.
    """
    return [(one.conv, one.norm, after, after.conv) for one, after in zip(body.layers, body.layers[1:], strict=False)]


def body(folder: Path, meta: Mapping[str, Any]) -> Any:
    """The network: mel [B, columns, frames, bands], frames [B] or [B, columns] -> features [B, columns · 256]. Its weights are those of `start`."""
    import torch
    from torch import nn
    from torch.nn import functional

    count = int(meta.get("columns", 1))  # bundles that do not say so have one

    class Block(nn.Module):
        """A 3×3 convolution, normalised."""

        def __init__(self, before: int, width: int, stride: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(before, width, 3, stride, 1, bias=False)
            self.norm = nn.BatchNorm2d(width)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            # Channels last takes two thirds of the time. The parameter itself stays as it is: checkpoints and the optimiser ask for that.
            weight = self.conv.weight.contiguous(memory_format=torch.channels_last)
            return functional.relu(self.norm(functional.conv2d(x, weight, None, self.conv.stride, 1)))

    class MelNet(nn.Module):
        """What stands beyond a recording's end is silenced before every convolution, as if nothing had been padded."""

        def __init__(self) -> None:
            super().__init__()
            self.width = count * 2 * WIDTHS[-1]
            widths = [*(meta.get("channels") or WIDTHS[:-1]), WIDTHS[-1]]
            pairs = zip((1, *widths), widths, strict=False)
            self.layers = nn.ModuleList(Block(*pair, 1 if place else 2) for place, pair in enumerate(pairs))

        def forward(self, mel: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
            if count > 1:
                mel, frames = mel.flatten(0, 1).unsqueeze(1), frames.flatten()
            x = self.layers[0](_silenced(mel, frames))
            frames = (frames + 1) // 2
            for layer, pool in zip(self.layers[1:], POOLS, strict=True):
                x = layer(_silenced(x, frames))
                # A last frame that finds no other to be pooled with is dropped, padded or not.
                x, frames = functional.max_pool2d(x, pool), frames // pool[0]
            x = _silenced(x, frames).mean(3)  # [B, channels, frames]
            mean = x.sum(2) / frames.unsqueeze(1)
            x = torch.cat([mean, x.amax(2)], dim=1)  # nothing is below zero, so what is silenced is no maximum
            return x if count == 1 else x.reshape(-1, self.width)

        def blocks(self) -> list[nn.Module]:
            return list(self.layers)

    def _silenced(x: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """x [B, channels, frames, bands] with zeros from each recording's end on."""
        real = torch.arange(x.shape[2], device=x.device) < frames.unsqueeze(1)
        return x * real.to(x.dtype)[:, None, :, None]

    return MelNet()
