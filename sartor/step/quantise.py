"""quantise: an exported graph with fused operators, and its weights in fewer bits where asked."""

from __future__ import annotations

from typing import Any

import numpy as np

from sartor import leaves
from sartor.errors import InputError

TAKES = ("graphs",)
GIVES = "graphs"
CALIBRATED_ON = 256  # training rows, where the scales of activations are fixed
# Precisions of weights, and what activations may be beside each.
PRECISIONS = {"float32": ("float",), "int8": ("dynamic", "static", "float"), "int4": ("float",)}


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Eight bits: convolutions, and what OpenVINO runs, with scales fixed on training rows, all else with scales of each batch. Seven-bit weights where the processor
    lacks VNNI, whose eight-bit products saturate.

    Raises: InputError `plan.argument`.
    """
    from sartor.hardware import has_vnni

    precision = arguments.get("precision", "int8")
    if precision not in PRECISIONS:
        expected = " or ".join(PRECISIONS)
        raise InputError("plan.argument", step="quantise", name="precision", expected=expected, found=precision)
    fixed = ctx.backbone.get("quantise") == "static" or ctx.runtime == "openvino"
    usual = "static" if precision == "int8" and fixed else PRECISIONS[precision][0]
    given = {
        "precision": precision,
        "activations": usual,
        "reduce_range": not has_vnni(),
        "per_channel": True,
        **arguments,
    }
    if given["activations"] not in PRECISIONS[precision]:
        expected = f"{' or '.join(PRECISIONS[precision])} beside {precision}"
        found = given["activations"]
        raise InputError("plan.argument", step="quantise", name="activations", expected=expected, found=found)
    return given


def run(
    bundle: Any, ctx: Any, *, precision: str, activations: str, reduce_range: bool, per_channel: bool
) -> dict[str, Any]:
    """Fuses where the fused graph answers alike, then rounds weights, and activations where these are not to stay float.

    precision: float32, int8, or int4 in blocks. activations: `dynamic`, scaled over the whole tensor of each batch, so that answers depend on it and rows run
    singly; `static`, with scales fixed on training rows; or `float`, weights alone being rounded.
    """
    from sartor.runtime import onnx as runtime

    meta, record = bundle.meta, dict(bundle.meta["runtime"])
    source, target = bundle.path / record["graphs"]["forward"], ctx.folder / record["graphs"]["forward"]
    target.parent.mkdir(parents=True, exist_ok=True)
    body = meta["backbone"]
    fused = target.with_name("fused.onnx")
    rows = ctx.examples("train").inputs
    processor = leaves.load("backbone", body["leaf"]).processor(bundle.path, body)
    rounded_alone = precision != "float32" and activations == "float"
    if record["name"] == "openvino" or activations == "static" or rounded_alone:
        # What OpenVINO opens it fuses by itself; ranges are seen, and weights rounded in blocks, only of operators that ONNX knows: fused, MiniLM in four bits kept its table and
        # its attention in float, 64 MB instead of 15. ONNX Runtime fuses what is left when it opens the graph.
        fused.write_bytes(source.read_bytes())
        record |= {"fused": {}, "fused_parity": 0.0}
    else:
        sample = processor([rows[i] for i in range(min(3, len(rows)))])
        heads, width = body.get("heads") or 0, body.get("width") or 0
        record["fused"], record["fused_parity"] = runtime.fuse(source, fused, heads=heads, width=width, sample=sample)
    record |= {"precision": precision, "activations": activations}
    if precision == "float32":
        fused.replace(target)
        return {"form": "graphs", "runtime": record}
    if activations == "static":
        # Single rows, so that padding does not widen what is seen of any activation.
        seen = np.unique(np.linspace(0, len(rows) - 1, min(CALIBRATED_ON, len(rows))).astype(int))
        batches = [processor([rows[int(i)]]) for i in seen]
        runtime.quantise_static(fused, target, batches, reduce_range=reduce_range, per_channel=per_channel)
        record["calibrated_on"] = len(batches)
    elif activations == "dynamic":
        runtime.quantise_dynamic(fused, target, reduce_range=reduce_range, per_channel=per_channel)
        record["batch_invariant"] = False
    else:
        runtime.quantise_weights(fused, target, bits=8 if precision == "int8" else 4)
    fused.unlink()
    return {"form": "graphs", "runtime": record}
