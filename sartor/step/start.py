"""start: takes a backbone, writes its processor, and names its weights. Nothing is learned yet but the task's spec."""

from __future__ import annotations

from typing import Any

import numpy as np

from sartor import leaves

TAKES = ("",)
GIVES = "weights"


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """The longest input that is read, from the data: the 99th percentile of tokens, rounded up to 32, at most 256."""
    return {"leaf": "hub", **arguments}


def run(bundle: Any, ctx: Any, *, backbone: str, leaf: str = "hub", max_tokens: int = 256) -> dict[str, Any]:
    """The first bundle: processor, configuration, spec of every target. Returns what goes into `bundle.json`."""
    train = ctx.examples("train")
    heads = []
    for number, (target, task) in enumerate(ctx.targets.items()):
        spec = leaves.load("task", task).learn(train.targets[target])
        heads.append({"target": target, "task": task, "output": f"output_{number}", "spec": spec})
    columns = [column["name"] for column in ctx.inputs]
    body = leaves.load("backbone", leaf)
    meta = body.start(backbone, ctx.folder, columns=columns, inputs=train.inputs, seed=ctx.seed, max_tokens=max_tokens)
    if body.TRAINS == "gradient":
        lengths = body.processor(ctx.folder, meta).length(list(train.inputs))
        ctx.note(tokens_p50=float(np.median(lengths)), truncated=float(np.mean(lengths >= max_tokens)))
    return {"form": "weights", "inputs": ctx.inputs, "heads": heads, "backbone": meta}
