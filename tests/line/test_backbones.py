"""Every supported family of encoders, from a local folder in the hub's format to answers without torch."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import SMALL, checkpoint, stored

from sartor import follow, predict
from sartor.backbone import hub
from sartor.errors import InputError
from sartor.plan import Move, Plan

FAMILIES = {
    "bert": SMALL,
    "roberta": SMALL | {"pad_token_id": 0},
    "xlm-roberta": SMALL | {"pad_token_id": 0},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "electra": SMALL | {"embedding_size": 16},
    "deberta-v2": SMALL
    | {
        "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"],
        "position_buckets": 16,
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
    },
    "modernbert": SMALL
    | {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "global_attn_every_n_layers": 2, "local_attention": 16},
    "mpnet": SMALL | {"pad_token_id": 0},
    "albert": SMALL | {"embedding_size": 16},
}


@pytest.fixture(scope="module")
def rows(opinions_csv, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    return stored(opinions_csv, folder)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_checkpoint_of_every_family_is_tuned_exported_quantised_and_answers(family, rows, tmp_path, record_property):
    dataset, splits, settings = rows
    source = checkpoint(tmp_path / family, dataset.table.column("text").to_pylist(), family, FAMILIES[family])
    moves = [
        Move("start", {"backbone": str(source)}),
        Move("fit", {}),
        Move("train", {"epochs": 1}),
        Move("export", {}),
    ]
    settings = settings | {"cache": tmp_path / "cache", "threads": 2}
    eight = follow.follow(Plan("q", (*moves, Move("quantise", {}))), **settings)
    exported = follow.follow(Plan(family, tuple(moves)), **settings)
    fused = follow.follow(Plan("f", (*moves, Move("quantise", {"precision": "float32"}))), **settings)
    texts = [*dataset.table.column("text").take(splits.test[:40]).to_pylist(), "", "x", "the plot was superb " * 40]
    served = predict.load(exported.path).predict(texts)
    trained = predict.load(exported.path, runtime="torch").predict(texts)
    apart = max(
        abs(one["probabilities"][label] - probability)
        for one, other in zip(served, trained, strict=True)
        for label, probability in other["probabilities"].items()
    )
    record_property("trials", len(texts))
    record_property("worst", f"{family} {apart:.0e}")
    assert apart < 1e-4
    for one, other in zip(predict.load(fused.path).predict(texts), trained, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-3)
    gaps = [
        abs(one["probability"] - other["probabilities"][one["label"]])
        for one, other in zip(predict.load(eight.path).predict(texts), trained, strict=True)
    ]
    assert np.median(gaps) < 0.1
    assert eight.deployed_bytes() < exported.deployed_bytes()


@pytest.mark.parametrize("family", ["roberta", "mpnet", "bert"])
def test_a_long_text_is_read_as_far_as_a_checkpoint_has_positions(family, rows, tmp_path):
    dataset, _, settings = rows
    few = SMALL | {"pad_token_id": 0 if family != "mpnet" else 1, "max_position_embeddings": 20}
    source = checkpoint(tmp_path / family, dataset.table.column("text").to_pylist(), family, few)
    moves = (Move("start", {"backbone": str(source), "max_tokens": 64}), Move("fit", {}), Move("export", {}))
    found = follow.follow(Plan(family, moves), **settings | {"cache": tmp_path / "cache", "threads": 2})
    told = json.loads((found.path / "processor" / "sartor.json").read_text())["max_tokens"]
    assert told == {"roberta": 19, "mpnet": 18, "bert": 20}[family]
    assert predict.load(found.path).predict(["the plot was superb " * 40])[0]["label"]


def test_a_checkpoint_that_would_have_to_be_unpickled_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(InputError, match="never loaded"):
        hub.find(str(tmp_path))


def test_a_family_that_is_not_supported_is_named_with_those_that_are(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="'mamba', which is not supported"):
        hub.find(str(tmp_path))


def test_offline_a_hub_id_says_what_is_missing(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="not in the local cache"):
        hub.find("nobody/nothing-at-all")
