"""A small residual network for pictures that trains from nothing in minutes on two cores.

Residual blocks (He et al. 2016) whose channels are many and whose maps are small: a CPU does the same
number of products several times faster at 64 channels than at 16. Its last features are pooled by mean, so any size of picture will do. Of several
pictures of a row each is looked at by itself, and their features stand in the order of the columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor.backbone import Card
from sartor.modality import image
from sartor.pixels import resized

TAKES = ("image",)
TRAINS = "gradient"
CONVOLUTIONAL = True  # so that a convolution is timed before its cost is forecast
PRETRAINED = False
TRAINING: Mapping[str, Any] = {
    "epochs": 30,
    "batch_rows": 64,
    "batch_units": 64,
    "learning_rate": 4e-3,
    "head_learning_rate": 4e-3,
    "weight_decay": 0.05,
    "warmup_share": 0.15,
    "patience": 30,
    "label_smoothing": 0.1,
}
WIDTHS = (48, 96, 192, 256)  # channels of the stem, and of each stage, which halves the map
BLOCKS = (1, 2, 1)  # of each stage
LEAST_SIDE, MOST_SIDE = 16, 64  # pixels of a side that is read
SHIFT = 8  # a picture is moved by at most its side over this
LEAST_JUDGED, MOST_JUDGED = 100, 2_000  # pictures by which it is judged whether they may be mirrored
SCALED, LIT = (
    0.15,
    0.25,
)  # by how much a picture is made larger or smaller, brighter or darker and richer or poorer in contrast, at most
ERASED = 0.25  # share of the pictures of which a square is greyed out (DeVries and Taylor 2017)


def cards() -> list[Card]:
    """The one body of this leaf; its weights are made from the training rows."""
    return [
        Card(
            name="convnet",
            leaf="convnet",
            takes="image",
            languages=("*",),
            licence="Apache-2.0",
            source="made from the training rows",
            size_bytes=0,
            parameters=1_800_000,
            note="A small residual network that trains from nothing in minutes.",
        )
    ]


def resolve_options(
    ref: str, *, columns: Sequence[str], inputs: Sequence[Mapping[str, Any]], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`side`, the pixels of a side that is read: the median of these pictures' shorter sides, from 16 to 64."""
    told = [image.profile([row[name] for row in inputs]) for name in columns]
    shorter = min(min(one["width_median"], one["height_median"]) for one in told)
    side = int(given.get("side", np.clip(round(shorter), LEAST_SIDE, MOST_SIDE)))
    return {"side": side}, {"side": side}


def flops(ref: str, profile: Any) -> float:
    """Of one forward pass, as many as an encoder's products would be in the same time: convolutions as this machine does them."""
    # Sizes are told as sums over the columns.
    shorter = min(profile.sizes.get(name, 32 * profile.columns) for name in ("width_median", "height_median"))
    side = float(np.clip(shorter / profile.columns, LEAST_SIDE, MOST_SIDE))
    total, area = 2.0 * 27 * WIDTHS[0], side * side
    total *= area
    for before, width, blocks in zip(WIDTHS, WIDTHS[1:], BLOCKS, strict=False):
        area /= 4
        total += 2 * 9 * area * (before * width + (2 * blocks - 1) * width * width)
    return float(profile.convolution * total * profile.columns)


