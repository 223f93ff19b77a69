"""The runtime of a cascade: the graphs of its members, each asked for the rows that those before it were not sure of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor import leaves

NEEDS_TORCH = False
OF_ONE_MODEL = False  # so no `export` writes it
FOLDER = "members"


def open(folder: Path, meta: Mapping[str, Any], *, threads: int) -> CascadeGraphs:
    """Opens the graphs of all members, each by its own runtime."""
    graphs = [
        leaves.load("runtime", one["name"]).open(folder / FOLDER / str(place), one, threads=threads)
        for place, one in enumerate(meta["members"])
    ]
    return CascadeGraphs(
        graphs, meta["scales"], meta["sure"], [bool(one["batch_invariant"]) for one in meta["members"]]
    )


class CascadeGraphs:
    """Members in the order in which they are asked."""

    def __init__(
        self, graphs: Sequence[Any], scales: Sequence[float], sure: Sequence[float], invariant: Sequence[bool]
    ) -> None:
        """scales: of each member's outputs, which are log-odds of classes then. sure: the probability from which on each but the last answers."""
        self.graphs, self.scales, self.sure, self.invariant = list(graphs), list(scales), list(sure), list(invariant)

    def call(self, graph: str, arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The outputs of every row, by the first member that is sure of it."""
        rows, processors = arrays["rows"], arrays["processors"]
        left = np.arange(len(rows))
        found: dict[str, np.ndarray] = {}
        for place, (graphs, processor) in enumerate(zip(self.graphs, processors, strict=True)):
            told = self._asked(place, graphs, processor, [rows[i] for i in left])
            for name, output in told.items():
                scaled = output * np.float32(self.scales[place])
                found.setdefault(name, np.zeros((len(rows), *output.shape[1:]), dtype=np.float32))[left] = scaled
            if place == len(self.graphs) - 1:
                break
            (output,) = told.values()
            left = left[likeliest(output * self.scales[place]) < self.sure[place]]
            if not len(left):
                break
        return found

    def _asked(self, place: int, graphs: Any, processor: Any, rows: Sequence[Any]) -> dict[str, np.ndarray]:
        """What a member says of some rows; singly where what it says would hang on the others."""
        if self.invariant[place] or len(rows) == 1:
            return graphs.call("forward", processor(rows))  # type: ignore[no-any-return]
        each = [graphs.call("forward", processor([row])) for row in rows]
        return {name: np.concatenate([one[name] for one in each]) for name in each[0]}


def likeliest(outputs: np.ndarray) -> np.ndarray:
    """The probability of the likeliest class [n], of logits [n, classes]."""
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return np.asarray(1 / shifted.sum(axis=1))


def write(model: Any, folder: Path, *, sample: Mapping[str, np.ndarray], **options: Any) -> dict[str, Any]:
    """Nothing to write: the step `cascade` puts its members' own graphs below the bundle."""
    raise NotImplementedError("a cascade is made by the step cascade")
