"""Training examples that a step of a plan made beside the given ones: a file of the bundle, read by the steps that come after."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sartor.data.dataset import Examples

MORE = "more.jsonl"


def write_more(folder: Path, made: Iterable[Mapping[str, Any]]) -> None:
    """made: {"row": the row of the dataset that it was made from, "inputs": {column: value}}."""
    lines = (json.dumps(one, ensure_ascii=False) for one in made)
    (folder / MORE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def with_more(examples: Examples, folder: Path) -> Examples:
    """The examples and what a bundle's steps made of them, with the targets and the groups of what each was made from."""
    file = folder / MORE
    if not file.is_file():
        return examples
    made = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    place = {int(row): number for number, row in enumerate(examples.rows)}
    made = [one for one in made if one["row"] in place]  # a learning curve sees fewer rows
    index = np.concatenate([np.arange(len(examples)), np.array([place[one["row"]] for one in made], dtype=np.int64)])
    return replace(examples[index], inputs=[*examples.inputs, *(one["inputs"] for one in made)])
