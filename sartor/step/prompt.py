"""prompt: tunes states that stand before those of the input, and nothing else of the body.

At the first block alone they are prompt tuning (Lester et al. 2021); with `deep` anew at every block, which is prefix tuning (Li and Liang 2021; Liu et al. 2022). For encoders of
text. They stay beside the weights: what is exported has them too. The step's bundle holds them and the heads, not the body.
"""

from __future__ import annotations

from typing import Any

from sartor.step import train

TAKES = ("weights",)
GIVES = "weights"
ALSO = "train"  # the step whose arguments it takes besides


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """16 of them, at the high rate that few numbers far from the loss take; the rest as in `train`."""
    given = {"tokens": 16, "deep": False, "learning_rate": 1e-2, **arguments}
    own = {name: given.pop(name) for name in ("tokens", "deep")}
    return own | train.resolve(given, ctx)


def run(bundle: Any, ctx: Any, *, tokens: int, deep: bool, **training: Any) -> dict[str, Any]:
    """The bundle with `tokens` tuned states. Returns what changes in `bundle.json`."""
    from functools import partial

    from sartor import tuning

    adapter = {"method": "prompt", "tokens": tokens, "deep": deep}
    model, _ = tuning.tune(bundle, ctx, tuning.Settings(**training), prepare=partial(tuning.adapt, adapter=adapter))
    return tuning.save(model, bundle, ctx)
