"""What teachers answer and how a student follows it. Heavy half of the step `distil`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from sartor import activations, leaves, shaping, tuning
from sartor import model as models
from sartor.data.batch import batches
from sartor.data.dataset import Joined, Rows
from sartor.data.split import answerable
from sartor.device import autocast, device, tensor, tensors

RELATION_HEADS = 12  # at most, into which queries, keys and values are split to compare them


@dataclass(frozen=True)
class Taught:
    """How a student is taught; see `step/distil.py`."""

    temperature: float
    answers: float
    hidden: float
    relations: float
    unlabelled: bool
    copies: int
    slips: float
    pieces: int

    def work(self, bundle: Any, ctx: Any, model: models.Model, settings: tuning.Settings) -> Work:
        """What the loop asks for."""
        return Work(bundle, ctx, model, settings, self)


class Work(tuning.Work):
    """As in tuning, with the teachers' answers for every example, and examples beside the labelled ones."""

    def __init__(self, bundle: Any, ctx: Any, model: models.Model, settings: tuning.Settings, taught: Taught) -> None:
        super().__init__(bundle, ctx, model, settings)
        self.taught, self.labelled = taught, len(self.ids)
        more = beside(ctx, unlabelled=taught.unlabelled, copies=taught.copies, slips=taught.slips, pieces=taught.pieces)
        self.inputs = Joined(self.train.inputs, more)
        self.ids = [*self.ids, *self.processor.encode(more)]
        self.costs = self.processor.costs(self.ids)
        outputs = [head["output"] for head, _ in self.heads]
        # What is changed anew in every epoch is answered anew, where teacher and student read alike; else the answer to the row as it is has to do.
        self.changes = bool(settings.noise) or (settings.augment and hasattr(self.processor, "augmented"))
        self.beside = _teachers(ctx, bundle) if self.changes else []
        told = {} if self.beside else asked(ctx, self.inputs, outputs, bf16=settings.bf16)
        self.answers = {name: tensor(given) for name, given in told.items()}
        ctx.note(taught={"labelled": self.labelled, "beside": len(more), "teachers": len(ctx.members)})
        self.follow: _Follow | None = None
        if taught.hidden or taught.relations:
            self._follow()

    def close(self, stack: ExitStack) -> None:
        """Ends what is kept for the run with the stack."""
        if self.follow is not None:
            stack.callback(self.follow.close)

    def loss(self, positions: np.ndarray) -> torch.Tensor:
        """The mean loss of a batch [B]: of the teachers' answers, of labels where there are, and of what else is followed."""
        batch = tensors(self._batch(positions))
        features = self.model.body(**batch)
        answers = self._answered(batch, positions)
        labelled = positions < self.labelled
        known = tensor(positions[labelled])
        losses = []
        for head, task in self.heads:
            outputs = self.model.heads[head["output"]](features)
            told = answers[head["output"]]
            loss = self.taught.answers * _imitated(task, outputs, told, self.taught.temperature).mean()
            if labelled.any() and self.taught.answers < 1:
                own = task.loss(
                    outputs[tensor(np.flatnonzero(labelled))],
                    self.targets[head["output"]][known],
                    head["spec"],
                    smoothing=self.settings.label_smoothing,
                    class_weights=self.weights[head["output"]],
                )
                loss = loss + (1 - self.taught.answers) * own.sum() / len(positions)
            losses.append(loss)
        total = self.together.total(losses)
        return total if self.follow is None else total + self.follow.loss(positions)

    def _answered(self, batch: Mapping[str, torch.Tensor], positions: np.ndarray) -> dict[str, torch.Tensor]:
        """What the teachers say of a batch, the mean over them."""
        if not self.beside:
            index = tensor(positions)
            return {name: given[index] for name, given in self.answers.items()}
        with torch.no_grad():
            each = [teacher(**batch) for teacher in self.beside]
        return {name: torch.stack([one[name].float() for one in each]).mean(0) for name in each[0]}

    def _follow(self) -> None:
        teacher = models.load(self.ctx.members[0])
        why = _why_not_followed(self.model, teacher, self.ids, self._encoded_by_teacher())
        if not why and self.changes:
            why = "words change in every epoch, and the states of the teacher are those of the words as they were"
        if why:
            self.ctx.note(why_not_followed=why)
            return
        self.follow = _Follow(self, teacher, self.ctx.checkpoints.with_suffix(".followed"))
        self.together.add_module("follow", self.follow)

    def _encoded_by_teacher(self) -> Sequence[Any]:
        path = self.ctx.members[0]
        meta = _meta(path)
        return leaves.load("backbone", meta["backbone"]["leaf"]).processor(path, meta["backbone"]).encode(self.inputs)  # type: ignore[no-any-return]


