"""A linear layer on the standardised cells of a table: numbers as they are, categories one-hot, and whether a cell is empty."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor.backbone import Card
from sartor.tables import KINDS, Table, sizes, spread_of

TAKES = KINDS
TRAINS = "fit"
OPENS = ("sklearn.svm",)
STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # of the solver; validation chooses
FAR = 6.0  # standard deviations, beyond which a value counts as that far: one slip of the decimal point must not answer a row alone


def cards() -> list[Card]:
    """The one body of this leaf: it is made from the training rows."""
    return [
        Card(
            name="linear",
            leaf="linear",
            takes="table",
            languages=("*",),
            licence="Apache-2.0",
            source="made from the training rows",
            size_bytes=0,
            parameters=0,
            note="A linear layer on the cells of the table: the smallest and fastest.",
        )
    ]


def start(ref: str, folder: Path, *, columns: Sequence[str], inputs: Any, seed: int, **options: Any) -> dict[str, Any]:
    """Learns the names of categories, and centre and spread of numbers. options: `kinds`, {column: modality}.

    Writes `processor/table.json`, and `processor/scale.json`: for each column of the matrix its centre and spread.
    """
    table = Table.learn(inputs, options["kinds"])
    target = folder / "processor"
    target.mkdir(parents=True, exist_ok=True)
    table.save(target)
    values = table.matrix(inputs)
    scale = []
    for column, found in zip(table.columns, values.T, strict=True):
        there = found[np.isfinite(found)]
        if column.kind == "category" or not len(there):
            scale.append([0.0, 1.0])
        else:
            scale.append([float(there.mean()), spread_of(there)])
    (target / "scale.json").write_text(json.dumps(scale), encoding="utf-8")
    return {"leaf": "linear", "ref": "linear", "owns_weights": True}


def seconds(profile: Any) -> float:
    """What fitting takes, roughly: every cell is read, and every class solved for."""
    return float(profile.rows * profile.columns * 4e-6 + profile.classes * profile.rows * 2e-5)


def processor(folder: Path, meta: Mapping[str, Any]) -> CellProcessor:
    """Opens what `start` wrote."""
    scale = json.loads((folder / "processor" / "scale.json").read_text(encoding="utf-8"))
    return CellProcessor(Table.load(folder / "processor"), np.asarray(scale, dtype=np.float64).reshape(-1, 2))


class CellProcessor:
    """Rows to features: of a number its standardised value and whether it is there, of a category one for each name and for any other."""

    axes: Mapping[str, Mapping[int, str]] = {"cells": {0: "batch"}}

    def __init__(self, table: Table, scale: np.ndarray) -> None:
        self.table = table
        self.scale = scale
        self.width = sum(len(column.names) + 1 if column.kind == "category" else 2 for column in table.columns)

    def __call__(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """cells [B, width] float32."""
        return {"cells": self.features(inputs)}

    def features(self, inputs: Any) -> np.ndarray:
        """As in a batch, of all rows."""
        values = self.table.matrix(inputs)
        made = np.zeros((len(values), self.width), dtype=np.float32)
        begin = 0
        for column, found, (centre, spread) in zip(self.table.columns, values.T, self.scale, strict=True):
            there = np.flatnonzero(np.isfinite(found))
            if column.kind == "category":
                made[there, begin + found[there].astype(np.int64)] = 1
                begin += len(column.names) + 1
            else:
                made[there, begin] = np.clip((found[there] - centre) / spread, -FAR, FAR)
                made[there, begin + 1] = 1
                begin += 2
        return made

    def length(self, inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Ones [n]."""
        return sizes(inputs)


def body(folder: Path, meta: Mapping[str, Any]) -> Any:
    """One layer: cells [B, width] -> outputs [B, outputs]."""
    import torch
    from torch import nn

    class Linear(nn.Module):
        def __init__(self, width: int, outputs: int) -> None:
            super().__init__()
            self.width = outputs
            self.layer = nn.Linear(width, outputs)
            self.layer.requires_grad_(False)

        def forward(self, cells: torch.Tensor) -> torch.Tensor:
            return self.layer(cells)  # type: ignore[no-any-return]

        def blocks(self) -> list[nn.Module]:
            return []

    return Linear(int(meta.get("width", 0)), int(meta.get("outputs", 0)))


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
    """Solves for the layer on the training rows; `choose` picks the solver's strength on validation.

    Returns the body, the bundle's backbone record with its sizes, and what was chosen.
    """
    import torch

    reader = processor(folder, meta)
    weight, bias, chosen = choose(reader.features(inputs), targets, STRENGTHS, reader.features)
    meta = {**meta, "width": reader.width, "outputs": int(weight.shape[0])}
    module = body(folder, meta)
    module.layer.weight.data = torch.from_numpy(np.ascontiguousarray(weight, dtype=np.float32))
    module.layer.bias.data = torch.from_numpy(np.asarray(bias, dtype=np.float32))
    return module, meta, chosen
