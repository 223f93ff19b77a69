"""The predictor: one path from rows to answers, used by evaluation, timing, the command line and the server alike.

decode (the modality reads each value) → collate (the backbone's processor makes a batch) → infer (the runtime runs the
graphs) → encode (the task makes answers). A row's answer never depends on the rows beside it: where the runtime cannot
promise that, rows run singly.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from sartor import bundle as bundles
from sartor import leaves
from sartor.errors import InputError, RowError, SartorError, near

MAX_BATCH = 32
MAX_PADDED = 16_384  # units (tokens, characters) in one padded batch

MOST_HELD_BYTES = 256 << 20  # of decoded media that wait for a batch
EXAMPLE_BYTES = 100_000  # of a picture or recording that a bundle keeps to try

Prepared = dict[str, Any]  # {column: value}, read by its modality


def readable(rows: Iterable[Mapping[str, Any]], inputs: Sequence[Mapping[str, str]], most: int) -> list[dict[str, Any]]:
    """The first rows, `most` at most and MOST_HELD_BYTES of media, that the modalities of the inputs read: raw data may hold others."""
    modalities = {column["name"]: leaves.load("modality", column["kind"]) for column in inputs}
    found: list[dict[str, Any]] = []
    held = 0
    for row in rows:
        try:
            for name, modality in modalities.items():
                modality.read(row[name], name)
        except RowError:
            continue
        found.append(dict(row))
        held += sum(map(_bytes_in, row.values()))
        if len(found) == most or held > MOST_HELD_BYTES:
            break
    return found


def kept(rows: Sequence[Mapping[str, Any]], inputs: Sequence[Mapping[str, str]], count: int) -> list[dict[str, Any]]:
    """So many of these rows as a bundle keeps them, spread from the shorter to the longer, neither the shortest nor the longest.

    Media of more than EXAMPLE_BYTES are made smaller by their modality.
    """
    modalities = {column["name"]: leaves.load("modality", column["kind"]) for column in inputs}
    order = sorted(range(len(rows)), key=lambda place: sum(_length(value) for value in rows[place].values()))
    step = max(1, len(rows) // (count + 2))
    chosen = [rows[place] for place in (order[step::step] or order)[:count]]

    def small(name: str, value: Any) -> Any:
        return modalities[name].smaller(value) if _bytes_in(value) > EXAMPLE_BYTES else value

    return [portable({name: small(name, value) for name, value in row.items()}) for row in chosen]


def _length(value: Any) -> int:
    return len(value) if isinstance(value, bytes | str) else 8


def _bytes_in(value: Any) -> int:
    """Of a value of media: its file, its pixels or its samples; 0 for all others."""
    if isinstance(value, bytes):
        return len(value)
    return int(getattr(value, "nbytes", 0) or getattr(getattr(value, "samples", None), "nbytes", 0))


def portable(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON holds it and `/predict` takes it: the bytes of a picture or a recording in base64."""
    return {
        name: {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
        for name, value in row.items()
    }


def withhold(answer: dict[str, Any], below: float) -> dict[str, Any]:
    """The answer, or that there is none because it is not sure enough; errors and answers without a probability stay."""
    probability = answer.get("probability")
    if probability is None or probability >= below:
        return answer
    reason = f"The likeliest answer has a probability of {probability:.4f}; the model answers from {below:.4f} on."
    return {"abstained": True, "reason": reason, "probabilities": answer.get("probabilities", {})}


def of_target(answers: Sequence[dict[str, Any]], target: str, targets: Sequence[str]) -> list[dict[str, Any]]:
    """What answers say of one of the model's targets. A row that cannot be answered has an error for each."""
    if len(targets) == 1:
        return list(answers)
    return [answer if "error" in answer else answer[target] for answer in answers]


def load(path: Path | str, *, threads: int | None = None, runtime: str | None = None, check: bool = True) -> Predictor:
    """Opens a bundle for prediction.

    threads: of the runtime; those the bundle was measured with when left out, at most this machine's cores.
    Example: `sartor.load("runs/support").predict(["where is my parcel?"])`.
    Raises: InputError `bundle.*` when it is not whole.
    """
    return Predictor(bundles.load(path, check=check), threads=threads, runtime=runtime)


class Predictor:
    """Answers rows with the model of one bundle."""

    def __init__(
        self,
        bundle: bundles.Bundle,
        *,
        threads: int | None = None,
        runtime: str | None = None,
        heads: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """heads: what the head is to have instead of what the bundle says: `scale`, which outputs are multiplied by, and
        `abstain_below`, the probability under which answers are withheld; 0 answers everything. Of several heads, {target: what its head is to have}.

        Raises: InputError `bundle.broken` when what the bundle holds cannot be opened.
        """
        try:
            self._open(bundle, threads=threads, runtime=runtime, heads=heads)
        except (SartorError, KeyboardInterrupt, SystemExit):
            raise
        except ModuleNotFoundError as error:
            raise InputError(
                "leaf.missing-package",
                feature=f"The bundle {bundle.path}",
                package=error.name,
                command="pip install 'sartor[train]'",
            ) from error
        except BaseException as error:  # a library raises anything on a broken file; tokenizers panics past Exception
            said = (str(error).splitlines() or [""])[0]
            why = (
                f"it lacks {said}"
                if isinstance(error, KeyError)
                else f"{type(error).__name__}: {said[:200].rstrip('.')}"
            )
            raise InputError("bundle.broken", path=bundle.path, why=why) from error

    def _open(
        self, bundle: bundles.Bundle, *, threads: int | None, runtime: str | None, heads: Mapping[str, Any]
    ) -> None:
        self.bundle = bundle
        self.meta = bundle.meta
        self.inputs: list[dict[str, str]] = bundle.meta["inputs"]
        several = len(bundle.meta["heads"]) > 1
        self.heads: list[dict[str, Any]] = [
            head | dict(heads.get(head["target"], {}) if several else heads) for head in bundle.meta["heads"]
        ]
        self.targets = [head["target"] for head in self.heads]
        settings = dict(bundle.meta.get("runtime") or {"name": "torch", "batch_invariant": True})
        if runtime is not None and runtime != settings["name"]:
            settings = {"name": runtime, "batch_invariant": True}
        self.batch_invariant = bool(settings["batch_invariant"])
        self.threads = threads or min(int(bundle.meta.get("threads", 1)), len(os.sched_getaffinity(0)))
        self._modality = {column["name"]: leaves.load("modality", column["kind"]) for column in self.inputs}
        self._tasks = [leaves.load("task", head["task"]) for head in self.heads]
        body = bundle.meta["backbone"]
        self.reads_files = any(leaf.WIDGET.startswith("file:") for leaf in self._modality.values())
        self._optional = bool(body.get("optional"))  # whether any of the inputs may be missing
        self.processor = leaves.load("backbone", body["leaf"]).processor(bundle.path, body)
        self._graphs = leaves.load("runtime", settings["name"]).open(bundle.path, settings, threads=self.threads)

    def predict(self, rows: Sequence[Mapping[str, Any] | str]) -> list[dict[str, Any]]:
        """One answer per row, in order; a bad row gets {"error": {"code", "message"}} and harms no other.

        Where the model takes one column, a row may be its bare value. Where it answers several targets, an answer is {target: the answer to it}.
        """
        answers: list[dict[str, Any]] = [{}] * len(rows)
        good: list[Prepared] = []
        places: list[int] = []
        held = 0

        def done() -> None:
            for indices in self.batches(good):
                for index, answer in zip(indices, self.answer([good[i] for i in indices]), strict=True):
                    answers[places[index]] = answer
            good.clear()
            places.clear()

        for place, row in enumerate(rows):
            try:
                good.append(self.prepare(row))
                places.append(place)
            except RowError as error:
                answers[place] = {"error": {"code": error.code, "message": str(error)}}
                continue
            held += sum(map(_bytes_in, good[-1].values()))
            if held > MOST_HELD_BYTES:
                done()
                held = 0
        done()
        return answers

    def prepare(self, row: Any) -> Prepared:
        """One row, checked and read.

        Raises: RowError `row.*`.
        """
        if isinstance(row, str) and len(self.inputs) == 1:
            row = {self.inputs[0]["name"]: row}
        if not isinstance(row, Mapping):
            example = "{" + ", ".join(f'"{column["name"]}": …' for column in self.inputs) + "}"
            raise RowError("row.not-object", example=example, found=type(row).__name__)
        read: Prepared = {}
        for column in self.inputs:
            name = column["name"]
            if row.get(name) is None and self._optional:
                read[name] = None
                continue
            if name not in row and not self._may_lack(name, row):
                known = ", ".join(repr(other["name"]) for other in self.inputs)
                hint = near(name, [str(key)[:200] for key in islice(row, 50)])
                raise RowError("row.missing-column", column=name, near=hint, known=known)
            read[name] = self._modality[name].read(row.get(name), name)
        if self._optional and (known := self.processor.lacking(read)):
            raise RowError("row.nothing", known=known)
        return read

    def _may_lack(self, name: str, row: Mapping[str, Any]) -> bool:
        """Whether a row may leave this column out: a cell of a table may be empty, unless its name was written wrongly."""
        known = {column["name"] for column in self.inputs}
        others = [str(key)[:200] for key in islice((key for key in row if key not in known), 50)]
        return getattr(self._modality[name], "TABULAR", False) and not near(name, others)

    def answer(self, prepared: Sequence[Prepared]) -> list[dict[str, Any]]:
        """Answers of rows that were prepared: as one batch, or singly where the runtime is not batch-invariant."""
        if not self.batch_invariant and len(prepared) > 1:
            return [self.answer([row])[0] for row in prepared]
        answers = [self._decode(task, head, output) for task, head, output in self._infer(prepared)]
        if len(self.heads) == 1:
            return answers[0]
        return [dict(zip(self.targets, row, strict=True)) for row in zip(*answers, strict=True)]

    def outputs(self, prepared: Sequence[Prepared]) -> dict[str, np.ndarray]:
        """The raw outputs of each target, for tests of parity."""
        return {head["target"]: output for _, head, output in self._infer(prepared)}

    def _infer(self, prepared: Sequence[Prepared]) -> list[tuple[Any, dict[str, Any], np.ndarray]]:
        batch = self.processor(prepared)
        done: dict[str, dict[str, np.ndarray]] = {}

        def call(graph: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            # Heads share one body: a graph asked for twice with the batch itself runs once.
            if arrays is not batch:
                return self._graphs.call(graph, arrays)  # type: ignore[no-any-return]
            if graph not in done:
                done[graph] = self._graphs.call(graph, arrays)
            return done[graph]

        return [
            (task, head, task.infer(call, batch, head["output"]))
            for task, head in zip(self._tasks, self.heads, strict=True)
        ]

    @staticmethod
    def _decode(task: Any, head: dict[str, Any], output: np.ndarray) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = task.decode(np.asarray(output) * head.get("scale", 1.0), head["spec"])
        if hasattr(task, "settled"):
            answers = [task.settled(answer, head) for answer in answers]
        below = head.get("abstain_below")
        return answers if not below else [withhold(answer, below) for answer in answers]

    def batches(self, rows: Sequence[Prepared]) -> Iterator[list[int]]:
        """Row numbers in batches of like lengths, so that nothing is padded far."""
        if not self.batch_invariant:
            yield from ([i] for i in range(len(rows)))
            return
        if not rows:
            return
        lengths = self.processor.length(rows)
        batch: list[int] = []
        for i in np.argsort(lengths, kind="stable").tolist():
            if batch and (len(batch) >= MAX_BATCH or (len(batch) + 1) * int(lengths[i]) > MAX_PADDED):
                yield batch
                batch = []
            batch.append(i)
        yield batch
