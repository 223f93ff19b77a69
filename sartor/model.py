"""A model: one body and a head for each target. Heavy half: this is where torch begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sartor import adapting, leaves

WEIGHTS, ADAPTER = "model.safetensors", "adapter.safetensors"


class Model(nn.Module):
    """body(**batch) -> features [B, width]; each head -> its output, by output name."""

    def __init__(self, body: nn.Module, heads: dict[str, nn.Module]) -> None:
        super().__init__()
        self.body = body
        self.heads = nn.ModuleDict(heads)

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in the order of the heads."""
        return list(self.heads)

    def forward(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Outputs by name."""
        features = self.body(**batch)
        return {name: head(features) for name, head in self.heads.items()}


def make(folder: Path, meta: dict[str, Any]) -> Model:
    """The modules that `bundle.json` describes, with weights yet to be loaded."""
    backbone = leaves.load("backbone", meta["backbone"]["leaf"])
    body = backbone.body(folder, meta["backbone"])
    heads: dict[str, nn.Module] = {}
    for head in meta["heads"]:
        if meta["backbone"].get("outputs"):
            heads[head["output"]] = nn.Identity()  # the body was fitted to the target and gives outputs itself
        else:
            heads[head["output"]] = leaves.load("task", head["task"]).head(body.width, head["spec"])
    return Model(body, heads)


def load(folder: Path, *, merged: bool = True) -> Model:
    """The model of a bundle: its own tensors over those of the checkpoint that it names, and its adapter over both.

    merged: whether an adapter becomes part of the weights, where its method can.
    """
    meta = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    model = make(folder, meta)
    tensors = {f"body.{name}": tensor for name, tensor in base_of(meta["backbone"]).items()}
    if (folder / WEIGHTS).is_file():
        tensors |= {_inner(name): tensor for name, tensor in load_file(folder / WEIGHTS).items()}
    wanted = model.state_dict()
    missing = [
        name for name in wanted if name not in tensors and not name.startswith("heads.") and "position_ids" not in name
    ]
    if missing:
        raise ValueError(f"{folder} lacks weights for {len(missing)} tensors, such as {missing[0]}")
    model.load_state_dict({name: tensor for name, tensor in tensors.items() if name in wanted}, strict=False)
    if adapter := meta["backbone"].get("adapter"):
        adapting.attach(model.body, adapter)
        model.load_state_dict(load_file(folder / ADAPTER), strict=False)
        if merged:
            adapting.merge(model.body)
    return model


def base_of(backbone: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The checkpoint's tensors by the body's names; none where the bundle holds every weight itself, or there is no checkpoint."""
    if backbone.get("owns_weights"):
        return {}
    return dict(leaves.load("backbone", backbone["leaf"]).base_weights(backbone))


def save(
    model: Model, folder: Path, backbone: Mapping[str, Any] = MappingProxyType({}), *, whole: bool = False
) -> dict[str, Any]:
    """Writes what a model has beside the checkpoint of its backbone; returns what `bundle.json` is to say of the backbone.

    An adapter that is attached is written apart. Of the rest the tensors that differ from the checkpoint's are written, all of them where `whole` or
    where there is no checkpoint; an encoder's under the names that transformers gives them.
    """
    adapter = adapting.attached(model.body)
    plain, beside = adapting.apart(model.state_dict())
    if adapter is not None:
        save_file({name: tensor.contiguous() for name, tensor in beside.items()}, folder / ADAPTER)
    base = base_of(backbone) if backbone and not whole else {}
    own = {
        _outer(name): tensor.detach().contiguous()
        for name, tensor in plain.items()
        if not _same(tensor, base.get(name.removeprefix("body.")))
    }
    save_file(own, folder / WEIGHTS, metadata={"format": "pt"})
    told = {name: value for name, value in backbone.items() if name != "adapter"}
    return told | {"owns_weights": not base} | ({"adapter": adapter} if adapter else {})


def _same(tensor: torch.Tensor, other: torch.Tensor | None) -> bool:
    return other is not None and tensor.shape == other.shape and torch.equal(tensor, other.to(tensor.dtype))


def _outer(name: str) -> str:
    # `AutoModel.from_pretrained(bundle)` finds the body under its own names.
    return name.removeprefix("body.encoder.") if name.startswith("body.encoder.") else f"sartor.{name}"


def _inner(name: str) -> str:
    return name.removeprefix("sartor.") if name.startswith("sartor.") else f"body.encoder.{name}"
