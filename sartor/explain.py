"""Explaining one answer: how much each part of the row carries it, by leaving that part out (Zeiler and Fergus 2014, section 2.2).

The parts are answered by the same predictor that serves, so what is explained is what is deployed.
"""

from __future__ import annotations

import math
from typing import Any

from sartor import leaves
from sartor.errors import InputError, near, printable
from sartor.predict import Predictor, of_target

MOST_PARTS = 400


def explain(predictor: Predictor, row: Any, *, target: str | None = None) -> dict[str, Any]:
    """`{"answer", "parts": [{"column", "begin", "end", "text", "weight"}]}`; of several targets also the `target` whose answer it is.

    target: which answer is explained, where the model answers several targets. weight: by how much the log-odds of what is answered fall when the
    part is left out; negative when the part spoke against it. Of a number: by how much that falls, in the target's unit. Of any other answer without
    a probability: 1 where it changes, else 0.
    Raises: RowError `row.*`; InputError `explain.target` where it is not said which answer, or there is none of that name.
    """
    head = _head(predictor, target)
    if isinstance(row, str) and len(predictor.inputs) == 1:
        row = {predictor.inputs[0]["name"]: row}
    prepared = predictor.prepare(row)
    found: list[dict[str, Any]] = []
    for column in predictor.inputs:
        name = column["name"]
        modality, value = leaves.load("modality", column["kind"]), prepared[name]
        for begin, end in modality.parts(value)[:MOST_PARTS]:
            text = modality.part_text(value, begin, end) if hasattr(modality, "part_text") else str(value[begin:end])
            found.append({"column": name, "begin": begin, "end": end, "text": text})
    modalities = {column["name"]: leaves.load("modality", column["kind"]) for column in predictor.inputs}

    def without(part: dict[str, Any]) -> dict[str, Any]:
        name = part["column"]
        return prepared | {name: modalities[name].leave_out(prepared[name], part["begin"], part["end"])}

    def answers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return of_target(predictor.answer(rows), head["target"], predictor.targets)

    answer = answers([prepared])[0]
    task = leaves.load("task", head["task"])
    before = _support(task, answer, answer)
    size = 4 if predictor.reads_files else 32  # pictures and recordings may be large
    for first in range(0, len(found), size):
        parts = found[first : first + size]
        for part, other in zip(parts, answers([without(part) for part in parts]), strict=True):
            part["weight"] = round(before - _support(task, answer, other), 6)
    named = {"target": head["target"]} if len(predictor.heads) > 1 else {}
    return named | {"answer": answer, "parts": found}


def _head(predictor: Predictor, target: str | None) -> dict[str, Any]:
    """The head whose answer is to be explained.

    Raises: InputError `explain.target`.
    """
    known = predictor.targets
    if target is None and len(known) == 1:
        return predictor.heads[0]
    if target not in known:
        said = "None is named." if target is None else f"There is no {target!r}.{near(target, known)}"
        raise InputError("explain.target", said=said, known=", ".join(map(repr, known)))
    return predictor.heads[known.index(target)]


def as_text(found: dict[str, Any]) -> Any:
    """The row in colour: green carried the answer, red spoke against it; then the strongest parts with their weights."""
    from rich.text import Text

    parts = found["parts"]
    strongest = max((abs(part["weight"]) for part in parts), default=0.0) or 1.0
    shown = Text(f"{printable(_told(found['answer']))}\n\n", style="bold")
    for part in parts:
        share = part["weight"] / strongest
        style = "" if abs(share) < 0.1 else ("green" if share > 0 else "red") + (" bold" if abs(share) > 0.5 else "")
        shown.append(printable(part["text"]), style=style)
        shown.append("" if _dense(part["text"]) else " ")
    shown.append("\n\n")
    for part in sorted(parts, key=lambda part: -abs(part["weight"]))[:10]:
        shown.append(f"{part['weight']:+8.3f}  {printable(part['text'])}\n")
    return shown


def _support(task: Any, answer: dict[str, Any], other: dict[str, Any]) -> float:
    """How strongly `other` holds to what `answer` says: where several classes hold, the sum of theirs; where none does, that the likeliest does not."""
    if "labels" in answer and "probabilities" in other:
        told = answer["probabilities"]
        named = answer["labels"] or [max(told, key=lambda name: told[name])]
        whole = sum(_log_odds(other["probabilities"][name]) for name in named)
        return whole if answer["labels"] else -whole
    if answer.get("label") in other.get("probabilities", {}):
        return _log_odds(other["probabilities"][answer["label"]])
    if isinstance(answer.get("value"), int | float):
        return float(other["value"])
    same = bool(task.same(answer, other))
    if "probability" in other:
        return _log_odds(other["probability"] if same else 1 - other["probability"])
    return float(same)


def _told(answer: dict[str, Any]) -> str:
    if "label" in answer:
        return f"{answer['label']}  {answer['probability']:.4f}"
    if "labels" in answer:
        return (
            ", ".join(f"{name} {answer['probabilities'][name]:.4f}" for name in answer["labels"])
            or "none of the classes"
        )
    return "  ".join(
        f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}" for name, value in answer.items()
    )


def _log_odds(probability: float) -> float:
    inside = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(inside / (1 - inside))


def _dense(text: str) -> bool:
    return any(character > "⺀" for character in text)
