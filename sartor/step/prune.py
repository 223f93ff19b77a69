"""prune: takes out of an encoder what its answers miss least: whole blocks, attention heads, and units of the feed-forward nets.

What is left is a smaller dense model, faster on any machine; it wants to be trained again afterwards, best by `distil` from what it was.
"""

from __future__ import annotations

from typing import Any

from sartor import leaves
from sartor.errors import InputError

TAKES = ("weights",)
GIVES = "weights"
LOOKED_AT = 512  # training rows, from which importance is estimated
BATCH = 32  # of them
INNER_STEP = 32  # units are kept in multiples of so many, which matrix products like


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Half of the blocks, all heads, all units. Raises: InputError `plan.argument`, `plan.body`."""
    given = {"blocks": 0.5, "heads": 1.0, "inner": 1.0, **arguments}
    for name in ("blocks", "heads", "inner"):
        if not 0 < float(given[name]) <= 1:
            expected = "a share that is kept, above 0 and at most 1"
            raise InputError("plan.argument", step="prune", name=name, expected=expected, found=given[name])
    if not ctx.backbone.get("family"):
        raise InputError("plan.body", method="prune", why="it is no encoder of text of transformers")
    return given


def run(bundle: Any, ctx: Any, *, blocks: float, heads: float, inner: float) -> dict[str, Any]:
    """The bundle with a smaller body; its heads are as they were. Returns what changes in `bundle.json`.

    blocks, heads, inner: the shares that are kept. Blocks are kept at even distances with the last one (Sanh et al. 2019, section 3); of heads and units those whose
    removal changes the loss most, by the first-order estimate |gradient · value| of a gate on each (Michel et al. 2019, section 4.1; Molchanov et al. 2017), over all
    blocks together, with at least one head and one step of units in each.
    """
    from sartor import model as models
    from sartor import pruning, shaping

    meta = bundle.meta
    family = str(meta["backbone"]["family"])
    shaping.layers_of(family, "prune")
    model = models.load(bundle.path)
    encoder = model.body.encoder
    before = sum(parameter.numel() for parameter in model.parameters())
    if blocks < 1:
        count = len(model.body.blocks())
        chosen = pruning.spread(count, max(1, round(blocks * count)))
        shaping.keep_blocks(encoder, chosen)
        ctx.note(blocks=chosen)
    if heads < 1 or inner < 1:
        processor = leaves.load("backbone", meta["backbone"]["leaf"]).processor(bundle.path, meta["backbone"])
        importance = pruning.importance(model, processor, ctx, meta["heads"], family, rows=LOOKED_AT, batch_rows=BATCH)
        kept = pruning.chosen(importance, heads=heads, inner=inner, step=INNER_STEP)
        pruning.cut(encoder, family, kept)
        ctx.note(kept={"heads": [len(one) for one in kept["heads"]], "inner": [len(one) for one in kept["inner"]]})
    ctx.note(weights=[before, sum(parameter.numel() for parameter in model.parameters())])
    backbone = {**meta["backbone"], "shape": {**meta["backbone"].get("shape", {}), **shaping.shape_of(encoder, family)}}
    return {"backbone": models.save(model, ctx.folder, backbone, whole=True)}
