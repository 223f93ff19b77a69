"""The training loop: one function, plain torch. What is learned is the objective that it is given.

Data order is a pure function of (seed, epoch, position), so a checkpoint holds weights, optimiser and a place, and nothing of
the loader. A run that was killed ends with the same bits as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sartor.data.batch import batches
from sartor.errors import SartorError
from sartor.events import Events, event, silent

Objective = Callable[[np.ndarray], torch.Tensor]  # positions of a batch -> mean loss


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


@dataclass(frozen=True)
class Outcome:
    """How training ended: the best epoch's score, and one record per epoch."""

    best_epoch: int
    best_score: float
    curve: list[dict[str, Any]]


def train(
    model: nn.Module,
    objective: Objective,
    lengths: np.ndarray,
    *,
    schedule: Schedule,
    validate: Callable[[], dict[str, float]],
    checkpoints: Path,
    seed: int,
    save_every_s: float = 15.0,
    events: Events = silent,
    stage: str = "train",
) -> Outcome:
    """Trains in place and leaves the model with the weights of its best epoch.

    objective: positions [B] -> the mean loss of these examples. lengths: units of each example [n]. validate: runs the
    model on the validation examples and returns {"valid": score, higher is better, …}. checkpoints: a folder of this run alone;
    the newest whole checkpoint in it is resumed. Saving depends on the clock; what is computed never does.
    Raises: SartorError `train.not-finite` when a loss or a gradient is not finite; no step is taken with it.
    """
    optimiser = torch.optim.AdamW(_groups(model, schedule), fused=True, betas=(0.9, 0.98))
    plan = [
        batches(lengths, seed=seed, epoch=i, batch_rows=schedule.batch_rows, batch_units=schedule.batch_units)
        for i in range(schedule.epochs)
    ]
    total = sum(map(len, plan))
    place = {"epoch": 0, "batch": 0, "step": 0, "loss_sum": 0.0, "best_epoch": -1, "best_score": -math.inf}
    curve: list[dict[str, Any]] = []
    best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    checkpoints.mkdir(parents=True, exist_ok=True)
    identity = hashlib.sha256(json.dumps([asdict(schedule), seed, len(lengths)], sort_keys=True).encode()).hexdigest()
    if (found := _newest(checkpoints, identity)) is not None:
        place, curve, best = _restore(found, model, optimiser)
        events(event("step", step=stage, status="resumed", checkpoint=found.name, done=place["step"], total=total))
    rows_total = sum(len(batch) for epoch in plan for batch in epoch)
    last_save = last_word = time.monotonic()
    rows_since, since = 0, time.monotonic()

    for epoch in range(int(place["epoch"]), schedule.epochs):
        model.train()
        for number in range(int(place["batch"]), len(plan[epoch])):
            positions = plan[epoch][number]
            _set_rates(optimiser, schedule, step=int(place["step"]), total=total)
            with torch.autocast("cpu", torch.bfloat16) if schedule.bf16 else nullcontext():
                loss = objective(positions)
            value = float(loss.detach())
            if math.isfinite(value):
                loss.backward()  # type: ignore[no-untyped-call]
                norm = float(nn.utils.clip_grad_norm_(model.parameters(), schedule.clip_norm))
            if not math.isfinite(value) or not math.isfinite(norm):
                raise SartorError("train.not-finite", epoch=epoch + 1, batch=number + 1, loss=value)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            place["step"] += 1
            place["batch"] = number + 1
            place["loss_sum"] += value * len(positions)
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
            if now - last_save >= save_every_s:
                _save(checkpoints, identity, model, optimiser, place, curve, best)
                last_save = time.monotonic()
        model.eval()
        with torch.inference_mode():
            scores = validate()
        record = {
            "epoch": epoch + 1,
            "step": place["step"],
            "train_loss": place["loss_sum"] / max(1, len(lengths)),
            **scores,
            "rows_per_s": round(rows_since / max(1e-9, time.monotonic() - since), 1),
        }
        curve.append(record)
        events(event("epoch", stage=stage, **record))
        if scores["valid"] > place["best_score"]:
            place["best_score"], place["best_epoch"] = scores["valid"], epoch
            best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        place.update(epoch=epoch + 1, batch=0, loss_sum=0.0)
        rows_since, since = 0, time.monotonic()
        if epoch - int(place["best_epoch"]) >= schedule.patience:
            break
    model.load_state_dict(best)
    model.eval()
    return Outcome(int(place["best_epoch"]) + 1, float(place["best_score"]), curve)


