"""Starting, fitting and tuning: each fast path against the plain one, and what is derived from the data."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from sartor import leaves
from sartor.backbone import hub
from sartor.data.dataset import Examples
from sartor.step import fit, start, train
from sartor.task import classify, regress


def problem(rows=300, width=12, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, width))
    targets = rng.integers(classes, size=rows)
    features = 5 + 0.2 * (centres[targets] + rng.normal(size=(rows, width)))
    return features.astype(np.float32), targets, {"classes": list("abcdefgh")[:classes]}


def test_folded_scaling_answers_as_the_scaled_features_do():
    features, targets, spec = problem()
    scaled, centre, spread = fit.standardised(features)
    assert scaled.mean(axis=0) == pytest.approx(0, abs=1e-4)
    assert scaled.var(axis=0).mean() == pytest.approx(1, rel=1e-4)
    weight, bias = classify.fit_linear(scaled, targets, spec, strength=0.1, seed=0)
    folded_weight, folded_bias = fit.folded(weight, bias, centre, spread)
    assert features @ folded_weight.T + folded_bias == pytest.approx(scaled @ weight.T + bias, abs=1e-3)


def test_features_that_never_vary_are_no_error():
    scaled, _, spread = fit.standardised(np.ones((5, 3), dtype=np.float32))
    assert spread == 1.0
    assert not scaled.any()


@pytest.mark.parametrize("strength", [0.003, 0.3])
def test_the_dense_solver_finds_what_scikit_learn_finds(strength):
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, targets, spec = problem()
    scaled, _, _ = fit.standardised(features)
    weight, bias = classify.fit_linear(scaled, targets, spec, strength=strength, seed=0)
    plain = linear_model.LogisticRegression(C=strength, tol=1e-6, max_iter=1000).fit(scaled, targets)
    expected = plain.decision_function(scaled)
    found = scaled @ weight.T + bias
    assert found - found.mean(1, keepdims=True) == pytest.approx(expected, abs=0.01)


def test_a_class_without_rows_never_wins():
    features, targets, spec = problem(classes=3)
    spec = {"classes": ["a", "b", "c", "z"]}
    weight, bias = classify.fit_linear(features, targets, spec, strength=1.0, seed=0)
    assert (features @ weight.T + bias).argmax(1).max() < 3


def test_the_scale_of_the_outputs_is_the_best_on_a_grid():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(400, 3))
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = ["abc"[rng.choice(3, p=row)] for row in odds]
    spec = {"classes": ["a", "b", "c"]}
    scale, log_loss = fit.scale_of(classify, spec, logits / 10, truth)
    grid = [-fit._score(classify, spec, logits / 10 * s, truth, "log_loss") for s in np.geomspace(0.125, 64, 60)]
    assert scale == pytest.approx(10, rel=0.2)
    assert log_loss <= min(grid) + 1e-4


def test_embedding_in_batches_of_like_length_equals_one_row_at_a_time(tmp_path):
    torch = pytest.importorskip("torch")
    rows = [{"text": "word " * count} for count in (3, 900, 1, 40, 7)]
    processor = SimpleNamespace(
        encode=lambda inputs: [[1 + i % 7 for i in range(len(row["text"].split()))] for row in inputs],
        costs=lambda ids: np.array([len(row) for row in ids]),
        batch_units=2048,
        padded=lambda ids: {"ids": np.array([row + [0] * (max(map(len, ids)) - len(row)) for row in ids])},
    )
    table = torch.arange(8.0).unsqueeze(1).repeat(1, 2)

    class Body(torch.nn.Module):
        width = 2

        def forward(self, ids):
            return table[ids.cpu()].sum(1)  # padding is 0 and adds nothing

    body = Body()
    ctx = SimpleNamespace(progress=lambda *args, **kwargs: None)
    model = SimpleNamespace(body=body)
    together = fit.embed(model, processor, rows, ctx, bf16=False)
    alone = np.concatenate([fit.embed(model, processor, [row], ctx, bf16=False) for row in rows])
    assert np.array_equal(together, alone)


def context(texts):
    return SimpleNamespace(
        examples=lambda split: SimpleNamespace(inputs=[{"text": text} for text in texts]),
        inputs=[{"name": "text", "kind": "text"}],
        targets={},
        note=lambda **facts: None,
    )


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["fine"] * 100, 32),  # the least
        (["fine " * 38] * 100, 48),  # 40 tokens with the two special ones
        (["fine " * 38] * 995 + ["fine " * 200] * 5, 48),  # half a per cent of long ones is cut
        (["fine " * 600] * 20, 256),  # the most
    ],
)
def test_the_longest_input_is_resolved_from_the_data(texts, expected):
    arguments = start.resolve({"backbone": "minilm"}, context(texts))
    assert arguments == {"leaf": "hub", "backbone": "minilm", "max_tokens": expected}


def test_a_given_length_and_a_body_without_tokens_resolve_to_themselves():
    given = {"leaf": "hub", "backbone": "minilm", "max_tokens": 77}
    assert start.resolve(given, context(["fine " * 600])) == given
    assert "max_tokens" not in start.resolve({"backbone": "ngram", "leaf": "ngram"}, context(["fine"]))


def examples(texts, labels):
    rows = np.arange(len(texts))
    return Examples([{"text": text} for text in texts], {"label": list(labels)}, rows, rows)


@pytest.mark.parametrize("valid", [examples(["what is this"] * 5, ["unheard of"] * 5), examples([], [])])
@pytest.mark.parametrize("leaf", ["trees", "linear"])
def test_where_training_knows_no_validation_target_its_last_rows_judge(leaf, valid, tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    names = ["a", "b"] * 60
    train = examples([f"{float(i % 2) + i / 1000}" for i in range(120)], names)
    head = {"target": "label", "task": "classify", "output": "output_0", "spec": classify.learn(names)}
    judging = fit.judging(train, valid, head)
    assert judging.rows.tolist() == list(range(108, 120))
    known = examples(["1.0"], ["b"])
    assert fit.judging(train, known, head) is known
    body = leaves.load("backbone", leaf)
    meta = body.start(
        leaf, tmp_path, columns=["text"], inputs=train.inputs, seed=0, kinds={"text": "number"}, outputs=2
    )
    told = {}
    ctx = SimpleNamespace(
        examples={"train": train, "valid": valid}.get,
        seed=0,
        folder=tmp_path,
        note=told.update,
        progress=lambda *a, **k: None,
    )
    bundle = SimpleNamespace(path=tmp_path, meta={"heads": [head], "backbone": meta})
    fit.run(bundle, ctx, bf16=False)
    assert told["chosen"]


def test_where_training_rows_are_asked_none_is_judged_by_a_copy_of_itself():
    # Features say nothing, and of each row there are four: who has seen a copy of a row answers it rightly.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 4)
    features = rng.normal(size=(40, 60)).astype(np.float32)[groups]
    targets = rng.integers(0, 2, 40)[groups]
    spec = {"classes": ["a", "b"]}
    choose = fit.Chooser(classify, spec, [], [], seed=0, progress=lambda *a, **k: None, seen=True)
    scores = []

    def scored(parts, *given):
        scores.append(fit.Chooser._judge_with(choose, parts, *given))
        return scores[-1]

    choose._judge_with = scored
    for known in (None, groups):
        choose(features, targets, [0.1], lambda inputs: np.zeros((len(inputs), 60), np.float32), groups=known)
    (copied, *_), (apart, *_) = scores
    assert copied > 0.95
    assert 0.3 < apart < 0.7


def test_a_class_of_one_group_is_not_asked_in_parts():
    choose = fit.Chooser(classify, {"classes": ["a", "b"]}, [], [], seed=0, progress=lambda *a, **k: None)
    targets = np.repeat([0, 1], 20)
    assert len(choose._parts(targets, np.arange(40))) == fit.FOLDS
    assert not choose._parts(targets, np.where(targets == 0, 0, np.arange(40)))


def test_lengths_are_counted_before_anything_is_cut_off():
    rows = [{"text": "fine " * 400}, {"text": "fine"}]
    options, notes = hub.resolve_options("minilm", columns=["text"], inputs=rows, given={"max_tokens": 64})
    assert options == {"max_tokens": 64}
    assert notes == {"max_tokens": 64, "tokens_p50": (402 + 3) / 2, "truncated": 0.5}


def test_held_embeddings_stay_while_the_rest_of_the_body_trains():
    torch = pytest.importorskip("torch")
    from sartor import tuning

    body = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Linear(4, 2))
    assert tuning.hold_embeddings(body) == 36
    before = [parameter.detach().clone() for parameter in body.parameters()]
    solver = torch.optim.AdamW([parameter for parameter in body.parameters() if parameter.requires_grad], lr=0.1)
    body(torch.tensor([1, 2, 3])).square().sum().backward()
    solver.step()
    table, weight, bias = [bool(torch.equal(a, b)) for a, b in zip(before, body.parameters(), strict=True)]
    assert (table, weight, bias) == (True, False, False)


def test_given_sizes_of_training_stay_and_the_others_are_resolved():
    told = {}
    ctx = SimpleNamespace(note=told.update, targets={}, backbone={"leaf": "hub"})
    assert train.resolve({"epochs": 1, "label_smoothing": 0.0}, ctx)["label_smoothing"] == 0.0
    assert not told
    assert train.resolve({}, ctx)["label_smoothing"] == 0.1
    assert "why_label_smoothing" in told


@pytest.mark.parametrize(("rare", "weighed"), [(5, True), (6, False)])
def test_classes_are_weighed_where_one_is_ten_times_as_large_as_another(rare, weighed):
    labels = ["usual"] * 50 + ["rare"] * rare
    told = {}
    ctx = SimpleNamespace(
        note=told.update,
        targets={"label": "classify"},
        backbone={"leaf": "hub"},
        examples=lambda split: SimpleNamespace(targets={"label": labels}),
    )
    assert train.resolve({}, ctx)["balance"] is weighed
    assert ("why_balance" in told) is weighed
    assert train.resolve({"balance": not weighed}, ctx)["balance"] is not weighed


def test_weights_of_classes_are_no_matter_where_numbers_are_told(tmp_path):
    """A plan may ask for them; nothing is weighed."""
    pytest.importorskip("torch")
    from sartor import model as models
    from sartor.backbone import melnet
    from sartor.child import Stop
    from sartor.modality.audio import Sound

    rng = np.random.default_rng(0)
    inputs = [{"sound": Sound(rng.normal(0, 0.1, 2_000).astype(np.float32), 8_000)} for _ in range(12)]
    prices, rows = rng.normal(50, 9, size=12).tolist(), np.arange(12)
    meta = melnet.start("melnet", tmp_path, columns=["sound"], inputs=inputs, seed=0, rate=8_000, seconds=0.25)
    head = {"target": "price", "task": "regress", "output": "output_0", "spec": regress.learn(prices)}
    bundle = SimpleNamespace(path=tmp_path, meta={"heads": [head], "backbone": meta})
    (tmp_path / "bundle.json").write_text(json.dumps(bundle.meta))
    (out := tmp_path / "out").mkdir()
    ctx = SimpleNamespace(
        examples=lambda split: Examples(inputs, {"price": prices}, rows, rows),
        targets={"price": "regress"},
        backbone=meta,
        seed=0,
        folder=out,
        checkpoints=tmp_path / "checkpoints",
        note=lambda **facts: None,
        events=lambda item: None,
        pieces=1,
        stop=Stop(),
    )
    asked = {"balance": True, "epochs": 1, "bf16": False}
    train.run(bundle, ctx, **train.resolve(asked, ctx))
    assert (out / models.WEIGHTS).is_file()
