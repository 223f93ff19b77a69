"""fuse: models that were trained on some of the inputs each become one, their answers weighed on validation rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sartor import leaves
from sartor.backbone import fusion
from sartor.errors import InputError, RowError
from sartor.task import known

TAKES = ("",)
GIVES = "weights"
ONE_TARGET = True
BATCH = 64  # rows


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Everything hangs on the members."""
    return arguments


def run(bundle: Any, ctx: Any, *, members: list[dict[str, Any]]) -> dict[str, Any]:
    """The fused model. members: [{"inputs": columns, "plan": what they are made by}], which are made already. Returns what goes into `bundle.json`.

    Raises: InputError `split.too-few` for a member of which no training row has the inputs.
    """
    import torch
    from scipy.optimize import minimize

    from sartor import bundle as bundles
    from sartor import model as models
    from sartor.data.split import sufficient

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
        own, inputs = found.meta["heads"][0], [one for one in ctx.inputs if one["name"] in member["inputs"]]
        made.append(
            {
                "backbone": found.meta["backbone"],
                "inputs": member["inputs"],
                "sufficient": sufficient(inputs),
                "head": own,
                "fits": fusion.fits(own["spec"], spec),
                "filler": fusion.filled(_filler(train.inputs, inputs), inputs),
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
    truth: list[Any] = []

    # Of each batch what the members say [B, members, outputs], and which are present: weights alone are what is searched.
    told: list[Any] = []

    def outputs_of(weights: np.ndarray) -> np.ndarray:
        body.weights.data = torch.from_numpy(weights.astype(np.float32))
        with torch.inference_mode():
            return np.concatenate([body.weighed(*said).numpy() for said in told])

    there = _known(task, valid.targets[target], spec)
    for begin in range(0, len(there), BATCH):
        read = {int(i): row for i in there[begin : begin + BATCH] if (row := _read(valid.inputs[int(i)], ctx.inputs))}
        truth += [valid.targets[target][i] for i in read]
        if read:
            batch = {name: torch.from_numpy(array) for name, array in processor(list(read.values())).items()}
            present = batch.pop("present")
            with torch.inference_mode():
                told.append((body.told(**batch), present))
        ctx.progress("weigh", done=min(begin + BATCH, len(there)), total=len(there), unit="rows")
    loss = "log_loss" if "log_loss" in task.METRICS else task.PRIMARY

    def cost(logs: np.ndarray) -> float:
        metric = task.METRICS[loss]
        stats = metric.stats(task.decode(outputs_of(np.exp(logs)), spec), truth, spec, None)
        return float(metric.finish(stats.sum(0)))

    logs = np.full(len(made), -np.log(len(made)))
    if told:  # else all weigh the same
        options = {"xatol": 0.05, "fatol": 1e-4, "maxfev": 40 * len(made)}
        logs = minimize(cost, logs, method="Nelder-Mead", options=options).x
    weights = np.exp(logs)
    body.weights.data = torch.from_numpy(weights.astype(np.float32))
    ctx.note(weights={" + ".join(one["inputs"]): round(float(w), 3) for one, w in zip(made, weights, strict=True)})
    models.save(models.Model(body, {head["output"]: torch.nn.Identity()}), ctx.folder)
    return {"form": "weights", "inputs": ctx.inputs, "heads": [head], "backbone": meta}


def _known(task: Any, truth: Any, spec: dict[str, Any]) -> np.ndarray:
    """The places of the validation targets that training knows."""
    codes = task.encode(truth, spec)
    return np.flatnonzero(known(task, codes)) if "classes" in spec else np.arange(len(codes))


def _read(row: Mapping[str, Any], inputs: Sequence[Mapping[str, str]]) -> dict[str, Any] | None:
    """A row as the predictor reads it where any input may be missing; None where it would refuse one."""
    read: dict[str, Any] = {}
    try:
        for column in inputs:
            name, value = column["name"], row[column["name"]]
            read[name] = None if value is None else leaves.load("modality", column["kind"]).read(value, name)
    except RowError:
        return None
    return read


def _filler(rows: Iterable[Mapping[str, Any]], inputs: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The first of these rows that can be answered by these inputs, without what of them cannot be read.

    Raises: InputError `split.too-few` where there is none.
    """
    from sartor.data.split import answerable

    for row in rows:
        told = {column["name"]: row[column["name"]] if _read(row, [column]) else None for column in inputs}
        if answerable([told], inputs).all():
            return told
    names = " + ".join(column["name"] for column in inputs)
    raise InputError("split.too-few", count=0, part=f"what reads {names}", least=1)
