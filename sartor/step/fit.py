"""fit: a linear solver, on the body's own features (n-grams) or on the frozen embeddings of an encoder.

Validation chooses the solver's strength and one scale for the outputs; nothing else looks at it here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sartor import leaves
from sartor.data.batch import batches
from sartor.data.examples import with_more
from sartor.task import known

TAKES = ("weights",)
GIVES = "weights"
FEW, FOLDS = 50, 5  # validation rows, below which training rows are asked too, in so many parts
# For features of unit variance; validation chooses. Of rows that `contrast` has drawn together each part is told apart by the others whatever the strength is, so there
# the gentlest is taken where validation is small: ag_news with 8 rows of a class .825, with the strongest .821 (ten draws).
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3)


def resolve(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
    """Embeds in bf16 only where the processor has the instructions for it."""
    from sartor.hardware import has_bf16

    return {"bf16": has_bf16(), **arguments}


def run(bundle: Any, ctx: Any, *, bf16: bool) -> dict[str, Any]:
    """The bundle with fitted outputs. Returns what changes in `bundle.json`.

    bf16: multiplies in bfloat16 while embedding: cosine to the features in float32 at least 0.9999, 2.4 times as fast.
    """
    import torch

    from sartor import model as models

    meta = bundle.meta
    train, ahead = with_more(ctx.examples("train"), bundle.path), ctx.examples("valid")
    backbone = leaves.load("backbone", meta["backbone"]["leaf"])
    if backbone.TRAINS == "fit" and len(meta["heads"]) > 1:
        body, heads, record = backbone.fit_heads(bundle.path, meta["backbone"], meta["heads"])
        models.save(models.Model(body, heads), ctx.folder)
        return {"backbone": record}
    if backbone.TRAINS == "fit":
        [head] = meta["heads"]
        task, spec = leaves.load("task", head["task"]), head["spec"]
        valid = judging(train, ahead, head)
        choose = Chooser(task, spec, valid.inputs, valid.targets[head["target"]], seed=ctx.seed, progress=ctx.progress)
        targets = task.encode(train.targets[head["target"]], spec)
        body, record, chosen = backbone.fit(
            bundle.path, meta["backbone"], train.inputs, targets, task=task, spec=spec, choose=choose, seed=ctx.seed
        )
        models.save(models.Model(body, {head["output"]: torch.nn.Identity()}), ctx.folder)
        ctx.note(chosen=chosen)
        return {"backbone": record}
    model = models.load(bundle.path).eval()
    processor = backbone.processor(bundle.path, meta["backbone"])
    features, centre, spread = standardised(embed(model, processor, train.inputs, ctx, bf16=bf16))

    @cache_by_identity
    def of_valid(inputs: Any) -> np.ndarray:
        return (embed(model, processor, inputs, ctx, bf16=bf16) - centre) / spread

    told = {}
    for head in meta["heads"]:
        task, spec = leaves.load("task", head["task"]), head["spec"]
        valid = judging(train, ahead, head)
        truth, seen = valid.targets[head["target"]], valid is not ahead
        choose = Chooser(task, spec, valid.inputs, truth, seed=ctx.seed, progress=ctx.progress, seen=seen)
        drawn = bool(meta["backbone"].get("unit")) and len(valid) < FEW
        strengths = STRENGTHS[:1] if drawn else STRENGTHS
        codes = task.encode(train.targets[head["target"]], spec)
        weight, bias, told[head["target"]] = choose(features, codes, strengths, of_valid, groups=train.groups)
        weight, bias = folded(weight, bias, centre, spread)
        layer = model.heads[head["output"]]
        layer.weight.data, layer.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
    ctx.note(chosen=told if len(told) > 1 else next(iter(told.values())))
    return {"backbone": models.save(model, ctx.folder, meta["backbone"])}


def judging(train: Any, valid: Any, head: dict[str, Any]) -> Any:
    """The validation examples that a choice is made by; where training knows none of their targets, the last tenth of its own.

    head: of the bundle, with its `task`, `spec` and `target`.
    """
    task, spec = leaves.load("task", head["task"]), head["spec"]
    codes = task.encode(valid.targets[head["target"]], spec)
    if len(codes) and ("classes" not in spec or known(task, codes).any()):
        return valid
    return train[np.arange(len(train) - max(1, len(train) // 10), len(train))]


class Chooser:
    """Chooses by validation rows: among strengths of a linear solver, or for a body that fits itself among whatever it tries.

    inputs: of the validation rows. targets [n, …]: theirs, encoded, see `sartor.task.known`. progress: see `Context`. seen: whether the rows
    are of those that training sees.
    """

    def __init__(
        self,
        task: Any,
        spec: dict[str, Any],
        inputs: Any,
        truth: Any,
        *,
        seed: int,
        progress: Callable[..., None],
        seen: bool = False,
    ) -> None:
        self.task, self.spec, self.inputs, self.truth = task, spec, inputs, truth
        self.targets = task.encode(truth, spec)
        self.seed, self.progress, self.seen = seed, progress, seen

    def judge(self, outputs: np.ndarray) -> tuple[float, float, float]:
        """Of outputs [n, …] for the validation rows: (primary metric, higher is better; log loss; the scale that has this loss)."""
        scale, log_loss = scale_of(self.task, self.spec, outputs, self.truth)
        return _score(self.task, self.spec, outputs, self.truth, self.task.PRIMARY), log_loss, scale

    def __call__(
        self,
        features: Any,
        targets: np.ndarray,
        strengths: Sequence[float],
        of_valid: Callable[[Any], Any],
        *,
        groups: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """The linear solution (weight [o, width], bias [o], what was chosen) that does best, with its scale in it.

        features: of the training rows [n, width]. of_valid: from inputs to theirs. groups: the number of each training row's group [n], where
        rows hang together; see `Examples`.
        """
        judged = of_valid(self.inputs)
        few = isinstance(features, np.ndarray) and len(judged) < FEW
        parts = self._parts(targets, np.arange(len(targets)) if groups is None else groups) if few else []
        best: tuple[tuple[float, float], Any] | None = None
        for number, strength in enumerate(strengths, start=1):
            weight, bias = self.task.fit_linear(features, targets, self.spec, strength=strength, seed=self.seed)
            outputs = np.asarray(judged @ weight.T) + bias
            score, log_loss, scale = self.judge(outputs)
            if parts:
                score, log_loss, scale = self._judge_with(parts, features, targets, outputs, strength)
            if best is None or (score, -log_loss) > best[0]:
                found = (weight * scale, bias * scale, {"strength": strength, "scale": scale})
                best = ((score, -log_loss), found)
            self.progress("fit", done=number, total=len(strengths), unit="solutions")
        assert best is not None
        return best[1]  # type: ignore[no-any-return]

    def _parts(self, targets: np.ndarray, groups: np.ndarray) -> list[np.ndarray]:
        """Positions of the training rows in FOLDS parts that have the classes alike, a group in one of them; none where some class has too few groups for that."""
        from sartor.data.split import folds

        if "classes" not in self.spec or not getattr(self.task, "EXCLUSIVE", True):
            return []
        counts = [len(np.unique(groups[targets == code])) for code in np.unique(targets)]
        if min(counts) < 2 or len(np.unique(groups)) < 2 * FOLDS:
            return []
        fold = folds(targets, groups, seed=self.seed, count=FOLDS)
        return [np.flatnonzero(fold == part) for part in range(FOLDS)]

    def _judge_with(
        self,
        parts: Sequence[np.ndarray],
        features: np.ndarray,
        targets: np.ndarray,
        outputs: np.ndarray,
        strength: float,
    ) -> tuple[float, float, float]:
        """As `judge`, of the few validation rows and of the training rows, each by a solution that has not seen it."""
        out = np.zeros((len(features), outputs.shape[1]), dtype=np.float32)
        for part in parts:
            rest = np.setdiff1d(np.arange(len(features)), part)
            weight, bias = self.task.fit_linear(
                features[rest], targets[rest], self.spec, strength=strength, seed=self.seed
            )
            out[part] = features[part] @ weight.T + bias
        truth, every = [self.spec["classes"][code] for code in targets], out
        if not self.seen:
            truth, every = [*self.truth, *truth], np.concatenate([outputs, out])
        scale, log_loss = scale_of(self.task, self.spec, every, truth)
        return _score(self.task, self.spec, every, truth, self.task.PRIMARY), log_loss, scale


def cache_by_identity(work: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same function, which remembers what it made of the last thing that it was given."""
    last: list[Any] = []

    def remembered(given: Any) -> Any:
        if not last or last[0] is not given:
            last[:] = [given, work(given)]
        return last[1]

    return remembered


