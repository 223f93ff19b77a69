"""export: weights to runnable graphs, in the format of a runtime leaf."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor import leaves
from sartor.predict import kept, readable

TAKES = ("weights",)
GIVES = "graphs"
LOOKED_AT = 200  # rows
EXAMPLES = 8  # rows that the bundle keeps, to warm up and to try


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """ONNX when no runtime is named."""
    return {"runtime": "onnx", **arguments}


def run(bundle: Any, ctx: Any, *, runtime: str) -> dict[str, Any]:
    """Writes the graphs and compares them with the model on real rows. Returns what changes in `bundle.json`."""
    rows = readable(ctx.examples("train").inputs, bundle.meta["inputs"], LOOKED_AT)
    record = write(bundle, runtime, rows, ctx.folder)
    # The server warms up on them: no value is one that every modality reads.
    return {"form": "graphs", "runtime": record, "examples": kept(rows, bundle.meta["inputs"], EXAMPLES)}


def write(bundle: Any, runtime: str, rows: Sequence[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Writes the graphs of a bundle's model below `folder` and compares them with it on these rows; the runtime's record."""
    from sartor import model as models

    meta = bundle.meta
    processor = leaves.load("backbone", meta["backbone"]["leaf"]).processor(bundle.path, meta["backbone"])
    # The shortest, the median and the longest: an exporter that bakes a length into the graph is right for one of them only.
    order = np.argsort(processor.length(rows), kind="stable")
    spread = [rows[i] for i in order[[0, len(order) // 2, -1]]]
    model = models.load(bundle.path).eval()
    checks = [processor([row]) for row in spread]
    axes = getattr(processor, "axes", None)
    return leaves.load("runtime", runtime).write(model, folder, sample=processor(spread), checks=checks, axes=axes)  # type: ignore[no-any-return]
