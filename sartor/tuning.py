"""Tuning by gradient: what all steps that train a bundle's model have in common. Heavy half.

A step says which weights move, and with which new ones beside them; data, objective, validation, resuming and saving are the same for all.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sartor import activations, adapting, leaves, loop
from sartor import model as models
from sartor.data.batch import batches
from sartor.data.examples import with_more
from sartor.device import autocast, device, tensor, tensors
from sartor.step.fit import judging

Prepare = Callable[[models.Model], None]  # marks what is trained, and attaches what is new


@dataclass(frozen=True)
class Settings:
    """What `step/train.py` resolves and explains."""

    epochs: int
    batch_rows: int
    batch_units: int
    learning_rate: float
    head_learning_rate: float
    weight_decay: float
    warmup_share: float
    clip_norm: float
    patience: int
    label_smoothing: float
    balance: bool
    embeddings: bool
    augment: bool
    bf16: bool
    layer_decay: float
    average: bool
    keep_best: bool
    noise: float
    mix: float

    def schedule(self) -> loop.Schedule:
        """What the loop wants to know of them."""
        named = {name: getattr(self, name) for name in loop.Schedule.__dataclass_fields__}
        return loop.Schedule(**named)


def tune(
    bundle: Any,
    ctx: Any,
    settings: Settings,
    *,
    prepare: Prepare | None = None,
    above: int = 0,
    watch: Callable[[dict[str, Any]], bool] | None = None,
    work: Callable[[Any, Any, models.Model, Settings], Work] | None = None,
) -> tuple[models.Model, loop.Outcome]:
    """The model of a bundle, trained; of its epochs the one that validation likes best, or the last.

    prepare: all weights are trained where left out. above: blocks at the end of the body whose inputs are computed once and kept; 0 for none, and
    the blocks below must not be among what is trained. watch: see `loop.train`. work: what the loop asks for, where it is more than
    the labels' loss.
    """
    meta = bundle.meta
    backbone = leaves.load("backbone", meta["backbone"]["leaf"])
    model = models.load(bundle.path)
    if prepare is not None:
        prepare(model)
    if not settings.embeddings and hasattr(backbone, "base_weights"):  # tables that nobody trained have to be learned
        ctx.note(held=hold_embeddings(model.body))
    ctx.note(trained=trained(model), weights=sum(parameter.numel() for parameter in model.parameters()))
    model.to(device())
    made = (work or Work)(bundle, ctx, model, settings)
    with ExitStack() as stack:
        made.close(stack)
        if above and (why := activations.refused(model.body, made.costs, made.processor.costs(made.valid_ids))):
            ctx.note(why_not_kept=why)
        elif above:
            made.recall(above, stack)
        outcome = loop.train(
            made.together,
            made.loss,
            made.costs,
            schedule=settings.schedule(),
            pieces=ctx.pieces,
            stop=ctx.stop,
            validate=made.validate,
            checkpoints=ctx.checkpoints,
            seed=ctx.seed,
            events=ctx.events,
            stage=f"train {meta['backbone']['ref']}",
            rates=partial(rate_of, settings=settings, depths=_depths(model)),
            watch=watch,
            least_loss=max(getattr(task, "LEAST_LOSS", loop.LEAST_LOSS) for _, task in made.heads),
        )
    ctx.note(curve=outcome.curve, best_epoch=outcome.best_epoch)
    if len(made.heads) > 1:
        ctx.note(weights_of_targets=made.together.told())
    return model.cpu(), outcome


def save(model: models.Model, bundle: Any, ctx: Any) -> dict[str, Any]:
    """Writes the trained model as the step's bundle; returns what changes in `bundle.json`."""
    return {"backbone": models.save(model, ctx.folder, bundle.meta["backbone"])}


def trained(model: nn.Module) -> int:
    """Numbers that training may change."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def only(model: models.Model, chosen: Callable[[str], bool]) -> None:
    """Holds every weight of the body but those that are chosen by name; heads are trained in any case."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("heads.") or chosen(name))


def adapt(model: models.Model, adapter: Mapping[str, Any]) -> None:
    """Attaches an adapter, and holds all else but the heads."""
    adapting.attach(model.body, adapter)
    only(model, adapting.is_adapter)


def hold_embeddings(body: Any) -> int:
    """Takes the embedding tables out of training; returns how many numbers that holds fast."""
    tables = [module.weight for module in body.modules() if isinstance(module, nn.Embedding)]
    for table in tables:
        table.requires_grad_(False)
    return sum(table.numel() for table in tables)