def _teachers(ctx: Any, bundle: Any) -> list[Any]:
    """The teachers as models, where every one reads as the student does: by the same leaf, with the same settings; else none."""

    def reading(path: Path) -> tuple[Any, dict[str, bytes]]:
        files = sorted((path / "processor").rglob("*"))
        return _meta(path)["backbone"]["leaf"], {file.name: file.read_bytes() for file in files if file.is_file()}

    mine = reading(bundle.path)
    if any(reading(path) != mine for path in ctx.members):
        return []
    models_of = [models.load(path).to(device()).eval() for path in ctx.members]
    for model in models_of:
        model.requires_grad_(False)
    return models_of


def fit(bundle: Any, ctx: Any, *, unlabelled: bool, copies: int, slips: float, pieces: int) -> dict[str, Any]:
    """A body that fits itself, on the labels and on the teachers' likeliest answers for the rows beside. Returns what changes in `bundle.json`."""
    from sartor.errors import InputError
    from sartor.step.fit import Chooser, judging

    meta = bundle.meta
    backbone = leaves.load("backbone", meta["backbone"]["leaf"])
    [head] = meta["heads"]
    task, spec = leaves.load("task", head["task"]), head["spec"]
    if not hasattr(task, "likeliest"):
        why = "a body that fits itself learns from likeliest answers, and the task has none"
        raise InputError("plan.body", method="distil", why=why)
    train = ctx.examples("train")
    more = beside(ctx, unlabelled=unlabelled, copies=copies, slips=slips, pieces=pieces)
    targets = task.encode(train.targets[head["target"]], spec)
    if more:
        told = asked(ctx, more, [head["output"]], bf16=False)[head["output"]]
        targets = np.concatenate([targets, task.likeliest(told).astype(targets.dtype)])
    valid = judging(train, ctx.examples("valid"), head)
    choose = Chooser(task, spec, valid.inputs, valid.targets[head["target"]], seed=ctx.seed, progress=ctx.progress)
    body, record, chosen = backbone.fit(
        bundle.path,
        meta["backbone"],
        Joined(train.inputs, more),
        targets,
        task=task,
        spec=spec,
        choose=choose,
        seed=ctx.seed,
    )
    models.save(models.Model(body, {head["output"]: nn.Identity()}), ctx.folder)
    ctx.note(chosen=chosen, taught={"labelled": len(train), "beside": len(more), "teachers": len(ctx.members)})
    return {"backbone": record}


def beside(ctx: Any, *, unlabelled: bool, copies: int, slips: float, pieces: int) -> Sequence[dict[str, Any]]:
    """Inputs that have no label of their own: rows without one, copies of the training rows with slips, and new ones out of pieces of two rows each; the same
    for the same seed."""
    columns = [column["name"] for column in ctx.inputs]
    found: list[dict[str, Any]] = []
    kinds = {column["name"]: leaves.load("modality", column["kind"]) for column in ctx.inputs}
    rng = np.random.default_rng(ctx.seed)
    rows = ctx.examples("train").inputs

    def changed(row: Mapping[str, Any], how: str, *more: Any, **named: Any) -> dict[str, Any]:
        return {
            name: getattr(kinds[name], how)(value, *(other[name] for other in more), rng, **named)
            if value is not None and hasattr(kinds[name], how) and all(other[name] is not None for other in more)
            else value
            for name, value in row.items()
        }

    for _ in range(copies if any(hasattr(leaf, "varied") for leaf in kinds.values()) else 0):
        found += [changed(row, "varied", rate=slips) for row in rows]
    for _ in range(pieces if any(hasattr(leaf, "pieced") for leaf in kinds.values()) else 0):
        others = rng.permutation(len(rows))
        found += [changed(row, "pieced", rows[int(other)]) for row, other in zip(rows, others, strict=True)]
    return Joined(_answerable(ctx, columns), found) if unlabelled else found


