"""Channels of the nets that train from nothing: what is taken out, that what is exported answers as what was left, and how such a student is taught."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from sartor import bundle as bundles
from sartor import follow, leaves, predict
from sartor.data.target import examples as examples_of
from sartor.errors import InputError
from sartor.plan import Move, Plan, keys

torch = pytest.importorskip("torch")
hostile = pytest.importorskip("hostile")

NETS = {"pictures": ("convnet", 4), "recordings": ("melnet", 4)}  # leaf, places where channels can go


@pytest.fixture(scope="module", params=NETS)
def ground(request, tmp_path_factory):
    """(what reads and splits, what follows plans, the leaf, places)."""
    from sartor.data import read, split, store

    home = tmp_path_factory.mktemp(request.param)
    source = getattr(hostile, request.param)(home / "rows", 160)
    dataset = read.read(str(source))
    targets = dict(dataset.schema.tasks)
    splits = split.split(dataset, target=targets, task="classify")
    store.save(dataset, splits, home / "data")
    inputs = [{"name": column.name, "kind": column.kind} for column in dataset.schema.inputs]
    settings = {"home": home, "made_of": {"seed": 0, "inputs": inputs, "targets": targets}}
    return dataset, splits, settings, *NETS[request.param]


def made(settings, *moves):
    """The bundle of a plan."""
    return follow.follow(
        Plan("made", moves),
        data=settings["home"] / "data",
        cache=settings["home"] / "cache",
        made_of=settings["made_of"],
        threads=2,
    )


def notes(settings, *moves):
    name = keys(Plan("made", moves), made_of=settings["made_of"])[-1]
    return json.loads((settings["home"] / "cache" / name / "step.json").read_text())["notes"]


def beginning(leaf):
    return (Move("start", {"backbone": leaf, "leaf": leaf}), Move("train", {"epochs": 4}))


EXPORT = (Move("export", {"runtime": "onnx"}), Move("quantise", {"precision": "float32"}))


@pytest.mark.slow
def test_half_of_the_channels_are_taken_out_taught_and_served(ground):
    dataset, splits, settings, leaf, places = ground
    whole = made(settings, *beginning(leaf))
    cut = (*beginning(leaf), Move("prune", {"channels": 0.5}))
    small = made(settings, *cut)
    before, after = notes(settings, *cut)["weights"]
    assert after < 0.75 * before
    assert len(small.meta["backbone"]["channels"]) == places
    assert all(count % 8 == 0 for count in small.meta["backbone"]["channels"])
    member = {
        "inputs": [one["name"] for one in settings["made_of"]["inputs"]],
        "plan": Plan("t", beginning(leaf)).as_dict(),
    }
    taught = (*cut, Move("distil", {"members": [member], "epochs": 2}))
    served = made(settings, *taught, *EXPORT)
    test = examples_of(dataset, splits.test, settings["made_of"]["targets"])
    rows = list(test.inputs)[:20]
    answers, trained = (predict.load(served.path, runtime=runtime).predict(rows) for runtime in (None, "torch"))
    for one, other in zip(answers, trained, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-3)
    assert (
        whole.manifest["files"]["model.safetensors"]["bytes"] > served.manifest["files"]["model.safetensors"]["bytes"]
    )


def test_channels_that_change_nothing_go_first_and_nothing_else_changes(ground):
    from sartor import model as models
    from sartor import pruning

    dataset, splits, settings, leaf, places = ground
    whole = made(settings, *beginning(leaf))
    backbone = leaves.load("backbone", leaf)
    model = models.load(whole.path).eval()
    found = backbone.channels(model.body)
    assert len(found) == places
    for _, norm, _, reader in found:
        reader.weight.data[:, :8] = 0  # nobody listens to the first eight
        assert norm.num_features == reader.in_channels
    processor = backbone.processor(whole.path, whole.meta["backbone"])
    ctx = follow.Context(dataset, splits, settings["made_of"]["inputs"], settings["made_of"]["targets"], 0)
    told = pruning.importance_of_channels(
        model, processor, ctx, whole.meta["heads"], [reader for _, _, reader, _ in found], rows=32, batch_rows=8
    )
    assert (told[:, :8] == 0).all()
    assert np.nansum(told[:, 8:]) > 0
    kept = [np.arange(8, norm.num_features) for _, norm, _, _ in found]
    batch = {key: torch.from_numpy(array) for key, array in processor(list(ctx.examples("train").inputs)[:4]).items()}
    before = model.eval()(**batch)
    pruning.cut_channels(found, kept)
    after = model(**batch)
    for name, output in before.items():
        assert torch.allclose(after[name], output, atol=1e-4)


@pytest.mark.parametrize("given", [{"blocks": 0.5}, {"channels": 0.0}, {"channels": 0.5, "faster": 2.0}])
def test_what_such_a_net_has_not_is_refused(ground, given):
    _, _, settings, leaf, _ = ground
    with pytest.raises(Exception, match="prune") as caught:
        follow.run_steps(
            {
                "plan": Plan("made", (*beginning(leaf), Move("prune", given))).as_dict(),
                "keys": keys(Plan("made", (*beginning(leaf), Move("prune", given))), made_of=settings["made_of"]),
                "first": 2,
                "data": str(settings["home"] / "data"),
                "cache": str(made(settings, *beginning(leaf)).path.parent),
                "threads": 2,
                "seed": 0,
                "inputs": settings["made_of"]["inputs"],
                "targets": settings["made_of"]["targets"],
            },
            lambda item: None,
        )
    assert isinstance(caught.value, InputError)
    assert bundles.whole(made(settings, *beginning(leaf)).path)


def test_rows_without_a_label_that_cannot_be_read_are_left_out(ground):
    """Pictures or recordings of which one is no such thing: the teacher is asked about the others, whose bytes are not held."""
    import pyarrow as pa

    from sartor.data import store

    dataset, splits, settings, leaf, _ = ground
    [column] = [one["name"] for one in settings["made_of"]["inputs"]]
    broken, *others = splits.train[:12].tolist()
    values = dataset.table.column(column).to_pylist()
    values[broken] = b"no picture, and no sound"
    place = dataset.table.column_names.index(column)
    table = dataset.table.set_column(place, column, pa.array(values, dataset.table.column(column).type))
    home = settings["home"] / "broken"
    bare = replace(splits, unlabelled=np.array([broken, *others]), train=splits.train[12:])
    store.save(replace(dataset, table=table), bare, home / "data")
    settings = settings | {"home": home, "made_of": settings["made_of"] | {"rows": "broken"}}
    member = {"inputs": [column], "plan": Plan("t", beginning(leaf)).as_dict()}
    taught = (Move("start", {"backbone": leaf, "leaf": leaf}), Move("distil", {"members": [member], "epochs": 1}))
    made(settings, *taught)
    told = notes(settings, *taught)
    assert told["unreadable"] == 1
    assert told["taught"]["beside"] == len(others)
