"""Finds out what each column is, and which are the inputs and the target when nobody said so.

Nothing is guessed: what could be meant in two ways is an error that names both and says how to choose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sartor import leaves
from sartor.data import cells
from sartor.data.dataset import Column, Role, Schema
from sartor.errors import InputError, Problems, near

NESTED = {b"sartor.holds": b"json"}  # metadata of a field whose values are lists or objects, written as JSON
_TARGETS = """
    label labels target targets class category intent sentiment y topic polarity emotion
    标签 类别 分类 意图 情感 情感倾向
"""
TARGET_NAMES = frozenset(_TARGETS.split())
SAMPLE = 5_000
MEDIA, HEAD = (
    200,
    8_192,
)  # values of a column of bytes that are looked at; of each, the first bytes: an MP3 is known by its second frame
_MANY = {"category": "categories", "number": "numbers", "date": "dates"}
RECOGNISED = 0.5  # from this score on a modality may call a column its own


@dataclass(frozen=True)
class _Facts:
    """What a column looks like. distinct: of `present` values that are there; an estimate where nearly all differ."""

    name: str
    kind: str
    present: int
    distinct: int
    numeric: bool
    values: tuple[Any, ...]  # a sample

    @property
    def example(self) -> str:
        return ", ".join(list(dict.fromkeys(repr(str(value)[:30]) for value in self.values))[:2])


def infer(
    table: pa.Table,
    *,
    input: str | Sequence[str] | None = None,
    target: str | Mapping[str, str | None] | None = None,
    task: str | None = None,
) -> tuple[Schema, str]:
    """The schema of a table, and the task of its target. What is given is checked, the rest is inferred.

    target: a column, or {column: its task, None where it is to be inferred} of several, which are always named; then the task is that of the
    first, and `Schema.tasks` has them all.
    Raises: InputError `schema.*`, `leaf.unknown` for a task.
    """
    wanted = [input] if isinstance(input, str) else list(input or ())
    asked = dict(target) if isinstance(target, Mapping) else {} if target is None else {target: task}
    _check_names(table, wanted, list(asked))
    facts = {name: _facts(table, name) for name in table.column_names}
    why = "it was asked for"
    if not asked:
        chosen, why = _target(facts, wanted)
        asked = {chosen: task}
    reasons = [f"Target is {name!r}: {why}." for name in asked]
    tasks = _tasks_of(facts, asked, reasons)
    inputs, why = _inputs(facts, wanted, list(tasks))
    reasons.append(f"Input is {', '.join(map(repr, inputs))}: {why}.")
    columns = []
    for name, fact in facts.items():
        role: Role = "target" if name in tasks else "input" if name in inputs else "other"
        kind = "label" if tasks.get(name) == "classify" else fact.kind
        kind = _as_input(fact, [facts[other] for other in inputs]) if role == "input" else kind
        columns.append(Column(name, kind, role))
        if role == "other":
            reasons.append(f"{name!r} is not used: {_why_unused(fact)}.")
    return Schema(tuple(columns), tuple(reasons), tasks), next(iter(tasks.values()))


def _check_names(table: pa.Table, wanted: Sequence[str], targets: Sequence[str]) -> None:
    """Every name that is not a column, at once."""
    known = table.column_names
    errors = [
        InputError("schema.unknown-column", column=name, near=_nearest(name, known), known=", ".join(map(repr, known)))
        for name in (*wanted, *targets)
        if name not in known
    ]
    errors += [InputError("schema.input-is-target", column=name) for name in targets if name in wanted]
    if errors:
        raise errors[0] if len(errors) == 1 else Problems(errors)


def _nearest(name: str, known: Sequence[str]) -> str:
    folded = {other.casefold(): other for other in known}
    return f" Did you mean {folded[name.casefold()]!r}?" if name.casefold() in folded else near(name, known)


def _facts(table: pa.Table, name: str) -> _Facts:
    column = table.column(name)
    if pa.types.is_large_binary(column.type):
        return _facts_of_media(table, name)
    present = len(column) - column.null_count
    # Among the values that are there: a few labels beside many rows without one would hardly be drawn.
    there = column.drop_null()
    if pa.types.is_large_string(there.type):
        there = there.filter(pc.not_equal(there, ""))
    rows = np.unique(np.linspace(0, max(0, len(there) - 1), min(SAMPLE, len(there))).astype(np.int64))
    sample = there.take(pa.array(rows))
    values = tuple(value for value in sample.to_pylist() if value is not None and str(value).strip())
    # Counting texts that all differ would hold each of them a second time; their share in a sample is enough.
    different = len(set(map(str, values))) / max(1, len(values))
    exact = len(values) < SAMPLE or different <= 0.5
    distinct = int(pc.count_distinct(column).as_py()) if exact else round(different * present)
    if pa.types.is_large_string(column.type) and (empty := pc.sum(pc.equal(column, "")).as_py() or 0):
        present, distinct = present - empty, max(int(present > empty), distinct - exact)
    known = [value for value in values if not cells.unknown(value)]
    numeric = len(known) > 0.5 * len(values) and all(map(cells.is_number, known))
    kind = _kind(table.schema.field(name), column, sample, values, distinct, present, numeric)
    return _Facts(name, kind, present, distinct, numeric, values)


def _facts_of_media(table: pa.Table, name: str) -> _Facts:
    """Of a column of bytes, from the beginnings of some: a value may be of many megabytes, and none is copied or read whole."""
    column = table.column(name)
    there = np.flatnonzero(pc.fill_null(pc.greater(pc.binary_length(column), 0), False).to_numpy())
    places = there[np.unique(np.linspace(0, max(0, len(there) - 1), min(MEDIA, len(there))).astype(np.int64))]
    values = tuple(bytes(memoryview(column[int(place)].as_buffer())[:HEAD]) for place in places)
    distinct = round(len(set(values)) / max(1, len(values)) * len(there))
    sample = pa.chunked_array([pa.array(values, pa.large_binary())])
    kind = _kind(table.schema.field(name), column, sample, values, distinct, len(there), numeric=False)
    return _Facts(name, kind, len(there), distinct, False, values)


def _kind(
    field: pa.Field,
    column: pa.ChunkedArray,
    sample: pa.ChunkedArray,
    values: tuple[Any, ...],
    distinct: int,
    present: int,
    numeric: bool,
) -> str:
    """A modality if one recognises the column; else few values make a category, all different ones an identifier."""
    if not values or (field.metadata or {}).get(b"sartor.holds") == b"json":
        return "unknown"
    scores = {name: float(leaves.load("modality", name).recognise(sample)) for name in leaves.names("modality")}
    best = max(scores, key=lambda name: scores[name], default="")
    if best and scores[best] >= RECOGNISED:
        return best
    whole = numeric and all(cells.number(value).is_integer() for value in values if not cells.unknown(value))
    if whole and distinct >= 0.99 * present and present > 2:
        return "identifier"
    if pa.types.is_boolean(column.type) or distinct <= max(2, min(2_000, present // 5)):
        return "number" if numeric and distinct > 20 and not pa.types.is_boolean(column.type) else "category"
    if numeric:
        return "number"
    return "identifier" if distinct >= 0.95 * present else "category"


def speaks_for_itself(kind: str) -> bool:
    """Whether columns of this kind are known by their values alone (texts, pictures), so that they are inputs unless told otherwise.

    Numbers, categories and dates are cells of a table: they are inputs where nothing else is, or where they are asked for.
    """
    return kind in leaves.names("modality") and not getattr(leaves.load("modality", kind), "TABULAR", False)


def _as_input(fact: _Facts, inputs: Sequence[_Facts]) -> str:
    """The modality of an input. Short strings that are asked for beside texts alone are meant to be read, not to be told apart."""
    if fact.numeric and fact.kind in ("category", "identifier"):
        return "number"
    if fact.kind not in ("category", "identifier"):
        return fact.kind
    read = all(other.kind in ("text", "category", "identifier") and not other.numeric for other in inputs)
    return "text" if (read and any(other.kind == "text" for other in inputs)) or len(inputs) == 1 else "category"


def _target(facts: dict[str, _Facts], wanted: Sequence[str]) -> tuple[str, str]:
    """The column with a name that targets have; else the only one whose few values stand for groups of rows.

    Raises: InputError `schema.no-target`, `schema.ambiguous-target`.
    """
    free = [fact for fact in facts.values() if fact.name not in wanted]
    called = [fact for fact in free if fact.name.strip().lower() in TARGET_NAMES]
    named = [fact for fact in called if _tasks(fact)] or called
    if len(named) == 1:
        return named[0].name, f"its name says so, and it has {named[0].distinct:,} values"
    fitting = [fact for fact in free if fact.kind in ("category", "number") and _tasks(fact) and _whole(fact)]
    # Lists often only describe a row; where nothing else can be the target, they may be it.
    lists = [fact for fact in free if fact.kind == "unknown" and fact.values and _tasks(fact)]
    candidates = named or fitting or lists
    if len(candidates) == 1:
        fact = candidates[0]
        why = "it alone has few values" if fact not in lists else "it alone holds lists of names that come again"
        return fact.name, f"{why} ({fact.distinct:,} in {fact.present:,} rows)"
    columns = ", ".join(map(repr, facts))
    if not candidates:
        raise InputError("schema.no-target", known=columns)
    listed = ", ".join(f"{fact.name!r} ({fact.distinct:,} values, such as {fact.example})" for fact in candidates[:6])
    raise InputError("schema.ambiguous-target", candidates=listed, example=candidates[0].name)


def _whole(fact: _Facts) -> bool:
    """Not a measured number: a price with cents is no class, even if few prices occur."""
    known = (value for value in fact.values if not cells.unknown(value))
    return not fact.numeric or all(cells.number(value).is_integer() for value in known)


def _tasks(fact: _Facts) -> list[str]:
    return [name for name in leaves.names("task") if _suits(leaves.load("task", name), fact)]


def _suits(leaf: ModuleType, fact: _Facts, *, asked: bool = False) -> bool:
    test = getattr(leaf, "allows", leaf.suits) if asked else leaf.suits
    return fact.present > 0 and bool(test(fact.values))


def _unsuited(fact: _Facts, tasks: Sequence[str]) -> InputError:
    wants = (f"{leaves.load('task', name).WANTS} ({name})" for name in tasks)
    return InputError(
        "schema.task-unsuited",
        column=fact.name,
        wants=", or ".join(wants),
        values=_values(fact.distinct),
        present=fact.present,
        example=fact.example or "nothing",
    )


def _tasks_of(facts: dict[str, _Facts], asked: Mapping[str, str | None], reasons: list[str]) -> dict[str, str]:
    """The task of each target; why is added to the reasons.

    Raises: InputError `schema.task-unsuited`, `schema.ambiguous-task` (all of them at once).
    """
    found: dict[str, str] = {}
    errors: list[InputError] = []
    for name, task in asked.items():
        try:
            found[name], why = _task(facts[name], task)
        except InputError as error:
            errors.append(error)
            continue
        told = f"Task of {name!r}" if len(asked) > 1 else "Task"
        reasons.append(f"{told} is {found[name]!r}: {why}.")
    if errors:
        raise errors[0] if len(errors) == 1 else Problems(errors)
    return found


def _task(fact: _Facts, task: str | None) -> tuple[str, str]:
    """Raises: InputError `schema.task-unsuited`, `schema.ambiguous-task`."""
    if task is not None:
        if not _suits(leaves.load("task", task), fact, asked=True):
            raise _unsuited(fact, [task])
        return task, "it was asked for"
    able = _tasks(fact)
    if not able:
        raise _unsuited(fact, leaves.names("task"))
    # A leaf that somebody installs must not make ambiguous what was clear before it.
    ours = [name for name in able if leaves.third_party_digest("task", name) is None] or able
    if len(ours) > 1:
        raise InputError("schema.ambiguous-task", column=fact.name, candidates=", ".join(ours), example=ours[0])
    shares = Counter(str(value) for value in fact.values)
    few = ", ".join(repr(value[:30]) for value, _ in shares.most_common(3))
    return ours[0], f"{fact.name!r} has {fact.distinct:,} values in {fact.present:,} rows, such as {few}"


def _inputs(facts: dict[str, _Facts], wanted: Sequence[str], targets: Collection[str]) -> tuple[list[str], str]:
    """Raises: InputError `schema.no-input`, `schema.input-kind` (all of them at once)."""
    modalities = leaves.names("modality")
    if wanted:
        errors = [
            InputError(
                "schema.input-kind", column=name, kind=_plural(facts[name]), known=", ".join(modalities)
            )
            for name in wanted
            if facts[name].kind == "unknown"
        ]  # fmt: skip
        if errors:
            raise errors[0] if len(errors) == 1 else Problems(errors)
        return list(wanted), "it was asked for" if len(wanted) == 1 else "they were asked for"
    found = [fact.name for fact in facts.values() if speaks_for_itself(fact.kind) and fact.name not in targets]
    if found:
        kinds = " and ".join(dict.fromkeys(facts[name].kind for name in found))
        return found, (
            f"it reads as {kinds}" if len(found) == 1 else f"they read as {kinds}, and are joined in this order"
        )
    words = [
        fact.name
        for fact in facts.values()
        if fact.name not in targets and not fact.numeric and fact.kind in ("identifier", "category")
    ]
    rest = [fact for fact in facts.values() if fact.name not in targets]
    most = max(facts[name].distinct for name in targets)
    if len(words) == 1 and len(rest) == 1 and facts[words[0]].distinct > most:
        return words, "it is the only other column, and holds words"
    cells_of = [fact.name for fact in rest if fact.kind in ("number", "category", "date") and fact.distinct > 1]
    if cells_of:
        held = Counter(_as_input(facts[name], [facts[other] for other in cells_of]) for name in cells_of)
        counted = ", ".join(f"{count} {kind if count == 1 else _MANY.get(kind, kind)}" for kind, count in held.items())
        return cells_of, f"nothing else is a text, a picture or a sound, and these are the cells of a table ({counted})"
    described = ", ".join(f"{fact.name!r} ({_plural(fact)})" for fact in rest) or "no other column"
    aims = ", ".join(map(repr, targets))
    raise InputError("schema.no-input", target=aims, found=described, known=", ".join(modalities))


def _values(count: int) -> str:
    return {0: "no value", 1: "one value"}.get(count, f"{count:,} different values")


def _plural(fact: _Facts) -> str:
    if not fact.values:
        return "nothing"
    return {"number": "numbers", "category": f"{fact.distinct:,} categories", "identifier": "identifiers"}.get(
        fact.kind, "lists or objects"
    )


def _why_unused(fact: _Facts) -> str:
    if not fact.values:
        return "it is empty"
    if fact.kind == "unknown":
        return "it holds lists or objects"
    if fact.kind == "identifier":
        return "nearly every row has its own value, as identifiers do"
    if fact.distinct <= 1:
        return "it is the same in every row"
    if speaks_for_itself(fact.kind):
        return f"it reads as {fact.kind}, but other inputs were asked for"
    reason = {
        "number": "it holds numbers",
        "category": f"it holds {fact.distinct:,} categories",
        "date": "it holds dates",
    }
    return f"{reason[fact.kind]}, and was not asked for beside what is read"
