"""Sartor: from labelled data and a need to a model that is proven to meet it.

Importing the package does nothing else: `load` imports what it needs when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from sartor.predict import load


def __getattr__(name: str) -> Any:
    if name == "load":
        from sartor.predict import load

        return load
    raise AttributeError(f"module 'sartor' has no attribute {name!r}")
