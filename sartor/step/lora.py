"""lora: tunes few new weights beside the others, low-rank updates or scalings, which become part of the weights when the model is exported.

LoRA (Hu et al. 2022), rsLoRA (Kalajdzievski 2023), DoRA (Liu et al. 2024) and IA³ (Liu et al. 2022), through `peft`. The step's bundle holds the
adapter and the heads, not the body.
"""

from __future__ import annotations

from typing import Any

from sartor.errors import InputError
from sartor.step import train

TAKES = ("weights",)
GIVES = "weights"
ALSO = "train"  # the step whose arguments it takes besides
METHODS = ("lora", "rslora", "dora", "ia3")
RATES = {"lora": 1e-3, "rslora": 5e-4, "dora": 1e-3, "ia3": 1e-2}  # new weights begin at nothing and are few


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Rank 8 and the rate that suits the method; the rest as in `train`. Raises: InputError `plan.argument`."""
    method = arguments.get("method", "lora")
    if method not in METHODS:
        raise InputError("plan.argument", step="lora", name="method", expected=" or ".join(METHODS), found=method)
    given = {"rank": 8, "alpha": 16.0, "learning_rate": RATES[method], "method": method, **arguments}
    own = {name: given.pop(name) for name in ("method", "rank", "alpha")}
    return own | train.resolve(given, ctx)


def run(bundle: Any, ctx: Any, *, method: str, rank: int, alpha: float, **training: Any) -> dict[str, Any]:
    """The bundle with a tuned adapter. Returns what changes in `bundle.json`.

    rank: of the update of each linear layer in the blocks. alpha: the update is scaled by alpha / rank (rslora: by alpha / √rank).
    """
    from functools import partial

    from sartor import tuning

    adapter = {"method": method} | ({} if method == "ia3" else {"rank": rank, "alpha": alpha})
    settings = tuning.Settings(**training)
    model, _ = tuning.tune(bundle, ctx, settings, prepare=partial(tuning.adapt, adapter=adapter))
    return tuning.save(model, bundle, ctx)
