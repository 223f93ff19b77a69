"""melnet: what is padded changes nothing, training sounds are learned, changes at random stay what they say, both exporters agree."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sartor import model as models
from sartor.backbone import melnet
from sartor.errors import RowError
from sartor.mel import FLOOR
from sartor.modality.audio import Sound
from sartor.runtime import onnx
from sartor.task import classify

RATE = 8_000
OFF = {"speed": 0, "shift": 0, "gain_db": 0, "noise_db": 0, "masks": 0}


def glide(begin_hz, end_hz, seconds, seed=0, rate=RATE):
    rng = np.random.default_rng(seed)
    pitch = np.linspace(begin_hz, end_hz, round(seconds * rate))
    samples = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / rate) + rng.normal(0, 0.01, len(pitch))
    return Sound(samples.astype(np.float32), rate)


def rows(seconds=(0.05, 0.4, 1.3, 0.9, 0.16), rate=RATE):
    return [{"sound": glide(300 + 100 * i, 900, length, i, rate)} for i, length in enumerate(seconds)]


@pytest.fixture
def started(tmp_path):
    """(processor, body, meta, folder) as a bundle has them, with weights that tell sounds apart."""
    options, _ = melnet.resolve_options("melnet", columns=["sound"], inputs=rows(), given={})
    meta = melnet.start("melnet", tmp_path, columns=["sound"], inputs=rows(), seed=0, **options)
    heads = [{"target": "label", "task": "classify", "output": "output_0", "spec": {"classes": ["a", "b", "c"]}}]
    (tmp_path / "bundle.json").write_text(json.dumps({"backbone": meta, "heads": heads}))
    model = models.load(tmp_path)
    torch.manual_seed(1)
    torch.nn.init.normal_(model.heads["output_0"].weight)
    for _ in range(2):  # norms that have seen something are no longer the identity
        batch = melnet.processor(tmp_path, meta)(rows())
        model.train()(**{name: torch.from_numpy(array) for name, array in batch.items()})
    return melnet.processor(tmp_path, meta), model.eval(), meta, tmp_path


def outputs(model, batch):
    with torch.inference_mode():
        return model(**{name: torch.from_numpy(array) for name, array in batch.items()})["output_0"].numpy()


def test_rate_and_length_come_from_the_training_inputs_unless_they_are_given():
    options, notes = melnet.resolve_options("melnet", columns=["sound"], inputs=rows(), given={})
    assert options == notes == {"rate": RATE, "seconds": 1.3}
    many = rows(rate=44_100)
    assert melnet.resolve_options("melnet", columns=["sound"], inputs=many, given={"seconds": 3})[0] == {
        "rate": 16_000,
        "seconds": 3.0,
    }


def test_the_first_weights_hang_on_the_seed_and_leave_other_random_numbers_alone(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    made = []
    for number, seed in enumerate((0, 0, 1)):
        (folder := tmp_path / str(number)).mkdir()
        melnet.start("melnet", folder, columns=["sound"], inputs=rows(), seed=seed, rate=RATE, seconds=1.0)
        made.append((folder / "model.safetensors").read_bytes())
    assert made[0] == made[1] != made[2]
    assert (torch.rand(3) == expected).all()


def test_energies_are_standardised_over_the_training_rows(started):
    processor, *_ = started
    frames = np.concatenate([levels for (levels,) in processor.encode(rows())])
    assert frames.mean(axis=0) == pytest.approx(0, abs=1e-3)
    assert (frames.std(axis=0) < 1.001).all()


def test_a_batch_is_padded_to_its_longest_and_lengths_are_told_without_transforming(started, monkeypatch):
    processor, *_ = started
    batch = processor(rows())
    assert batch["mel"].shape == (5, 1, int(batch["frames"].max()), 64)
    assert (batch["mel"].dtype, batch["frames"].dtype) == (np.float32, np.int64)
    for levels, count in zip(batch["mel"][:, 0], batch["frames"], strict=True):
        assert not levels[count:].any()
    assert batch["frames"].min() == melnet.LEAST_FRAMES
    monkeypatch.setattr(type(processor.transform), "__call__", lambda *_: pytest.fail("transformed"))
    assert processor.length(rows()).tolist() == batch["frames"].tolist()
    assert processor.padded([])["mel"].shape[0] == 0


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100])
def test_lengths_are_told_rightly_of_every_rate(started, rate):
    processor, *_ = started
    inputs = rows(rate=rate)
    assert processor.length(inputs).tolist() == processor.costs(processor.encode(inputs)).tolist()


def test_an_answer_does_not_hang_on_the_batch(started):
    processor, model, *_ = started
    together = outputs(model, processor(rows()))
    alone = np.concatenate([outputs(model, processor([row])) for row in rows()])
    assert np.abs(together - alone).max() < 1e-5
    assert np.ptp(together, axis=0).min() > 0.01  # they do differ from each other
    batch = processor(rows())
    noise = np.random.default_rng(0).normal(size=batch["mel"].shape).astype(np.float32)
    filled = {
        **batch,
        "mel": np.where(np.arange(noise.shape[2])[:, None] < batch["frames"][:, None, None, None], batch["mel"], noise),
    }
    assert np.abs(outputs(model, filled) - together).max() < 1e-5


def test_of_a_long_recording_the_loudest_stretch_is_read(started):
    processor, *_ = started
    word = glide(300, 900, 1.0).samples
    quiet = np.random.default_rng(0).normal(0, 1e-3, 8 * RATE).astype(np.float32)
    quiet[5 * RATE : 6 * RATE] += word
    ((levels,),) = processor.encode([{"sound": Sound(quiet, RATE)}])
    assert len(levels) == processor.most == 130
    loud = (levels * processor.spread + processor.mean).max(axis=1) > 0
    assert loud.sum() > 95


PAIRS = [
    {"one": glide(300, 600, 0.4), "two": glide(900, 600, 0.3)},
    {"one": glide(900, 600, 0.3), "two": glide(300, 600, 0.4)},
    {"one": glide(500, 500, 1.1), "two": glide(500, 500, 0.05)},
]


@pytest.fixture
def of_pairs(tmp_path):
    """(processor, body) for two recordings a row, with norms that have seen something."""
    meta = melnet.start("melnet", tmp_path, columns=["one", "two"], inputs=PAIRS, seed=0, rate=RATE, seconds=1.0)
    processor, body = melnet.processor(tmp_path, meta), melnet.body(tmp_path, meta)
    for _ in range(2):
        body.train()(**{name: torch.from_numpy(array) for name, array in processor(PAIRS).items()})
    return processor, body.eval()


def test_of_several_columns_each_is_heard_by_itself_and_which_came_first_is_told(of_pairs):
    processor, body = of_pairs

    def features(rows):
        with torch.inference_mode():
            return body(**{name: torch.from_numpy(array) for name, array in processor(rows).items()}).numpy()

    found = features(PAIRS)
    assert found.shape == (3, body.width) == (3, 512)
    assert np.abs(found[0] - found[1]).max() > 0.01  # the same two the other way round
    assert np.abs(found[0, :256] - found[1, 256:]).max() < 1e-5
    assert np.abs(found[0, 256:] - found[1, :256]).max() < 1e-5
    alone = np.concatenate([features([row]) for row in PAIRS])
    assert np.abs(found - alone).max() < 1e-5


def test_several_columns_are_changed_each_by_itself_and_what_is_no_recording_is_refused(of_pairs):
    processor, _ = of_pairs
    parts = [processor._levels(PAIRS[0][name], name) for name in ("one", "two")]
    (encoded,) = processor.encode(PAIRS[:1])
    assert all((one == other).all() for one, other in zip(encoded, parts, strict=True))
    assert processor.length(PAIRS[:1]).tolist() == [len(parts[0]) + len(parts[1])]
    twice = [[parts[0], parts[0]]]
    made = processor.augmented(twice, np.random.default_rng(0), **(OFF | {"gain_db": 6.0}))["mel"]
    steps = [(made[0, place, : len(parts[0])] - parts[0]).mean() for place in (0, 1)]
    assert min(abs(steps[0]), abs(steps[1]), abs(steps[0] - steps[1])) > 1e-3
    with pytest.raises(RowError, match="Column 'two'"):
        processor.encode([PAIRS[0] | {"two": b"junk"}])


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_several_columns_are_exported_with_free_batch_and_frames(of_pairs, tmp_path, exporter):
    processor, body = of_pairs
    model = models.Model(body, {"output_0": torch.nn.Identity()}).eval()
    target = tmp_path / "model.onnx"
    onnx._export(model, target, processor(PAIRS), axes=processor.axes, dynamo=exporter == "dynamo")
    assert onnx.parity(model, target, [processor(PAIRS), *(processor([row]) for row in PAIRS)]) < 1e-4


def test_changes_at_random_are_a_function_of_the_generator_and_each_can_be_left_out(started):
    processor, *_ = started
    encoded = processor.encode(rows())
    kept = [[levels.copy() for levels in row] for row in encoded]
    one, same, other = (processor.augmented(encoded, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (one["mel"] == same["mel"]).all()
    assert one["mel"].shape != other["mel"].shape or (one["mel"] != other["mel"]).any()
    assert all((before == after).all() for (before,), (after,) in zip(kept, encoded, strict=True))
    assert np.isfinite(one["mel"]).all()
    none = processor.augmented(encoded, np.random.default_rng(0), **OFF)
    assert np.abs(none["mel"] - processor.padded(encoded)["mel"]).max() < 1e-5
    assert (none["frames"] == processor.costs(encoded)).all()


@pytest.mark.parametrize("name", ["speed", "shift", "gain_db", "noise_db", "masks"])
def test_each_change_does_what_it_says(started, name):
    processor, *_ = started
    ((levels,),) = processor.encode([{"sound": glide(500, 500, 1.0)}])
    strength = {"speed": 0.2, "shift": 0.2, "gain_db": 6.0, "noise_db": 20.0, "masks": 0.3}[name]
    logs = levels * processor.spread + processor.mean
    seen = False
    for seed in range(8):
        made = processor.augmented([[levels]], np.random.default_rng(seed), **(OFF | {name: strength}))
        frames = int(made["frames"][0])
        found = made["mel"][0, 0, :frames]
        changed = found * processor.spread + processor.mean
        seen |= found.shape != levels.shape or np.abs(found - levels).max() > 1e-3
        if name == "speed":
            assert np.exp(-0.2) * len(levels) - 1 <= frames <= np.exp(0.2) * len(levels) + 1
            assert changed.mean(axis=0).argmax() == logs.mean(axis=0).argmax()
            continue
        assert frames == len(levels)
        assert changed.min() >= np.log(FLOOR) - 1e-3
        if name == "gain_db":
            step = (changed - logs)[logs > np.log(FLOOR) + 3]
            assert np.ptp(step) < 1e-3
            assert abs(step[0]) <= 6 * np.log(10) / 10 + 1e-3
        elif name == "noise_db":
            assert (changed >= logs - 1e-3).all()
            assert changed.max() - logs.max() < 0.1
        elif name == "masks":
            blank = found == 0
            assert blank.all(axis=1).sum() <= 0.3 * frames + 1
            assert blank.all(axis=0).sum() <= 0.3 * 64 + 1
    assert seen


def test_it_learns_what_it_is_shown(started):
    processor, model, *_ = started
    inputs = [{"sound": glide(*((300, 900) if i % 2 else (900, 300)), 0.2 + 0.01 * i, seed=i)} for i in range(12)]
    encoded = processor.encode(inputs)
    truth = torch.tensor([i % 2 for i in range(12)])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for step in range(15):
        batch = processor.augmented(encoded, np.random.default_rng(step))
        loss = classify.loss(model(**{k: torch.from_numpy(v) for k, v in batch.items()})["output_0"], truth, {}).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = outputs(model.eval(), processor.padded(encoded))
    assert (found.argmax(axis=1) == truth.numpy()).mean() > 0.9


def test_weights_and_moments_can_be_saved_as_they_lie(started):
    _, model, *_ = started
    assert all(parameter.is_contiguous() for parameter in model.parameters())


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_exported_with_free_batch_and_frames_it_answers_alike(started, tmp_path, exporter):
    processor, model, *_ = started
    target = tmp_path / "model.onnx"
    onnx._export(model, target, processor(rows()[:3]), axes=processor.axes, dynamo=exporter == "dynamo")
    batches = [processor(rows()), *(processor([row]) for row in rows())]
    assert onnx.parity(model, target, batches) < 1e-4


def test_its_cost_grows_with_the_length_and_its_card_tells_its_parameters(started):
    _, model, *_ = started
    short, long = (
        melnet.flops("melnet", SimpleNamespace(sizes={"seconds_median": s}, columns=1, convolution=1.0))
        for s in (1.0, 2.0)
    )
    assert long == pytest.approx(2 * short)
    (card,) = melnet.cards()
    assert card.parameters == sum(parameter.numel() for parameter in model.body.parameters())
    assert len(model.body.blocks()) == len(melnet.WIDTHS)
