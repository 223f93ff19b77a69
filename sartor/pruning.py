"""What of an encoder its answers miss least. Heavy half of the step `prune`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from sartor import leaves, shaping
from sartor.device import device, tensor, tensors


def spread(count: int, kept: int) -> list[int]:
    """Which of so many blocks are kept: at even distances, with the last one."""
    return sorted({round(place) for place in np.linspace(count - 1, 0, kept + 1)[:-1]})


def importance(
    model: Any, processor: Any, ctx: Any, heads: Sequence[dict[str, Any]], family: str, *, rows: int, batch_rows: int
) -> dict[str, np.ndarray]:
    """{"heads": [blocks, heads], "inner": [blocks, units]}: how much the loss of a training row would change without each, to first order.

    The mean over rows of |gradient of a row's loss at a gate of 1 on each head's states, or on each unit|. Larger is more important; padded with NaN where blocks differ.
    """
    names = shaping.layers_of(family, "prune")
    size = shaping.head_size(model.body.encoder)
    wide = {"heads": size, "inner": 1}
    layers = {
        (number, what): block.get_submodule(name)
        for number, block in enumerate(model.body.blocks())
        for what, name in (("heads", names[3]), ("inner", names[5]))
    }
    gates: dict[tuple[int, str], torch.Tensor] = {}

    def hook(place: tuple[int, str]) -> Any:
        def gated(layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
            states = given[0]  # [B, T, in]; a gate for each row, so that gradients of rows do not cancel
            gates[place] = torch.ones(
                len(states), 1, states.shape[-1] // wide[place[1]], device=states.device, requires_grad=True
            )
            return (states * gates[place].repeat_interleave(wide[place[1]], dim=-1), *given[1:])

        return gated

    hooks = [layer.register_forward_pre_hook(hook(place)) for place, layer in layers.items()]
    model.to(device()).eval()
    moving = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in moving:
        parameter.requires_grad_(False)
    train = ctx.examples("train")
    order = np.random.default_rng(ctx.seed).permutation(len(train))[:rows]
    found = {(number, what): np.zeros(layer.in_features // wide[what]) for (number, what), layer in layers.items()}
    try:
        for begin in range(0, len(order), batch_rows):
            part = train[np.sort(order[begin : begin + batch_rows])]
            outputs = model(**tensors(processor(list(part.inputs))))
            losses = []
            for head in heads:
                task = leaves.load("task", head["task"])
                targets = tensor(task.encode(part.targets[head["target"]], head["spec"]))
                losses.append(
                    task.loss(outputs[head["output"]], targets, head["spec"], smoothing=0.0, class_weights=None).sum()
                )
            torch.stack(losses).sum().backward()
            for place, gate in gates.items():
                assert gate.grad is not None
                found[place] += gate.grad.abs().sum((0, 1)).cpu().numpy() / len(order)
            ctx.progress("importance", done=min(begin + batch_rows, len(order)), total=len(order), unit="rows")
    finally:
        for one in hooks:
            one.remove()
        for parameter in moving:
            parameter.requires_grad_(True)
        model.cpu()
    blocks = range(len(model.body.blocks()))
    return {what: _stacked([found[number, what] for number in blocks]) for what in wide}


def chosen(importance: dict[str, np.ndarray], *, heads: float, inner: float, step: int) -> dict[str, list[np.ndarray]]:
    """{"heads": numbers kept in each block, "inner": units kept in each}: the most important ones of all blocks together.

    Of units a whole number of `step` in each block, and at least one step; of heads at least one.
    """
    return {
        "heads": _largest(importance["heads"], heads, least=1, step=1),
        "inner": _largest(importance["inner"], inner, least=step, step=step),
    }


def cut(encoder: nn.Module, family: str, kept: dict[str, list[np.ndarray]]) -> None:
    """Takes everything but what is kept out of the blocks."""
    home, name = shaping.stack_of(encoder)
    size = shaping.head_size(encoder)
    for block, heads, units in zip(getattr(home, name), kept["heads"], kept["inner"], strict=True):
        shaping.keep_heads(block, family, torch.from_numpy(heads), size)
        shaping.keep_inner(block, family, torch.from_numpy(units))


def _largest(scores: np.ndarray, share: float, *, least: int, step: int) -> list[np.ndarray]:
    """The numbers of the largest `share` of all scores [blocks, things], by block, in order; NaN is nothing."""
    there = [np.flatnonzero(~np.isnan(row)) for row in scores]
    if share >= 1:
        return there
    # Blocks differ in the size of their gradients, so each is measured by its own root of mean squares (Molchanov et al. 2017, section 2.2).
    norms = np.sqrt(np.nanmean(scores**2, axis=1, keepdims=True))
    even = scores / np.where(norms > 0, norms, 1.0)
    order = np.argsort(-np.where(np.isnan(even), -np.inf, even), axis=None, kind="stable")
    wanted = round(share * sum(map(len, there)))
    of_block, _ = np.divmod(order[:wanted], scores.shape[1])
    counts = np.bincount(of_block, minlength=len(scores))
    kept = []
    for row, places, count in zip(even, there, counts, strict=True):
        most = max(min(least, len(places)), min(len(places), round(count / step) * step))
        best = np.argsort(-np.where(np.isnan(row), -np.inf, row), kind="stable")[:most]
        kept.append(np.sort(best))
    return kept


def _stacked(each: Sequence[np.ndarray]) -> np.ndarray:
    longest = max(map(len, each))
    return np.stack([np.pad(one, (0, longest - len(one)), constant_values=np.nan) for one in each])
