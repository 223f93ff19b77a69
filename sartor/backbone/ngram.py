"""Hashed word and character n-grams with one weight per n-gram and output: the cheapest body that reads text.

Buckets seen in fewer than two training rows carry no weight.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor.backbone import Card
from sartor.ngrams import BITS, blocks

TAKES = ("text",)
TRAINS = "fit"
OPENS = ("sklearn.svm",)
SEPARATOR = " \n "
STRENGTHS = (0.3, 1.0, 3.0)  # of the solver; validation chooses
MOST_BYTES = 36_000_000  # of weights, buckets and idf


def cards() -> list[Card]:
    """The one body of this leaf: it is made from the training rows, so there is nothing to fetch."""
    return [
        Card(
            name="ngram",
            leaf="ngram",
            takes="text",
            languages=("*",),
            licence="Apache-2.0",
            source="made from the training rows",
            size_bytes=0,
            parameters=0,
            note="Word and character n-grams with a linear layer: seconds to make, about a millisecond to run.",
        )
    ]


def start(ref: str, folder: Path, *, columns: Sequence[str], inputs: Any, seed: int, **options: Any) -> dict[str, Any]:
    """Counts the n-grams of the training rows and keeps the buckets of at least two rows, with their idf.

    options: `outputs` of the model to come; the most frequent buckets are kept so that everything fits MOST_BYTES.
    Writes `processor/ngram.json` and `processor/buckets.npy` (uint32, sorted) and `processor/idf.npy` (float32).
    """
    # Two bytes of weight per output, and four each of bucket and idf.
    max_features = MOST_BYTES // (2 * int(options.get("outputs", 1)) + 8)
    seen = np.zeros(1 << BITS, dtype=np.int32)
    rows = 0
    for row in inputs:
        rows += 1
        for buckets in blocks(_joined(row, columns)):
            seen[np.unique(buckets)] += 1
    # In a handful of rows nothing repeats; then every n-gram is kept.
    kept = np.flatnonzero(seen >= (2 if rows >= 50 else 1))
    if len(kept) > max_features:
        kept = np.sort(kept[np.argsort(-seen[kept], kind="stable")[:max_features]])
    # Smoothed idf as in scikit-learn's TfidfTransformer.
    idf = (np.log((1 + rows) / (1 + seen[kept])) + 1).astype(np.float32)
    target = folder / "processor"
    target.mkdir(parents=True, exist_ok=True)
    (target / "ngram.json").write_text(json.dumps({"columns": list(columns)}), encoding="utf-8")
    np.save(target / "buckets.npy", kept.astype(np.uint32), allow_pickle=False)
    np.save(target / "idf.npy", idf, allow_pickle=False)
    return {"leaf": "ngram", "ref": "ngram", "features": len(kept), "owns_weights": True}


def seconds(profile: Any) -> float:
    """What fitting takes, roughly: every character is hashed, and every class solved for."""
    return float(profile.rows * profile.characters * 8e-6 + profile.classes * profile.rows * 1e-5)


def processor(folder: Path, meta: Mapping[str, Any]) -> NgramProcessor:
    """Opens what `start` wrote."""
    settings = json.loads((folder / "processor" / "ngram.json").read_text(encoding="utf-8"))
    return NgramProcessor(
        columns=settings["columns"],
        buckets=np.load(folder / "processor" / "buckets.npy", allow_pickle=False),
        idf=np.load(folder / "processor" / "idf.npy", allow_pickle=False),
    )


class NgramProcessor:
    """Texts to (ids, values): the feature numbers of their n-grams, and sublinear tf-idf weights of unit length per kind."""

    def __init__(self, columns: Sequence[str], buckets: np.ndarray, idf: np.ndarray) -> None:
        self.columns = list(columns)
        self.idf = idf
        # 16 MB of memory for a lookup that costs nothing. Feature 0 is the padding; it has no weight.
        self.feature = np.zeros(1 << BITS, dtype=np.int32)
        self.feature[buckets] = np.arange(1, len(buckets) + 1, dtype=np.int32)

    def __call__(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """ids [B, K] int64 and values [B, K] float32, K the most n-grams of one text here; padded with 0 and 0.0."""
        rows = [self._row(row) for row in inputs]
        most = max(1, max((len(ids) for ids, _ in rows), default=1))
        ids = np.zeros((len(rows), most), dtype=np.int64)
        values = np.zeros((len(rows), most), dtype=np.float32)
        for i, (row_ids, row_values) in enumerate(rows):
            ids[i, : len(row_ids)] = row_ids
            values[i, : len(row_values)] = row_values
        return {"ids": ids, "values": values}

    def length(self, inputs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Characters of each text [n]: n-grams grow with them."""
        return np.array([len(_joined(row, self.columns)) for row in inputs], dtype=np.int64)

    def sparse(self, inputs: Any) -> Any:
        """The same features as one CSR matrix [n, features + 1]."""
        from scipy import sparse

        indices, data, ends = [], [], [0]
        for row in inputs:
            ids, values = self._row(row)
            indices.append(ids)
            data.append(values)
            ends.append(ends[-1] + len(ids))
        shape = (len(ends) - 1, len(self.idf) + 1)
        if not indices:
            return sparse.csr_matrix(shape, dtype=np.float32)
        return sparse.csr_matrix((np.concatenate(data), np.concatenate(indices), np.array(ends)), shape=shape)

    def _row(self, row: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        all_ids, all_values = [], []
        for buckets in blocks(_joined(row, self.columns)):
            found = self.feature[buckets]
            ids, counts = np.unique(found[found > 0], return_counts=True)
            values = (1 + np.log(counts, dtype=np.float32)) * self.idf[ids - 1]
            all_ids.append(ids)
            all_values.append(values / (np.sqrt(np.dot(values, values)) or np.float32(1)))
        return np.concatenate(all_ids).astype(np.int64), np.concatenate(all_values)


def body(folder: Path, meta: Mapping[str, Any]) -> Any:
    """The table of weights as a module: ids, values -> outputs [B, outputs]; kept in half precision, summed in float."""
    import torch
    from torch import nn

    class NgramBody(nn.Module):
        def __init__(self, features: int, outputs: int) -> None:
            super().__init__()
            self.width = outputs
            self.table = nn.Parameter(torch.zeros(features + 1, outputs, dtype=torch.float16), requires_grad=False)
            self.bias = nn.Parameter(torch.zeros(outputs), requires_grad=False)

        def forward(self, ids: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
            rows = self.table[ids].float()  # [B, K, outputs]
            return torch.matmul(values.unsqueeze(1), rows).squeeze(1) + self.bias

        def blocks(self) -> list[nn.Module]:
            return []

    return NgramBody(int(meta["features"]), int(meta.get("outputs", 0)))


def fit(
    folder: Path,
    meta: dict[str, Any],
    inputs: Any,
    targets: np.ndarray,
    *,
    task: Any,
    spec: dict[str, Any],
    choose: Any,
    seed: int,
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Solves for the table on the training rows; `choose` (below the step `fit`) picks the solver's strength on validation.

    Returns the body, the bundle's backbone record with the number of outputs, and what was chosen.
    """
    import torch

    reader = processor(folder, meta)
    features = reader.sparse(inputs)
    weight, bias, chosen = choose(features, targets, STRENGTHS, reader.sparse)
    meta = {**meta, "outputs": int(weight.shape[0])}
    module = body(folder, meta)
    module.table.data = torch.from_numpy(np.ascontiguousarray(weight.T)).half()
    module.bias.data = torch.from_numpy(bias.astype(np.float32))
    return module, meta, chosen


def _joined(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    return SEPARATOR.join(str(row.get(name) or "") for name in columns)