def _answerable(ctx: Any, columns: Sequence[str]) -> Rows:
    """Rows without a label that can be read: a model is never asked about the others."""
    rows = Rows(ctx.dataset.table, columns, ctx.splits.unlabelled)
    can = answerable(rows, ctx.inputs)
    if not can.all():
        ctx.note(unreadable=int((~can).sum()))
    return Rows(ctx.dataset.table, columns, rows.numbers[can])


def asked(ctx: Any, inputs: Sequence[Any], outputs: Sequence[str], *, bf16: bool) -> dict[str, np.ndarray]:
    """{output: what the teachers answer to every input, the mean over them [n, …] float32}; what a teacher answered before a restart is not asked again."""
    folder = ctx.checkpoints.with_suffix(".taught")
    folder.mkdir(parents=True, exist_ok=True)
    total: dict[str, np.ndarray] = {}
    for number, path in enumerate(ctx.members):
        for name, given in _answers(ctx, path, inputs, outputs, folder / str(number), bf16=bf16).items():
            total[name] = total.get(name, np.float32(0)) + given / np.float32(len(ctx.members))
    return total


def _answers(
    ctx: Any, path: Path, inputs: Sequence[Any], outputs: Sequence[str], kept: Path, *, bf16: bool
) -> dict[str, np.ndarray]:
    """Of one teacher."""
    files = {name: kept.with_name(f"{kept.name}.{name}.npy") for name in outputs}
    if all(file.is_file() for file in files.values()):
        return {name: np.load(file, allow_pickle=False) for name, file in files.items()}
    meta = _meta(path)
    model = models.load(path).eval().to(device())
    processor = leaves.load("backbone", meta["backbone"]["leaf"]).processor(path, meta["backbone"])
    ids = processor.encode(inputs)
    found: dict[str, list[Any]] = {name: [None] * len(ids) for name in outputs}
    done = 0
    with torch.inference_mode(), autocast(bf16):
        for places in batches(
            processor.costs(ids), seed=0, epoch=0, batch_rows=max(1, len(ids)), batch_units=processor.batch_units
        ):
            given = model(**tensors(processor.padded([ids[i] for i in places])))
            for name in outputs:
                for place, row in zip(places, given[name].float().cpu().numpy(), strict=True):
                    found[name][place] = row
            done += len(places)
            ctx.progress("ask the teacher", done=done, total=len(ids), unit="rows")
            if ctx.stop.asked:
                ctx.stop.end()
    told = {name: np.stack(rows).astype(np.float32) for name, rows in found.items()}
    for name, file in files.items():
        partial = file.with_suffix(".partial")
        with partial.open("wb") as stream:
            np.save(stream, told[name], allow_pickle=False)
        partial.replace(file)
    return told


def _imitated(task: Any, outputs: torch.Tensor, told: torch.Tensor, temperature: float) -> torch.Tensor:
    """The loss of each example [B] against what its teachers say: as the task has it, else the squared difference of outputs."""
    if hasattr(task, "imitate"):
        return task.imitate(outputs, told, temperature=temperature)  # type: ignore[no-any-return]
    return (outputs.float() - told).square().flatten(1).mean(1)


def _why_not_followed(student: Any, teacher: Any, ids: Sequence[Any], others: Sequence[Any]) -> str:
    """Why a student cannot follow its teacher's states; nothing where it can."""
    for model in (student, teacher):
        if not hasattr(model.body, "embedded") or len(model.body.blocks()) < 1:
            return "only states of encoders of text are followed"
    if len(teacher.body.blocks()) < 2:
        return "the teacher has one block, and what its last one reads are the words themselves"
    if any(list(one) != list(other) for one, other in zip(ids, others, strict=True)):
        return "student and teacher read other tokens"
    lengths = np.array([len(one) for one in ids])
    return activations.refused(teacher.body, lengths)


