"""The classic image nets by their own definitions, trained from nothing: AlexNet with one tower (Krizhevsky 2014) and VGG (Simonyan and Zisserman
2015, columns A and D, with batch norm).

What differs from the papers: a picture of any side is read, and the first fully connected layer takes the last map as it is, where the papers' 6 × 6
or 7 × 7 come of 224 pixels; a larger map is pooled to that. A smaller one pooled up to it would repeat its places, for more weights and the same
functions. Of several pictures of a row each has a last map of its own, and the fully connected layers take all of them. The features are the last
hidden layer. They are large and slow: only who asks for one by name gets it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sartor.backbone import Card, convnet
from sartor.backbone.convnet import PixelProcessor
from sartor.errors import InputError
from sartor.modality import image

TAKES = ("image",)
TRAINS = "gradient"
CONVOLUTIONAL = True  # so that a convolution is timed before its cost is forecast
PRETRAINED = False
TRAINING: Mapping[str, Any] = {
    "epochs": 30,
    "batch_rows": 64,
    "batch_units": 64,
    "learning_rate": 3e-4,  # AlexNet has no norms that would bear more
    "head_learning_rate": 3e-4,
    "weight_decay": 0.05,
    "warmup_share": 0.15,
    "patience": 30,
}
HIDDEN = 4096  # units of either fully connected layer
DROPOUT = 0.5  # after either of them (Krizhevsky et al. 2012, section 4.2)
SAMPLE = 1_000  # pictures from which mean and spread of the colours are measured
survived = convnet.survived  # which changes in training leave answers as they are


@dataclass(frozen=True)
class Net:
    """Stages of convolutions (channels, kernel, stride, padding), each followed by a maximum over `pool` pixels at every other one."""

    stages: tuple[tuple[tuple[int, int, int, int], ...], ...]
    pool: int
    norm: bool  # batch norm after every convolution
    grid: int  # of the last map, at most: what comes of 224 pixels
    least: int  # pixels of a side, of which anything is left in the last map
    most: int  # of a side that is read unless more is asked for
    parameters: int  # with a head for 1,000 classes, at 224 pixels
    title: str
    paper: str


def _vgg(*stages: tuple[int, int], **told: Any) -> Net:
    """stages: (convolutions, channels)."""
    made = tuple(((channels, 3, 1, 1),) * count for count, channels in stages)
    paper = 'Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", arXiv:1409.1556'
    return Net(made, pool=2, norm=True, grid=7, least=32, most=64, paper=paper, **told)


NETS: Mapping[str, Net] = {
    "alexnet": Net(
        (((64, 11, 4, 2),), ((192, 5, 1, 2),), ((384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))),
        pool=3,
        norm=False,
        grid=6,
        least=64,
        most=224,
        parameters=61_100_840,
        title="AlexNet with one tower, without local response normalisation.",
        paper='Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997',
    ),
    "vgg11": _vgg((1, 64), (1, 128), (2, 256), (2, 512), (2, 512), parameters=132_868_840, title="VGG of 11 layers."),
    "vgg16": _vgg((2, 64), (2, 128), (3, 256), (3, 512), (3, 512), parameters=138_365_992, title="VGG of 16 layers."),
}


def cards() -> list[Card]:
    """One for each net. They know no language, not even the one of pictures: a planner that chooses by itself passes them over."""
    return [
        Card(
            name=name,
            leaf="classics",
            takes="image",
            languages=(),
            licence="Apache-2.0",
            source=net.paper,
            size_bytes=0,
            parameters=net.parameters,
            note=f"{net.title} Its weights are made from the training rows.",
        )
        for name, net in NETS.items()
    ]


def resolve_options(
    ref: str, *, columns: Sequence[str], inputs: Sequence[Mapping[str, Any]], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`side`, the pixels of a side that is read: the median of these pictures' shorter sides, from 64 to 224 for AlexNet, from 32 to 64 for VGG.

    VGG on 224 pixels takes 12 times as long as on 64; `side` in the plan asks for them.
    Raises: InputError `backbone.not-found` for a net that is none of these, or a side of which nothing would be left.
    """
    net = _net(ref)
    told = [image.profile([row[name] for row in inputs]) for name in columns]
    shorter = min(min(one["width_median"], one["height_median"]) for one in told)
    side = int(given.get("side", np.clip(round(shorter), net.least, net.most)))
    if side < net.least:
        raise InputError("backbone.not-found", ref=ref, why=f"it reads at least {net.least} pixels a side, not {side}")
    return {"side": side}, {"side": side}


