"""cascade: a cheap model and a larger one become one, the larger being asked where the cheap one is not sure.

From which probability on the cheap one answers is chosen on validation rows: the lowest at which no more is lost than is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sartor import leaves
from sartor.errors import InputError, RowError

TAKES = ("",)
GIVES = "graphs"
ONE_TARGET = True


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """At most .1 points of accuracy are lost on validation. Raises: InputError `plan.argument`, `plan.task`."""
    members = arguments.get("members")
    if not isinstance(members, list) or len(members) != 2:
        expected = 'two of {"inputs": [columns], "plan": a plan that ends in graphs}, the cheap one first'
        raise InputError("plan.argument", step="cascade", name="members", expected=expected, found=members)
    [task] = set(ctx.targets.values())
    if not hasattr(leaves.load("task", task), "likeliest"):
        raise InputError("plan.task", step="cascade", task=task, why="no answer of it is likelier than another")
    return {"lost": 0.1, **arguments}


def run(bundle: Any, ctx: Any, *, members: list[Any], lost: float) -> dict[str, Any]:
    """The cascade. Returns what goes into `bundle.json`.

    members: the plans of the two models, as of `fuse`, the cheap one first. lost: points of accuracy on validation that may be.
    Raises: InputError `plan.argument` for a member that does not end in graphs or reads other inputs.
    """
    from sartor import bundle as bundles
    from sartor.backbone import cascade
    from sartor.predict import Predictor
    from sartor.step.fit import scale_of

    found = [bundles.load(path, check=False) for path in ctx.members]
    for one in found:
        if one.form != "graphs" or one.meta["inputs"] != ctx.inputs:
            expected = "plans that end in graphs and read every input"
            raise InputError("plan.argument", step="cascade", name="members", expected=expected, found=one.form)
    [head] = found[-1].meta["heads"]
    task, spec = leaves.load("task", head["task"]), head["spec"]
    valid = ctx.examples("valid")
    predictors = [Predictor(one, threads=1) for one in found]
    read, truth = _read(predictors, valid, head["target"])
    outputs = []
    for number, predictor in enumerate(predictors):
        made = np.zeros((len(read), len(spec["classes"])), dtype=np.float32)
        for places in predictor.batches(read):
            made[places] = predictor.outputs([read[i] for i in places])[head["target"]]
        outputs.append(made)
        ctx.progress("ask", done=number + 1, total=len(predictors), unit="members")
    scales = [scale_of(task, spec, one, truth)[0] for one in outputs]
    codes = task.encode(truth, spec)
    sure, share, scores = chosen(outputs[0] * scales[0], outputs[1] * scales[1], np.asarray(codes), lost=lost / 100)
    for place, one in enumerate(found):
        folder = ctx.folder / cascade.FOLDER / str(place)
        folder.mkdir(parents=True)
        # What it is served by; of a fusion its members' processors as well.
        served = ("processor/", "runtime/", "members/")
        others = [name for name in one.manifest["files"] if not name.startswith(served)]
        bundles.link(one, folder, leave=others)
    ctx.note(sure=sure, asked_further=share, accuracy=scores)
    return {
        "form": "graphs",
        "inputs": ctx.inputs,
        "heads": [{key: head[key] for key in ("target", "task", "output", "spec")}],
        "backbone": {
            "leaf": "cascade",
            "ref": "cascade",
            "members": [one.meta["backbone"] for one in found],
            "owns_weights": True,
            "optional": all(bool(one.meta["backbone"].get("optional")) for one in found),
        },
        "runtime": {
            "name": "cascade",
            "members": [one.meta["runtime"] for one in found],
            "scales": scales,
            "sure": [sure],
            "precision": " and ".join(dict.fromkeys(one.meta["runtime"]["precision"] for one in found)),
            "batch_invariant": True,
        },
        "examples": found[-1].meta["examples"],
    }


def chosen(
    cheap: np.ndarray, larger: np.ndarray, codes: np.ndarray, *, lost: float
) -> tuple[float, float, dict[str, float]]:
    """(from which probability on the cheap model answers, the share of rows that go further, accuracy of each and of both).

    cheap, larger [n, classes]: logits. codes [n]: the right classes. lost: share of the rows that may be answered wrongly beyond those of the larger model.
    The lowest probability that loses no more; 1.01, so that all go further, where every one does.
    """
    from sartor.runtime.cascade import likeliest

    sure = likeliest(cheap)
    right, better = cheap.argmax(1) == codes, larger.argmax(1) == codes
    order = np.argsort(-sure, kind="stable")
    # Of the n surest rows by the cheap model and the rest by the larger one, how many are right.
    together = np.concatenate([[0], np.cumsum(right[order])]) + np.concatenate(
        [np.cumsum(better[order][::-1])[::-1], [0]]
    )
    enough = together >= better.sum() - lost * len(codes)
    ends = np.concatenate([[True], sure[order][1:] < sure[order][:-1], [True]])  # not between rows that are as sure
    most = int(np.flatnonzero(enough & ends)[-1])
    limit = 1.01 if most == 0 else float(sure[order[most - 1]])
    count = max(1, len(codes))
    scores = {"cheap": float(right.mean()), "larger": float(better.mean()), "both": float(together[most] / count)}
    return limit, 1 - most / count, scores


def _read(predictors: Sequence[Any], valid: Any, target: str) -> tuple[list[Any], Sequence[Any]]:
    """The validation rows that every member can read, and their targets."""
    read, truth = [], []
    for row, told in zip(valid.inputs, valid.targets[target], strict=True):
        try:
            made = [predictor.prepare(row) for predictor in predictors]
        except RowError:
            continue
        read.append(made[0])
        truth.append(told)
    return read, truth
