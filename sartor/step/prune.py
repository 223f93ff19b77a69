"""prune: takes out of a model what its answers miss least: whole blocks, attention heads and inner units of an encoder of text, channels of a convolutional net.

What is left is a smaller dense model, faster on any machine; it wants to be trained again afterwards, best by `distil` from what it was.
"""

from __future__ import annotations

import json
from typing import Any

from sartor import leaves
from sartor.errors import InputError

TAKES = ("weights",)
GIVES = "weights"
LOOKED_AT = 512  # training rows, from which importance is estimated
BATCH = 32  # of them
INNER_STEP = 32  # units are kept in multiples of so many, which matrix products like
CHANNEL_STEP = 8  # channels, which convolutions like
OF_BLOCKS, OF_CHANNELS = ("blocks", "heads", "inner"), ("channels",)


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Of an encoder half of the blocks, all heads, all units; of a convolutional net half of the channels inside.

    Raises: InputError `plan.argument`, `plan.body`.
    """
    convolutional = hasattr(leaves.load("backbone", ctx.backbone["leaf"]), "channels")
    if not convolutional and not ctx.backbone.get("family"):
        why = "it is no encoder of text of transformers and no convolutional net that trains from nothing"
        raise InputError("plan.body", method="prune", why=why)
    mine, others = (OF_CHANNELS, OF_BLOCKS) if convolutional else (OF_BLOCKS, OF_CHANNELS)
    faster = float(arguments.get("faster", 0.0))
    if faster and (convolutional or faster <= 1 or any(name in arguments for name in OF_BLOCKS)):
        expected = "a number above 1, of an encoder of text, and without shares"
        raise InputError("plan.argument", step="prune", name="faster", expected=expected, found=arguments["faster"])
    usual = {} if faster else {mine[0]: 0.5}
    given = {"faster": 0.0} | dict.fromkeys((*OF_BLOCKS, *OF_CHANNELS), 1.0) | usual | arguments
    for name in (*OF_BLOCKS, *OF_CHANNELS):
        expected = (
            "1, as this body has none of them" if name in others else "a share that is kept, above 0 and at most 1"
        )
        if not 0 < float(given[name]) <= 1 or (name in others and given[name] != 1):
            raise InputError("plan.argument", step="prune", name=name, expected=expected, found=given[name])
    return given


def run(
    bundle: Any, ctx: Any, *, blocks: float, heads: float, inner: float, channels: float, faster: float
) -> dict[str, Any]:
    """The bundle with a smaller body; its heads are as they were. Returns what changes in `bundle.json`.

    blocks, heads, inner, channels: the shares that are kept. Blocks are kept at even distances with the last one (Sanh et al. 2019, section 3); of the rest what changes
    the loss most by its absence, by the first-order estimate |gradient · value| of a gate on each (Michel et al. 2019, section 4.1; Molchanov et al. 2017), over the
    whole body together, with at least one head, one step of units and one step of channels in each place. faster: how many times as fast an encoder is to be, by a table of
    what its parts take on this machine (`sartor/latencies.py`); then what is kept is what is worth the most for its time.
    """
    from sartor import model as models
    from sartor import shaping

    meta = bundle.meta
    model = models.load(bundle.path)
    leaf = leaves.load("backbone", meta["backbone"]["leaf"])
    processor = leaf.processor(bundle.path, meta["backbone"])
    before = sum(parameter.numel() for parameter in model.parameters())
    if hasattr(leaf, "channels"):
        shape = _channels(model, processor, ctx, leaf, meta["heads"], channels)
    else:
        shape = _encoder(model, processor, ctx, meta, blocks, heads, inner, faster)
        config = shaping.configured(
            json.loads((bundle.path / "config.json").read_text(encoding="utf-8")), shape["shape"]
        )
        (ctx.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    ctx.note(weights=[before, sum(parameter.numel() for parameter in model.parameters())])
    return {"backbone": models.save(model, ctx.folder, {**meta["backbone"], **shape}, whole=True)}


def _channels(model: Any, processor: Any, ctx: Any, leaf: Any, heads: Any, share: float) -> dict[str, Any]:
    """Cuts a convolutional net, in place; what its record says then."""
    from sartor import pruning

    places = leaf.channels(model.body)
    readers = [reader for _, _, reader, _ in places]
    importance = pruning.importance_of_channels(model, processor, ctx, heads, readers, rows=LOOKED_AT, batch_rows=BATCH)
    kept = pruning.chosen_channels(importance, share=share, step=CHANNEL_STEP)
    pruning.cut_channels(places, kept)
    counts = [len(one) for one in kept]
    ctx.note(kept={"channels": counts})
    return {"channels": counts}


def _encoder(
    model: Any,
    processor: Any,
    ctx: Any,
    meta: dict[str, Any],
    blocks: float,
    heads: float,
    inner: float,
    faster: float,
) -> dict[str, Any]:
    """Cuts an encoder, in place; what its record says then."""
    from sartor import pruning, shaping

    family, encoder = str(meta["backbone"]["family"]), model.body.encoder
    shaping.layers_of(family, "prune")
    if blocks < 1:
        count = len(model.body.blocks())
        chosen = pruning.spread(count, max(1, round(blocks * count)))
        shaping.keep_blocks(encoder, chosen)
        ctx.note(blocks=chosen)
    if heads < 1 or inner < 1 or faster:
        importance = pruning.importance(model, processor, ctx, meta["heads"], family, rows=LOOKED_AT, batch_rows=BATCH)
        if faster:
            kept = _in_time(model, processor, ctx, meta, family, importance, faster)
        else:
            kept = pruning.chosen(importance, heads=heads, inner=inner, step=INNER_STEP)
        pruning.cut(encoder, family, kept)
        ctx.note(kept={"heads": [len(one) for one in kept["heads"]], "inner": [len(one) for one in kept["inner"]]})
    return {"shape": {**meta["backbone"].get("shape", {}), **shaping.shape_of(encoder, family)}}


def _in_time(
    model: Any, processor: Any, ctx: Any, meta: dict[str, Any], family: str, importance: Any, faster: float
) -> dict[str, Any]:
    """What is kept at so many times the speed; whole blocks that go are taken out here.

    Raises: InputError `plan.argument` where so much cannot be had.
    """
    from sartor import latencies, shaping

    rows = ctx.examples("train").inputs
    some = [rows[i] for i in range(min(LOOKED_AT, len(rows)))]
    table = latencies.measure(
        model,
        processor,
        some,
        family,
        heads=int(meta["backbone"]["heads"]),
        width=int(meta["backbone"]["width"]),
        progress=lambda done, total: ctx.progress("time of the parts", done=done, total=total, unit="shapes"),
    )
    try:
        kept = latencies.fastest(table, importance, faster=faster, step=INNER_STEP)
    except ValueError as error:
        raise InputError("plan.argument", step="prune", name="faster", expected=str(error), found=faster) from None
    there = [place for place, heads in enumerate(kept["heads"]) if len(heads)]
    shaping.keep_blocks(model.body.encoder, there)
    ctx.note(table=table.as_dict(), blocks=there)
    return {what: [one[place] for place in there] for what, one in kept.items()}
