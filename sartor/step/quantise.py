"""quantise: an exported ONNX graph with fused operators, and its weights in eight bits where asked."""

from __future__ import annotations

from typing import Any

from sartor import leaves

TAKES = ("graphs",)
GIVES = "graphs"


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Seven-bit weights where the processor lacks VNNI, whose eight-bit products saturate."""
    from sartor.hardware import has_vnni

    return {"precision": "int8", "reduce_range": not has_vnni(), "per_channel": True, **arguments}


def run(bundle: Any, ctx: Any, *, precision: str, reduce_range: bool, per_channel: bool) -> dict[str, Any]:
    """Fuses where the fused graph answers alike, then quantises dynamically when `precision` is int8.

    Dynamic int8 scales activations over the whole tensor, so its answers depend on the batch: it runs rows singly.
    """
    from sartor.runtime import onnx as runtime

    meta, record = bundle.meta, dict(bundle.meta["runtime"])
    source, target = bundle.path / record["graphs"]["forward"], ctx.folder / record["graphs"]["forward"]
    target.parent.mkdir(parents=True, exist_ok=True)
    body = meta["backbone"]
    fused = target.with_name("fused.onnx")
    rows = ctx.examples("train").inputs
    sample = leaves.load("backbone", body["leaf"]).processor(bundle.path, body)(
        [rows[i] for i in range(min(3, len(rows)))]
    )
    record["fused"], record["fused_parity"] = runtime.fuse(
        source, fused, heads=body.get("heads") or 0, width=body.get("width") or 0, sample=sample
    )
    if precision == "int8":
        runtime.quantise_dynamic(fused, target, reduce_range=reduce_range, per_channel=per_channel)
        fused.unlink()
        record |= {"precision": "int8", "batch_invariant": False}
    else:
        fused.replace(target)
    return {"form": "graphs", "runtime": record}
