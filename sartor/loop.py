"""The training loop: one function, plain torch. What is learned is the objective that it is given.

Data order is a pure function of (seed, epoch, position), and random numbers of (seed, step), so a checkpoint holds weights, optimiser and a
place, and nothing of the loader. A run that was killed ends with the same bits as one that was not, as long as its batches are done in as
many pieces.

A batch that does not fit the memory is done in pieces whose gradients add up to the same, but for batch norm, which then sees a piece at a time. A
loss that diverges or is not finite sends the run back to the beginning of its epoch, with lower rates, a few times.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sartor.child import Stop
from sartor.data.batch import batches
from sartor.device import autocast
from sartor.errors import SartorError
from sartor.events import Events, event, silent

WATCHED = 20  # steps whose mean loss is watched, at most an epoch: one that diverged must not be gone back to
DIVERGED, LEAST_LOSS = 3.0, 0.05  # times the very first loss, which no step has touched; what that counts as at least
MANIFEST = "MANIFEST.json"
EPOCH, STEP = "epoch", "step"  # kinds of checkpoints: where a run goes back to, and where it goes on
KEPT = 2  # of each kind
MOST_RETREATS, RETREAT = 3, 0.1  # how often a run goes back, and what its rates are multiplied by each time
NO_MEMORY = ("out of memory", "can't allocate memory", "bad allocation", "bad_alloc")

Objective = Callable[[np.ndarray], torch.Tensor]  # positions of a batch -> mean loss
Order = Sequence[Sequence[np.ndarray]]  # of each epoch the positions of each of its batches


@dataclass(frozen=True)
class Schedule:
    """Every size of a run, resolved before it starts."""

    epochs: int
    batch_rows: int
    batch_units: int
    learning_rate: float
    head_learning_rate: float
    weight_decay: float
    warmup_share: float  # of all steps
    clip_norm: float
    patience: int  # epochs without a better validation score
    bf16: bool
    average: bool = (
        False  # whether the mean of the weights that the later half of the epochs ended with is a choice too
    )
    keep_best: bool = (
        True  # whether validation chooses among the epochs; else all are gone through and the last is kept
    )


@dataclass(frozen=True)
class Outcome:
    """How training ended: the score of the epoch that was kept, and one record per epoch."""

    best_epoch: int
    best_score: float
    curve: list[dict[str, Any]]


def train(
    model: nn.Module,
    objective: Objective,
    lengths: np.ndarray,
    *,
    schedule: Schedule,
    validate: Callable[[], dict[str, float]] | None,
    checkpoints: Path,
    seed: int,
    save_every_s: float = 15.0,
    events: Events = silent,
    pieces: int = 1,
    stop: Stop | None = None,
    stage: str = "train",
    rates: Callable[[str], float] | None = None,
    order: Order | None = None,
    watch: Callable[[dict[str, Any]], bool] | None = None,
    least_loss: float = LEAST_LOSS,
) -> Outcome:
    """Trains in place and leaves the model with the weights of the epoch that the schedule keeps, or the mean of later ones where that is better.

    objective: positions [B] -> the mean loss of these examples. lengths: units of each example [n]. validate: runs the
    model on the validation examples and returns {"valid": score, higher is better, …}; None: there is nothing to judge by, and the last epoch's
    weights are kept. rates: from a parameter's name to its peak rate; `head_learning_rate` for heads and `learning_rate` for all else where left
    out. order: batches, in place of random ones of like length. watch: told the record of every epoch; when it says so, training ends. least_loss: what the
    first loss counts as at least, where a batch may be all easy.
    checkpoints: a folder of this run alone; the newest whole checkpoint in it is resumed. pieces: that a batch is done in at least, each with a part of its rows. stop: asked to stop, the
    run saves after the step or the validation that it is in, and ends the process. Saving depends on the clock; what is computed never does.
    Raises: SartorError `train.not-finite` and `train.diverged` when lower rates did not help either, `train.out-of-memory` when one
    row does not fit, `train.no-room` where the disk has no room for its checkpoints, before the first step; no step is taken with a loss or a gradient that is not finite.
    """
    optimiser = torch.optim.AdamW(_groups(model, schedule, rates), fused=True, betas=(0.9, 0.98))
    plan = order or [
        batches(lengths, seed=seed, epoch=i, batch_rows=schedule.batch_rows, batch_units=schedule.batch_units)
        for i in range(schedule.epochs)
    ]
    total = sum(map(len, plan))
    place: dict[str, Any] = {
        "epoch": 0,
        "batch": 0,
        "step": 0,
        "loss_sum": 0.0,
        "best_epoch": -1,
        "best_score": -math.inf,
    }
    place |= {"pieces": 1, "rate": 1.0, "retreats": 0, "first_loss": None, "recent": [], "averaged": 0, "ended": False}
    curve: list[dict[str, Any]] = []
    best = _copied(model)
    mean: dict[str, torch.Tensor] = {}  # of the weights that epochs ended with
    checkpoints.mkdir(parents=True, exist_ok=True)
    identity = hashlib.sha256(json.dumps([asdict(schedule), seed, len(lengths)], sort_keys=True).encode()).hexdigest()
    if (found := _newest(checkpoints, identity)) is not None:
        place, curve, best, mean = _restore(found, model, optimiser)
        if watch is not None:  # it is told the epochs before as well
            for record in curve:
                watch(record)
        events(event("step", step=stage, status="resumed", checkpoint=found.name, done=place["step"], total=total))
    else:
        _check_room(checkpoints, model, copies=2 + schedule.average)
    place["pieces"] = max(int(place["pieces"]), pieces)
    rows_total = sum(len(batch) for epoch in plan for batch in epoch)
    last_save = last_word = time.monotonic()
    rows_since, since = 0, time.monotonic()

    def save(kind: str) -> None:
        nonlocal last_save
        said = _save(checkpoints, kind, identity, model, optimiser, place, curve, {"best": best, "mean": mean})
        if said:
            message = f"No checkpoint could be written ({said}); training goes on from memory."
            events(event("log", level="warning", code="train.unsaved", message=message))
        last_save = time.monotonic()

    stop = stop or Stop()
    stop.minded = True
    moved = [buffer for module in model.modules() if isinstance(module, _BatchNorm) for buffer in module.buffers()]
    # Asked here too: a run may have been stopped in the validation that ended it.
    while int(place["epoch"]) < schedule.epochs and not place["ended"] and not _over(place, schedule):
        epoch = int(place["epoch"])
        if int(place["batch"]) == 0:
            save(EPOCH)  # where a run goes back to
        model.train()
        trouble = None
        for number in range(int(place["batch"]), len(plan[epoch])):
            positions = plan[epoch][number]
            _set_rates(optimiser, schedule, step=int(place["step"]), total=total, factor=float(place["rate"]))
            numbers = (seed * 1_000_003 + int(place["step"])) % 2**63
            value = _gradients(
                objective, positions, place, optimiser, numbers=numbers, bf16=schedule.bf16, events=events, moved=moved
            )
            norm = float(nn.utils.clip_grad_norm_(model.parameters(), schedule.clip_norm))
            if not math.isfinite(value) or not math.isfinite(norm):
                trouble = SartorError("train.not-finite", epoch=epoch + 1, batch=number + 1, loss=value)
                break
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            place["step"] += 1
            place["batch"] = number + 1
            place["loss_sum"] += value * len(positions)
            if _diverges(place, value, watched=min(WATCHED, len(plan[epoch])), least=least_loss):
                trouble = SartorError("train.diverged", epoch=epoch + 1, batch=number + 1, loss=value)
                break
            rows_since += len(positions)
            now = time.monotonic()
            if now - last_word >= 1.0:
                done = sum(len(b) for e in plan[:epoch] for b in e) + sum(len(b) for b in plan[epoch][: number + 1])
                rate = rows_since / max(1e-9, now - since)
                events(
                    event(
                        "progress",
                        stage=stage,
                        done=done,
                        total=rows_total,
                        unit="rows",
                        rate=round(rate, 1),
                        left_s=round((rows_total - done) / max(rate, 1e-9), 1),
                    )
                )
                last_word = now
            if now - last_save >= save_every_s or stop.asked:
                save(STEP)
            if stop.asked:
                stop.end()
        if trouble is not None:
            optimiser.zero_grad(set_to_none=True)
            # What diverges now may have begun in the steps that were watched: from before them.
            before = int(place["step"]) - (len(place["recent"]) if trouble.code == "train.diverged" else 0)
            back = _newest(checkpoints, identity, kinds=(EPOCH,), before=before)
            if back is None or int(place["retreats"]) >= MOST_RETREATS:
                raise trouble
            retreats, parts = int(place["retreats"]) + 1, int(place["pieces"])
            place, curve, best, mean = _restore(back, model, optimiser)
            place |= {"retreats": retreats, "pieces": parts, "rate": RETREAT**retreats, "recent": []}
            message = (
                f"{trouble} Back to the beginning of epoch {place['epoch'] + 1}, with rates of {place['rate']:.3g}."
            )
            events(event("log", level="warning", code=trouble.code, message=message))
            save(EPOCH)
            rows_since, since = 0, time.monotonic()
            continue
        scores = _judged(model, validate)
        record = {
            "epoch": epoch + 1,
            "step": place["step"],
            "train_loss": place["loss_sum"] / max(1, sum(map(len, plan[epoch]))),
            **scores,
            "rows_per_s": round(rows_since / max(1e-9, time.monotonic() - since), 1),
        }
        curve.append(record)
        events(event("epoch", stage=stage, **record))
        if validate is None or not schedule.keep_best or scores["valid"] > place["best_score"]:
            place["best_score"], place["best_epoch"] = scores.get("valid", 0.0), epoch
            best = _copied(model)
        if schedule.average and epoch + 1 > schedule.epochs // 2:
            place["averaged"] += 1
            mean = _averaged(mean, model, int(place["averaged"]))
        place.update(epoch=epoch + 1, batch=0, loss_sum=0.0, ended=watch is not None and watch(record))
        rows_since, since = 0, time.monotonic()
        if stop.asked:  # while it was validated
            save(EPOCH)
            stop.end()
    stop.minded = False
    if int(place["averaged"]) > 1 and validate is not None:
        model.load_state_dict(mean, strict=False)
        score = _judged(model, validate)["valid"]
        events(
            event(
                "log", level="info", code="", message=f"The mean of {place['averaged']} epochs' weights: {score:.4f}."
            )
        )
        if score >= place["best_score"]:
            place["best_score"], best = score, mean
    model.load_state_dict(best, strict=False)
    model.eval()
    return Outcome(int(place["best_epoch"]) + 1, float(place["best_score"]), curve)


def _moving(model: nn.Module) -> dict[str, torch.Tensor]:
    """What training may change of a model: all its tensors but the parameters that are held."""
    held = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in held}


def _copied(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in _moving(model).items()}


def _judged(model: nn.Module, validate: Callable[[], dict[str, float]] | None) -> dict[str, float]:
    model.eval()
    if validate is None:
        return {}
    with torch.inference_mode():
        return validate()


def _averaged(mean: dict[str, torch.Tensor], model: nn.Module, count: int) -> dict[str, torch.Tensor]:
    """The mean over `count` sets of weights, of which the model has the last (Izmailov et al. 2018, section 3.2); whole numbers are the newest."""
    if count == 1:
        return _copied(model)
    now = _moving(model)
    return {
        name: tensor.lerp(now[name].to(tensor.dtype), 1 / count) if tensor.is_floating_point() else now[name].clone()
        for name, tensor in mean.items()
    }


def _over(place: dict[str, Any], schedule: Schedule) -> bool:
    """Whether so many epochs went by without a better score that no other is begun."""
    done = int(place["epoch"])
    return done > 0 and done - 1 - int(place["best_epoch"]) >= schedule.patience


def _gradients(
    objective: Objective,
    positions: np.ndarray,
    place: dict[str, Any],
    optimiser: torch.optim.Optimizer,
    *,
    numbers: int,
    bf16: bool,
    events: Events,
    moved: Sequence[torch.Tensor] = (),
) -> float:
    """Adds the gradient of the mean loss of a batch, in as many pieces as memory asks for; returns that loss.

    numbers: the seed of the step's random numbers. moved: running means of batch norms, which a forward pass moves; a try that did not fit leaves
    them as they were. Raises: SartorError `train.out-of-memory`.
    """
    before = [buffer.clone() for buffer in moved]
    while True:
        pieces = min(int(place["pieces"]), len(positions))
        total, loss = 0.0, None
        torch.manual_seed(numbers)  # again after what did not fit: how far it came must not matter
        try:
            for part in np.array_split(positions, pieces):
                with autocast(bf16):
                    loss = objective(part)
                share = len(part) / len(positions)
                value = float(loss.detach())
                total += value * share
                if math.isfinite(value):
                    (loss if pieces == 1 else loss * share).backward()
            return total
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and not any(sign in str(error).lower() for sign in NO_MEMORY):
                raise
            said = str(error)
        # Outside the handler, whose traceback holds every tensor of the batch.
        loss = None
        optimiser.zero_grad(set_to_none=True)
        for buffer, kept in zip(moved, before, strict=True):
            buffer.copy_(kept)
        if pieces >= len(positions):
            raise SartorError("train.out-of-memory", rows=len(positions), said=said[:200])
        place["pieces"] = 2 * pieces
        alike = "the same gradient, but for batch norm" if moved else "the same gradient"
        message = f"A batch of {len(positions)} rows does not fit the memory: from here on in {2 * pieces} pieces, with {alike}."
        events(event("log", level="warning", code="train.pieces", message=message))
        gc.collect()


def _diverges(place: dict[str, Any], value: float, *, watched: int, least: float) -> bool:
    """Whether the mean loss of the last `watched` steps is far above where it began; it is taken down in `place`."""
    if place["first_loss"] is None:
        place["first_loss"] = value
    place["recent"] = [*place["recent"], value][-watched:]
    if len(place["recent"]) < watched:
        return False
    return float(np.mean(place["recent"])) > DIVERGED * max(least, float(place["first_loss"]))


def _groups(model: nn.Module, schedule: Schedule, rates: Callable[[str], float] | None = None) -> list[dict[str, Any]]:
    """Parameters by their peak rates; no decay on biases and norms (as in Devlin et al. 2019, appendix A.2)."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}

    def usual(name: str) -> float:
        return schedule.head_learning_rate if name.startswith("heads.") else schedule.learning_rate

    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = (rates or usual)(name)
        decay = 0.0 if parameter.ndim < 2 else schedule.weight_decay
        groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "base_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def _set_rates(optimiser: torch.optim.Optimizer, schedule: Schedule, *, step: int, total: int, factor: float) -> None:
    """Linear warm-up, then linear decay to zero at the last step; `factor` of both."""
    warm = max(1, round(schedule.warmup_share * total))
    share = (step + 1) / warm if step < warm else (total - step) / max(1, total - warm)
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * share * factor


