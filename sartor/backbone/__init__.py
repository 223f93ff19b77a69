"""Backbones: bodies with one contract. A file here is a leaf.

The serving half of a leaf is `processor`: it opens what `start` wrote and turns inputs into arrays without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Card:
    """A known checkpoint: what the planner may choose without being told."""

    name: str  # as given to --backbone
    leaf: str
    takes: str  # modality
    languages: tuple[str, ...]  # BCP 47, or ("*",)
    licence: str
    source: str
    size_bytes: int
    parameters: int
    note: str = ""


class Processor(Protocol):
    """Inputs to arrays, the same in training and in serving.

    `axes`, {array: {axis: name}}, says which may have any length; batch and length, the first two, where it is left out.
    """

    def __call__(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """A batch: arrays that share their first axis, padded no further than the longest of the batch."""
        ...

    def length(self, inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """The cost of each input in the body's own units (tokens, n-grams), for buckets and budgets: [n]."""
        ...


class TrainedProcessor(Processor, Protocol):
    """What a body that is trained by gradients asks of its processor besides: inputs are encoded once and padded per batch.

    It may also have `augmented(encoded, rng) -> batch`: as `padded`, but changed at random in ways that leave the answer as it is; only
    training asks for it. rng: a numpy Generator. Which ways these are for the labels at hand, `survived(encoded, codes) -> {change: bool}` of the
    leaf says, and they become its `changes`.
    """

    batch_units: int  # of a padded batch that a forward pass does fastest

    def encode(self, inputs: Any) -> list[Any]:
        """Every input as the body takes it but for padding, kept during training."""
        ...

    def costs(self, encoded: Sequence[Any]) -> np.ndarray:
        """The cost of each in the body's own units [n] int64, as `length` says it of inputs."""
        ...

    def padded(self, encoded: Sequence[Any]) -> dict[str, np.ndarray]:
        """A batch of what `encode` gave, padded no further than its longest."""
        ...


class Backbone(Protocol):
    """A body: what it takes, how it is started, how it is processed for.

    With TRAINS = "gradient" it also has a TrainedProcessor, `flops(ref, profile)` (of one input's forward pass, for forecasts),
    `resolve_options(ref, columns=, inputs=) -> (options, notes)` (what `start` is to be given that hangs on the training inputs, such as the
    longest one that is read; and what is told of it), `base_weights(meta)` (the checkpoint's tensors by the body's names) where `start` says
    `owns_weights: False`, and `TRAINING`, arguments of the step `train` that suit it. With PRETRAINED = False its features mean nothing before it
    is trained. With TRAINS = "fit" it has `fit(folder, meta, inputs, targets, task=, spec=, choose=, seed=) -> (body, meta, what was
    chosen)` and `seconds(profile)`, what that takes; where it learns several targets at once, also `fit_heads(folder, meta, heads) -> (body, {output:
    module}, meta)`, heads being those of `bundle.json`. `OPENS` names modules that take long to open, where `body` needs such: they are opened once for
    all steps of a build (`sartor/forkserver.py`).
    """

    TAKES: tuple[str, ...]  # modalities
    TRAINS: str  # "gradient": `body` has parameters to tune; "fit": the leaf brings `fit`
    PRETRAINED: bool  # of a body that is trained by gradients
    TRAINING: Mapping[str, Any]

    def cards(self) -> list[Card]:
        """Checkpoints that are usable here and now."""
        ...

    def start(self, ref: str, folder: Path, *, columns: Sequence[str], inputs: Any, seed: int, **options: Any) -> dict:
        """Writes processor and configuration below `folder`; returns the JSON that `body` and `processor` are given back."""
        ...

    def processor(self, folder: Path, meta: Mapping[str, Any]) -> Processor:
        """Opens the processor of a bundle. No torch."""
        ...

    def body(self, folder: Path, meta: Mapping[str, Any]) -> Any:
        """The `nn.Module`: forward(**batch) -> features [B, width]; `.width`; `.blocks()` from input to output."""
        ...
