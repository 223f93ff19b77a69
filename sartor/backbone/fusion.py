"""Late fusion: a model for each kind of input, whose answers are weighed. Any of the inputs may be missing.

A product of experts (Hinton 2002) with one weight for each, fitted on validation rows; of the members whose inputs are missing nothing is heard, and
the others' weights grow to the same sum. A member learned of the rows that have its inputs, which may have another mean than all, or lack a class:
what it tells is brought to the units and classes of the whole first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor import leaves
from sartor.backbone import Card

TAKES: tuple[str, ...] = ()  # it reads through its members, whatever these take
TRAINS = "fused"  # by the step `fuse`
FOLDER = "members"
LEAST_WEIGHT = 1e-3  # of a member, so that it is heard where it is alone


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
                member["sufficient"],
                member["filler"],
            )
            for place, member in enumerate(meta["members"])
        ]
    )


class FusionProcessor:
    """Inputs to the arrays of every member, and which members have something to go by."""

    def __init__(self, members: Sequence[tuple[Any, list[list[str]], dict[str, Any]]]) -> None:
        """members: (processor, sets of its input columns of which one is enough, a row that stands in where there is none)."""
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
        for place, (processor, sets, filler) in enumerate(self.members):
            there = [_has(row, sets) for row in inputs]
            present[:, place] = there
            batch = processor([row if has else filler for row, has in zip(inputs, there, strict=True)])
            made |= {_name(place, name): array for name, array in batch.items()}
        return made | {"present": present}

    def lacking(self, row: Mapping[str, Any]) -> str:
        """What a row would have to have, in words, where no member has anything to go by; nothing where one has."""
        if any(_has(row, sets) for _, sets, _ in self.members):
            return ""
        every = dict.fromkeys(tuple(names) for _, sets, _ in self.members for names in sets)
        return ", or ".join(" and ".join(map(repr, names)) for names in every)

    def length(self, inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """The sum of what each row costs its members [n]."""
        total = np.zeros(len(inputs), dtype=np.int64)
        for processor, sets, filler in self.members:
            rows = [row if _has(row, sets) else filler for row in inputs]
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
            for place, member in enumerate(meta["members"]):
                if (places := member["fits"].get("places")) is not None:
                    self.register_buffer(f"order_{place}", torch.tensor(_order(places, self.width)), persistent=False)

        def forward(self, present: torch.Tensor, **arrays: torch.Tensor) -> torch.Tensor:
            return self.weighed(self.told(**arrays), present)

        def told(self, **arrays: torch.Tensor) -> torch.Tensor:
            """What each member says [B, members, outputs], whether its inputs are there or not."""
            told = []
            for place, member in enumerate(self.members):
                mine = {
                    name.removeprefix(_name(place, "")): a
                    for name, a in arrays.items()
                    if name.startswith(_name(place, ""))
                }
                told.append(self._fitted(place, next(iter(member(**mine).values())).float()))
            return torch.stack(told, 1)

        def weighed(self, told: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
            """What members say [B, members, outputs], of those that are present [B, members], as one [B, outputs]."""
            every = self.weights.clamp(min=LEAST_WEIGHT)
            weights = every * present  # [B, members]
            weights = weights / weights.sum(1, keepdim=True).clamp(min=LEAST_WEIGHT)  # 0 where nothing is there
            if meta["logs"]:
                weights = weights * every.sum()
            return (told * weights.unsqueeze(-1)).sum(1)

        def _fitted(self, place: int, told: torch.Tensor) -> torch.Tensor:
            """What a member tells [B, its outputs] in the units or classes of the whole [B, outputs]."""
            fits = meta["members"][place]["fits"]
            if meta["logs"]:
                told = told.log_softmax(-1)
            if "places" in fits:
                told = torch.cat([told, torch.full_like(told[:, :1], fits["floor"])], 1)
                return told.index_select(1, getattr(self, f"order_{place}"))
            return told * fits["stretch"] + fits["shift"] if "stretch" in fits else told

        def blocks(self) -> list[nn.Module]:
            return list(self.members)

    return Fusion()


def fits(own: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """How outputs under a member's spec become some under the fusion's.

    Of numbers a `stretch` and a `shift`. Of classes the `places` that the member's have among the fusion's, and the `floor` of those that it never
    saw: the log probability of one row more than it saw (Laplace). Nothing where both specs say the same.
    """
    if "classes" in own:
        if list(own["classes"]) == list(whole["classes"]):
            return {}
        place = {name: number for number, name in enumerate(whole["classes"])}
        seen = own["rows"] if "rows" in own else sum(own["counts"])
        return {"places": [place[name] for name in own["classes"]], "floor": -math.log(1 + seen)}
    if "spread" not in own:
        return {}
    return {"stretch": own["spread"] / whole["spread"], "shift": (own["mean"] - whole["mean"]) / whole["spread"]}


def _order(places: Sequence[int], outputs: int) -> list[int]:
    """For each of the fusion's classes where it stands among a member's outputs; behind them where it is none of the member's."""
    order = [len(places)] * outputs
    for number, place in enumerate(places):
        order[place] = number
    return order


def _has(row: Mapping[str, Any], sets: Sequence[Sequence[str]]) -> bool:
    """Whether a row has all columns of one of these sets."""
    return any(not any(_blank(row.get(name)) for name in names) for names in sets)


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def filled(row: Mapping[str, Any], inputs: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """A row of these inputs as a bundle keeps it, to stand in where they are missing."""
    from sartor.predict import kept

    (small,) = kept([row], inputs, 1)
    made: dict[str, Any] = json.loads(json.dumps(small))
    return made


def _name(place: int, name: str) -> str:
    return f"member_{place}_{name}"