class _Follow(nn.Module):
    """The teacher's last block, fed with what was kept below it, beside the student's."""

    def __init__(self, work: Work, teacher: models.Model, folder: Path) -> None:
        super().__init__()
        self.weights = (work.taught.hidden, work.taught.relations)
        self.of = work.model.body
        wide, narrow = int(teacher.body.width), int(self.of.width)
        self.project = nn.Linear(narrow, wide, bias=False) if wide != narrow else nn.Identity()
        folder.mkdir(parents=True, exist_ok=True)
        teacher.to(device()).eval()
        self.kept = activations.keep(
            teacher,
            work.processor,
            work.ids,
            folder / "states.f32",
            above=1,
            bf16=work.settings.bf16,
            progress=lambda done, total: work.ctx.progress(
                "states of the teacher", done=done, total=total, unit="rows"
            ),
        )
        self.stack = ExitStack()
        self.stack.callback(tuning.removed, folder)
        self.recall = self.stack.enter_context(activations.recalled(teacher.body, above=1, several=self.kept.several))
        self.ids, self.processor = work.ids, work.processor
        self._teacher = [teacher]  # in a list, so that it is no part of what is trained
        self.seen: dict[str, dict[str, torch.Tensor]] = {"student": {}, "teacher": {}}
        families = {"student": work.family, "teacher": str(_meta(work.ctx.members[0])["backbone"]["family"])}
        for who, body in (("student", self.of), ("teacher", teacher.body)):
            names = shaping.LAYERS.get(families[who], ())[:3] if self.weights[1] else ()
            self._listen(who, body.blocks()[-1], names)
        del self.of

    def close(self) -> None:
        """Gives the teacher its blocks back and removes what was kept."""
        self.stack.close()

    def loss(self, positions: np.ndarray) -> torch.Tensor:
        """Of what the student's last block gave in the pass before."""
        own = dict(self.seen["student"])
        batch = tensors(self.processor.padded([self.ids[i] for i in positions]))
        with torch.no_grad():
            self.recall.at(self.kept, positions)
            self._teacher[0].body(**batch)
        mask = batch["attention_mask"].bool()
        total = torch.zeros((), device=mask.device)
        hidden, relations = self.weights
        if hidden:
            apart = 1 - functional.cosine_similarity(
                self.project(own["states"]).float(), self.seen["teacher"]["states"].float(), dim=-1
            )
            total = total + hidden * apart[mask].mean()
        if relations and "0" in own and "0" in self.seen["teacher"]:
            for part in ("0", "1", "2"):
                total = total + relations / 3 * related(own[part].float(), self.seen["teacher"][part].float(), mask)
        return total

    def _listen(self, who: str, block: nn.Module, names: Sequence[str]) -> None:
        def keep(name: str) -> Any:
            def hook(_module: nn.Module, _given: Any, gives: Any) -> None:
                self.seen[who][name] = gives[0] if isinstance(gives, tuple) else gives

            return hook

        handles = [block.register_forward_hook(keep("states"))]
        handles += [
            block.get_submodule(name).register_forward_hook(keep(str(number))) for number, name in enumerate(names)
        ]
        for handle in handles:
            self.stack.callback(handle.remove)


def related(own: torch.Tensor, other: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """How far the relations of tokens are from the teacher's: the mean over heads and tokens of KL(teacher ‖ student) (Wang et al. 2021, equation 3).

    own [B, T, width], other [B, T, its width]: queries, keys or values. mask [B, T] bool: which tokens there are.
    """
    heads = next(n for n in range(RELATION_HEADS, 0, -1) if own.shape[-1] % n == 0 and other.shape[-1] % n == 0)

    def logs(states: torch.Tensor) -> torch.Tensor:
        split = states.unflatten(-1, (heads, -1)).transpose(1, 2)  # [B, heads, T, width / heads]
        scores = split @ split.transpose(-1, -2) / math.sqrt(split.shape[-1])
        return scores.masked_fill(~mask[:, None, None], -1e4).log_softmax(-1)

    mine, taught = logs(own), logs(other)
    gap = (taught.exp() * (taught - mine)).sum(-1)  # [B, heads, T]
    return gap.transpose(1, 2)[mask].mean()


def _meta(path: Path) -> Mapping[str, Any]:
    from sartor import bundle as bundles

    return bundles.load(path).meta
