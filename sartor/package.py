"""Packaging: the winner becomes a bundle of its own, is judged as it will be deployed, and gets its report and model card."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from sartor import __version__, bundle, ledger, page
from sartor import needs as need_files
from sartor.bundle import Bundle
from sartor.data import examples
from sartor.data.dataset import Dataset, Finding, Splits
from sartor.data.target import examples as examples_of
from sartor.front import Candidate, Front
from sartor.ledger import Look
from sartor.measure import DOUBTED, LEAKED
from sartor.needs import Needs
from sartor.predict import kept, readable
from sartor.report import SCHEMA, Report, Verdict, brief, exit_code, percent_of_confidence

BESIDE = {LEAKED: "with the leaked rows", DOUBTED: "without the doubtful rows"}
EXAMPLES = 8  # rows that the page offers to try


def stage(chosen: Candidate, needs: Needs, dataset: Dataset, splits: Splits, *, name: str, target: Path) -> Bundle:
    """The bundle as it will be deployed, before it is judged: what is measured is what is shipped, to the byte."""
    built = bundle.load(chosen.bundle)
    body = built.meta["backbone"]
    targets = {head["target"]: head["task"] for head in built.meta["heads"]}
    judging = examples_of(dataset, splits.test, targets)
    with bundle.writing(target) as folder:
        rows = examples_of(dataset, splits.valid[: 40 * EXAMPLES], targets)
        tried = kept(readable(rows.inputs, built.meta["inputs"], most=len(rows)), built.meta["inputs"], EXAMPLES)
        meta = built.meta | {
            "name": name,
            "threads": needs.threads,
            "examples": tried or built.meta.get("examples", []),
            "fingerprint": dataset.fingerprint,
            "test": ledger.fingerprint(judging),
            "sartor": __version__,
        }
        settled = chosen.settled if chosen.targets else dict.fromkeys(targets, chosen.settled)
        meta["heads"] = [head | settled[head["target"]] for head in meta["heads"]]
        if not body.get("owns_weights") or "adapter" in body:
            # A cached prefix holds what it has beside its base weights; what leaves the house holds all, so that transformers can load it.
            from sartor import model

            meta["backbone"] = model.save(model.load(built.path), folder, body, whole=True)
        # An adapter that became part of the weights is not beside them any more, and examples that were made stay in the house.
        bundle.link(built, folder, leave=["bundle.json", "step.json", "adapter.safetensors", examples.MORE])
        bundle.write_json(folder / "bundle.json", meta)
        bundle.write_json(folder / "plan.json", chosen.plan.as_dict())
        (folder / "needs.yaml").write_text(need_files.dump(_absolute(needs)), encoding="utf-8")
    return bundle.load(target, check=False)


def finish(staged: Bundle, record: dict[str, Any], *, target: Path, out: Path) -> Bundle:
    """Adds report, page and model card, and puts the whole into `out`."""
    with bundle.writing(target) as folder:
        bundle.link(staged, folder)
        bundle.write_json(folder / "report.json", record)
        (folder / "report.html").write_text(page.render(record), encoding="utf-8")
        (folder / "README.md").write_text(card(record, staged.meta), encoding="utf-8")
    return bundle.place(target, out)


def report_record(
    *,
    name: str,
    created: str,
    needs: Needs,
    verdicts: list[Verdict],
    front: Front,
    chosen: Candidate,
    report: Report,
    look: Look,
    baseline: dict[str, Any] | None,
    findings: list[Finding],
    dataset: Dataset,
    splits: Splits,
    growth: dict[str, Any] | None = None,
    relaxations: dict[str, Any] | None = None,
    time: Mapping[str, Any],
    command: str,
) -> dict[str, Any]:
    """report.json: everything that the page, a program or an auditor may ask of a build."""
    tasks = dict(dataset.schema.tasks)
    return {
        "schema": SCHEMA,
        "sartor": __version__,
        "name": name,
        "created": created,
        "exit": exit_code(verdicts),
        "needs": [verdict.as_dict() for verdict in verdicts],
        "look": look.as_dict(),
        "chosen": chosen.id,
        "reason": front.reason(chosen),
        "primary": {"measure": front.primary.measure, "better": "lower" if front.primary_low else "higher"},
        "candidates": [candidate.as_dict() for candidate in front.found],
        "findings": [finding.as_dict() for finding in findings],
        "data": {
            "source": dataset.source,
            "rows": len(dataset),
            "splits": splits.sizes(),
            "rule": splits.rule,
            "fingerprint": dataset.fingerprint,
            "target": tasks if len(tasks) > 1 else next(iter(tasks)),
            "inputs": [column.name for column in dataset.schema.inputs],
            "classes": _classes(chosen),
            "notes": [*dataset.notes, *dataset.schema.reasons],
            "set_aside": [
                {"file": row.file, "line": row.line, "reason": row.reason} for row in dataset.set_aside[:1000]
            ],
        },
        "values": [
            value.as_dict()
            | (
                {"name": f"{replace(value.key, where=None)} {BESIDE[value.key.where]}"}
                if value.key.where in BESIDE
                else {}
            )
            for value in report.values
        ],
        "figures": report.figures,
        "baseline": baseline,
        "growth": growth,
        "relaxations": relaxations,
        "time": time,
        "flips": report.environment.get("flips"),
        "environment": {name: value for name, value in report.environment.items() if name != "flips"},
        "command": command,
    }


def _code(text: str) -> str:
    """A text as code in Markdown, whatever signs it holds; in a cell of a table too."""
    line = " ".join(text.split()).replace("|", r"\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"{fence}{line}{fence}"


def _prose(text: str) -> str:
    """A text within Markdown: it is neither HTML nor a sign of the format."""
    return re.sub(r"([\\|`*_\[\]<>])", r"\\\1", " ".join(html.escape(text, quote=False).split()))


def card(record: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    """The model card: the hub's metadata, then what was asked, what was proven and how to use it."""
    does = [{column["kind"] for column in meta["inputs"]}, {head["task"] for head in meta["heads"]}]
    metadata: dict[str, Any] = {
        "library_name": "sartor",
        **({"pipeline_tag": "text-classification"} if does == [{"text"}, {"classify"}] else {}),
        "tags": ["sartor", *([f"base_model:{meta['backbone']['ref']}"] if "pooling" in meta["backbone"] else [])],
    }
    lines = [
        "---",
        yaml.safe_dump(metadata, sort_keys=False).strip(),
        "---",
        f"# {_prose(record['name'])}",
        "",
        f"Made by Sartor {record['sartor']} on {record['created'][:10]} from {record['data']['rows']:,} rows.",
        "",
        "| need | measured | bounds | n | verdict |",
        "|---|---|---|---|---|",
    ]
    for need in record["needs"]:
        bounds = (
            "–"
            if need["low"] is None
            else " – ".join(brief(need[end], against=need["limit"]) for end in ("low", "high"))
        )
        if need["low"] != need["high"]:
            bounds += f" (each at {percent_of_confidence(need['confidence'])})"
        measured = (
            "–"
            if need["measured"] is None
            else f"{brief(need['measured'], against=need['limit'])} {need['unit']}".strip()
        )
        lines.append(f"| {_code(need['need'])} | {measured} | {bounds} | {need['n']:,} | **{need['verdict']}** |")
    lines += [
        "",
        *([_targets_line(meta["heads"]), ""] if len(meta["heads"]) > 1 else []),
        f"Bounds are one-sided. This was look {record['look']['number']} at these test rows."
        if record["needs"]
        else "",
        "",
        _prose(record["reason"]),
        "",
        f"Data: {_prose(record['data']['rule'])}",
        "",
        "```sh",
        "sartor serve .          # an API and a page to try it on",
        'sartor predict . "…"    # answers on the command line',
        "sartor verify .         # measures the needs again, here and now",
        "```",
        "",
    ]
    return "\n".join(lines)