def rate_of(name: str, *, settings: Settings, depths: Mapping[str, int]) -> float:
    """The peak rate of a parameter: of heads and what is new their own; of a block `layer_decay` for each block above it (Howard and Ruder 2018, section 3.2)."""
    plain = name.removeprefix("model.")
    if not plain.startswith("body."):
        return settings.head_learning_rate
    return settings.learning_rate * settings.layer_decay ** depths.get(plain, 0)


def _depths(model: models.Model) -> dict[str, int]:
    """Blocks above each parameter of the body that stands in or before one; what comes after the last has none above."""
    blocks = list(model.body.blocks()) if hasattr(model.body, "blocks") else []
    found: dict[int, int] = {}
    for number, block in enumerate(blocks):
        found |= {id(parameter): len(blocks) - 1 - number for parameter in block.parameters()}
    before = True
    depths = {}
    for name, parameter in model.named_parameters():
        before = before and id(parameter) not in found
        if id(parameter) in found:
            depths[name] = found[id(parameter)]
        elif before and blocks and name.startswith("body."):
            depths[name] = len(blocks)
    return depths


class Together(nn.Module):
    """A model whose targets each have a weight that is learned: the losses' noise (Kendall et al. 2018, section 3.2).

    exp(-s) · loss + s / 2 for each, whatever the loss: a factor of it only moves s. With one target it is the model's loss alone.
    """

    def __init__(self, model: models.Model, targets: int) -> None:
        super().__init__()
        self.model = model
        self.logs = nn.Parameter(torch.zeros(targets)) if targets > 1 else None

    def total(self, losses: Sequence[torch.Tensor]) -> torch.Tensor:
        """From mean losses of the targets to the one that is minimised."""
        if self.logs is None:
            return losses[0]
        return (torch.exp(-self.logs) * torch.stack(list(losses)) + self.logs / 2).sum()

    def told(self) -> list[float]:
        """The weight of each target's loss."""
        assert self.logs is not None
        return [round(float(one), 4) for one in torch.exp(-self.logs.detach())]


