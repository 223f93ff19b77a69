"""Every planted fault of an exact kind is found, and hardly anything else."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sartor.data import audit, fix, read
from tests.faults.plant import plant

ROOT = Path(__file__).resolve().parents[2]
CODES = {
    "duplicate": ("audit.duplicate",),
    "conflict": ("audit.conflict",),
    "near": ("audit.near-duplicate",),
    "near leak": ("audit.near-leak",),
    "leak": ("audit.leak",),
    "empty": ("audit.empty-input",),
    "email": ("audit.personal",),
    "phone": ("audit.personal",),
    "card": ("audit.personal",),
    "resident": ("audit.personal",),
    "mojibake": ("audit.mojibake",),
    "control": ("audit.control-characters",),
    "hidden": ("audit.hidden-characters",),
    "outlier": ("audit.outlier",),
}
EXAMPLES = {
    "support": ("support/support.csv", "message", "intent"),
    "support-zh": ("support-zh/support-zh.csv", None, None),
}


def clean_rows(name):
    """The rows of an example that nothing was found in."""
    file, text, label = EXAMPLES[name]
    dataset = read.read(str(ROOT / "examples" / file))
    target = label or dataset.schema.targets[0].name
    column = text or dataset.schema.inputs[0].name
    findings = audit.audit(dataset, target=target, task="classify")
    dirty = {row for finding in findings for row in finding.rows}
    table = dataset.table.select([column, target]).to_pylist()
    return [(row[column], row[target]) for place, row in enumerate(table) if place not in dirty]


@pytest.fixture(scope="module", params=list(EXAMPLES))
def audited(request, tmp_path_factory):
    planted = plant(clean_rows(request.param))
    folder = tmp_path_factory.mktemp(request.param)
    files = {}
    for part, rows in planted.rows.items():
        files[part] = str(folder / f"{part}.csv")
        with (folder / f"{part}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(rows)
    dataset = read.read(files, input="text", target="label")
    return planted, dataset, audit.audit(dataset, target="label", task="classify")


def rows_of(findings, codes):
    return {row for finding in findings for row in finding.rows if finding.code in codes}


@pytest.mark.parametrize("kind", list(CODES))
def test_planted_faults_are_found(audited, kind, record_property):
    planted, _, findings = audited
    wanted = planted.places[kind]
    found = wanted & rows_of(findings, CODES[kind])
    record_property("trials", len(wanted))
    record_property("passed", len(found))
    assert len(found) >= (0.95 if kind not in ("near", "near leak") else 0.8) * len(wanted), sorted(wanted - found)


def test_hardly_anything_else_is_found(audited):
    planted, dataset, findings = audited
    for code in sorted({code for codes in CODES.values() for code in codes}):
        kinds = [kind for kind, codes in CODES.items() if code in codes]
        meant = set().union(*(planted.places[kind] for kind in kinds))
        if code == "audit.conflict":  # both sides of a conflict are told of
            texts = np.array(dataset.table.column("text").to_pylist(), dtype=object)
            meant |= {place for place, text in enumerate(texts) if text in {texts[row] for row in meant}}
        alarms = rows_of(findings, [code]) - meant
        assert len(alarms) <= 0.01 * len(dataset), (code, sorted(alarms)[:5])


def test_what_is_fixed_is_no_longer_found(audited):
    _, dataset, findings = audited
    cleaned, touches = fix.clean(dataset, findings)
    again = audit.audit(cleaned, target="label", task="classify")
    left = {finding.code for finding in again}
    mended = {
        "audit.duplicate",
        "audit.empty-input",
        "audit.leak",
        "audit.near-leak",
        "audit.personal",
        "audit.mojibake",
    }
    assert not left & (mended | {"audit.control-characters", "audit.hidden-characters"}), left
    assert len(touches) >= len(dataset) - len(cleaned)
