"""PyTorch itself as a runtime: runs the weights of a bundle as they were trained. The reference that the others are held against."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

NEEDS_TORCH = True


def open(folder: Path, meta: Mapping[str, Any], *, threads: int) -> TorchGraphs:
    """Opens the weights of a bundle."""
    return TorchGraphs(folder, threads=threads)


class TorchGraphs:
    """The model's own `forward`."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        import torch

        from sartor import model as models

        torch.set_num_threads(threads)
        self.model = models.load(folder).eval()

    def call(self, graph: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs `forward`, the one graph there is."""
        import torch

        assert graph == "forward", graph
        with torch.inference_mode():
            outputs = self.model(**{name: torch.from_numpy(array) for name, array in arrays.items()})
        return {name: output.float().numpy() for name, output in outputs.items()}


def write(model: Any, folder: Path, *, sample: Mapping[str, np.ndarray], **options: Any) -> dict[str, Any]:
    """Nothing to write beyond the weights that the bundle already holds."""
    return {"name": "torch", "graphs": {}, "batch_invariant": True}
