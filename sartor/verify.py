"""Verifying: the contract of a bundle measured again, here and now. Light half: an ONNX bundle is verified without torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sartor import bundle as bundles
from sartor import leaves, ledger
from sartor import measure as measuring
from sartor import needs as need_files
from sartor import report as reports
from sartor.data import read, split
from sartor.data.dataset import Examples, check_column, texts_of
from sartor.data.target import examples as examples_of
from sartor.errors import InputError
from sartor.events import Events, silent
from sartor.ledger import Look
from sartor.report import Key, Report, Value, exit_code


def verify(path: Path | str, data: str | None = None, *, events: Events = silent) -> dict[str, Any]:
    """The needs of a bundle judged again: `{"exit", "needs", "values", "environment", "data"}` as in report.json.

    data: a file whose rows all judge, which is a look at them; the bundle's own test rows when left out, drawn again from the data that
    it was built from and judged as strictly as then.
    Raises: InputError `bundle.*`, `verify.no-data`, `verify.data-changed`, `verify.no-class`.
    """
    path = Path(path)
    bundle = bundles.load(path)
    if not (path / "needs.yaml").is_file():
        raise InputError("verify.no-needs", path=path)
    needs = need_files.load(path / "needs.yaml")
    examples, leaked, slices, source = rows_to_judge(bundle, data, needs)
    look = _look(bundle, examples if data is not None else None)
    report, _ = measuring.measure(
        bundle,
        examples,
        needs,
        effort=measuring.FULL,
        leaked=leaked,
        slices=slices,
        confidence=look.level(needs.confidence),
        claimed=_claims_of_the_build(path),
        events=events,
    )
    report.add(_facts_of_the_build(path))
    judged = need_files.verdicts(needs, report)
    return {
        "exit": exit_code(judged),
        "needs": [verdict.as_dict() for verdict in judged],
        "values": [value.as_dict() for value in report.values],
        "look": look.as_dict(),
        "environment": report.environment,
        "data": {"source": source, "rows": len(examples)},
    }


def rows_to_judge(
    bundle: bundles.Bundle, data: str | None, needs: need_files.Needs
) -> tuple[Examples, np.ndarray | None, dict[str, list[str | None]], str]:
    """(examples, which of them training saw, the columns that needs slice by, where the rows are from)."""
    targets = {head["target"]: head["task"] for head in bundle.meta["heads"]}
    if data is not None:
        inputs = [column["name"] for column in bundle.meta["inputs"]]
        dataset = read.read(data, input=inputs, target=targets)
        rows = split.usable_rows(dataset, target=targets)
        if needs.group is not None:
            check_column(dataset, needs.group)
        examples = examples_of(dataset, rows, targets, group=needs.group)
        for head in bundle.meta["heads"]:
            _check_classes(bundle, head, examples, dataset.source)
        return examples, None, texts_of(dataset, examples.rows, needs.sliced_by), dataset.source
    try:
        dataset = read.read(needs.data, input=needs.input, target=needs.target, task=needs.task)
    except InputError as error:
        if error.code == "data.not-found":
            raise InputError("verify.no-data", path=bundle.path, source=needs.data) from None
        raise
    known = str(bundle.meta["fingerprint"])
    if dataset.fingerprint != known:
        raise InputError(
            "verify.data-changed",
            path=bundle.path,
            source=dataset.source,
            found=dataset.fingerprint[:12],
            known=known[:12],
        )
    splits = split.for_needs(dataset, needs, target=targets)
    examples = examples_of(dataset, splits.test, targets, group=splits.group)
    if bundle.meta.get("test", "") not in ("", ledger.fingerprint(examples)):
        raise InputError("verify.split-changed", path=bundle.path, version=bundle.meta.get("sartor", "?"))
    slices = texts_of(dataset, examples.rows, needs.sliced_by)
    return examples, np.isin(examples.rows, splits.leaked), slices, dataset.source


def _check_classes(bundle: bundles.Bundle, head: dict[str, Any], examples: Examples, source: str) -> None:
    """Raises: InputError `verify.no-class` where the rows have none of the classes of a head."""
    known = head["spec"].get("classes", [])
    found = leaves.load("task", head["task"]).learn(examples.targets[head["target"]])["classes"] if known else []
    if known and not set(known) & set(found):
        raise InputError(
            "verify.no-class",
            target=head["target"],
            source=source,
            path=bundle.path,
            found=", ".join(map(repr, found[:3])) or "nothing",
            known=", ".join(map(repr, known[:40])),
        )


def _look(bundle: bundles.Bundle, examples: Any | None) -> Look:
    """Which look this is: at other examples a new one of the ledger's, at the bundle's own test rows the one that its report tells of."""
    if examples is not None:
        return ledger.look(ledger.fingerprint(examples), bundle.model, name=str(bundle.meta.get("name", "")))
    told = reports.read(bundle.path).get("look") if (bundle.path / "report.json").is_file() else None
    return Look(**(told or {"number": 1, "of": 1}))


def _values_of_the_build(path: Path) -> list[Value]:
    return Report.from_dict(reports.read(path)).values if (path / "report.json").is_file() else []


def _claims_of_the_build(path: Path) -> dict[Key, float]:
    """What each value was said to stay below."""
    return {value.key: value.high for value in _values_of_the_build(path) if value.high is not None}


def _facts_of_the_build(path: Path) -> list[Value]:
    """What only the build could measure: how long training took."""
    values = _values_of_the_build(path)
    return [replace(value, note="Measured when it was built.") for value in values if value.key == Key("training_time")]
