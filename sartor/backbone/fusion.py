"""Late fusion: a model for each kind of input, whose answers are weighed. Any of the inputs may be missing.

A product of experts (Hinton 2002) with one weight for each, fitted on validation rows; of the members whose inputs are missing nothing is heard, and
the others' weights grow to the same sum.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor import leaves
from sartor.backbone import Card

TAKES: tuple[str, ...] = ()  # it reads through its members, whatever these take
TRAINS = "fused"  # by the step `fuse`
FOLDER = "members"
LEAST_WEIGHT = 1e-3


def cards() -> list[Card]:
    """None: what is fused is for the planner to say."""
    return []


def start(ref: str, folder: Path, *, columns: Sequence[str], inputs: Any, seed: int, **options: Any) -> dict[str, Any]:
    """The step `fuse` starts it: a fusion is made of members that are trained already."""
    raise NotImplementedError("a fusion begins with the step fuse")


def processor(folder: Path, meta: Mapping[str, Any]) -> FusionProcessor:
    """Opens the processors of all members."""
    return FusionProcessor(
        [
            (
                leaves.load("backbone", member["backbone"]["leaf"]).processor(
                    folder / FOLDER / str(place), member["backbone"]
                ),
                list(member["inputs"]),
                member["filler"],
            )
            for place, member in enumerate(meta["members"])
        ]
    )


class FusionProcessor:
    """Inputs to the arrays of every member, and which members have something to go by."""

    def __init__(self, members: Sequence[tuple[Any, list[str], dict[str, Any]]]) -> None:
        """members: (processor, its input columns, a row of them that stands in where they are missing)."""
        self.members = list(members)
        self.axes: dict[str, dict[int, str]] = {"present": {0: "batch"}}
        for place, (processor, _, filler) in enumerate(self.members):
            made = processor([filler])
            told = getattr(processor, "axes", None) or {
                name: dict(zip(range(array.ndim), ("batch", "length"), strict=False)) for name, array in made.items()
            }
            for name, axes in told.items():
                self.axes[_name(place, name)] = {
                    axis: word if word == "batch" else _name(place, word) for axis, word in axes.items()
                }

    def __call__(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """Each member's arrays under its own names, and present [B, members] float32."""
        present = np.zeros((len(inputs), len(self.members)), dtype=np.float32)
        made: dict[str, np.ndarray] = {}
        for place, (processor, columns, filler) in enumerate(self.members):
            there = [any(row.get(name) is not None for name in columns) for row in inputs]
            present[:, place] = there
            batch = processor([row if has else filler for row, has in zip(inputs, there, strict=True)])
            made |= {_name(place, name): array for name, array in batch.items()}
        return made | {"present": present}

    def length(self, inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """The sum of what each row costs its members [n]."""
        total = np.zeros(len(inputs), dtype=np.int64)
        for processor, columns, filler in self.members:
            rows = [row if any(row.get(name) is not None for name in columns) else filler for row in inputs]
            total += np.asarray(processor.length(rows), dtype=np.int64)
        return total


def body(folder: Path, meta: Mapping[str, Any]) -> Any:
    """All members as one module: their arrays and `present` -> outputs [B, outputs]."""
    import torch
    from torch import nn

    from sartor import model as models

    class Fusion(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.width = int(meta["outputs"])
            self.members = nn.ModuleList(
                [
                    models.make(
                        folder / FOLDER / str(place), {"backbone": member["backbone"], "heads": [member["head"]]}
                    )
                    for place, member in enumerate(meta["members"])
                ]
            )
            self.weights = nn.Parameter(torch.ones(len(self.members)), requires_grad=False)

        def forward(self, present: torch.Tensor, **arrays: torch.Tensor) -> torch.Tensor:
            told = []
            for place, member in enumerate(self.members):
                mine = {
                    name.removeprefix(_name(place, "")): a
                    for name, a in arrays.items()
                    if name.startswith(_name(place, ""))
                }
                told.append(next(iter(member(**mine).values())).float())
            weights = self.weights * present  # [B, members]
            heard = weights.sum(1, keepdim=True).clamp(min=LEAST_WEIGHT)
            weights = weights * (self.weights.sum() / heard)
            outputs = torch.stack(told, 1)  # [B, members, outputs]
            if meta["logs"]:
                outputs = outputs.log_softmax(-1)
            else:
                weights = weights / self.weights.sum()
            return (outputs * weights.unsqueeze(-1)).sum(1)

        def blocks(self) -> list[nn.Module]:
            return list(self.members)

    return Fusion()


def filled(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a bundle keeps it, to stand in where inputs are missing."""
    from sartor.predict import portable

    made: dict[str, Any] = json.loads(json.dumps(portable(row)))
    return made


def _name(place: int, name: str) -> str:
    return f"member_{place}_{name}"
