"""Steps: one move in a plan. A file here is a leaf with a function `run(bundle, ctx, *, …) -> bundle`.

`TAKES` and `GIVES` are forms: "" (nothing yet), "weights" (a model to train), "graphs" (runnable files). A plan whose
forms do not chain is refused before any compute. A step whose `run` passes what else it is given on to another names that one as `ALSO`.
"""

from __future__ import annotations

from typing import Any, Protocol


class Step(Protocol):
    """One move."""

    TAKES: tuple[str, ...]
    GIVES: str

    def run(self, bundle: Any, ctx: Any, **arguments: Any) -> Any:
        """The next bundle, written below `ctx.folder`."""
        ...

    def resolve(self, arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
        """Fills in every size (epochs, batch, …) before the step starts, so that what it computes never depends on the clock."""
        ...
