"""A plan: a list of steps, each with its arguments and the reason for it. Checked before any compute."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from sartor import leaves
from sartor.errors import InputError, near

MEMBERS = 'a list of {"inputs": names of columns, "plan": a plan}'


@dataclass(frozen=True)
class Move:
    """One step of a plan."""

    step: str
    arguments: Mapping[str, Any]
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"step": self.step, "arguments": dict(self.arguments), "reason": self.reason}

    def members(self) -> list[tuple[list[str], Plan]]:
        """The plans that the step takes, each with the inputs that it is of; none where it takes none.

        Raises: InputError `plan.argument` where they are not what `fuse` describes.
        """
        found = self.arguments.get("members", [])
        with suppress(TypeError, KeyError, AttributeError, ValueError):
            if isinstance(found, list) and all(isinstance(member["inputs"], list) for member in found):
                return [(member["inputs"], Plan.from_dict(member["plan"])) for member in found]
        raise InputError("plan.argument", step=self.step, name="members", expected=MEMBERS, found=found)


@dataclass(frozen=True)
class Plan:
    """A named list of moves."""

    name: str
    moves: tuple[Move, ...]
    reason: str = ""

    def without(self, steps: Container[str]) -> Plan:
        """The same plan with these steps left out."""
        return replace(self, moves=tuple(move for move in self.moves if move.step not in steps))

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "reason": self.reason, "steps": [move.as_dict() for move in self.moves]}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Plan:
        """The plan that `as_dict` wrote, as in `plan.json`."""
        moves = tuple(Move(m["step"], dict(m.get("arguments", {})), str(m.get("reason", ""))) for m in data["steps"])
        if not all(isinstance(move.step, str) for move in moves):
            raise TypeError("the name of a step is not a text")
        return Plan(str(data.get("name", "given")), moves, str(data.get("reason", "")))

    def check(self) -> str:
        """Refuses a list whose forms do not chain; the form that it ends with.

        Raises: InputError `leaf.unknown`, `plan.forms`.
        """
        form = ""
        for move in self.moves:
            step = leaves.load("step", move.step)
            if form not in step.TAKES:
                takes = " or ".join(repr(name) for name in step.TAKES)
                raise InputError("plan.forms", step=move.step, takes=takes, gives=form)
            form = step.GIVES
        return form

    def check_given(self) -> None:
        """Refuses what only a plan that somebody wrote can get wrong: what its steps are given, and where it ends.

        Raises: InputError as `check`, `plan.argument`, `plan.argument-unknown`, `plan.unfinished`, `backbone.*`.
        """
        gives = self.check()
        for move in self.moves:
            _check_arguments(move)
        if gives != "graphs":
            raise InputError("plan.unfinished", gives=repr(gives) if gives else "no step at all")

    def check_targets(self, targets: Sequence[str]) -> None:
        """Refuses steps and backbones of one target where there are several.

        Raises: InputError `plan.one-target`.
        """
        for move in self.moves if len(targets) > 1 else ():
            leaf = move.arguments.get("leaf", "hub") if "backbone" in move.arguments else None
            if leaf is not None and not learns_several(leaves.load("backbone", str(leaf))):
                what = f"the backbone {move.arguments['backbone']!r}"
            elif getattr(leaves.load("step", move.step), "ONE_TARGET", False):
                what = f"the step {move.step!r}"
            else:
                continue
            raise InputError("plan.one-target", what=what, targets=", ".join(map(repr, targets)))


def learns_several(backbone: Any) -> bool:
    """Whether a body learns several targets at once: heads on what it computes do, a body that fits its own outputs must say how."""
    return backbone.TRAINS == "gradient" or hasattr(backbone, "fit_heads")


_KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}


def _check_arguments(move: Move) -> None:
    """Those that the step names in its signature; what it takes beside them it checks itself."""
    step = leaves.load("step", move.step)
    parameters = dict(inspect.signature(step.run).parameters)
    also = getattr(step, "ALSO", None)
    open_ended = also is None and any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    if also is not None:
        parameters |= inspect.signature(leaves.load("step", also).run).parameters
    named = {name: one for name, one in parameters.items() if one.kind is inspect.Parameter.KEYWORD_ONLY}
    for name, value in move.arguments.items():
        if name not in named and not open_ended:
            known = ", ".join(named) or "nothing"
            raise InputError("plan.argument-unknown", step=move.step, name=name, near=near(name, named), known=known)
        kind = str(named[name].annotation) if name in named else ""
        wrong = kind in _KINDS and (not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != "bool"))
        if wrong or (isinstance(value, float) and not math.isfinite(value)):
            raise InputError(
                "plan.argument", step=move.step, name=name, expected=kind or "a finite number", found=value
            )
    if "backbone" in named:
        ref, leaf = move.arguments.get("backbone"), str(move.arguments.get("leaf", "hub"))
        if ref is None:
            expected = "the name of a backbone"
            raise InputError("plan.argument", step=move.step, name="backbone", expected=expected, found=ref)
        body = leaves.load("backbone", leaf)
        if hasattr(body, "find"):
            body.find(str(ref))
    if "runtime" in move.arguments:
        runtime = leaves.load("runtime", str(move.arguments["runtime"]))
        if not getattr(runtime, "OF_ONE_MODEL", True):
            expected, name = "a runtime of one model's graphs", move.arguments["runtime"]
            raise InputError("plan.argument", step=move.step, name="runtime", expected=expected, found=name)
    if "members" in named and not move.members():
        raise InputError("plan.argument", step=move.step, name="members", expected=MEMBERS, found="none")
    for _, member in move.members():
        member.check()
        for inner in member.moves:
            _check_arguments(inner)


def keys(plan: Plan, *, made_of: Mapping[str, Any]) -> list[str]:
    """The cache key of each prefix: the hash of all that makes it.

    made_of: data fingerprint, splits, seed, threads, precision, library versions, device. The digest of Sartor's own source and
    that of every third-party leaf in use are added here, those of the plans that a step takes as well.
    """
    found = []
    state = _hash([source_digest(), dict(made_of)])
    for move in plan.moves:
        leaf = move.arguments.get("leaf")
        foreign = [
            leaves.third_party_digest("step", move.step),
            leaves.third_party_digest("backbone", str(leaf)) if leaf else None,
            leaves.third_party_digest("runtime", str(move.arguments.get("runtime", ""))),
            *(keys(member, made_of={})[-1:] for _, member in move.members()),
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
