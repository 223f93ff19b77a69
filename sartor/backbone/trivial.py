"""The best constant answer: what any model must beat. It reads nothing of its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor import leaves
from sartor.backbone import Card

TAKES: tuple[str, ...] = ()  # it reads nothing, so it suits any input
TRAINS = "fit"


def cards() -> list[Card]:
    """The one body of this leaf."""
    return [Card("trivial", "trivial", "text", ("*",), "Apache-2.0", "made from the training targets", 0, 0)]


def start(ref: str, folder: Path, *, columns: Sequence[str], inputs: Any, seed: int, **options: Any) -> dict[str, Any]:
    """There is nothing to write."""
    return {"leaf": "trivial", "ref": "trivial", "owns_weights": True}


def seconds(profile: Any) -> float:
    """There is nothing to fit."""
    return 0.0


def processor(folder: Path, meta: Mapping[str, Any]) -> TrivialProcessor:
    """Counts rows."""
    return TrivialProcessor()


class TrivialProcessor:
    """One number per row, which the body ignores."""

    def __call__(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """rows [B, 1] float32, zeros."""
        return {"rows": np.zeros((len(inputs), 1), dtype=np.float32)}

    def length(self, inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Every row costs the same: ones [n]."""
        return np.ones(len(inputs), dtype=np.int64)


def body(folder: Path, meta: Mapping[str, Any]) -> Any:
    """A bias: rows [B, 1] -> the same outputs for each [B, outputs]; where heads give the outputs, one feature that is always 1 [B, 1]."""
    import torch
    from torch import nn

    class Constant(nn.Module):
        def __init__(self, outputs: int) -> None:
            super().__init__()
            self.width = outputs
            self.bias = nn.Parameter(torch.zeros(outputs), requires_grad=False)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows * 0 + self.bias

        def blocks(self) -> list[nn.Module]:
            return []

    if "outputs" in meta:
        return Constant(int(meta["outputs"]))
    one = Constant(1)
    one.bias.data.fill_(1.0)
    return one


def fit(
    folder: Path,
    meta: dict[str, Any],
    inputs: Any,
    targets: np.ndarray,
    *,
    task: Any,
    spec: dict[str, Any],
    choose: Any,
    seed: int,
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The task's best constant output."""
    import torch

    outputs = task.trivial(spec)
    meta = {**meta, "outputs": len(outputs)}
    module = body(folder, meta)
    module.bias.data = torch.from_numpy(outputs)
    return module, meta, {}


def fit_heads(
    folder: Path, meta: dict[str, Any], heads: Sequence[Mapping[str, Any]]
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Of several targets: a head for each, whose bias is its task's best constant output."""
    import torch

    module, found = body(folder, meta), {}
    for head in heads:
        task = leaves.load("task", head["task"])
        layer = task.head(module.width, head["spec"])
        layer.weight.data.zero_()
        layer.bias.data = torch.from_numpy(task.trivial(head["spec"]))
        found[head["output"]] = layer
    return module, found, meta
