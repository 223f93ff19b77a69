"""A plan: a list of steps, each with its arguments and the reason for it. Checked before any compute."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sartor import leaves
from sartor.errors import InputError


@dataclass(frozen=True)
class Move:
    """One step of a plan."""

    step: str
    arguments: Mapping[str, Any]
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"step": self.step, "arguments": dict(self.arguments), "reason": self.reason}


@dataclass(frozen=True)
class Plan:
    """A named list of moves."""

    name: str
    moves: tuple[Move, ...]
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "reason": self.reason, "steps": [move.as_dict() for move in self.moves]}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Plan:
        """The plan that `as_dict` wrote, as in `plan.json`."""
        moves = tuple(Move(m["step"], dict(m.get("arguments", {})), m.get("reason", "")) for m in data["steps"])
        return Plan(str(data.get("name", "given")), moves, str(data.get("reason", "")))

    def check(self) -> None:
        """Refuses a list whose forms do not chain.

        Raises: InputError `leaf.unknown`, `plan.forms`.
        """
        form = ""
        for move in self.moves:
            step = leaves.load("step", move.step)
            if form not in step.TAKES:
                takes = " or ".join(repr(name) for name in step.TAKES)
                raise InputError("plan.forms", step=move.step, takes=takes, gives=form)
            form = step.GIVES


def keys(plan: Plan, *, made_of: Mapping[str, Any]) -> list[str]:
    """The cache key of each prefix: the hash of all that makes it.

    made_of: data fingerprint, splits, seed, threads, precision, library versions, device. The digest of Sartor's own source and
    that of every third-party leaf in use are added here.
    """
    found = []
    state = _hash([source_digest(), dict(made_of)])
    for move in plan.moves:
        leaf = move.arguments.get("leaf")
        foreign = [
            leaves.third_party_digest("step", move.step),
            leaves.third_party_digest("backbone", str(leaf)) if leaf else None,
            leaves.third_party_digest("runtime", str(move.arguments.get("runtime", ""))),
        ]
        state = _hash([state, move.step, dict(move.arguments), foreign])
        found.append(state[:32])
    return found


@lru_cache
def source_digest() -> str:
    """sha256 over the installed source of Sartor that decides what a step computes."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.parent.name == "serve" or path.name in ("page.py", "cli.py"):
            continue  # these only show what was made
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _hash(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()
