"""The loop: it learns, it is bit-equal however often it was stopped, and it takes no step with a broken loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sartor import loop
from sartor.errors import SartorError

ROWS = 240


def problem(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, 8)).astype(np.float32)
    y = (x @ rng.normal(size=8) > 0).astype(np.int64)
    return torch.from_numpy(x), torch.from_numpy(y)


def run(folder, *, stop_after=None, poison=None, events=lambda item: None):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = problem()
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    calls = 0

    def objective(positions):
        nonlocal calls
        calls += 1
        if stop_after is not None and calls > stop_after:
            raise KeyboardInterrupt
        loss = torch.nn.functional.cross_entropy(model(x[positions]), y[positions])
        return loss * float("nan") if poison == calls else loss

    def validate():
        return {"valid": float((model(x).argmax(1) == y).float().mean())}

    schedule = loop.Schedule(
        epochs=4,
        batch_rows=16,
        batch_units=10_000,
        learning_rate=0.02,
        head_learning_rate=0.02,
        weight_decay=0.01,
        warmup_share=0.1,
        clip_norm=1.0,
        patience=9,
        bf16=False,
    )
    outcome = loop.train(
        model,
        objective,
        np.ones(ROWS, dtype=int),
        schedule=schedule,
        validate=validate,
        checkpoints=folder,
        seed=0,
        save_every_s=0.0,
        events=events,
    )
    return model, outcome


def test_it_learns(tmp_path):
    _, outcome = run(tmp_path)
    assert outcome.best_score > 0.95
    assert [record["epoch"] for record in outcome.curve] == [1, 2, 3, 4]


def test_stopped_at_any_batch_it_ends_with_the_same_bits(tmp_path):
    undisturbed, outcome = run(tmp_path / "whole")
    heard = []
    for stop in (1, 7, 3, 16, 11):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped", stop_after=stop, events=heard.append)
    resumed, again = run(tmp_path / "stopped", events=heard.append)
    for a, b in zip(undisturbed.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert again.best_score == outcome.best_score
    assert [(r["train_loss"], r["valid"]) for r in again.curve] == [
        (r["train_loss"], r["valid"]) for r in outcome.curve
    ]
    assert [item["checkpoint"] for item in heard if item.get("status") == "resumed"]


def test_broken_newest_checkpoint_falls_back_to_the_one_before(tmp_path):
    undisturbed, _ = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", stop_after=20)
    newest, before = sorted((tmp_path / "stopped").glob("step-*"), reverse=True)[:2]
    file = newest / "model.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    heard = []
    resumed, _ = run(tmp_path / "stopped", events=heard.append)
    assert next(item for item in heard if item.get("status") == "resumed")["checkpoint"] == before.name
    for a, b in zip(undisturbed.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_loss_that_is_not_finite_is_refused(tmp_path):
    with pytest.raises(SartorError) as caught:
        run(tmp_path, poison=5)
    assert caught.value.code == "train.not-finite"
    assert "batch 5" in str(caught.value)