class Work:
    """The examples of a run as arrays, and what the loop asks for: the loss of a batch, and a score on validation."""

    def __init__(self, bundle: Any, ctx: Any, model: models.Model, settings: Settings) -> None:
        self.ctx, self.model, self.settings = ctx, model, settings
        meta = bundle.meta
        backbone = leaves.load("backbone", meta["backbone"]["leaf"])
        self.processor = backbone.processor(bundle.path, meta["backbone"])
        self.heads = [(head, leaves.load("task", head["task"])) for head in meta["heads"]]
        self.together = Together(model, len(self.heads)).to(device())
        self.train = with_more(ctx.examples("train"), bundle.path)
        self.valid = judging(ctx.examples("train"), ctx.examples("valid"), meta["heads"][0])
        self.family = str(meta["backbone"].get("family") or "")
        self.inputs: Any = self.train.inputs
        self.ids, self.valid_ids = self.processor.encode(self.train.inputs), self.processor.encode(self.valid.inputs)
        self.costs = self.processor.costs(self.ids)
        self.targets = {
            head["output"]: tensor(task.encode(self.train.targets[head["target"]], head["spec"]))
            for head, task in self.heads
        }
        if settings.augment and hasattr(backbone, "survived"):
            self.processor.changes = backbone.survived(self.ids, next(iter(self.targets.values())).numpy())
            ctx.note(changes=self.processor.changes)
        self.weights = {
            head["output"]: _class_weights(head["spec"]) if settings.balance and "counts" in head["spec"] else None
            for head, _ in self.heads
        }
        self.kept: tuple[activations.Recall, activations.Kept, activations.Kept] | None = None

    def close(self, stack: ExitStack) -> None:
        """Ends what is kept for the run with the stack; here nothing is."""

    def recall(self, above: int, stack: ExitStack) -> None:
        """Computes what the lower blocks give once, and takes them out of the body until the stack ends."""
        folder = self.ctx.checkpoints.with_suffix(".kept")
        folder.mkdir(parents=True, exist_ok=True)
        self.model.eval()
        kept = [
            activations.keep(
                self.model,
                self.processor,
                ids,
                folder / f"{name}.f32",
                above=above,
                bf16=self.settings.bf16,
                progress=lambda done, total, name=name: self.ctx.progress(  # type: ignore[misc]
                    f"activations of {name}", done=done, total=total, unit="rows"
                ),
            )
            for name, ids in (("train", self.ids), ("valid", self.valid_ids))
        ]
        stack.callback(removed, folder)
        recall = stack.enter_context(activations.recalled(self.model.body, above=above, several=kept[0].several))
        self.kept = (recall, kept[0], kept[1])

    def loss(self, positions: np.ndarray) -> torch.Tensor:
        """The mean loss of a batch [B]."""
        if self.kept is not None:
            self.kept[0].at(self.kept[1], positions)
        features = self.model.body(**tensors(self._batch(positions)))
        index = tensor(positions)
        if not self.settings.mix:
            return self._of(features, index)
        # Mixing of hidden states (Verma et al. 2019, section 2), those that the heads see.
        share = torch.distributions.Beta(self.settings.mix, self.settings.mix).sample()
        other = torch.randperm(len(positions)).to(index.device)
        mixed = share * features + (1 - share) * features[other]
        return share * self._of(mixed, index) + (1 - share) * self._of(mixed, index[other])

    def _of(self, features: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        losses = [
            task.loss(
                self.model.heads[head["output"]](features),
                self.targets[head["output"]][index],
                head["spec"],
                smoothing=self.settings.label_smoothing,
                class_weights=self.weights[head["output"]],
            ).mean()
            for head, task in self.heads
        ]
        return self.together.total(losses)

    def _batch(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        rows = [self.ids[i] for i in positions]
        # The loop seeds torch for every step, so a step that is done again is done alike.
        if self.settings.noise:
            drawn = np.random.default_rng(int(torch.randint(1 << 62, (1,))))
            inputs = [self._varied(self.inputs[int(i)], drawn) for i in positions]
            return self.processor.padded(self.processor.encode(inputs))  # type: ignore[no-any-return]
        if self.settings.augment and hasattr(self.processor, "augmented"):
            drawn = np.random.default_rng(int(torch.randint(1 << 62, (1,))))
            return self.processor.augmented(rows, drawn)  # type: ignore[no-any-return]
        return self.processor.padded(rows)  # type: ignore[no-any-return]

    def _varied(self, row: Mapping[str, Any], drawn: np.random.Generator) -> dict[str, Any]:
        told = {}
        kinds = {column["name"]: column["kind"] for column in self.ctx.inputs}
        for name, value in row.items():
            leaf = leaves.load("modality", kinds[name])
            noisy = value is not None and hasattr(leaf, "varied")
            told[name] = leaf.varied(value, drawn, rate=self.settings.noise) if noisy else value
        return told

    def validate(self) -> dict[str, float]:
        """The mean over targets of their primary metrics, higher is better."""
        found: dict[str, list[Any]] = {head["output"]: [None] * len(self.valid_ids) for head, _ in self.heads}
        for places in self._places():
            if self.kept is not None:
                self.kept[0].at(self.kept[2], places)
            with autocast(self.settings.bf16):
                outputs = self.model(**tensors(self.processor.padded([self.valid_ids[i] for i in places])))
            for name, output in outputs.items():
                for place, row in zip(places, output.float().cpu().numpy(), strict=True):
                    found[name][place] = row
        scores = [
            score_of(task, head["spec"], np.stack(found[head["output"]]), self.valid.targets[head["target"]])
            for head, task in self.heads
        ]
        if len(scores) > 1:  # each as the part of the trivial answer's error that is gone
            scores = [self._gained(score, head, task) for score, (head, task) in zip(scores, self.heads, strict=True)]
        return {"valid": float(np.mean(scores))}

    def _places(self) -> Iterator[np.ndarray]:
        costs = self.processor.costs(self.valid_ids)
        size, units = max(1, len(self.valid_ids)), self.processor.batch_units
        yield from batches(costs, seed=0, epoch=0, batch_rows=size, batch_units=units)

    def _gained(self, score: float, head: Mapping[str, Any], task: Any) -> float:
        truth = self.valid.targets[head["target"]]
        constant = np.repeat(np.asarray(task.trivial(head["spec"]))[None], len(truth), axis=0)
        floor = score_of(task, head["spec"], constant, truth)
        top = 1.0 if task.METRICS[task.PRIMARY].better == "higher" else 0.0
        return (score - floor) / max(top - floor, 1e-9)


def score_of(task: Any, spec: Mapping[str, Any], outputs: np.ndarray, truth: Sequence[Any]) -> float:
    """The task's primary metric of outputs [n, …], higher is better."""
    metric = task.METRICS[task.PRIMARY]
    stats = metric.stats(task.decode(outputs, spec), truth, spec, None)
    value = float(metric.finish(stats.sum(0)))
    return value if metric.better == "higher" else -value


def _class_weights(spec: Mapping[str, Any]) -> torch.Tensor:
    counts = np.maximum(1, np.asarray(spec["counts"], dtype=np.float64))
    weights = 1 / np.sqrt(counts)
    return tensor((weights / np.average(weights, weights=counts)).astype(np.float32))


def removed(folder: Path) -> None:
    """Removes a folder, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)
