"""A cascade: a cheap model answers what it is sure of, a larger one the rest (Viola and Jones 2001; Varshney and Baylor 2022). Made by the step `cascade`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor import leaves
from sartor.backbone import Card

TAKES: tuple[str, ...] = ()  # it reads through its members, whatever these take
TRAINS = "fused"  # its members were trained already
FOLDER = "members"


def cards() -> list[Card]:
    """None: what is put in a row is for the planner to say."""
    return []


def start(ref: str, folder: Path, *, columns: Sequence[str], inputs: Any, seed: int, **options: Any) -> dict[str, Any]:
    """The step `cascade` starts it: its members are whole already."""
    raise NotImplementedError("a cascade begins with the step cascade")


def body(folder: Path, meta: Mapping[str, Any]) -> Any:
    """None: which member answers is decided row by row, outside of any graph."""
    raise NotImplementedError("a cascade runs the graphs of its members")


def processor(folder: Path, meta: Mapping[str, Any]) -> CascadeProcessor:
    """Opens the processors of all members."""
    return CascadeProcessor(
        [
            leaves.load("backbone", member["leaf"]).processor(folder / FOLDER / str(place), member)
            for place, member in enumerate(meta["members"])
        ]
    )


class CascadeProcessor:
    """Leaves the rows as they are: the larger model reads only those that reach it."""

    def __init__(self, members: Sequence[Any]) -> None:
        self.members = list(members)

    def __call__(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The rows [B], for `sartor.runtime.cascade`."""
        return {"rows": list(inputs), "processors": self.members}

    def lacking(self, row: Mapping[str, Any]) -> str:
        """What the first member that has nothing to go by would read; nothing where all have something. Asked where every member is a fusion."""
        return next((told for member in self.members if (told := member.lacking(row))), "")

    def length(self, inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """What the largest member reads of each input [n]."""
        return np.asarray(self.members[-1].length(inputs))