def embed(model: Any, processor: Any, inputs: Any, ctx: Any, *, bf16: bool) -> np.ndarray:
    """The body's features of every input [n, width] float32, in batches of like length and of the size that the processor likes best."""
    import torch

    from sartor.device import autocast, device, tensors

    ids = processor.encode(inputs)
    lengths = processor.costs(ids)
    features = np.zeros((len(ids), model.body.width), dtype=np.float32)
    done = 0
    body = model.body.to(device())
    with torch.inference_mode(), autocast(bf16):
        for places in batches(lengths, seed=0, epoch=0, batch_rows=max(1, len(ids)), batch_units=processor.batch_units):
            batch = processor.padded([ids[i] for i in places])
            features[places] = body(**tensors(batch)).float().cpu().numpy()
            done += len(places)
            ctx.progress("embed", done=done, total=len(ids), unit="rows")
    body.cpu()
    return features


def standardised(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(features with mean zero and unit mean variance, centre [width], spread), so that solvers converge fast.

    One spread for all columns: one for each was no better on four data sets, and made much of columns that hardly vary.
    """
    centre = features.mean(axis=0)
    spread = float(np.sqrt(features.var(axis=0).mean()))
    if spread <= 1e-6 * max(1.0, float(np.abs(centre).max(initial=0.0))):
        spread = 1.0  # all rows are the same but for rounding, which is not to be made much of
    return (features - centre) / np.float32(spread), centre, spread


def folded(weight: np.ndarray, bias: np.ndarray, centre: np.ndarray, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """The outputs' weight and bias for features as they are, from those for standardised ones."""
    weight = (weight / spread).astype(np.float32)
    return weight, (bias - weight @ centre).astype(np.float32)


def _score(task: Any, spec: Any, outputs: np.ndarray, truth: Any, name: str) -> float:
    metric = task.METRICS[name]
    value = float(metric.finish(metric.stats(task.decode(outputs, spec), truth, spec, None).sum(0)))
    return value if metric.better == "higher" else -value


def scale_of(task: Any, spec: Any, outputs: np.ndarray, truth: Any) -> tuple[float, float]:
    """The factor on the outputs with the least log loss on validation, where the task has one; else 1.

    Log loss is convex in the factor, so a search over one bracket finds it (Guo et al. 2017: temperature scaling).
    """
    from scipy.optimize import minimize_scalar

    if "log_loss" not in task.METRICS:
        return 1.0, 0.0
    there = known(task, task.encode(truth, spec))
    if not there.any():
        return 1.0, 0.0
    kept = [value for value, keep in zip(truth, there, strict=True) if keep]
    found = minimize_scalar(
        lambda log: -_score(task, spec, outputs[there] * np.exp(log), kept, "log_loss"),
        bounds=(np.log(0.125), np.log(64)),
        method="bounded",
        options={"xatol": 0.02},
    )
    return float(np.exp(found.x)), float(found.fun)
