"""shrink: rounds weights to a grid of few values, so that their files compress; what that moved is noted."""

from __future__ import annotations

from typing import Any

TAKES = ("weights",)
GIVES = "weights"


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Six bits when nothing is said."""
    return {"bits": 6, **arguments}


def run(bundle: Any, ctx: Any, *, bits: int) -> dict[str, Any]:
    """The bundle with every matrix on a grid of 2^bits - 1 values around zero. Returns what changes in `bundle.json`."""
    import torch

    from sartor import model as models

    model = models.load(bundle.path)
    total, zeros, moved = 0, 0, 0.0
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim < 2 or not weight.is_floating_point():
                continue
            step = weight.float().abs().max().clamp(min=1e-12) / (2 ** (bits - 1) - 1)
            rounded = ((weight.float() / step).round() * step).to(weight.dtype)
            moved = max(moved, float((rounded - weight).abs().max() / step))
            total, zeros = total + rounded.numel(), zeros + int((rounded == 0).sum())
            weight.copy_(rounded)
    ctx.note(shrink={"bits": bits, "zeros": round(zeros / max(1, total), 4), "moved_steps": round(moved, 4)})
    return {"backbone": models.save(model, ctx.folder, bundle.meta["backbone"])}
