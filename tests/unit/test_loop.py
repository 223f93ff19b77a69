"""The loop: it learns, it is bit-equal however often it was stopped, and it takes no step with a broken loss."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
import torch

from sartor import leaves, loop
from sartor.child import Stop
from sartor.errors import SartorError

ROWS = 240


def problem(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, 8)).astype(np.float32)
    y = (x @ rng.normal(size=8) > 0).astype(np.int64)
    return torch.from_numpy(x), torch.from_numpy(y)


def scheduled(**changes):
    """A short schedule, but for these changes."""
    usual = {
        "epochs": 4,
        "batch_rows": 16,
        "batch_units": 10_000,
        "learning_rate": 0.02,
        "head_learning_rate": 0.02,
        "weight_decay": 0.01,
        "warmup_share": 0.1,
        "clip_norm": 1.0,
        "patience": 1,
        "bf16": False,
    }
    return loop.Schedule(**usual | changes)


def run(
    folder,
    *,
    stop_after=None,
    poison=(),
    explode=(),
    memory=None,
    rate=0.02,
    dropout=0.0,
    events=lambda item: None,
    pieces=1,
):
    """Trains. stop_after: calls of the objective until Ctrl-C. poison: calls whose loss is NaN; explode: those whose loss is huge.
    memory: rows that fit; None all."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = problem()
    model = torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Dropout(dropout), torch.nn.Linear(16, 2)
    )
    calls = 0

    def objective(positions):
        nonlocal calls
        calls += 1
        if stop_after is not None and calls > stop_after:
            raise KeyboardInterrupt
        if memory is not None and len(positions) > memory:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
            )
        loss = torch.nn.functional.cross_entropy(model(x[positions]), y[positions])
        if calls in explode:
            return loss + 10.0
        return loss * float("nan") if calls in poison else loss

    def validate():
        return {"valid": float((model(x).argmax(1) == y).float().mean())}

    schedule = scheduled(learning_rate=rate, head_learning_rate=rate, patience=9)
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
        pieces=pieces,
    )
    return model, outcome


def test_it_learns(tmp_path):
    _, outcome = run(tmp_path)
    assert outcome.best_score > 0.95
    assert [record["epoch"] for record in outcome.curve] == [1, 2, 3, 4]


def test_stopped_at_any_batch_it_ends_with_the_same_bits(tmp_path, record_property):
    undisturbed, outcome = run(tmp_path / "whole")
    heard = []
    stops = (1, 7, 3, 16, 11)
    record_property("trials", len(stops))
    for stop in stops:
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


def test_random_numbers_are_those_of_their_step_however_often_it_was_stopped(tmp_path, record_property):
    whole, outcome = run(tmp_path / "whole", dropout=0.5)
    stops = (2, 9, 16)
    record_property("trials", len(stops))
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped", dropout=0.5, stop_after=stop)
        torch.rand(7)  # somebody else draws in between
    again, resumed = run(tmp_path / "stopped", dropout=0.5)
    assert same(whole, again)
    assert [one["train_loss"] for one in resumed.curve] == [one["train_loss"] for one in outcome.curve]


class Stopped(Stop):
    """Raises where the real one ends the process."""

    def end(self):
        raise KeyboardInterrupt


