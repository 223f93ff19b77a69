"""Frozen embeddings of whole data sets, for what judges rows before any model is trained: doubt and the choice of rows to label."""

from __future__ import annotations

import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np

from sartor import leaves
from sartor.data.dataset import Dataset, Rows
from sartor.data.doubt import Embed
from sartor.events import Events, event, silent

MAX_TOKENS = 128  # of an input that is read
KNOWN = 0.5  # share of the rows whose language a body must know
SAMPLE = 2_000  # rows that languages are told by


def embedder(dataset: Dataset, *, events: Events = silent) -> Embed | None:
    """What embeds rows of a dataset [rows, width] in float32, centred and of unit mean variance; None where no body that is at hand suits it.

    A body suits that knows the language of most rows, and whose weights are installed: nothing is fetched.
    """
    if find_spec("torch") is None or any(column.kind != "text" for column in dataset.schema.inputs):
        return None
    hub = leaves.load("backbone", "hub")
    columns = [column.name for column in dataset.schema.inputs]
    step = max(1, len(dataset) // SAMPLE)
    rows = Rows(dataset.table, columns, np.arange(0, len(dataset), step))
    profiles = [leaves.load("modality", "text").profile(rows.column(name)) for name in columns]
    for card in hub.cards():
        known = [sum(told["languages"].get(name, 0.0) for name in (*card.languages, "?")) for told in profiles]
        if min(known) >= KNOWN:
            return partial(_embedded, dataset, card.name, events)
    return None


def _embedded(dataset: Dataset, ref: str, events: Events, rows: np.ndarray) -> np.ndarray:
    from sartor.backbone import hub
    from sartor.hardware import has_bf16
    from sartor.step import fit

    inputs = Rows(dataset.table, [column.name for column in dataset.schema.inputs], rows)

    began = time.monotonic()

    def progress(stage: str, *, done: int, total: int, unit: str) -> None:
        left_s = (time.monotonic() - began) * (total - done) / max(1, done)
        events(event("progress", stage=stage, done=done, total=total, unit=unit, left_s=left_s))

    with TemporaryDirectory() as name:
        folder = Path(name)
        meta = hub.start(ref, folder, columns=inputs.columns, inputs=inputs, seed=0, max_tokens=MAX_TOKENS)
        body = hub.body(folder, meta).eval()
        body.load_state_dict(hub.base_weights(meta), strict=False)
        made = fit.embed(
            SimpleNamespace(body=body),
            hub.processor(folder, meta),
            inputs,
            SimpleNamespace(progress=progress),
            bf16=has_bf16(),
        )
    return fit.standardised(made)[0]