def _targets_line(heads: Sequence[Mapping[str, Any]]) -> str:
    """What a reader of a model of several targets has to know."""
    listed = ", ".join(f"{_code(head['target'])} ({head['task']})" for head in heads)
    return f"It answers several targets at once, and an answer holds that to each under its name: {listed}."


def command_of(needs: Needs, out: Path) -> str:
    """The command that makes it again."""
    words = ["sartor", "build"]
    record = need_files.as_dict(needs)
    data = record.pop("data")
    if isinstance(data, Mapping):
        words += [word for part, file in data.items() for word in (f"--{part}", file)]
    else:
        words.append(data)
    for text in record.pop("needs"):
        words += ["--need", text]
    for value in record.pop("input", []):
        words += ["--input", value]
    if isinstance(record.get("target"), Mapping):
        each = record.pop("target")
        words += [word for name, task in each.items() for word in ("--target", f"{name}:{task}" if task else name)]
    defaults = {"backbone": "auto", "seed": 0, "confidence": 0.95}
    for name, value in record.items():
        if value != defaults.get(name):
            words += [f"--{name}", str(value)]
    return shlex.join([*words, "--out", str(out)])


def now() -> str:
    """UTC, to the second, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _absolute(needs: Needs) -> Needs:
    """Paths that still lead to the data when the bundle is verified from elsewhere on this machine."""

    def full(value: Any) -> str:
        return str(Path(value).resolve()) if Path(str(value)).exists() else str(value)

    data = needs.data
    return replace(needs, data={k: full(v) for k, v in data.items()} if isinstance(data, Mapping) else full(data))


def _classes(chosen: Candidate) -> dict[str, Any]:
    """{class: training rows}; of several targets {target: that}."""
    found = {
        head["target"]: dict(zip(head["spec"].get("classes", []), head["spec"].get("counts", []), strict=False))
        for head in bundle.load(chosen.bundle, check=False).meta["heads"]
    }
    return found if len(found) > 1 else next(iter(found.values()))
