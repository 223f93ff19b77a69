"""freeze: tunes a part of the body and holds the rest: its last blocks, or its biases alone (Ben Zaken et al. 2022).

What the held blocks below give is the same in every epoch, so it is computed once and kept where there is room.
"""

from __future__ import annotations

from typing import Any

from sartor.errors import InputError
from sartor.step import train

TAKES = ("weights",)
GIVES = "weights"
ALSO = "train"  # the step whose arguments it takes besides
PARTS = ("last", "biases")
RATES = {"last": 2e-4, "biases": 1e-3}


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """The last two blocks, with what those below give kept; the rest as in `train`. Raises: InputError `plan.argument`."""
    keep = arguments.get("keep", "last")
    if keep not in PARTS:
        raise InputError("plan.argument", step="freeze", name="keep", expected=" or ".join(PARTS), found=keep)
    given = {"blocks": 2, "cached": keep == "last", "learning_rate": RATES[keep], "keep": keep, **arguments}
    own = {name: given.pop(name) for name in ("keep", "blocks", "cached")}
    if own["cached"] and (given.get("noise") or keep != "last"):
        why = "False: with noise, or where all blocks have something that is tuned, no two epochs see the same"
        raise InputError("plan.argument", step="freeze", name="cached", expected=why, found=True)
    return own | train.resolve(given, ctx)


def run(bundle: Any, ctx: Any, *, keep: str, blocks: int, cached: bool, **training: Any) -> dict[str, Any]:
    """The bundle with what is kept free tuned. Returns what changes in `bundle.json`.

    blocks: how many of the last ones are tuned. cached: what those below give is computed once, where the body is an encoder of text and there is room
    for it (`activations.MOST_BYTES`).
    """
    from sartor import adapting, tuning

    def prepare(model: Any) -> None:
        if keep == "biases":
            tuning.only(model, lambda name: name.endswith("bias"))
            return
        stack = adapting.blocks_of(model.body, "freeze")
        if not 1 <= blocks < len(stack):
            expected = f"from 1 to {len(stack) - 1}, of the {len(stack)} blocks that the body has,"
            raise InputError("plan.argument", step="freeze", name="blocks", expected=expected, found=blocks)
        last = {id(parameter) for block in stack[-blocks:] for parameter in block.parameters()}
        names = {name for name, parameter in model.named_parameters() if id(parameter) in last}
        tuning.only(model, names.__contains__)

    settings = tuning.Settings(**training)
    model, _ = tuning.tune(bundle, ctx, settings, prepare=prepare, above=blocks if cached else 0)
    return tuning.save(model, bundle, ctx)
