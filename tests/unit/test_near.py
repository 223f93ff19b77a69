"""Near-duplicates against the plain definition: every pair compared."""

from __future__ import annotations

import csv
import itertools
import random

import numpy as np
import pytest

from sartor.data import near, read, split
from sartor.modality import text as modality

WORDS = [
    "the",
    "parcel",
    "order",
    "refund",
    "card",
    "late",
    "lost",
    "broken",
    "please",
    "thanks",
    "when",
    "where",
    "account",
    "address",
    "invoice",
    "delivery",
    "box",
]


def dataset_of(texts, path):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([(text, "ab"[place % 2]) for place, text in enumerate(texts)])
    return read.read(str(path), input="text", target="label")


def drawn(rng, dense):
    if dense:
        return "".join(rng.choices("我的订单什么时候到请帮查一下快递退款发票地址密码", k=rng.randrange(16, 40)))
    return " ".join(rng.choices(WORDS, k=rng.randrange(6, 16)))


def changed(text, rng):
    place = rng.randrange(len(text))
    return text[:place] + rng.choice(["", "x", text[place] * 2]) + text[place + 1 :]


@pytest.mark.parametrize("dense", [False, True])
def test_groups_are_those_of_all_pairs_at_the_threshold(tmp_path, dense):
    rng = random.Random(0)
    texts = [drawn(rng, dense) for _ in range(120)]
    texts += [changed(text, rng) for text in texts[:60]]
    dataset = dataset_of(texts, tmp_path / "rows.csv")
    keys = split.row_keys(dataset)
    found = {tuple(group) for group in near.groups(dataset, np.arange(len(dataset)), keys)}
    pairs = [
        (i, j)
        for i, j in itertools.combinations(range(len(texts)), 2)
        if keys[i] != keys[j] and modality.likeness(texts[i], texts[j]) >= near.ALIKE
    ]
    assert len(pairs) > 30
    together = {pair for group in found for pair in itertools.combinations(group, 2)}
    assert len(set(pairs) & together) >= 0.99 * len(pairs)
    # Whoever is in a group is there through pairs that are alike.
    linked = {place for pair in pairs for place in pair}
    assert {place for group in found for place in group} <= linked


def test_a_signature_estimates_the_likeness():
    rng = random.Random(1)
    one = [drawn(rng, False) for _ in range(200)]
    other = [changed(changed(changed(text, rng), rng), rng) for text in one]
    left, _ = modality.sketch(one, 512)
    right, _ = modality.sketch(other, 512)
    estimated = (left == right).mean(axis=1)
    exact = np.array([modality.likeness(a, b) for a, b in zip(one, other, strict=True)])
    assert np.abs(estimated - exact).mean() < 0.02
    assert np.abs(estimated - exact).max() < 0.1


def test_short_texts_are_the_same_or_not(tmp_path):
    dataset = dataset_of(["yes please", "yes pleas", "no", "no!", "ok"] * 2, tmp_path / "rows.csv")
    assert near.groups(dataset, np.arange(len(dataset)), split.row_keys(dataset)) == []


def test_exact_repeats_alone_make_no_group_and_join_one_that_there_is(tmp_path):
    rng = random.Random(2)
    text = "where is the parcel that i ordered two weeks ago from your shop"
    dataset = dataset_of([text, drawn(rng, False), text, text + "?", drawn(rng, False)], tmp_path / "rows.csv")
    keys = split.row_keys(dataset)
    assert [group.tolist() for group in near.groups(dataset, np.arange(5), keys)] == [[0, 2, 3]]
    assert near.groups(dataset, np.array([0, 1, 2, 4]), keys) == []


def test_thousands_of_rows_in_one_bucket_are_not_compared_with_one_another(tmp_path, monkeypatch):
    texts = [
        f"your code for the shop at the corner of the long street is {number:04d} and it is valid today only"
        for number in range(3000)
    ]
    dataset = dataset_of(texts, tmp_path / "rows.csv")
    compared = []
    likeness = modality.likeness
    monkeypatch.setattr(modality, "likeness", lambda one, other: compared.append(1) or likeness(one, other))
    groups = near.groups(dataset, np.arange(3000), split.row_keys(dataset))
    assert len(groups) == 1
    assert len(groups[0]) == 3000
    assert len(compared) < 200_000


def test_only_what_is_itself_alike_to_a_row_that_judges_is_its_twin(tmp_path):
    base = "your code for the shop at the corner of the long street is and it is valid today only"
    chain = [base]
    for place in range(12, 60, 4):
        chain.append(chain[-1][:place] + "xyzw"[place // 4 % 4] + chain[-1][place + 1 :])
    dataset = dataset_of(chain, tmp_path / "rows.csv")
    found = near.pairs(dataset, np.arange(1, len(chain)), np.array([0]))
    assert 0 < len(found) < len(chain) - 1
    assert all(modality.likeness(chain[row], base) >= near.ALIKE for row, _ in found)
    assert near.groups(dataset, np.arange(len(chain)), split.row_keys(dataset))[0].tolist() == list(range(len(chain)))
