"""A dataset and its splits as files, so that a child process reads the very rows that its parent audited."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sartor.data.dataset import PARTS, Column, Dataset, Schema, Splits, load_arrow, save_arrow


def save(dataset: Dataset, splits: Splits, folder: Path) -> None:
    """Writes both below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_arrow(dataset.table, folder / "rows.arrow")
    arrays = {name: getattr(splits, name) for name in (*PARTS, "leaked")}
    np.savez(folder / "splits.npz", part=dataset.part, **arrays)
    record = {
        "columns": [asdict(column) for column in dataset.schema.columns],
        "fingerprint": dataset.fingerprint,
        "source": dataset.source,
        "group": splits.group,
        "rule": splits.rule,
    }
    (folder / "dataset.json").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")


def load(folder: Path) -> tuple[Dataset, Splits]:
    """Reads what `save` wrote; the rows stay on disk, memory-mapped."""
    record = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    with np.load(folder / "splits.npz", allow_pickle=False) as arrays:
        part = arrays["part"]
        named = {name: arrays[name] for name in (*PARTS, "leaked")}
    dataset = Dataset(
        table=load_arrow(folder / "rows.arrow"),
        schema=Schema(tuple(Column(**column) for column in record["columns"])),
        part=part,
        fingerprint=record["fingerprint"],
        source=record["source"],
    )
    return dataset, Splits(group=record["group"], rule=record["rule"], **named)
