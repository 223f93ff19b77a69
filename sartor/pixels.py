"""Pictures of one size: what bodies read of them, the same in training and in serving. The server uses this file, so it imports no torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from sartor.leaves import need_package

HOW = ("nearest", "bilinear", "bicubic", "lanczos")


def resized(pixels: np.ndarray, width: int, height: int, *, how: str = "bilinear") -> np.ndarray:
    """A picture [h, w, 3] uint8 brought to [height, width, 3]; where it shrinks, every pixel is a mean of those that it stands for."""
    if pixels.shape[:2] == (height, width):
        return pixels
    image: Any = need_package("PIL.Image", feature="Reading pictures", extra="image")
    scale = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}[how]  # the numbers of Pillow's `Resampling`
    return np.asarray(image.fromarray(pixels).resize((width, height), scale))
