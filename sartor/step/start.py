"""start: takes a backbone, writes its processor, and names its weights. Nothing is learned yet but the task's spec."""

from __future__ import annotations

from typing import Any

import numpy as np

from sartor import leaves

TAKES = ("",)
GIVES = "weights"
SAMPLE_ROWS = 2_000  # training inputs, spread evenly, from which a body resolves what hangs on them


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """What the body wants to know of the training inputs before it starts, such as the longest one that is read."""
    arguments = {"leaf": "hub", **arguments}
    body = leaves.load("backbone", arguments["leaf"])
    if hasattr(body, "resolve_options"):
        inputs = ctx.examples("train").inputs
        sample = list(inputs[:: max(1, -(-len(inputs) // SAMPLE_ROWS))])
        given = {name: value for name, value in arguments.items() if name not in ("backbone", "leaf")}
        options, notes = body.resolve_options(
            arguments["backbone"], columns=[column["name"] for column in ctx.inputs], inputs=sample, given=given
        )
        ctx.note(**notes)
        arguments |= options
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
    options |= {"outputs": outputs, "kinds": {column["name"]: column["kind"] for column in ctx.inputs}}
    meta = body.start(backbone, ctx.folder, columns=columns, inputs=train.inputs, seed=ctx.seed, **options)
    return {"form": "weights", "inputs": ctx.inputs, "heads": heads, "backbone": meta}
