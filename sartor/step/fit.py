"""fit: a linear solver, on the body's own features (n-grams) or on the frozen embeddings of an encoder.

Validation chooses the solver's strength and one scale for the outputs; nothing else looks at it here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sartor import leaves

TAKES = ("weights",)
GIVES = "weights"
STRENGTHS = (0.3, 3.0, 30.0)


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """There is no size to resolve."""
    return arguments


def run(bundle: Any, ctx: Any) -> dict[str, Any]:
    """The bundle with fitted outputs. Returns what changes in `bundle.json`."""
    import torch

    from sartor import model as models

    meta = bundle.meta
    if len(meta["heads"]) != 1:
        raise NotImplementedError("fit solves for one target")
    head = meta["heads"][0]
    task, spec, target = leaves.load("task", head["task"]), head["spec"], head["target"]
    train, valid = ctx.examples("train"), ctx.examples("valid")
    truth = valid.targets[target]

    def choose(features: Any, targets: np.ndarray, strengths: Any, of_valid: Any) -> tuple[Any, Any, dict[str, Any]]:
        judged = of_valid(valid.inputs)
        best: tuple[float, Any] | None = None
        for strength in strengths:
            weight, bias = task.fit_linear(features, targets, spec, strength=strength, seed=ctx.seed)
            outputs = np.asarray(judged @ weight.T) + bias
            scale, log_loss = _scale(task, spec, outputs, truth)
            score = _score(task, spec, outputs, truth, task.PRIMARY)
            ctx.progress("fit", done=list(strengths).index(strength) + 1, total=len(strengths), unit="solutions")
            if best is None or (score, -log_loss) > best[0]:  # type: ignore[operator]
                best = ((score, -log_loss), (weight * scale, bias * scale, {"strength": strength, "scale": scale}))  # type: ignore[assignment]
        assert best is not None
        return best[1]  # type: ignore[no-any-return]

    targets = task.encode(train.targets[target], spec)
    backbone = leaves.load("backbone", meta["backbone"]["leaf"])
    if backbone.TRAINS == "fit":
        body, record, chosen = backbone.fit(
            bundle.path, meta["backbone"], train.inputs, targets, task=task, spec=spec, choose=choose, seed=ctx.seed
        )
        model = models.Model(body, {head["output"]: torch.nn.Identity()})
        models.save(model, ctx.folder)
    else:
        model, record = models.load(bundle.path).eval(), meta["backbone"]
        features = embed(model, backbone.processor(bundle.path, record), train.inputs, ctx)
        weight, bias, chosen = choose(
            features,
            targets,
            STRENGTHS,
            lambda inputs: embed(model, backbone.processor(bundle.path, record), inputs, ctx),
        )
        layer = model.heads[head["output"]]
        layer.weight.data, layer.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
        models.save(model, ctx.folder, only="heads.")
    ctx.note(chosen=chosen)
    return {"backbone": record}


def embed(model: Any, processor: Any, inputs: Any, ctx: Any) -> np.ndarray:
    """The body's features of every input [n, width] float32, in batches of like length."""
    import torch

    ids = processor.encode(inputs)
    order = np.argsort([len(row) for row in ids], kind="stable")
    features = np.zeros((len(ids), model.body.width), dtype=np.float32)
    with torch.inference_mode():
        for begin in range(0, len(order), 32):
            places = order[begin : begin + 32]
            batch = processor.padded([ids[i] for i in places])
            features[places] = model.body(**{k: torch.from_numpy(v) for k, v in batch.items()}).float().numpy()
            ctx.progress("embed", done=begin + len(places), total=len(ids), unit="rows")
    return features


def _score(task: Any, spec: Any, outputs: np.ndarray, truth: Any, name: str) -> float:
    metric = task.METRICS[name]
    value = float(metric.finish(metric.stats(task.decode(outputs, spec), truth, spec, None).sum(0)))
    return value if metric.better == "higher" else -value


def _scale(task: Any, spec: Any, outputs: np.ndarray, truth: Any) -> tuple[float, float]:
    """The factor on the outputs with the least log loss on validation, where the task has one; else 1."""
    if "log_loss" not in task.METRICS:
        return 1.0, 0.0
    known = task.encode(truth, spec) >= 0
    kept = [value for value, keep in zip(truth, known, strict=True) if keep]
    losses = {s: -_score(task, spec, outputs[known] * s, kept, "log_loss") for s in np.geomspace(0.25, 8, 21)}
    best = min(losses, key=lambda scale: losses[scale])
    return float(best), losses[best]