def _save(
    folder: Path,
    kind: str,
    identity: str,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    place: dict[str, Any],
    curve: Sequence[dict[str, Any]],
    beside: dict[str, dict[str, torch.Tensor]],
) -> str:
    """Writes a checkpoint aside, syncs it, renames it, and only then removes the older ones. Returns why it could not, or ''."""
    from safetensors import SafetensorError

    name = f"{kind}-{int(place['step']):08d}" + (f"-{place['retreats']}" if place["retreats"] else "")
    final, aside = folder / name, folder / f".writing-{name}-{os.getpid()}"
    if (final / MANIFEST).is_file():
        return ""
    try:
        aside.mkdir()
        _write(aside, identity, model, optimiser, place, curve, beside)
        os.rename(aside, final)
        _sync(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        return str(getattr(error, "strerror", None) or error)
    for old in _complete(folder, (kind,))[:-KEPT]:
        _discard(old)
    return ""


def _write(
    aside: Path,
    identity: str,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    place: dict[str, Any],
    curve: Sequence[dict[str, Any]],
    beside: dict[str, dict[str, torch.Tensor]],
) -> None:
    from safetensors.torch import save_file

    moments, steps = {}, {}
    for number, parameter in enumerate(_trained(optimiser)):
        state = optimiser.state.get(parameter, {})
        for key, value in state.items():
            if torch.is_tensor(value) and value.ndim > 0:
                moments[f"{number}.{key}"] = value
            else:
                steps[f"{number}.{key}"] = float(value)
    save_file({name: tensor.contiguous() for name, tensor in _moving(model).items()}, aside / "model.safetensors")
    save_file(moments or {"none": torch.zeros(1)}, aside / "optimiser.safetensors")
    for name, tensors in beside.items():
        if tensors:
            save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, aside / f"{name}.safetensors")
    told = {"identity": identity, "place": place, "curve": list(curve), "steps": steps}
    (aside / "state.json").write_text(json.dumps(told), encoding="utf-8")
    digests = {}
    for file in sorted(aside.iterdir()):
        with file.open("rb") as handle:
            digests[file.name] = hashlib.file_digest(handle, "sha256").hexdigest()
            os.fsync(handle.fileno())
    with (aside / MANIFEST).open("w", encoding="utf-8") as manifest:
        manifest.write(json.dumps(digests))
        manifest.flush()
        os.fsync(manifest.fileno())
    _sync(aside)


