"""export: weights to runnable graphs, in the format of a runtime leaf."""

from __future__ import annotations

from typing import Any

from sartor import leaves

TAKES = ("weights",)
GIVES = "graphs"


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """ONNX when no runtime is named."""
    return {"runtime": "onnx", **arguments}


def run(bundle: Any, ctx: Any, *, runtime: str) -> dict[str, Any]:
    """Writes the graphs and compares them with the model on real rows. Returns what changes in `bundle.json`."""
    from sartor import model as models

    meta = bundle.meta
    model = models.load(bundle.path).eval()
    rows = ctx.examples("train").inputs
    sample = leaves.load("backbone", meta["backbone"]["leaf"]).processor(bundle.path, meta["backbone"])(
        [rows[i] for i in range(min(3, len(rows)))]
    )
    return {"form": "graphs", "runtime": leaves.load("runtime", runtime).write(model, ctx.folder, sample=sample)}