def scored(folder, scores, *, stop_in=None, **changes):
    """Trains with a patience of one but for changes, and with these scores, whatever is learned. stop_in: the validation in which it is asked to stop."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = problem()
    model = torch.nn.Linear(8, 2)
    stop, left = Stopped(), list(scores)

    def validate():
        stop.asked = len(scores) - len(left) + 1 == stop_in
        return {"valid": left.pop(0)}

    schedule = scheduled(batch_rows=64, **changes)
    outcome = loop.train(
        model,
        lambda positions: torch.nn.functional.cross_entropy(model(x[positions]), y[positions]),
        np.ones(ROWS, dtype=int),
        schedule=schedule,
        validate=validate,
        checkpoints=folder,
        seed=0,
        stop=stop,
    )
    return model, outcome


@pytest.mark.parametrize("stop_in", [1, 2])
def test_stopped_while_it_validates_it_ends_where_it_would_have_ended(tmp_path, stop_in):
    scores = [0.9, 0.5, 0.99, 0.1]  # the second is the last: with a patience of one nobody sees the third
    whole, outcome = scored(tmp_path / "whole", scores)
    assert [record["epoch"] for record in outcome.curve] == [1, 2]
    with pytest.raises(KeyboardInterrupt):
        scored(tmp_path / "stopped", scores, stop_in=stop_in)
    again, resumed = scored(tmp_path / "stopped", scores[stop_in:])
    assert [(one["epoch"], one["valid"]) for one in resumed.curve] == [(1, 0.9), (2, 0.5)]
    assert (resumed.best_epoch, resumed.best_score) == (outcome.best_epoch, outcome.best_score) == (1, 0.9)
    assert same(whole, again)


def test_without_a_choice_the_last_epoch_is_kept_and_none_is_left_out(tmp_path):
    scores = [0.9, 0.5, 0.4, 0.1]
    last, outcome = scored(tmp_path / "last", scores, keep_best=False)
    assert [record["valid"] for record in outcome.curve] == scores
    assert (outcome.best_epoch, outcome.best_score) == (4, 0.1)
    alike, _ = scored(tmp_path / "alike", sorted(scores))  # where the last epoch is the best one too
    assert same(last, alike)
    assert not same(last, scored(tmp_path / "best", scores)[0])


def _flip(raw):
    raw[-1] ^= 1
    return raw


SPOILS = {
    "bit": _flip,
    "cut": lambda raw: raw[: len(raw) // 2],
    "zeros": lambda raw: bytearray(len(raw)),
    "empty": lambda raw: b"",
}


@pytest.mark.parametrize("how", list(SPOILS))
@pytest.mark.parametrize(
    "file", ["model.safetensors", "optimiser.safetensors", "best.safetensors", "state.json", "MANIFEST.json"]
)
def test_a_broken_checkpoint_is_never_used_and_the_one_before_is(tmp_path, file, how):
    undisturbed, _ = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", stop_after=20)
    newest, before = sorted((tmp_path / "stopped").glob("step-*"), reverse=True)[:2]
    (newest / file).write_bytes(SPOILS[how](bytearray((newest / file).read_bytes())))
    heard = []
    resumed, _ = run(tmp_path / "stopped", events=heard.append)
    assert next(item for item in heard if item.get("status") == "resumed")["checkpoint"] == before.name
    assert same(undisturbed, resumed)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def warnings_of(heard):
    return [item["code"] for item in heard if item["event"] == "log"]


def test_a_loss_that_is_never_finite_is_refused_and_the_log_says_so_each_time(tmp_path):
    heard = []
    with pytest.raises(SartorError) as caught:
        run(tmp_path, poison=range(5, 10_000), events=heard.append)
    assert caught.value.code == "train.not-finite"
    assert warnings_of(heard) == ["train.not-finite"] * loop.MOST_RETREATS
    assert "batch 5" in next(item["message"] for item in heard if item["event"] == "log")


def test_after_one_broken_loss_it_goes_back_to_the_epoch_and_lowers_its_rates(tmp_path):
    heard = []
    model, outcome = run(tmp_path / "broken", poison=(20,), events=heard.append)
    (told,) = [item["message"] for item in heard if item["event"] == "log"]
    assert "epoch 2" in told
    assert "nan" in told.lower()
    assert "rates of 0.1" in told
    assert all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values())
    assert outcome.best_score > 0.9
    assert [record["epoch"] for record in outcome.curve] == [1, 2, 3, 4]


def test_a_loss_that_diverges_is_seen_within_the_steps_that_are_watched_and_mended(tmp_path, record_property):
    heard = []
    _, outcome = run(tmp_path, rate=20.0, events=heard.append)
    told = [item["message"] for item in heard if item.get("code") == "train.diverged"]
    assert told
    batch = int(re.search(r"batch (\d+)", told[0])[1])
    record_property("worst", f"seen after {batch} steps")
    assert batch <= loop.WATCHED
    assert outcome.best_score > 0.9
    with pytest.raises(SartorError) as caught:
        run(tmp_path / "hopeless", rate=20_000.0)
    assert caught.value.code in ("train.diverged", "train.not-finite")


def test_a_first_batch_that_is_easy_is_no_measure_of_what_diverges(tmp_path):
    """A skewed target: most rows are near the middle, a few far away, and none of the few stands in the first batch."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(ROWS, 8)).astype(np.float32))
    y = 0.1 * x[:, 0]
    y[200:] += 2.0
    model = torch.nn.Linear(8, 1)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    heard = []
    order = [[np.arange(at, at + 16) for at in range(0, ROWS, 16)] for _ in range(4)]
    first = float(y[:16].square().mean())
    assert first < 0.05 < float(y.square().mean()) / 6  # which would have been seen as diverged
    outcome = loop.train(
        model,
        lambda places: (model(x[places])[:, 0] - y[places]).square().mean(),
        np.ones(ROWS, dtype=np.int64),
        schedule=scheduled(patience=9),
        validate=None,
        checkpoints=tmp_path,
        seed=0,
        events=heard.append,
        order=order,
        least_loss=leaves.load("task", "regress").LEAST_LOSS,
    )
    assert len(outcome.curve) == 4
    assert not [item for item in heard if item.get("code") == "train.diverged"]


