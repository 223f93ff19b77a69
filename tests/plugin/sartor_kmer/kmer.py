"""Counts of k-mers (runs of k letters) and a linear layer on them: a body that reads DNA."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor.backbone import Card

TAKES = ("dna",)
TRAINS = "fit"
K = 5
STRENGTHS = (0.03, 0.3, 3.0)  # of the solver; validation chooses
_CODES = np.full(256, -1, dtype=np.int64)
for _code, _letter in enumerate("ACGT"):
    _CODES[[ord(_letter), ord(_letter.lower())]] = _code


def cards() -> list[Card]:
    """The one body of this leaf, made from the training rows."""
    return [
        Card(
            name="kmer",
            leaf="kmer",
            takes="dna",
            languages=("*",),
            licence="Apache-2.0",
            source="made from the training rows",
            size_bytes=0,
            parameters=4**K,
            note=f"Counts of all runs of {K} letters.",
        )
    ]


def start(ref: str, folder: Path, *, columns: Sequence[str], inputs: Any, seed: int, **options: Any) -> dict[str, Any]:
    """Writes `processor/kmer.json`: the columns, and k."""
    k = int(options.get("k", K))
    target = folder / "processor"
    target.mkdir(parents=True, exist_ok=True)
    (target / "kmer.json").write_text(json.dumps({"columns": list(columns), "k": k}), encoding="utf-8")
    return {"leaf": "kmer", "ref": ref, "features": len(columns) * 4**k, "owns_weights": True}


def processor(folder: Path, meta: Mapping[str, Any]) -> KmerProcessor:
    """Opens what `start` wrote."""
    settings = json.loads((folder / "processor" / "kmer.json").read_text(encoding="utf-8"))
    return KmerProcessor(settings["columns"], settings["k"])


class KmerProcessor:
    """Sequences to counts; a run with an N in it is none."""

    def __init__(self, columns: Sequence[str], k: int) -> None:
        self.columns, self.k = list(columns), k

    def __call__(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """counts [B, columns · 4^k] float32, as log(1 + count)."""
        rows = [np.concatenate([self._counts(row.get(name)) for name in self.columns]) for row in inputs]
        counts = np.array(rows, dtype=np.float32).reshape(len(rows), len(self.columns) * 4**self.k)
        return {"counts": np.log1p(counts)}

    def length(self, inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """A row costs the same however long its sequence is: ones [n]."""
        return np.ones(len(inputs), dtype=np.int64)

    def _counts(self, sequence: Any) -> np.ndarray:
        codes = _CODES[np.frombuffer(str(sequence or "").encode("ascii", "replace"), dtype=np.uint8)]
        if len(codes) < self.k:
            return np.zeros(4**self.k)
        windows = np.lib.stride_tricks.sliding_window_view(codes, self.k)
        known = windows[(windows >= 0).all(axis=1)]
        return np.bincount(known @ 4 ** np.arange(self.k), minlength=4**self.k)


def body(folder: Path, meta: Mapping[str, Any]) -> Any:
    """counts [B, features] -> outputs [B, outputs]."""
    import torch
    from torch import nn

    class KmerBody(nn.Module):
        def __init__(self, features: int, outputs: int) -> None:
            super().__init__()
            self.width = outputs
            self.layers = nn.Sequential(nn.Linear(features, outputs))

        def forward(self, counts: torch.Tensor) -> torch.Tensor:
            return self.layers(counts)

        def blocks(self) -> list[nn.Module]:
            return list(self.layers)

    return KmerBody(int(meta["features"]), int(meta["outputs"]))


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
    """Solves for the layer on the training rows: (body, backbone record with the number of outputs, what was chosen)."""
    import torch

    reader = processor(folder, meta)

    def features(rows: Any) -> np.ndarray:
        return reader(list(rows))["counts"]

    weight, bias, chosen = choose(features(inputs), targets, STRENGTHS, features)
    meta = {**meta, "outputs": len(bias)}
    module = body(folder, meta)
    layer = module.layers[0]
    layer.weight.data = torch.from_numpy(np.ascontiguousarray(weight, dtype=np.float32))
    layer.bias.data = torch.from_numpy(np.asarray(bias, dtype=np.float32))
    return module, meta, chosen
