"""Where training computes: on the graphics card where there is one, else on the processor. Heavy half.

What is exported, measured and served runs on the processor in any case: that is what needs speak of.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from sartor import hardware


@lru_cache
def device() -> torch.device:
    """CUDA's, unless there is none or `SARTOR_DEVICE=cpu`."""
    return torch.device("cuda" if hardware.accelerator() and torch.cuda.is_available() else "cpu")


def tensor(array: np.ndarray) -> torch.Tensor:
    """An array there."""
    made = torch.from_numpy(array)
    return made if device().type == "cpu" else made.to(device())


def tensors(batch: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The arrays of a batch there."""
    return {name: tensor(array) for name, array in batch.items()}


def autocast(bf16: bool) -> Any:
    """Products in bfloat16 within, where asked."""
    return torch.autocast(device().type, torch.bfloat16, enabled=bf16)
