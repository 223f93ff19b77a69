"""What of an encoder its answers miss least. Heavy half of the step `prune`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    """{"heads": [blocks, heads], "inner": [blocks, units]} of an encoder: how much the loss of a training row would change without each, to first order.

    As of `_felt`; padded with NaN where blocks differ.
    """
    names = shaping.layers_of(family, "prune")
    size = shaping.head_size(model.body.encoder)
    wide = {"heads": size, "inner": 1}
    places = {
        (number, what): Gate(block.get_submodule(name), wide[what])
        for number, block in enumerate(model.body.blocks())
        for what, name in (("heads", names[3]), ("inner", names[5]))
    }
    found = _felt(model, processor, ctx, heads, list(places.values()), rows=rows, batch_rows=batch_rows)
    told = dict(zip(places, found, strict=True))
    blocks = range(len(model.body.blocks()))
    return {what: _stacked([told[number, what] for number in blocks]) for what in wide}


def importance_of_channels(
    model: Any,
    processor: Any,
    ctx: Any,
    heads: Sequence[dict[str, Any]],
    readers: Sequence[Any],
    *,
    rows: int,
    batch_rows: int,
) -> np.ndarray:
    """[modules, channels] of what each of these modules reads; as of `_felt`, padded with NaN."""
    gates = [Gate(reader, 1, channels=True) for reader in readers]
    return _stacked(_felt(model, processor, ctx, heads, gates, rows=rows, batch_rows=batch_rows))


@dataclass
class Gate:
    """A factor of 1 on what a layer reads, one for every `wide` numbers of it, or one for each channel of its maps."""

    layer: nn.Module
    wide: int
    channels: bool = False
    factors: torch.Tensor | None = None

    def __call__(self, _layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        states = given[
            0
        ]  # [B, T, in] or [B, channels, H, W]; a gate for each row, so that gradients of rows do not cancel
        shape = (
            (len(states), states.shape[1], 1, 1) if self.channels else (len(states), 1, states.shape[-1] // self.wide)
        )
        self.factors = torch.ones(shape, device=states.device, requires_grad=True)
        spread = self.factors if self.channels else self.factors.repeat_interleave(self.wide, dim=-1)
        return (states * spread, *given[1:])

    def felt(self) -> np.ndarray:
        """The sum over rows of |gradient| at each."""
        assert self.factors is not None
        assert self.factors.grad is not None
        return self.factors.grad.flatten(1).abs().sum(0).cpu().numpy()  # type: ignore[no-any-return]


def _felt(
    model: Any,
    processor: Any,
    ctx: Any,
    heads: Sequence[dict[str, Any]],
    gates: Sequence[Gate],
    *,
    rows: int,
    batch_rows: int,
) -> list[np.ndarray]:
    """Of each gate the mean over training rows of |gradient of a row's loss at it|. Larger is more important."""
    hooks = [gate.layer.register_forward_pre_hook(gate) for gate in gates]
    model.to(device()).eval()
    moving = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in moving:
        parameter.requires_grad_(False)
    train = ctx.examples("train")
    order = np.random.default_rng(ctx.seed).permutation(len(train))[:rows]
    found: list[Any] = [0.0] * len(gates)
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
            found = [before + gate.felt() / len(order) for before, gate in zip(found, gates, strict=True)]
            ctx.progress("importance", done=min(begin + batch_rows, len(order)), total=len(order), unit="rows")
    finally:
        for one in hooks:
            one.remove()
        for parameter in moving:
            parameter.requires_grad_(True)
        model.cpu()
    return found


def chosen(importance: dict[str, np.ndarray], *, heads: float, inner: float, step: int) -> dict[str, list[np.ndarray]]:
    """{"heads": numbers kept in each block, "inner": units kept in each}: the most important ones of all blocks together.

    Of units a whole number of `step` in each block, and at least one step; of heads at least one.
    """
    return {
        "heads": _largest(importance["heads"], heads, least=1, step=1),
        "inner": _largest(importance["inner"], inner, least=step, step=step),
    }


def chosen_channels(importance: np.ndarray, *, share: float, step: int) -> list[np.ndarray]:
    """Which channels of each convolution are kept: as of `chosen`, a whole number of `step` and at least one step."""
    return _largest(importance, share, least=step, step=step)


def cut_channels(places: Sequence[tuple[Any, Any, Any, Any]], kept: Sequence[np.ndarray]) -> None:
    """Takes all channels but these out of convolutions. places: as a backbone's `channels` gives them."""
    for (before, norm, _, after), channels in zip(places, kept, strict=True):
        chosen = torch.from_numpy(channels)
        before.weight = nn.Parameter(before.weight.data[chosen].clone())
        after.weight = nn.Parameter(after.weight.data[:, chosen].clone())
        before.out_channels = after.in_channels = norm.num_features = len(channels)
        for name in ("weight", "bias"):
            setattr(norm, name, nn.Parameter(getattr(norm, name).data[chosen].clone()))
        for name in ("running_mean", "running_var"):
            setattr(norm, name, getattr(norm, name)[chosen].clone())


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
        kept.append(largest(row, max(min(least, len(places)), min(len(places), round(count / step) * step))))
    return kept


def largest(scores: np.ndarray, most: int) -> np.ndarray:
    """The places of so many of the largest scores [things], in order; NaN is nothing."""
    return np.sort(np.argsort(-np.where(np.isnan(scores), -np.inf, scores), kind="stable")[:most])


def _stacked(each: Sequence[np.ndarray]) -> np.ndarray:
    longest = max(map(len, each))
    return np.stack([np.pad(one, (0, longest - len(one)), constant_values=np.nan) for one in each])
