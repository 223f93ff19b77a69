"""Sartor: from labelled data and a need to a model that is proven to meet it.

Importing the package does nothing else: `build` and `load` import what they need when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "build", "load"]

if TYPE_CHECKING:
    from sartor.bundle import Bundle
    from sartor.predict import load


def build(
    data: Any,
    *,
    out: Path | str,
    needs: Sequence[str] = (),
    cache: Path | None = None,
    events: Callable[[dict[str, Any]], None] | None = None,
    **given: Any,
) -> Bundle:
    """From data and needs to a bundle in `out` that is proven to meet them, or an honest account of why not.

    data: what needs.yaml takes as `data`. given: its other keys, such as target, budget, hardware, backbone, seed.
    Example: `sartor.build("reviews.csv", target="label", needs=["accuracy >= 0.9"], budget="20m", out="runs/reviews")`.
    Raises: sartor.errors.InputError with everything that is wrong, before any compute.
    """
    from sartor import line
    from sartor import needs as need_files
    from sartor.events import silent

    return line.build(need_files.make(data=data, needs=list(needs), **given), out, cache=cache, events=events or silent)


def __getattr__(name: str) -> Any:
    if name == "load":
        from sartor.predict import load

        return load
    raise AttributeError(f"module 'sartor' has no attribute {name!r}")
