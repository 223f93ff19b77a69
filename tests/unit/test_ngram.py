"""N-grams: the same features however they are asked for, words in every script, and a file that stays small."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter

import numpy as np
import pytest

from sartor import ngrams
from sartor.backbone import ngram
from sartor.task import classify

TEXTS = [
    "The film's plot was GREAT, great!",
    "这家酒店的房间很大，服务也不错 WiFi 5G",
    "カタカナ and 한국어 mixed 𠀋",
    "",
    "x",
    "naïve ｆｕｌｌｗｉｄｔｈ  spaces\tand\nlines " * 20,
]


def rows(texts):
    return [{"text": text} for text in texts]


@pytest.fixture
def started(tmp_path):
    meta = ngram.start("ngram", tmp_path, columns=["text"], inputs=rows(TEXTS), seed=0, outputs=2)
    return ngram.processor(tmp_path, meta), meta


def words_of(text):
    """The plain reference: runs of letters, digits and apostrophes, each letter of an unspaced script alone."""
    found = [""]
    for letter in unicodedata.normalize("NFKC", text).lower():
        alone = any(low <= ord(letter) <= high for low, high in ngrams.ALONE)
        if not (letter.isalnum() or letter == "'"):
            found.append("")
        elif alone:
            found += [letter, ""]
        else:
            found[-1] += letter
    return [word for word in found if word]


def hashes_of(text):
    normal = " " + " ".join(unicodedata.normalize("NFKC", text).lower().split()) + " "
    return ngrams._word_hashes(np.frombuffer(normal.encode("utf-32-le"), dtype="<u4"))


@pytest.mark.parametrize("text", TEXTS)
def test_words_are_those_of_the_plain_reference(text):
    words, hashes = words_of(text), hashes_of(text)
    assert len(words) == len(hashes)
    alone = {word: hashes_of(word)[0] for word in words}
    assert [alone[word] for word in words] == hashes.tolist()
    assert len(set(alone.values())) == len(alone)


def test_a_batch_a_single_row_and_the_sparse_matrix_are_equal(started):
    processor, meta = started
    batch, matrix = processor(rows(TEXTS)), processor.sparse(rows(TEXTS))
    assert matrix.shape == (len(TEXTS), meta["features"] + 1)
    for i, row in enumerate(rows(TEXTS)):
        single = processor([row])
        known = single["values"][0] > 0
        dense = np.zeros(matrix.shape[1], dtype=np.float32)
        np.add.at(dense, single["ids"][0][known], single["values"][0][known])
        assert np.array_equal(dense, matrix[[i]].toarray()[0])
        width = single["ids"].shape[1]
        assert np.array_equal(batch["ids"][i, :width], single["ids"][0])
        assert not batch["values"][i, width:].any()


def test_values_are_sublinear_tf_idf_of_unit_length_for_each_kind(started):
    processor, _ = started
    text = TEXTS[0]
    blocks = list(ngrams.blocks(text))
    expected = []
    for block in blocks:
        counts = Counter(processor.feature[block].tolist())
        values = {i: (1 + math.log(n)) * float(processor.idf[i - 1]) for i, n in sorted(counts.items()) if i}
        norm = math.sqrt(sum(value**2 for value in values.values()))
        expected += [(i, value / norm) for i, value in values.items()]
    found = processor(rows([text]))
    assert found["ids"][0].tolist() == [i for i, _ in expected]
    assert found["values"][0] == pytest.approx([value for _, value in expected], rel=1e-5)


def test_many_outputs_keep_fewer_features_so_that_the_weights_stay_small(tmp_path, monkeypatch):
    monkeypatch.setattr(ngram, "MOST_BYTES", 5_000)
    kept = {}
    for outputs in (2, 77):
        meta = ngram.start("ngram", tmp_path, columns=["text"], inputs=rows(TEXTS), seed=0, outputs=outputs)
        kept[outputs] = meta["features"]
        assert meta["features"] * (2 * outputs + 8) <= 5_000
    assert kept[77] < kept[2]


def solved(texts, labels, **options):
    spec = classify.learn(labels)
    from scipy import sparse

    vocabulary = sorted({word for text in texts for word in text.split()})
    dense = np.array([[text.split().count(word) for word in vocabulary] for text in texts], dtype=np.float32)
    weight, bias = classify.fit_linear(
        sparse.csr_matrix(dense), classify.encode(labels, spec), spec, strength=1.0, seed=0, **options
    )
    return dense @ weight.T + bias, spec


def test_sparse_solutions_absorb_the_weighing_of_features():
    texts = ["good film", "fine film", "bad film", "poor film", "odd thing", "odd film"] * 5
    labels = ["up", "up", "down", "down", "odd", "odd"] * 5
    outputs, spec = solved(texts, labels)
    assert [spec["classes"][i] for i in outputs.argmax(1)] == labels


def test_two_classes_have_opposite_outputs_and_a_missing_class_never_wins():
    outputs, _ = solved(["good film", "bad film"] * 5, ["up", "down"] * 5)
    assert outputs[:, 0] == pytest.approx(-outputs[:, 1])
    from scipy import sparse

    spec = {"classes": ["a", "b", "c"], "counts": [5, 0, 5]}
    features = sparse.csr_matrix(np.eye(2, dtype=np.float32)[[0, 1] * 5])
    weight, bias = classify.fit_linear(features, np.array([0, 2] * 5), spec, strength=1.0, seed=0)
    assert ((features @ weight.T + bias).argmax(1) == np.array([0, 2] * 5)).all()
    assert bias[1] == -20
