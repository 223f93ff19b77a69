"""Batches: rows of like length together, within a budget of units, in an order that is a pure function of (seed, epoch)."""

from __future__ import annotations

import numpy as np


def batches(
    lengths: np.ndarray, *, seed: int, epoch: int, batch_rows: int, batch_units: int, bucket_batches: int = 50
) -> list[np.ndarray]:
    """Positions of each batch of one epoch; every position stands in exactly one.

    lengths: [n] units (tokens) of each example. batch_rows: examples in a batch at most. batch_units: of a padded batch at
    most, rows times the longest; one longer example is a batch of its own. bucket_batches: rows are shuffled, cut into
    buckets of about that many batches, and sorted by length inside each, so that batches stay random but hardly padded.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    size = max(1, batch_rows * bucket_batches)
    made: list[np.ndarray] = []
    for begin in range(0, len(order), size):
        bucket = order[begin : begin + size]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        start = 0
        for end in range(1, len(bucket) + 1):
            full = end - start == batch_rows
            last = end == len(bucket)
            too_wide = not last and (end - start + 1) * int(lengths[bucket[end]]) > batch_units
            if full or last or too_wide:
                made.append(bucket[start:end])
                start = end
    return [made[i] for i in rng.permutation(len(made))]
