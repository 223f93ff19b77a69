"""Every step that tunes: what it trains, what its bundle holds, and that what is exported answers as what was trained."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import SMALL, checkpoint, opinions, stored, write_rows

from sartor import bundle as bundles
from sartor import follow, leaves, predict
from sartor.data import read, split, store
from sartor.errors import InputError
from sartor.plan import Move, Plan, keys

torch = pytest.importorskip("torch")

SIZES = SMALL | {"num_hidden_layers": 4}
METHODS = {
    "lora": Move("lora", {"method": "lora", "epochs": 2}),
    "rslora": Move("lora", {"method": "rslora", "epochs": 2}),
    "dora": Move("lora", {"method": "dora", "epochs": 2}),
    "ia3": Move("lora", {"method": "ia3", "epochs": 2}),
    "bottleneck": Move("bottleneck", {"width": 8, "epochs": 2}),
    "prompt": Move("prompt", {"tokens": 4, "epochs": 2}),
    "prefix": Move("prompt", {"tokens": 4, "deep": True, "epochs": 2}),
    "biases": Move("freeze", {"keep": "biases", "epochs": 2}),
    "last": Move("freeze", {"blocks": 2, "epochs": 2}),
}


@pytest.fixture(scope="module")
def rows(opinions_csv, tmp_path_factory):
    """(dataset, splits, what follows needs, a checkpoint of four blocks)."""
    folder = tmp_path_factory.mktemp("rows")
    dataset, splits, settings = stored(opinions_csv, folder)
    source = checkpoint(folder / "checkpoint", dataset.table.column("text").to_pylist(), sizes=SIZES)
    return dataset, splits, settings, str(source)


def made(settings, *moves, cache=None, heard=None):
    """The bundle of a plan, followed in this process from where the cache has it."""
    plan = Plan("made", tuple(moves))
    plan.check()
    cache = cache or settings["cache"]
    names = keys(plan, made_of=settings["made_of"])
    first = sum(bundles.whole(cache / name) for name in names)
    of = settings["made_of"]
    job = {"plan": plan.as_dict(), "keys": names, "first": first, "data": str(settings["data"]), "cache": str(cache)}
    job |= {"threads": 2, "seed": of["seed"], "inputs": of["inputs"], "targets": of["targets"]}
    if first < len(names):
        follow.run_steps(job, (lambda item: None) if heard is None else heard.append)
    return bundles.load(cache / names[-1])


def notes(bundle):
    return json.loads((bundle.path / "step.json").read_text())["notes"]


def weights(bundle, name="model.safetensors"):
    from safetensors.torch import load_file

    return load_file(bundle.path / name)


@pytest.mark.parametrize("name", list(METHODS))
def test_a_method_tunes_little_and_what_is_exported_answers_as_what_was_trained(name, rows):
    dataset, splits, settings, source = rows
    start = (Move("start", {"backbone": source}), Move("fit", {}))
    tuned = made(settings, *start, METHODS[name])
    whole = made(settings, *start, Move("train", {"epochs": 1}))
    assert 0 < notes(tuned)["trained"] < notes(whole)["trained"]
    assert all(np.isfinite(record["train_loss"]) for record in notes(tuned)["curve"])
    size = (tuned.path / "model.safetensors").stat().st_size
    if "adapter" in tuned.meta["backbone"]:  # the adapter and the heads, not the body
        assert not [tensor for tensor in weights(tuned) if not tensor.startswith("sartor.heads")]
        assert (
            size + (tuned.path / "adapter.safetensors").stat().st_size
            < 0.5 * (whole.path / "model.safetensors").stat().st_size
        )
    else:
        assert size < (whole.path / "model.safetensors").stat().st_size
    exported = made(settings, *start, METHODS[name], Move("export", {}))
    texts = [*dataset.table.column("text").take(splits.test[:30]).to_pylist(), "", "the plot was superb " * 30]
    served = predict.load(exported.path).predict(texts)
    trained = predict.load(exported.path, runtime="torch").predict(texts)
    fitted = predict.load(made(settings, *start, Move("export", {})).path).predict(texts)
    moved = 0.0
    for one, other, before in zip(served, trained, fitted, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)
        moved = max(moved, abs(one["probability"] - before["probabilities"][one["label"]]))
    assert moved > 1e-5  # it did learn


@pytest.mark.parametrize("name", ["lora", "dora", "ia3"])
def test_an_adapter_is_part_of_the_weights_for_what_comes_after(name, rows):
    from sartor import model as models

    _, _, settings, source = rows
    start = (Move("start", {"backbone": source}), Move("fit", {}), METHODS[name])
    tuned = made(settings, *start)
    beside, merged = models.load(tuned.path, merged=False).eval(), models.load(tuned.path).eval()
    batch = leaves.load("backbone", "hub").processor(tuned.path, tuned.meta["backbone"])(
        [{"text": "the plot was dull"}]
    )
    given = {key: torch.from_numpy(array) for key, array in batch.items()}
    with torch.inference_mode():
        assert torch.allclose(beside(**given)["output_0"], merged(**given)["output_0"], atol=1e-5)
    further = made(settings, *start, Move("train", {"epochs": 1}))
    assert "adapter" not in further.meta["backbone"]
    assert not (further.path / "adapter.safetensors").exists()


def test_the_packaged_bundle_of_an_adapter_opens_in_transformers(rows, tmp_path):
    from transformers import AutoModel

    from sartor import model as models

    _, _, settings, source = rows
    tuned = made(settings, Move("start", {"backbone": source}), Move("fit", {}), METHODS["lora"])
    folder = tmp_path / "whole"
    folder.mkdir()
    model = models.load(tuned.path)
    told = models.save(model, folder, tuned.meta["backbone"], whole=True)
    assert told["owns_weights"]
    assert "adapter" not in told
    (folder / "config.json").write_bytes((tuned.path / "config.json").read_bytes())
    opened = AutoModel.from_pretrained(folder, local_files_only=True).state_dict()
    base = AutoModel.from_pretrained(source, local_files_only=True).state_dict()
    own = {name.removeprefix("encoder."): tensor for name, tensor in model.body.state_dict().items()}
    assert all(torch.equal(opened[name], own[name]) for name in own if name in opened)
    moved = [name for name in own if name in base and not torch.equal(base[name], own[name])]
    assert all(".layer." in name for name in moved)
    assert moved


def test_kept_activations_give_the_weights_that_are_had_without(rows):
    _, _, settings, source = rows
    start = (Move("start", {"backbone": source}), Move("fit", {}))
    one, other = (
        made(settings, *start, Move("freeze", {"blocks": 2, "epochs": 2, "bf16": False, "cached": cached}))
        for cached in (True, False)
    )
    with_cache, without = weights(one), weights(other)
    assert set(with_cache) == set(without)
    for name, tensor in with_cache.items():
        assert torch.allclose(tensor, without[name], atol=2e-4), name
    held = weights(made(settings, *start, Move("train", {"epochs": 1})))
    below = {name for name in held if ".layer.0." in name or ".layer.1." in name}
    assert below
    assert not below & set(with_cache)
    curves = [[round(record["valid"], 6) for record in notes(bundle)["curve"]] for bundle in (one, other)]
    assert curves[0] == curves[1]
    assert not list(settings["cache"].glob("*.kept"))


def test_a_second_adapter_is_refused_where_the_first_cannot_become_weights(rows):
    _, _, settings, source = rows
    begin = (Move("start", {"backbone": source}), Move("fit", {}))
    first = Move("bottleneck", {"width": 4, "epochs": 1})
    with pytest.raises(InputError, match="bottleneck") as caught:
        made(settings, *begin, first, Move("lora", {"epochs": 1}))
    assert caught.value.code == "plan.body"
    twice = made(settings, *begin, Move("lora", {"epochs": 1}), Move("lora", {"epochs": 1, "rank": 4}))
    assert twice.meta["backbone"]["adapter"]["rank"] == 4
    assert twice.meta["backbone"]["owns_weights"] is False


@pytest.mark.parametrize(
    ("move", "code"),
    [
        (Move("freeze", {"blocks": 4}), "plan.argument"),
        (Move("freeze", {"keep": "first"}), "plan.argument"),
        (Move("freeze", {"cached": True, "noise": 0.1}), "plan.argument"),
        (Move("lora", {"method": "lorra"}), "plan.argument"),
        (Move("paraphrase", {"model": "/nowhere"}), "backbone.not-found"),
    ],
)
def test_what_a_step_cannot_do_is_said_before_it_trains(move, code, rows):
    _, _, settings, source = rows
    with pytest.raises(InputError) as caught:
        made(settings, Move("start", {"backbone": source}), Move("fit", {}), move)
    assert caught.value.code == code


def test_a_misspelt_argument_of_training_is_named_with_the_right_one():
    moves = (Move("start", {"backbone": "minilm"}), Move("lora", {"learnig_rate": 1e-3}), Move("export", {}))
    with pytest.raises(InputError, match="learning_rate") as caught:
        Plan("given", moves).check_given()
    assert caught.value.code == "plan.argument-unknown"


INNER = {"name": "inner", "steps": [{"step": "start", "arguments": {"backbone": "ngram", "leaf": "ngram"}}]}
WORDY = {"steps": [INNER["steps"][0], {"step": "fit", "arguments": {"wordy": True}}]}


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ("all", "plan.argument"),
        ([], "plan.argument"),
        ([INNER], "plan.argument"),
        ([{"inputs": "text", "plan": INNER}], "plan.argument"),
        ([{"inputs": ["text"], "plan": []}], "plan.argument"),
        ([{"inputs": ["text"], "plan": {"steps": [{"step": "fit"}]}}], "plan.forms"),
        ([{"inputs": ["text"], "plan": WORDY}], "plan.argument-unknown"),
    ],
    ids=["a word", "none", "no inputs", "inputs in a word", "no plan", "forms", "an argument"],
)
def test_plans_within_a_plan_are_checked_before_anything_runs(members, code):
    moves = (Move("fuse", {"members": members}), Move("export", {}))
    with pytest.raises(InputError) as caught:
        Plan("given", moves).check_given()
    assert caught.value.code == code
    Plan("given", (Move("fuse", {"members": [{"inputs": ["text"], "plan": INNER}]}), moves[1])).check_given()


def test_steps_for_texts_are_refused_for_pictures(tmp_path):
    from hostile import pictures

    dataset = read.read(str(pictures(tmp_path / "pictures", 60)))
    [target] = [column.name for column in dataset.schema.targets]
    splits = split.split(dataset, target=target, task="classify")
    store.save(dataset, splits, tmp_path / "data")
    inputs = [{"name": column.name, "kind": column.kind} for column in dataset.schema.inputs]
    of = {"seed": 0, "inputs": inputs, "targets": {target: "classify"}, "fingerprint": "pictures"}
    settings = {"data": tmp_path / "data", "cache": tmp_path / "cache", "made_of": of}
    start = Move("start", {"backbone": "convnet", "leaf": "convnet"})
    for move in (Move("pretrain", {}), Move("prompt", {"epochs": 1}), Move("lora", {"epochs": 1})):
        with pytest.raises(InputError) as caught:
            made(settings, start, move)
        assert caught.value.code == "plan.body"
    last = made(settings, start, Move("freeze", {"blocks": 1, "epochs": 1}))
    assert "text" in notes(last)["why_not_kept"]
    contrasted = made(settings, start, Move("contrast", {"rows": 64}))
    assert notes(contrasted)["contrasted"] >= 64


def test_contrasting_a_handful_of_rows_brings_classes_apart(rows):
    from sartor import model as models
    from sartor.step import fit

    dataset, splits, settings, _ = rows
    few = np.sort(np.concatenate([splits.train[:16]]))
    start = Move("start", {"backbone": "minilm", "max_tokens": 32})
    bundle = made(settings, start)
    after = made(settings, start, Move("contrast", {"rows": 320}))
    assert notes(after)["contrasted"] >= 320
    inputs = [{"text": text} for text in dataset.table.column("text").take(splits.valid).to_pylist()]
    labels = np.array(dataset.table.column("label").take(splits.valid).to_pylist())
    assert len(few) == 16

    def gap(one):
        processor = leaves.load("backbone", "hub").processor(one.path, one.meta["backbone"])
        from types import SimpleNamespace

        quiet = SimpleNamespace(progress=lambda *_, **__: None)
        features = fit.embed(models.load(one.path).eval(), processor, inputs, quiet, bf16=False)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        alike = labels[:, None] == labels[None]
        cosines = features @ features.T
        return cosines[alike].mean() - cosines[~alike].mean()

    assert gap(after) > gap(bundle) + 0.1


def test_what_was_contrasted_is_seen_by_its_direction_and_told_apart_gently(tmp_path, rows):
    """Each part of rows that were drawn together is told apart by the others, so these say nothing of how strong the solver is to be."""
    from sartor import model as models
    from sartor.step.fit import STRENGTHS

    table = [(text, label) for text, label in opinions(48, 3)]
    dataset, splits, settings = stored(write_rows(tmp_path / "few.csv", table), tmp_path)
    assert len(splits.valid) < 50
    start = Move("start", {"backbone": rows[3], "max_tokens": 32})
    contrast = Move("contrast", {"rows": 64})
    fitted = made(settings, start, contrast, Move("fit", {}))
    assert notes(fitted)["chosen"]["strength"] == STRENGTHS[0]
    model = models.load(fitted.path).eval()
    processor = leaves.load("backbone", "hub").processor(fitted.path, fitted.meta["backbone"])
    texts = dataset.table.column("text").to_pylist()
    given = {key: torch.from_numpy(array) for key, array in processor([{"text": text} for text in texts]).items()}
    with torch.inference_mode():
        assert torch.allclose(model.body(**given).norm(dim=-1), torch.ones(len(texts)), atol=1e-5)
    exported = made(settings, start, contrast, Move("fit", {}), Move("export", {}))
    served, trained = (predict.load(exported.path, **how).predict(texts) for how in ({}, {"runtime": "torch"}))
    for one, other in zip(served, trained, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)


def test_the_batches_of_contrast_take_every_row_of_every_class_in_turn():
    from sartor.step.contrast import drawn

    codes = np.repeat(np.arange(20), 8)
    batches = drawn(codes, 2_000, np.random.default_rng(0))
    assert 2_000 <= sum(map(len, batches)) < 2_064
    for batch in batches:
        assert len(set(batch.tolist())) == len(batch)
        assert np.unique(codes[batch], return_counts=True)[1].min() >= 2
    seen = np.bincount(np.concatenate(batches), minlength=len(codes))
    assert seen.max() - seen.min() <= 3
    lonely = drawn(np.array([0, 0, 0, 1]), 40, np.random.default_rng(0))  # one row of a class has no pair within it
    assert all(len(batch) >= 3 for batch in lonely)


def test_reading_on_lowers_the_loss_of_hidden_words_and_uses_rows_without_a_label(tmp_path):
    labelled, more = opinions(200, 0), opinions(600, 1)
    train = write_rows(tmp_path / "train.csv", labelled)
    unlabelled = write_rows(tmp_path / "unlabelled.csv", more)
    dataset = read.read({"train": str(train), "unlabelled": str(unlabelled)}, input=("text",), target="label")
    splits = split.split(dataset, target="label", task="classify")
    store.save(dataset, splits, tmp_path / "data")
    source = checkpoint(tmp_path / "checkpoint", [text for text, _ in labelled + more])
    of = {
        "seed": 0,
        "inputs": [{"name": "text", "kind": "text"}],
        "targets": {"label": "classify"},
        "fingerprint": "more",
    }
    settings = {"data": tmp_path / "data", "cache": tmp_path / "cache", "made_of": of}
    start = Move("start", {"backbone": str(source)})
    read_on = made(settings, start, Move("pretrain", {"epochs": 6, "learning_rate": 3e-3}))
    told = notes(read_on)
    assert told["read"] == len(splits.train) + len(splits.unlabelled)
    assert told["guessing"]["after"] < told["guessing"]["before"] - 0.15
    tuned = made(settings, start, Move("pretrain", {"epochs": 6, "learning_rate": 3e-3}), Move("fit", {}))
    assert [
        name for name in weights(tuned) if ".layer." in name
    ]  # the body that was read on with, not the checkpoint's


def test_masking_hides_few_words_and_no_separator():
    from sartor.step.pretrain import masked

    rng = np.random.default_rng(0)
    ids = rng.integers(10, 300, size=(64, 40))
    ids[:, 0], ids[:, -1] = 2, 3
    batch = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    changed, places, truth = masked(batch, np.array([0, 1, 2, 3, 4]), 4, 300, rng)
    share = len(truth) / (64 * 38)
    hidden = (changed["input_ids"] == 4).sum() / len(truth)
    assert 0.12 < share < 0.18
    assert 0.75 < hidden < 0.85
    assert (changed["input_ids"][:, [0, -1]] == ids[:, [0, -1]]).all()
    assert (ids[places] == truth).all()
    assert ((changed["input_ids"] != ids).sum() - (changed["input_ids"][places] != truth).sum()) == 0


def test_a_search_whose_time_is_over_ends_with_the_best_of_what_it_tried(rows, tmp_path, monkeypatch):
    _, _, settings, source = rows
    start = (Move("start", {"backbone": source}), Move("fit", {}))
    # When the search begins, after both epochs of the first try, before the second, and after its first epoch.
    left = iter([90.0, 80.0, 70.0, 60.0, 20.0])
    monkeypatch.setattr(follow.Context, "left_s", lambda ctx: next(left, 5.0))
    ended = made(settings, *start, Move("search", {"trials": 4, "epochs": 2}), cache=tmp_path / "short")
    tries = notes(ended)["tries"]
    assert len(tries) == 2
    assert notes(ended)["chosen"] in [one["params"] for one in tries]
    assert next(left, None) is None


def test_a_search_is_never_behind_its_first_try_and_goes_on_where_it_was_stopped(rows, tmp_path):
    _, _, settings, source = rows
    start = (Move("start", {"backbone": source}), Move("fit", {}))
    search = Move("search", {"trials": 4, "epochs": 2})
    whole = made(settings, *start, search)
    tries = notes(whole)["tries"]
    assert len(tries) == 4
    prior = made(settings, *start, Move("train", {"epochs": 2}))
    first = max(record["valid"] for record in notes(prior)["curve"])
    assert tries[0]["score"] == pytest.approx(first)
    assert max(one["score"] for one in tries) >= first
    assert max(record["valid"] for record in notes(whole)["curve"]) == max(one["score"] for one in tries)

    def stop(item):
        if item.get("event") == "progress" and item.get("stage") == "search" and item["done"] == 2:
            raise KeyboardInterrupt

    class Heard:
        append = staticmethod(stop)

    with pytest.raises(KeyboardInterrupt):
        made(settings, *start, search, cache=tmp_path / "other", heard=Heard)
    again = made(settings, *start, search, cache=tmp_path / "other")
    assert notes(again)["tries"] == tries
    assert weights(again).keys() == weights(whole).keys()
    assert all(torch.equal(tensor, weights(again)[name]) for name, tensor in weights(whole).items())


def paraphraser(folder, texts):
    """A small sequence-to-sequence checkpoint with random weights: what it says is noise in words of the texts."""
    from transformers import AutoTokenizer, BartConfig, BartForConditionalGeneration

    home = checkpoint(folder / "words", texts)
    tokenizer = AutoTokenizer.from_pretrained(home, local_files_only=True)
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=96,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        decoder_start_token_id=3,
        forced_eos_token_id=None,
    )
    BartForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_paraphrases_stand_beside_the_given_rows_where_validation_is_no_worse(tmp_path):
    dataset, splits, settings = stored(write_rows(tmp_path / "few.csv", opinions(100, 3)), tmp_path)
    source = str(checkpoint(tmp_path / "checkpoint", dataset.table.column("text").to_pylist()))
    ref = paraphraser(tmp_path / "seq2seq", dataset.table.column("text").to_pylist())
    start = Move("start", {"backbone": source})
    heard = []
    bundle = made(settings, start, Move("paraphrase", {"model": ref}), heard=heard)
    told = notes(bundle)["paraphrased"]
    assert told["made"] == len(splits.train)
    assert 0 < told["new"] <= told["made"]
    assert told["kept"] == (told["with"] >= told["without"]) == (bundle.path / "more.jsonl").is_file()
    both = made(settings, start, Move("paraphrase", {"model": ref, "back": ref, "copies": 2, "top_p": 0.5}))
    assert notes(both)["paraphrased"]["made"] == 2 * len(splits.train)


def test_what_was_made_is_learned_from_with_the_targets_of_what_it_was_made_from(rows):
    from sartor.data.examples import with_more, write_more
    from sartor.task import classify

    dataset, splits, settings, _ = rows
    folder = settings["data"].parent / "made"
    folder.mkdir()
    train = classify.examples(dataset, splits.train, "label")
    write_more(
        folder,
        [{"row": int(train.rows[3]), "inputs": {"text": "other words"}}, {"row": 10**9, "inputs": {"text": "x"}}],
    )
    more = with_more(train, folder)
    assert len(more) == len(train) + 1
    assert more.inputs[len(train)] == {"text": "other words"}
    assert more.targets["label"][-1] == train.targets["label"][3]
    assert more.groups[-1] == train.groups[3]


def test_rates_fall_from_block_to_block_and_the_mean_of_epochs_is_a_choice(rows):
    from sartor import model as models
    from sartor import tuning

    _, _, settings, source = rows
    start = (Move("start", {"backbone": source}), Move("fit", {}))
    arguments = {"epochs": 4, "patience": 9, "layer_decay": 0.5, "average": True, "noise": 0.1, "mix": 0.2}
    heard = []
    bundle = made(settings, *start, Move("train", arguments), heard=heard)
    assert [item for item in heard if "The mean of 2 epochs' weights" in item.get("message", "")]
    model = models.load(bundle.path)
    depths = tuning._depths(model)
    told = tuning.Settings(
        **dict.fromkeys(tuning.Settings.__dataclass_fields__, 0)
        | {"learning_rate": 1.0, "head_learning_rate": 9.0, "layer_decay": 0.5}
    )
    rates = {name: tuning.rate_of(name, settings=told, depths=depths) for name, _ in model.named_parameters()}
    of = {number: {rate for name, rate in rates.items() if f".layer.{number}." in name} for number in range(4)}
    assert of == {0: {0.125}, 1: {0.25}, 2: {0.5}, 3: {1.0}}
    assert {rate for name, rate in rates.items() if ".embeddings." in name} == {0.0625}
    assert {rate for name, rate in rates.items() if name.startswith("heads.")} == {9.0}


def test_a_mean_of_weights_is_taken_where_it_is_better(tmp_path):
    """Around an optimum that a high rate jumps over: no end of an epoch is near it, their mean is."""
    from sartor import loop

    class Point(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.place = torch.nn.Parameter(torch.tensor([[3.0, -3.0]]))

    scores = {}
    for average in (False, True):
        torch.manual_seed(0)
        point = Point()
        sides = torch.tensor([1.0, -1.0]).repeat(8)
        schedule = loop.Schedule(
            epochs=8, batch_rows=1, batch_units=1, learning_rate=0.5, head_learning_rate=0.5, weight_decay=0.0,
            warmup_share=0.0, clip_norm=1e9, patience=99, bf16=False, average=average,
        )  # fmt: skip
        outcome = loop.train(
            point,
            lambda at, point=point, sides=sides: (point.place - sides[torch.from_numpy(at)].mean()).square().sum(),
            np.ones(16, dtype=int),
            schedule=schedule,
            validate=lambda point=point: {"valid": -float(point.place.square().sum())},
            checkpoints=tmp_path / str(average),
            seed=0,
        )
        scores[average] = outcome.best_score
        assert outcome.best_score == pytest.approx(-float(point.place.detach().square().sum()))
    assert scores[True] >= scores[False]


def test_slips_change_some_words_and_leave_the_rest():
    from sartor.modality import text

    rng = np.random.default_rng(0)
    sentence = "the acting was brilliant and the camera never lost its patience with the slow and silent story"
    words = sentence.split()
    for rate, least, most in ((0.0, 0.0, 0.0), (0.1, 0.02, 0.25), (0.5, 0.3, 0.9)):
        lost = np.mean(
            [len(set(words) - set(text.varied(sentence, rng, rate=rate).split())) / len(set(words)) for _ in range(200)]
        )
        assert least <= lost <= most
    assert text.varied("good", rng, rate=1.0)
    chinese = "这家酒店的房间很干净服务也很好"
    assert set(text.varied(chinese, rng, rate=0.5)) <= set(chinese)
    assert text.varied("", rng, rate=1.0) == ""
