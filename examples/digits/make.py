"""Writes digits/: scikit-learn's handwritten digits (UCI, Alpaydin and Kaynak 1998) as PNG files in folders named for their class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

HERE = Path(__file__).parent / "digits"


def main() -> None:
    """1,797 pictures of 8 × 8 pixels, enlarged to 24 × 24."""
    given = load_digits()
    for number, (pixels, label) in enumerate(zip(given.images, given.target, strict=True)):
        folder = HERE / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((pixels / 16 * 255).astype(np.uint8)).resize((24, 24), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:04d}.png")
    print(f"{len(given.target):,} pictures in {HERE}")


if __name__ == "__main__":
    main()
