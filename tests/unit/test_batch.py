"""Batches of like length."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.data.batch import batches


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=400),
    rows=st.integers(1, 40),
    units=st.integers(1, 2000),
    epoch=st.integers(0, 5),
)
def test_every_example_stands_in_exactly_one_batch_within_the_budget(lengths, rows, units, epoch):
    made = batches(np.array(lengths), seed=3, epoch=epoch, batch_rows=rows, batch_units=units, bucket_batches=4)
    assert sorted(np.concatenate(made).tolist()) == list(range(len(lengths)))
    for batch in made:
        assert len(batch) <= rows
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= units


def test_order_is_a_function_of_seed_and_epoch_alone():
    lengths = np.random.default_rng(0).integers(1, 60, 500)
    arguments = {"batch_rows": 16, "batch_units": 512}
    first = batches(lengths, seed=1, epoch=0, **arguments)
    again = batches(lengths, seed=1, epoch=0, **arguments)
    other = batches(lengths, seed=1, epoch=1, **arguments)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert [b.tolist() for b in first] != [b.tolist() for b in other]


def test_buckets_pad_far_less_than_random_batches():
    lengths = np.random.default_rng(0).lognormal(3, 0.7, 4000).astype(int) + 1
    made = batches(lengths, seed=0, epoch=0, batch_rows=32, batch_units=100_000)
    padded = sum(len(b) * lengths[b].max() for b in made) / lengths.sum()
    assert padded < 1.1