def start(ref: str, folder: Path, *, columns: Sequence[str], inputs: Any, seed: int, **options: Any) -> dict[str, Any]:
    """Measures mean and spread of the colours, and draws the first weights. options: `side`.

    Writes `processor/pixels.json` and `model.safetensors`.
    """
    import torch

    from sartor import model as models

    side = int(options["side"])
    step = max(1, len(inputs) // 1_000)
    colours = colours_of(PixelProcessor(columns, side).pixels(list(inputs[::step])))
    target = folder / "processor"
    target.mkdir(parents=True, exist_ok=True)
    (target / "pixels.json").write_text(json.dumps({"columns": list(columns), "side": side}), encoding="utf-8")
    spread = np.maximum(colours.std(axis=1), 1.0)
    meta = {
        "leaf": "convnet",
        "ref": ref,
        "columns": len(columns),
        "mean": colours.mean(axis=1).tolist(),
        "spread": spread.tolist(),
        "quantise": "static",
        "owns_weights": True,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        models.save(models.Model(body(folder, meta), {}), folder)
    return meta


def colours_of(pixels: np.ndarray) -> np.ndarray:
    """The values of each colour [3, n] float64. pixels [B, columns · 3, H, W]."""
    return pixels.reshape(-1, 3, *pixels.shape[2:]).astype(np.float64).transpose(1, 0, 2, 3).reshape(3, -1)


def survived(encoded: Sequence[np.ndarray], codes: np.ndarray) -> dict[str, bool]:
    """Which changes leave answers as they are: `mirrored`, where a simple model that never saw a mirrored picture answers those as well as others.

    encoded: pictures [columns · 3, H, W] uint8. codes [n]: their classes. A letter is another one in the mirror, a cat is not; half of the
    pictures teach, the other half is answered both ways, and is not to be answered worse by two standard errors and two points.
    """
    codes = np.asarray(codes)
    if codes.ndim != 1 or not np.issubdtype(codes.dtype, np.integer):
        return {"mirrored": False}
    known = np.flatnonzero(codes >= 0)
    # Class by class, so that both halves have their share of each, in whatever order the rows come.
    known = known[np.argsort(codes[known], kind="stable")]
    known = known[np.linspace(0, len(known) - 1, min(len(known), MOST_JUDGED)).astype(np.int64)]
    truth, teach = np.unique(codes[known], return_inverse=True)[1], np.arange(len(known)) % 2 == 0
    if len(known) < LEAST_JUDGED or min(len(np.unique(truth[half])) for half in (teach, ~teach)) < 2:
        return {"mirrored": False}
    plain, features = (_features([encoded[int(i)][..., ::step] for i in known]) for step in (1, -1))
    mean, spread = plain.mean(0), plain.std(0) + 1e-6
    plain, features = (plain - mean) / spread, (features - mean) / spread
    wanted, learned = np.eye(int(truth.max()) + 1)[truth[teach]], plain[teach]
    weight = np.linalg.solve(learned.T @ learned + len(learned) * np.eye(learned.shape[1]), learned.T @ wanted)
    right, other = ((part[~teach] @ weight).argmax(1) == truth[~teach] for part in (plain, features))
    lost, gained, count = int((right & ~other).sum()), int((other & ~right).sum()), int((~teach).sum())
    return {"mirrored": lost - gained <= max(2 * float(np.sqrt(lost + gained)), 0.02 * count)}


def _features(encoded: Sequence[np.ndarray]) -> np.ndarray:
    """What tells pictures [columns · 3, H, W] apart [n, width], those of one row beside each other."""
    made = []
    for begin in range(0, len(encoded), 64):  # copies of more would fill the memory
        parts = [one.reshape(-1, 3, *one.shape[1:]).transpose(0, 2, 3, 1) for one in encoded[begin : begin + 64]]
        pictures = [np.ascontiguousarray(picture) for part in parts for picture in part]
        made.append(np.asarray(image.features(pictures, len(pictures))).reshape(len(parts), -1))
    return np.concatenate(made)


def processor(folder: Path, meta: Mapping[str, Any]) -> PixelProcessor:
    """Opens what `start` wrote."""
    settings = json.loads((folder / "processor" / "pixels.json").read_text(encoding="utf-8"))
    return PixelProcessor(settings["columns"], settings["side"])


class PixelProcessor:
    """Pictures to pixels of one size; those of several columns lie one upon another."""

    batch_units = 64
    axes: Mapping[str, Mapping[int, str]] = {"pixels": {0: "batch"}}

    def __init__(self, columns: Sequence[str], side: int) -> None:
        self.columns = list(columns)
        self.side = side
        self.changes: Mapping[str, bool] = {"mirrored": False}  # that training may make besides

    def __call__(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """pixels [B, columns · 3, side, side] uint8."""
        return {"pixels": self.pixels(inputs)}

    def pixels(self, inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """As in a batch, of all these inputs."""
        return self.padded(self.encode(inputs))["pixels"]

    def encode(self, inputs: Any) -> list[np.ndarray]:
        """Every picture, read and brought to size [columns · 3, side, side] uint8."""
        return [np.concatenate([self._one(row[name], name) for name in self.columns]) for row in inputs]

    def _one(self, value: Any, column: str) -> np.ndarray:
        return resized(image.read(value, column), self.side, self.side).transpose(2, 0, 1)

    def padded(self, encoded: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """A batch: nothing is padded, as all are of one size."""
        if not len(encoded):
            return {"pixels": np.zeros((0, 3 * len(self.columns), self.side, self.side), dtype=np.uint8)}
        return {"pixels": np.stack(list(encoded))}

    def augmented(self, encoded: Sequence[np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Each picture moved by up to an eighth, some with a square greyed out; where `changes` says so all of a row are mirrored or none."""
        stacked = self.padded(encoded)["pixels"]
        pixels = stacked.reshape(-1, 3, self.side, self.side)
        count, _, height, width = pixels.shape
        shift = max(1, self.side // SHIFT)
        wide = np.pad(pixels, ((0, 0), (0, 0), (shift, shift), (shift, shift)), mode="reflect")
        size = rng.uniform(1 - SCALED, 1 + SCALED, size=(2, count, 1))
        down, right = rng.uniform(-shift, shift, size=(2, count, 1))
        middle = (np.array([height, width]) - 1) / 2
        rows = _places(middle[0] + shift + down, size[0], height, height + 2 * shift)
        columns = _places(middle[1] + shift + right, size[1], width, width + 2 * shift)
        mirrored = np.repeat(rng.random(len(stacked)) < 0.5, len(self.columns)) & self.changes["mirrored"]
        columns[mirrored] = columns[mirrored, ::-1]
        made = wide[np.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].transpose(0, 3, 1, 2)
        light = (
            rng.uniform(1 - LIT, 1 + LIT, size=(count, 1, 1, 1)),
            rng.uniform(-LIT, LIT, size=(count, 1, 1, 1)) * 128,
        )
        made = np.clip((made.astype(np.float32) - 128) * light[0] + 128 + light[1], 0, 255).astype(np.uint8)
        side = max(1, self.side // 3)
        for place in np.flatnonzero(rng.random(count) < ERASED):
            y, x = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
            made[place, :, y : y + side, x : x + side] = 128
        return {"pixels": made.reshape(stacked.shape)}

    def costs(self, encoded: Sequence[np.ndarray]) -> np.ndarray:
        """Ones [n]: every picture costs the same."""
        return np.ones(len(encoded), dtype=np.int64)

    def length(self, inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Ones [n]."""
        return np.ones(len(inputs), dtype=np.int64)


def apart(pixels: Any, columns: int) -> Any:
    """Pictures that lie one upon another, each by itself: a tensor [B, columns · 3, H, W] -> [B · columns, 3, H, W]."""
    return pixels if columns == 1 else pixels.reshape(-1, 3, *pixels.shape[2:])


def _places(middle: np.ndarray, size: np.ndarray, count: int, most: int) -> np.ndarray:
    """Which pixels are read along one side [n, count]: around a middle [n, 1], one to the next `size` [n, 1] apart, of `most`."""
    along = np.arange(count) - (count - 1) / 2
    return np.clip(np.rint(middle + along / size), 0, most - 1).astype(np.int64)


def channels(body: Any) -> list[tuple[Any, Any, Any, Any]]:
    """(convolution, its norm, the module that reads them, the one convolution in it) wherever channels can be taken out alone: inside of each block.

    `body` makes as many of each as `channels` in the bundle's backbone says.
    """
    return [(*block.one, block.two, block.two[0]) for block in body.stages]


def body(folder: Path, meta: Mapping[str, Any]) -> Any:
    """The network: pixels [B, columns · 3, H, W] uint8 -> features [B, columns · 256]."""
    import torch
    from torch import nn
    from torch.nn import functional

    count = int(meta.get("columns", 1))  # bundles that do not say so have one

    def normed(before: int, width: int, kernel: int, stride: int = 1) -> nn.Sequential:
        convolution = nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(width))  # which exporting folds into one

    class Block(nn.Module):
        """Two 3×3 convolutions beside a way around them; the first may halve the map and change the channels."""

        def __init__(self, before: int, inner: int, width: int, stride: int) -> None:
            super().__init__()
            self.one, self.two = normed(before, inner, 3, stride), normed(inner, width, 3)
            self.around = (
                nn.Sequential(nn.AvgPool2d(stride, ceil_mode=True), normed(before, width, 1))
                if stride > 1
                else nn.Identity()
            )
            nn.init.zeros_(
                self.two[1].weight
            )  # every block begins as the way around it (Goyal et al. 2017, section 5.1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.relu(self.around(x) + self.two(functional.relu(self.one(x))))

    class ConvNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.width = count * WIDTHS[-1]
            self.register_buffer("mean", torch.tensor(meta["mean"]).reshape(1, 3, 1, 1))
            self.register_buffer("spread", torch.tensor(meta["spread"]).reshape(1, 3, 1, 1))
            self.stem = normed(3, WIDTHS[0], 3)
            sizes = [
                (before if first else width, width, 2 if first else 1)
                for before, width, blocks in zip(WIDTHS, WIDTHS[1:], BLOCKS, strict=False)
                for first in (True, *[False] * (blocks - 1))
            ]
            inner = meta.get("channels") or [width for _, width, _ in sizes]
            self.stages = nn.ModuleList(
                Block(before, int(channels), width, stride)
                for (before, width, stride), channels in zip(sizes, inner, strict=True)
            )

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            x = (apart(pixels, count).float() - self.mean) / self.spread
            x = functional.relu(self.stem(x.contiguous(memory_format=torch.channels_last)))
            for block in self.stages:
                x = block(x)
            x = x.mean((2, 3))
            return x if count == 1 else x.reshape(-1, self.width)

        def blocks(self) -> list[nn.Module]:
            return [self.stem, *self.stages]

    return ConvNet()
