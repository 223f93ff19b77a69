"""train: tunes all weights by gradient, from wherever the bundle stands."""

from __future__ import annotations

from typing import Any

import numpy as np

from sartor import leaves
from sartor.data.batch import batches
from sartor.step.fit import judging

TAKES = ("weights",)
GIVES = "weights"
UNEVEN = 10.0  # rows of the largest class over those of the smallest, from which on classes are weighed


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Fills in every size that was left out; bf16 only where the processor has the instructions for it."""
    from sartor.hardware import has_bf16

    exclusive = all(_exclusive(task) for task in ctx.targets.values())
    if "label_smoothing" not in arguments and exclusive:
        ctx.note(
            why_label_smoothing="0.1: validation accuracy was .003 to .008 higher with it on three data sets (docs/log.md)"
        )
    uneven = _unevenness(ctx)
    if "balance" not in arguments and uneven >= UNEVEN:
        ctx.note(
            why_balance=f"the largest class has {uneven:.0f} times the rows of the smallest: weights raised macro F1 "
            "by .003 to .021 on such data, and cost no accuracy (docs/log.md)"
        )
    usual = leaves.load("backbone", ctx.backbone["leaf"]).TRAINING
    given = {**usual, **({} if exclusive else {"label_smoothing": 0.0}), **arguments}
    epochs = int(given.get("epochs", 3))
    return {
        "epochs": epochs,
        "batch_rows": 32,
        "batch_units": 4096,
        "learning_rate": 1e-4,
        "head_learning_rate": 1e-3,
        "weight_decay": 0.01,
        "warmup_share": 0.1,
        "clip_norm": 1.0,
        # The rate falls until the last step, and few rows make many epochs and a coarse score: half of them may go by without a better one.
        "patience": max(2, -(-epochs // 2)),
        "label_smoothing": 0.1,
        "balance": uneven >= UNEVEN,
        "embeddings": False,
        "augment": True,
        "bf16": has_bf16(),
        **given,
    }


def run(
    bundle: Any,
    ctx: Any,
    *,
    epochs: int,
    batch_rows: int,
    batch_units: int,
    learning_rate: float,
    head_learning_rate: float,
    weight_decay: float,
    warmup_share: float,
    clip_norm: float,
    patience: int,
    label_smoothing: float,
    balance: bool,
    embeddings: bool,
    augment: bool,
    bf16: bool,
) -> dict[str, Any]:
    """The bundle with tuned weights; keeps the epoch that validation likes best. Returns what changes in `bundle.json`.

    balance: weighs classes by the inverse root of their frequency, where the data is imbalanced; numbers have none. embeddings: tunes the
    tables of a pre-trained body too; they are half of MiniLM's weights, and held fast 32 rows took a fifth less time. augment: changes inputs at
    random in ways that leave the answer as it is, where the body knows such.
    """
    import torch

    from sartor import loop
    from sartor import model as models

    meta = bundle.meta
    model = models.load(bundle.path)
    backbone = leaves.load("backbone", meta["backbone"]["leaf"])
    if not embeddings and hasattr(backbone, "base_weights"):  # tables that nobody trained have to be learned
        ctx.note(held=hold_embeddings(model.body))
    processor = backbone.processor(bundle.path, meta["backbone"])
    train = ctx.examples("train")
    valid = judging(train, ctx.examples("valid"), meta["heads"][0])
    ids, valid_ids = processor.encode(train.inputs), processor.encode(valid.inputs)
    heads = [(head, leaves.load("task", head["task"])) for head in meta["heads"]]
    targets = {h["output"]: torch.from_numpy(t.encode(train.targets[h["target"]], h["spec"])) for h, t in heads}
    if augment and hasattr(backbone, "survived"):
        first = next(iter(targets.values())).numpy()
        processor.changes = backbone.survived(ids, first)
        ctx.note(changes=processor.changes)
    weights = {h["output"]: _class_weights(h["spec"]) if balance and "counts" in h["spec"] else None for h, _ in heads}

    def outputs_of(batch: dict[str, np.ndarray]) -> dict[str, Any]:
        return model(**{name: torch.from_numpy(array) for name, array in batch.items()})  # type: ignore[no-any-return]

    def objective(positions: np.ndarray) -> Any:
        rows = [ids[i] for i in positions]
        if augment and hasattr(processor, "augmented"):
            # The loop seeds torch for every step, so a step that is done again is done alike.
            drawn = np.random.default_rng(int(torch.randint(1 << 62, (1,))))
            outputs = outputs_of(processor.augmented(rows, drawn))
        else:
            outputs = outputs_of(processor.padded(rows))
        index = torch.from_numpy(positions)
        losses = [
            task.loss(
                outputs[head["output"]],
                targets[head["output"]][index],
                head["spec"],
                smoothing=label_smoothing,
                class_weights=weights[head["output"]],
            ).mean()
            for head, task in heads
        ]
        return sum(losses)

    def validate() -> dict[str, float]:
        found: dict[str, list[Any]] = {head["output"]: [None] * len(valid_ids) for head, _ in heads}
        lengths = processor.costs(valid_ids)
        for places in batches(lengths, seed=0, epoch=0, batch_rows=len(valid_ids), batch_units=processor.batch_units):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                outputs = outputs_of(processor.padded([valid_ids[i] for i in places]))
            for name, output in outputs.items():
                for place, row in zip(places, output.float().numpy(), strict=True):
                    found[name][place] = row
        scores = []
        for head, task in heads:
            answers = task.decode(np.stack(found[head["output"]]), head["spec"])
            metric = task.METRICS[task.PRIMARY]
            stats = metric.stats(answers, valid.targets[head["target"]], head["spec"], None)
            score = float(metric.finish(stats.sum(0)))
            scores.append(score if metric.better == "higher" else -score)
        return {"valid": float(np.mean(scores))}

    outcome = loop.train(
        model,
        objective,
        processor.costs(ids),
        schedule=loop.Schedule(
            epochs=epochs,
            batch_rows=batch_rows,
            batch_units=batch_units,
            learning_rate=learning_rate,
            head_learning_rate=head_learning_rate,
            weight_decay=weight_decay,
            warmup_share=warmup_share,
            clip_norm=clip_norm,
            patience=patience,
            bf16=bf16,
        ),
        pieces=ctx.pieces,
        stop=ctx.stop,
        validate=validate,
        checkpoints=ctx.checkpoints,
        seed=ctx.seed,
        events=ctx.events,
        stage=f"train {meta['backbone']['ref']}",
    )
    ctx.note(curve=outcome.curve, best_epoch=outcome.best_epoch)
    models.save(model, ctx.folder)
    return {"backbone": {**meta["backbone"], "owns_weights": True}}


def hold_embeddings(body: Any) -> int:
    """Takes the embedding tables out of training; returns how many numbers that holds fast."""
    from torch import nn

    tables = [module.weight for module in body.modules() if isinstance(module, nn.Embedding)]
    for table in tables:
        table.requires_grad_(False)
    return sum(table.numel() for table in tables)


def _unevenness(ctx: Any) -> float:
    """The largest class's rows over the smallest's, of the target where they are furthest apart; 1 without classes of which one holds."""
    found = [1.0]
    for target, task in ctx.targets.items():
        if not _exclusive(task):
            continue
        counts = leaves.load("task", task).learn(ctx.examples("train").targets[target]).get("counts", [])
        if len(counts) > 1:
            found.append(max(counts) / max(1, min(counts)))
    return max(found)


def _exclusive(task: str) -> bool:
    return bool(getattr(leaves.load("task", task), "EXCLUSIVE", True))


def _class_weights(spec: dict[str, Any]) -> Any:
    import torch

    counts = np.maximum(1, np.asarray(spec["counts"], dtype=np.float64))
    weights = 1 / np.sqrt(counts)
    return torch.tensor(weights / np.average(weights, weights=counts), dtype=torch.float32)
