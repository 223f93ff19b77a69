"""Linear layers and ReLU as one .npz without pickle, run in numpy alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sartor.errors import InputError

NEEDS_TORCH = False
FILE = "runtime/npz/model.npz"
TOLERANCE = 1e-4


def open(folder: Path, meta: Mapping[str, Any], *, threads: int) -> NpzGraphs:
    """Opens what `write` wrote; numpy's own threads are left as they are."""
    return NpzGraphs(folder / meta["graphs"]["forward"], meta["takes"], meta["layers"])


class NpzGraphs:
    """One graph: the layers of the body, then those of each head on its features."""

    def __init__(self, file: Path, takes: str, layers: Mapping[str, list[str]]) -> None:
        with np.load(file, allow_pickle=False) as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        self.takes, self.layers = takes, layers

    def call(self, graph: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs `forward`, row by row: how BLAS sums a row of a matrix product may depend on how many rows there are."""
        assert graph == "forward", graph
        features = [self._run("body", row) for row in arrays[self.takes]]
        return {
            name: np.stack([self._run(name, row) for row in features]) for name in self.layers if name != "body"
        }  # fmt: skip

    def _run(self, part: str, row: np.ndarray) -> np.ndarray:
        for number, layer in enumerate(self.layers[part]):
            if layer == "relu":
                row = np.maximum(row, 0)
            else:
                row = self.arrays[f"{part}.{number}.weight"] @ row + self.arrays[f"{part}.{number}.bias"]
        return row


def write(model: Any, folder: Path, *, sample: Mapping[str, np.ndarray], **options: Any) -> dict[str, Any]:
    """Writes the layers in the order in which the modules name them, and compares the file with the model on the sample.

    Raises: InputError `export.failed` for a model that is made of anything else.
    """
    import torch

    arrays: dict[str, np.ndarray] = {}
    parts = {"body": model.body, **{name: model.heads[name] for name in model.output_names}}
    layers = {name: _layers(name, module, arrays) for name, module in parts.items()}
    if len(sample) != 1:
        raise InputError("export.failed", format="npz", said=f"the body takes {len(sample)} arrays, not one")
    target = folder / FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(target, **arrays)
    takes = next(iter(sample))
    found = NpzGraphs(target, takes, layers).call("forward", sample)
    with torch.no_grad():
        expected = model(**{name: torch.from_numpy(array) for name, array in sample.items()})
    gap = max(float(np.abs(found[name] - tensor.numpy()).max()) for name, tensor in expected.items())
    if gap > TOLERANCE:
        target.unlink()
        raise InputError("export.failed", format="npz", said=f"its outputs differ from the model's by {gap:.2g}")
    return {
        "name": "npz",
        "graphs": {"forward": FILE},
        "takes": takes,
        "layers": layers,
        "precision": "float32",
        "parity": gap,
        "batch_invariant": True,
    }


def _layers(part: str, module: Any, arrays: dict[str, np.ndarray]) -> list[str]:
    """The kinds of a part's layers; their weights go into `arrays`."""
    from torch import nn

    kinds: list[str] = []
    for leaf in module.modules():
        if list(leaf.children()) or isinstance(leaf, nn.Identity | nn.Dropout):
            continue
        if isinstance(leaf, nn.Linear):
            arrays[f"{part}.{len(kinds)}.weight"] = leaf.weight.detach().numpy()
            bias = np.zeros(leaf.out_features, dtype=np.float32) if leaf.bias is None else leaf.bias.detach().numpy()
            arrays[f"{part}.{len(kinds)}.bias"] = bias
            kinds.append("linear")
        elif isinstance(leaf, nn.ReLU):
            kinds.append("relu")
        else:
            raise InputError("export.failed", format="npz", said=f"it holds a {type(leaf).__name__}")
    return kinds
