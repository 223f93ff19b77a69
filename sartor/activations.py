"""Activations below frozen blocks, computed once for every example and kept while the blocks above are trained. Heavy half.

With the lower blocks fixed their states for an example are the same in every epoch (as in Liu et al. 2021, AutoFreeze, section 3.3). They are kept in float32, so that
what is trained on them differs from training without them by rounding alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sartor.data.batch import batches
from sartor.device import autocast, tensor, tensors

MOST_BYTES = 8 << 30  # of one file of states


class Kept:
    """States of examples at the entrance of one block: [sum of lengths, size] in a file that is read where it lies."""

    def __init__(self, file: Path, lengths: np.ndarray, size: int, *, several: bool) -> None:
        """lengths [n]: states of each example. several: whether a block gives its states as the first of several things."""
        self.ends = np.cumsum(lengths)
        self.lengths, self.size, self.several = lengths, size, several
        total = int(self.ends[-1]) if len(lengths) else 0
        self.states = np.memmap(file, np.float32, "w+", shape=(max(1, total), size))

    def write(self, position: int, states: np.ndarray) -> None:
        """Those of one example [its length, size]."""
        end = int(self.ends[position])
        self.states[end - len(states) : end] = states

    def padded(self, positions: np.ndarray) -> torch.Tensor:
        """Of these examples [B, T, size], with zeros after the shorter ones."""
        longest = int(self.lengths[positions].max())
        made = np.zeros((len(positions), longest, self.size), dtype=np.float32)
        for row, position in enumerate(positions):
            end, length = int(self.ends[position]), int(self.lengths[position])
            made[row, :length] = self.states[end - length : end]
        return tensor(made)


def refused(body: Any, *lengths: np.ndarray) -> str:
    """Why what the blocks of a body give is not kept; nothing where it can be. lengths: tokens of each example, of every file."""
    if not hasattr(body, "embedded"):
        return "only what encoders of text give is kept"
    most = max(int(one.sum()) for one in lengths) * int(body.width) * 4
    return f"it would take {most / 1e9:.1f} GB" if most > MOST_BYTES else ""


def keep(
    model: Any,
    processor: Any,
    encoded: Sequence[Any],
    file: Path,
    *,
    above: int,
    bf16: bool,
    progress: Callable[[int, int], None],
) -> Kept:
    """The states of every example before the last `above` blocks. model: with a body of blocks that follow each other, whose states are [B, T, size]."""
    before = model.body.blocks()[-above - 1]
    lengths = processor.costs(encoded)
    seen: list[Any] = []
    hook = before.register_forward_hook(lambda _module, _given, gives: seen.append(gives))
    kept: Kept | None = None
    done = 0
    try:
        with torch.inference_mode(), autocast(bf16):
            for places in batches(
                lengths, seed=0, epoch=0, batch_rows=max(1, len(encoded)), batch_units=processor.batch_units
            ):
                seen.clear()
                batch = processor.padded([encoded[i] for i in places])
                model.body(**tensors(batch))
                several = isinstance(seen[0], tuple)
                states = (seen[0][0] if several else seen[0]).float().cpu().numpy()
                kept = kept or Kept(file, lengths, states.shape[-1], several=several)
                for place, row in zip(places, states, strict=True):
                    kept.write(place, row[: int(lengths[place])])
                done += len(places)
                progress(done, len(encoded))
    finally:
        hook.remove()
    assert kept is not None
    return kept


class Recall:
    """What stands in place of the lower blocks of a body: the states of the examples that are looked at."""

    def __init__(self) -> None:
        self.states: torch.Tensor | None = None

    def at(self, kept: Kept, positions: np.ndarray) -> None:
        """The next forward pass is of these examples, in this order."""
        self.states = kept.padded(positions)


class _Passed(nn.Module):
    """In place of a block: gives what it is given, or what was kept where it stands before the first that works."""

    def __init__(self, recall: Recall | None, several: bool) -> None:
        super().__init__()
        self.recall, self.several = recall, several

    def forward(self, *given: Any, **named: Any) -> Any:
        """The states, in the form in which the block gives them."""
        states = self.recall.states if self.recall else (given[0] if given else named["hidden_states"])
        return (states,) if self.several else states


@contextmanager
def recalled(body: Any, *, above: int, several: bool) -> Iterator[Recall]:
    """Within, all blocks of a body but the last `above` are out of it, and those get the states that are told."""
    lower, recall = body.blocks()[:-above], Recall()
    homes = [_home(body, block) for block in lower]
    try:
        for number, (parent, name) in enumerate(homes, start=1):
            setattr(parent, name, _Passed(recall if number == len(homes) else None, several))
        yield recall
    finally:
        for (parent, name), block in zip(homes, lower, strict=True):
            setattr(parent, name, block)


def _home(body: nn.Module, wanted: nn.Module) -> tuple[nn.Module, str]:
    """(the module that holds another, and under which name)."""
    for parent in body.modules():
        for name, module in parent.named_children():
            if module is wanted:
                return parent, name
    raise LookupError("the block is not in its body")