def flops(ref: str, profile: Any) -> float:
    """Of one forward pass, as many as an encoder's products would be in the same time: convolutions as this machine does them."""
    net = _net(ref)
    # Sizes are told as sums over the columns.
    shorter = min(profile.sizes.get(name, 32 * profile.columns) for name in ("width_median", "height_median"))
    side = int(np.clip(shorter / profile.columns, net.least, net.most))
    convolved, before = 0.0, 3
    for (channels, kernel, _, _), places in zip(_convolutions(net), _sides(net, side), strict=True):
        convolved += 2.0 * places * places * kernel * kernel * before * channels
        before = channels
    last = min(net.grid, _map(net, side))
    connected = 2.0 * HIDDEN * (before * last * last * profile.columns + HIDDEN)
    return profile.convolution * convolved * profile.columns + connected


def start(ref: str, folder: Path, *, columns: Sequence[str], inputs: Any, seed: int, **options: Any) -> dict[str, Any]:
    """Measures mean and spread of the colours, and draws the first weights. options: `side`.

    Writes `processor/pixels.json` and `model.safetensors`.
    """
    import torch

    from sartor import model as models

    _net(ref)
    side = int(options["side"])
    sample = list(inputs[:: max(1, len(inputs) // SAMPLE)])
    colours = convnet.colours_of(PixelProcessor(columns, side).pixels(sample))
    target = folder / "processor"
    target.mkdir(parents=True, exist_ok=True)
    (target / "pixels.json").write_text(json.dumps({"columns": list(columns), "side": side}), encoding="utf-8")
    meta = {
        "leaf": "classics",
        "ref": ref,
        "side": side,
        "columns": len(columns),
        "mean": colours.mean(axis=1).tolist(),
        "spread": np.maximum(colours.std(axis=1), 1.0).tolist(),
        "quantise": "static",
        "owns_weights": True,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        models.save(models.Model(body(folder, meta), {}), folder)
    return meta


def processor(folder: Path, meta: Mapping[str, Any]) -> PixelProcessor:
    """Opens what `start` wrote."""
    settings = json.loads((folder / "processor" / "pixels.json").read_text(encoding="utf-8"))
    return PixelProcessor(settings["columns"], settings["side"])


def body(folder: Path, meta: Mapping[str, Any]) -> Any:
    """The network: pixels [B, columns · 3, side, side] uint8 -> features [B, 4096]. First weights as He et al. (2015, section 2.2) draw them."""
    import torch
    from torch import nn

    net, count = _net(str(meta["ref"])), int(meta["columns"])
    last = _map(net, int(meta["side"]))
    grid = min(last, net.grid)

    def stage(before: int, convolutions: Sequence[tuple[int, int, int, int]]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for channels, kernel, stride, padding in convolutions:
            layers.append(nn.Conv2d(before, channels, kernel, stride, padding))
            layers += [nn.BatchNorm2d(channels)] if net.norm else []
            layers.append(nn.ReLU())
            before = channels
        return nn.Sequential(*layers, nn.MaxPool2d(net.pool, 2))

    def connected(before: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(before, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT))

    class Classic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.width = HIDDEN
            self.register_buffer("mean", torch.tensor(meta["mean"]).reshape(1, 3, 1, 1))
            self.register_buffer("spread", torch.tensor(meta["spread"]).reshape(1, 3, 1, 1))
            ends = [3, *(convolutions[-1][0] for convolutions in net.stages)]
            self.stages = nn.ModuleList(stage(before, one) for before, one in zip(ends, net.stages, strict=False))
            # A map of that size already is left alone: exporters know adaptive pooling only where one size divides the other.
            self.pool = nn.Identity() if grid == last else nn.AdaptiveAvgPool2d(grid)
            self.places = count * ends[-1] * grid**2
            self.connected = nn.ModuleList([connected(self.places), connected(HIDDEN)])
            for module in self.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                    nn.init.zeros_(module.bias)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            x = (convnet.apart(pixels, count).float() - self.mean) / self.spread
            x = x.contiguous(memory_format=torch.channels_last)
            for one in self.stages:
                x = one(x)
            x = self.pool(x).flatten(1)
            x = x if count == 1 else x.reshape(-1, self.places)
            for one in self.connected:
                x = one(x)
            return x

        def blocks(self) -> list[nn.Module]:
            return [*self.stages, *self.connected]

    return Classic()


def _net(ref: str) -> Net:
    if ref not in NETS:
        raise InputError("backbone.not-found", ref=ref, why=f"the classics are {', '.join(NETS)}")
    return NETS[ref]


def _convolutions(net: Net) -> Iterator[tuple[int, int, int, int]]:
    for one in net.stages:
        yield from one


def _sides(net: Net, side: int) -> Iterator[int]:
    """The side of the map behind each convolution, of a picture's side."""
    for one in net.stages:
        for _, kernel, stride, padding in one:
            side = (side + 2 * padding - kernel) // stride + 1
            yield side
        side = (side - net.pool) // 2 + 1


def _map(net: Net, side: int) -> int:
    """The side of the last map, of a picture's side."""
    *_, last = _sides(net, side)
    return (last - net.pool) // 2 + 1
