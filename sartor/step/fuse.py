"""fuse: models that were trained on some of the inputs each become one, their answers weighed on validation rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from sartor import leaves
from sartor.backbone import fusion
from sartor.task import known

TAKES = ("",)
GIVES = "weights"
BATCH = 64  # rows


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Everything hangs on the members."""
    return arguments


def run(bundle: Any, ctx: Any, *, members: list[dict[str, Any]]) -> dict[str, Any]:
    """The fused model. members: [{"inputs": columns, "plan": what they are made by}], which are made already. Returns what goes into `bundle.json`."""
    import torch
    from scipy.optimize import minimize

    from sartor import bundle as bundles
    from sartor import model as models

    (target, name), *others = ctx.targets.items()
    if others:
        raise NotImplementedError("fuse answers one target")
    task = leaves.load("task", name)
    train, valid = ctx.examples("train"), ctx.examples("valid")
    spec = task.learn(train.targets[target])
    head = {"target": target, "task": name, "output": "output_0", "spec": spec}
    made = []
    for place, (member, path) in enumerate(zip(members, ctx.members, strict=True)):
        found = bundles.load(path, check=False)
        folder = ctx.folder / fusion.FOLDER / str(place)
        folder.mkdir(parents=True)
        bundles.link(found, folder, leave=["bundle.json", "step.json", models.WEIGHTS])
        filler = next(row for row in train.inputs if all(row.get(column) is not None for column in member["inputs"]))
        made.append(
            {
                "backbone": found.meta["backbone"],
                "inputs": member["inputs"],
                "head": found.meta["heads"][0],
                "filler": fusion.filled({column: filler[column] for column in member["inputs"]}),
            }
        )
    meta = {
        "leaf": "fusion",
        "ref": "fusion",
        "members": made,
        "outputs": int(np.size(task.trivial(spec))),
        "logs": "classes" in spec and getattr(task, "EXCLUSIVE", True),
        "optional": True,
        "owns_weights": True,
    }
    body = fusion.body(ctx.folder, meta).eval()
    for module, path in zip(body.members, ctx.members, strict=True):
        module.load_state_dict(models.load(path).state_dict())
    processor = fusion.processor(ctx.folder, meta)
    truth, there = _known(task, valid.targets[target], spec)
    rows = [valid.inputs[int(i)] for i in there]

    def outputs_of(weights: np.ndarray) -> np.ndarray:
        body.weights.data = torch.from_numpy(weights.astype(np.float32))
        with torch.inference_mode():
            return np.concatenate([body(**batch).numpy() for batch in batches])

    batches = []
    for begin in range(0, len(rows), BATCH):
        batch = processor(rows[begin : begin + BATCH])
        batches.append({name: torch.from_numpy(array) for name, array in batch.items()})
        ctx.progress("weigh", done=min(begin + BATCH, len(rows)), total=len(rows), unit="rows")
    loss = "log_loss" if "log_loss" in task.METRICS else task.PRIMARY

    def cost(logs: np.ndarray) -> float:
        metric = task.METRICS[loss]
        stats = metric.stats(task.decode(outputs_of(np.exp(logs)), spec), truth, spec, None)
        return float(metric.finish(stats.sum(0)))

    begin_at = np.full(len(made), -np.log(len(made)))
    best = minimize(
        cost, begin_at, method="Nelder-Mead", options={"xatol": 0.05, "fatol": 1e-4, "maxfev": 40 * len(made)}
    )
    weights = np.exp(best.x)
    body.weights.data = torch.from_numpy(weights.astype(np.float32))
    ctx.note(weights={" + ".join(one["inputs"]): round(float(w), 3) for one, w in zip(made, weights, strict=True)})
    models.save(models.Model(body, {head["output"]: torch.nn.Identity()}), ctx.folder)
    return {"form": "weights", "inputs": ctx.inputs, "heads": [head], "backbone": meta}


def _known(task: Any, truth: Any, spec: dict[str, Any]) -> tuple[list[Any], np.ndarray]:
    """The validation targets that training knows, and their places."""
    codes = task.encode(truth, spec)
    places = np.flatnonzero(known(task, codes)) if "classes" in spec else np.arange(len(codes))
    return [truth[int(i)] for i in places], places
