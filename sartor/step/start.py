"""start: takes a backbone, writes its processor, and names its weights. Nothing is learned yet but the task's spec."""

from __future__ import annotations

from typing import Any

import numpy as np

from sartor import leaves

TAKES = ("",)
GIVES = "weights"
SAMPLE_ROWS = 2_000
LEAST_TOKENS, MOST_TOKENS = 32, 256  # attention's cost grows with the square; longer documents are read to this length


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """The longest input that is read: the 99th percentile of training tokens, up to the next 16, from 32 to 256."""
    arguments = {"leaf": "hub", **arguments}
    body = leaves.load("backbone", arguments["leaf"])
    if body.TRAINS == "gradient" and "max_tokens" not in arguments:
        longest = float(np.percentile(_lengths(body, arguments["backbone"], ctx), 99))
        arguments["max_tokens"] = int(np.clip(16 * np.ceil(longest / 16), LEAST_TOKENS, MOST_TOKENS))
    return arguments


def run(bundle: Any, ctx: Any, *, backbone: str, leaf: str = "hub", **options: Any) -> dict[str, Any]:
    """The first bundle: processor, configuration, spec of every target. Returns what goes into `bundle.json`."""
    train = ctx.examples("train")
    heads, outputs = [], 0
    for number, (target, name) in enumerate(ctx.targets.items()):
        task = leaves.load("task", name)
        spec = task.learn(train.targets[target])
        outputs += int(np.size(task.trivial(spec)))
        heads.append({"target": target, "task": name, "output": f"output_{number}", "spec": spec})
    columns = [column["name"] for column in ctx.inputs]
    body = leaves.load("backbone", leaf)
    options["outputs"] = outputs
    meta = body.start(backbone, ctx.folder, columns=columns, inputs=train.inputs, seed=ctx.seed, **options)
    if body.TRAINS == "gradient":
        lengths, most = _lengths(body, backbone, ctx), options["max_tokens"]
        ctx.note(max_tokens=most, tokens_p50=float(np.median(lengths)), truncated=float(np.mean(lengths > most)))
    return {"form": "weights", "inputs": ctx.inputs, "heads": heads, "backbone": meta}


def _lengths(body: Any, backbone: str, ctx: Any) -> np.ndarray:
    """Tokens, uncut, of training inputs spread evenly over the split: SAMPLE_ROWS at most."""
    inputs = ctx.examples("train").inputs
    sample = list(inputs[:: max(1, -(-len(inputs) // SAMPLE_ROWS))])
    return np.asarray(body.lengths(backbone, columns=[column["name"] for column in ctx.inputs], inputs=sample))