def _check_room(folder: Path, model: nn.Module, *, copies: int) -> None:
    """Raises: SartorError `train.no-room`. A checkpoint holds so many copies of the weights (now, the best, their mean) and two moments of what is trained.

    So many stand there at a time: KEPT of each kind and the one that is written.
    """

    def size(tensors: Iterator[torch.Tensor]) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    trained = size(parameter for parameter in model.parameters() if parameter.requires_grad)
    weights = size(iter(_moving(model).values()))
    needed, free = (2 * KEPT + 1) * (copies * weights + 2 * trained) + weights, shutil.disk_usage(folder).free
    if free < needed:
        raise SartorError("train.no-room", needed=f"{needed / 1e6:,.1f}", free=f"{free / 1e6:,.1f}", path=folder.parent)


def _sync(folder: Path) -> None:
    """A folder's names on the disk, as fsync does for a file's bytes."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _discard(folder: Path) -> None:
    """Removes a checkpoint, its manifest first: what a kill leaves of it is known for a rest."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _restore(
    folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """What `_write` wrote: (place, curve, best weights, mean of weights); the rest goes into the model and the optimiser."""
    from safetensors.torch import load_file

    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    optimiser.state.clear()  # before the first step there are no moments
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    moments = load_file(folder / "optimiser.safetensors")
    for number, parameter in enumerate(_trained(optimiser)):
        found: dict[str, Any] = {
            name.split(".", 1)[1]: tensor.to(parameter.device)
            for name, tensor in moments.items()
            if name.startswith(f"{number}.")
        }
        found |= {
            name.split(".", 1)[1]: torch.tensor(value, device=parameter.device)
            for name, value in state["steps"].items()
            if name.startswith(f"{number}.")
        }
        if found:
            optimiser.state[parameter] = found
    where = {name: tensor.device for name, tensor in model.state_dict().items()}
    best, mean = (
        {key: tensor.to(where[key]) for key, tensor in load_file(file).items()}
        if (file := folder / f"{name}.safetensors").is_file()
        else {}
        for name in ("best", "mean")
    )
    return state["place"], state["curve"], best, mean