@pytest.mark.parametrize("stop", [3, 17, 21, 24, 40])
def test_stopped_before_and_after_going_back_it_ends_with_the_same_bits(tmp_path, stop):
    undisturbed, _ = run(tmp_path / "whole", rate=20.0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", rate=20.0, stop_after=stop)
    assert same(undisturbed, run(tmp_path / "stopped", rate=20.0)[0])


def test_going_back_to_the_very_beginning_is_a_run_with_lower_rates(tmp_path):
    """Nothing of the steps that diverged is left: neither weights nor moments."""
    again, _ = run(tmp_path / "again", poison=(7,))
    assert same(again, run(tmp_path / "lower", rate=0.02 * loop.RETREAT)[0])


def test_what_diverges_as_an_epoch_begins_goes_back_before_the_steps_that_were_watched(tmp_path):
    heard = []
    run(tmp_path, explode=(29, 30, 31), events=heard.append)  # an epoch has 15 batches: two are of the second
    (told,) = [item["message"] for item in heard if item.get("code") == "train.diverged"]
    assert "in epoch 3" in told
    assert "beginning of epoch 2" in told


def test_a_batch_that_does_not_fit_is_done_in_pieces_with_the_same_gradient(tmp_path, record_property):
    heard = []
    whole, _ = run(tmp_path / "whole")
    pieces, outcome = run(tmp_path / "pieces", memory=5, events=heard.append)
    assert warnings_of(heard) == ["train.pieces", "train.pieces"]  # 16 rows, 8, 4
    assert outcome.best_score > 0.95
    pairs = zip(whole.state_dict().values(), pieces.state_dict().values(), strict=True)
    apart = max(float((a - b).abs().max()) for a, b in pairs)
    record_property("worst", f"weights {apart:.1e} apart after 60 steps")
    assert apart < 2e-3
    # One step, before differences of rounding can grow.
    assert same(pieces, run(tmp_path / "asked", pieces=4)[0])


def test_a_try_that_did_not_fit_leaves_running_means_as_they_were(tmp_path):
    """The first of two pieces fits, the second does not: what the first moved counts once, in four pieces."""
    x, y = problem()
    heard = []

    def tried(folder, *, pieces, failing):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
        calls = 0

        def objective(positions):
            nonlocal calls
            calls += 1
            if calls == failing:
                raise MemoryError
            return torch.nn.functional.cross_entropy(model(x[positions]), y[positions])

        schedule = scheduled(epochs=1, batch_units=16)
        options = {"checkpoints": tmp_path / folder, "seed": 0, "validate": lambda: {"valid": 0.0}, "pieces": pieces}
        loop.train(model, objective, np.ones(16, dtype=int), schedule=schedule, events=heard.append, **options)
        return model

    plain, after = tried("plain", pieces=4, failing=None), tried("after", pieces=2, failing=2)
    assert int(after[1].num_batches_tracked) == 4
    assert same(plain, after)
    (told,) = [item["message"] for item in heard if item.get("code") == "train.pieces"]
    assert told.endswith("in 4 pieces, with the same gradient, but for batch norm.")


def test_a_row_that_does_not_fit_is_the_end_and_other_errors_pass_through(tmp_path):
    with pytest.raises(SartorError) as caught:
        run(tmp_path / "none", memory=0)
    assert caught.value.code == "train.out-of-memory"

    def broken(positions):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        loop._gradients(
            broken, np.arange(4), {"pieces": 1}, torch.optim.SGD([torch.zeros(1)]), numbers=0, bf16=False, events=print
        )


def test_a_disk_that_is_full_costs_the_checkpoint_and_not_the_run(tmp_path, monkeypatch):
    whole, _ = run(tmp_path / "whole")
    heard = []

    def full(*words, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop, "_write", full)
    assert same(whole, run(tmp_path / "full", events=heard.append)[0])
    assert set(warnings_of(heard)) == {"train.unsaved"}
    assert not list((tmp_path / "full").iterdir())


def test_a_disk_without_room_is_said_before_the_first_step(tmp_path, monkeypatch):
    room = shutil.disk_usage(tmp_path)._replace(free=2_000)
    monkeypatch.setattr(loop.shutil, "disk_usage", lambda folder: room)
    with pytest.raises(SartorError) as caught:
        run(tmp_path, poison=range(1, 10_000))
    assert caught.value.code == "train.no-room"
    assert "checkpoints and weights take 0.0 MB" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_a_kill_left_of_a_removal_is_swept(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_after=20)
    half = tmp_path / "step-00000001"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"")
    run(tmp_path)
    assert not half.exists()
