"""Sartor: from labelled data and a need to a model that is proven to meet it.

Importing the package does nothing else: the two public functions import what they need when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "build", "load"]

if TYPE_CHECKING:
    from sartor.api import build
    from sartor.predict import load


def __getattr__(name: str) -> Any:
    if name == "build":
        from sartor.api import build

        return build
    if name == "load":
        from sartor.predict import load

        return load
    raise AttributeError(f"module 'sartor' has no attribute {name!r}")