def _trained(optimiser: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    for group in optimiser.param_groups:
        yield from group["params"]


def _complete(folder: Path, kinds: Sequence[str] = (EPOCH, STEP)) -> list[Path]:
    """Checkpoints of these kinds with a manifest, the oldest first: a run that went back is newer, wherever it stands."""

    def age(path: Path) -> tuple[int, int, bool]:
        kind, step, *retreats = path.name.split("-")
        return int(retreats[0]) if retreats else 0, int(step), kind == EPOCH

    found = [path for kind in kinds for path in folder.glob(f"{kind}-*") if (path / MANIFEST).is_file()]
    return sorted(found, key=age)


def _newest(
    folder: Path, identity: str, kinds: Sequence[str] = (EPOCH, STEP), *, before: int | None = None
) -> Path | None:
    """The newest checkpoint of this very run, of at most so many steps, whose files are whole.

    What an interrupted save or removal left is removed, and what is damaged: it would stand in the way of one of its name.
    """
    for left in folder.iterdir():
        if left.name.startswith(".writing-") or not (left / MANIFEST).is_file():
            shutil.rmtree(left, ignore_errors=True)
    for path in reversed(_complete(folder, kinds)):
        if before is not None and int(path.name.split("-")[1]) > before:
            continue
        try:
            digests = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
            whole = all(_sha256(path / name) == digest for name, digest in digests.items())
            if whole and json.loads((path / "state.json").read_text(encoding="utf-8"))["identity"] == identity:
                return path
        except (FileNotFoundError, ValueError, KeyError):
            whole = False
        except OSError:  # it cannot be read now, which does not say that it is damaged
            continue
        if not whole:
            _discard(path)
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