def _groups(model: nn.Module, schedule: Schedule) -> list[dict[str, Any]]:
    """Body and heads at their own rates; no decay on biases and norms (as in Devlin et al. 2019, appendix A.2)."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = schedule.head_learning_rate if name.startswith("heads.") else schedule.learning_rate
        decay = 0.0 if parameter.ndim < 2 else schedule.weight_decay
        groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "base_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def _set_rates(optimiser: torch.optim.Optimizer, schedule: Schedule, *, step: int, total: int) -> None:
    """Linear warm-up, then linear decay to zero at the last step."""
    warm = max(1, round(schedule.warmup_share * total))
    share = (step + 1) / warm if step < warm else (total - step) / max(1, total - warm)
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * share


def _save(
    folder: Path,
    identity: str,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    place: dict[str, Any],
    curve: Sequence[dict[str, Any]],
    best: dict[str, torch.Tensor],
) -> None:
    """Writes a checkpoint aside, syncs it, renames it, and only then removes the older ones."""
    from safetensors.torch import save_file

    name = f"step-{int(place['step']):08d}"
    aside = folder / f".writing-{name}-{os.getpid()}"
    aside.mkdir()
    moments, steps = {}, {}
    for number, parameter in enumerate(_trained(optimiser)):
        state = optimiser.state.get(parameter, {})
        for key, value in state.items():
            if torch.is_tensor(value) and value.ndim > 0:
                moments[f"{number}.{key}"] = value
            else:
                steps[f"{number}.{key}"] = float(value)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, aside / "model.safetensors")
    save_file(moments or {"none": torch.zeros(1)}, aside / "optimiser.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in best.items()}, aside / "best.safetensors")
    state = {"identity": identity, "place": place, "curve": list(curve), "steps": steps}
    (aside / "state.json").write_text(json.dumps(state), encoding="utf-8")
    digests = {}
    for file in sorted(aside.iterdir()):
        with file.open("rb") as handle:
            digests[file.name] = hashlib.file_digest(handle, "sha256").hexdigest()
            os.fsync(handle.fileno())
    (aside / "MANIFEST.json").write_text(json.dumps(digests), encoding="utf-8")
    final = folder / name
    if not final.exists():
        os.rename(aside, final)
    shutil.rmtree(aside, ignore_errors=True)
    for old in _complete(folder)[:-2]:
        shutil.rmtree(old, ignore_errors=True)


def _restore(
    folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, torch.Tensor]]:
    from safetensors.torch import load_file

    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    moments = load_file(folder / "optimiser.safetensors")
    for number, parameter in enumerate(_trained(optimiser)):
        found: dict[str, Any] = {
            name.split(".", 1)[1]: tensor for name, tensor in moments.items() if name.startswith(f"{number}.")
        }
        found |= {
            name.split(".", 1)[1]: torch.tensor(value)
            for name, value in state["steps"].items()
            if name.startswith(f"{number}.")
        }
        if found:
            optimiser.state[parameter] = found
    return state["place"], state["curve"], load_file(folder / "best.safetensors")


def _trained(optimiser: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    for group in optimiser.param_groups:
        yield from group["params"]


def _complete(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if (path / "MANIFEST.json").is_file())


def _newest(folder: Path, identity: str) -> Path | None:
    """The newest checkpoint of this very run whose files are whole; what an interrupted save left is removed."""
    for left in folder.glob(".writing-*"):
        shutil.rmtree(left, ignore_errors=True)
    for path in reversed(_complete(folder)):
        try:
            digests = json.loads((path / "MANIFEST.json").read_text(encoding="utf-8"))
            whole = all(_sha256(path / name) == digest for name, digest in digests.items())
            if whole and json.loads((path / "state.json").read_text(encoding="utf-8"))["identity"] == identity:
                return path
        except (OSError, ValueError, KeyError):
            continue
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
