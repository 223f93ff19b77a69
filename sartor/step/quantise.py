"""quantise: an exported ONNX graph with fused operators, and its weights in eight bits where asked."""

from __future__ import annotations

from typing import Any

import numpy as np

from sartor import leaves

TAKES = ("graphs",)
GIVES = "graphs"
CALIBRATED_ON = 256  # training rows, where the scales of activations are fixed


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Seven-bit weights where the processor lacks VNNI, whose eight-bit products saturate."""
    from sartor.hardware import has_vnni

    return {"precision": "int8", "reduce_range": not has_vnni(), "per_channel": True, **arguments}


def run(bundle: Any, ctx: Any, *, precision: str, reduce_range: bool, per_channel: bool) -> dict[str, Any]:
    """Fuses where the fused graph answers alike, then quantises when `precision` is int8: convolutions with scales fixed on training rows, all else
    dynamically.

    Dynamic int8 scales activations over the whole tensor, so its answers depend on the batch: it runs rows singly.
    """
    from sartor.runtime import onnx as runtime

    meta, record = bundle.meta, dict(bundle.meta["runtime"])
    source, target = bundle.path / record["graphs"]["forward"], ctx.folder / record["graphs"]["forward"]
    target.parent.mkdir(parents=True, exist_ok=True)
    body = meta["backbone"]
    fused = target.with_name("fused.onnx")
    rows = ctx.examples("train").inputs
    processor = leaves.load("backbone", body["leaf"]).processor(bundle.path, body)
    sample = processor([rows[i] for i in range(min(3, len(rows)))])
    record["fused"], record["fused_parity"] = runtime.fuse(
        source, fused, heads=body.get("heads") or 0, width=body.get("width") or 0, sample=sample
    )
    if precision == "int8" and body.get("quantise") == "static":
        # Single rows, so that padding does not widen what is seen of any activation.
        seen = np.unique(np.linspace(0, len(rows) - 1, min(CALIBRATED_ON, len(rows))).astype(int))
        batches = [processor([rows[int(i)]]) for i in seen]
        runtime.quantise_static(fused, target, batches, reduce_range=reduce_range, per_channel=per_channel)
        fused.unlink()
        record |= {"precision": "int8", "calibrated_on": len(batches)}
    elif precision == "int8":
        runtime.quantise_dynamic(fused, target, reduce_range=reduce_range, per_channel=per_channel)
        fused.unlink()
        record |= {"precision": "int8", "batch_invariant": False}
    else:
        fused.replace(target)
    return {"form": "graphs", "runtime": record}
