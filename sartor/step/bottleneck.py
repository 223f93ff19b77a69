"""bottleneck: tunes a narrow layer after each block and nothing else of the body (Houlsby et al. 2019; Pfeiffer et al. 2021).

The layers stay beside the weights: what is exported has them too. The step's bundle holds them and the heads, not the body.
"""

from __future__ import annotations

from typing import Any

from sartor.step import train

TAKES = ("weights",)
GIVES = "weights"
ALSO = "train"  # the step whose arguments it takes besides


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """64 wide, at a rate for weights that begin at nothing; the rest as in `train`."""
    given = {"width": 64, "learning_rate": 1e-3, **arguments}
    return {"width": given.pop("width")} | train.resolve(given, ctx)


def run(bundle: Any, ctx: Any, *, width: int, **training: Any) -> dict[str, Any]:
    """The bundle with tuned layers, each `width` wide. Returns what changes in `bundle.json`."""
    from functools import partial

    from sartor import tuning

    adapter = {"method": "bottleneck", "width": width}
    model, _ = tuning.tune(bundle, ctx, tuning.Settings(**training), prepare=partial(tuning.adapt, adapter=adapter))
    return tuning.save(model, bundle, ctx)
