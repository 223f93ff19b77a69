"""Runtimes: a leaf both writes its format and opens it, so export and run cannot drift apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Graphs(Protocol):
    """Named graphs, opened."""

    def call(self, graph: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs one graph."""
        ...


class Runtime(Protocol):
    """One format of runnable graphs."""

    NEEDS_TORCH: bool

    def write(self, model: Any, folder: Path, *, sample: Mapping[str, np.ndarray], **options: Any) -> dict[str, Any]:
        """Writes the graphs of a model; returns the JSON kept in the bundle, with `batch_invariant`.

        sample: a batch to trace. options: `checks`, more batches, of other lengths, on which the file must answer as the model does.
        """
        ...

    def open(self, folder: Path, meta: Mapping[str, Any], *, threads: int) -> Graphs:
        """Opens what `write` wrote. `folder` is the bundle's."""
        ...
