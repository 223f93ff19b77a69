"""A model: one body and a head for each target. Heavy half: this is where torch begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sartor import leaves

WEIGHTS = "model.safetensors"


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


def load(folder: Path) -> Model:
    """The model of a bundle: its own tensors over those of the checkpoint that it names."""
    meta = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    model = make(folder, meta)
    file = folder / WEIGHTS
    own = load_file(file) if file.is_file() else {}
    tensors = {_inner(name): tensor for name, tensor in own.items()}
    if not meta["backbone"].get("owns_weights"):
        base = leaves.load("backbone", meta["backbone"]["leaf"]).base_weights(meta["backbone"])
        tensors = {f"body.{name}": tensor for name, tensor in base.items()} | tensors
    wanted = model.state_dict()
    missing = [
        name for name in wanted if name not in tensors and not name.startswith("heads.") and "position_ids" not in name
    ]
    if missing:
        raise ValueError(f"{folder} lacks weights for {len(missing)} tensors, such as {missing[0]}")
    model.load_state_dict({name: tensor for name, tensor in tensors.items() if name in wanted}, strict=False)
    return model


def save(model: Model, folder: Path, *, only: str = "") -> None:
    """Writes the tensors whose names begin with `only`; an encoder's under the names that transformers gives them."""
    tensors = {
        _outer(name): tensor.detach().contiguous()
        for name, tensor in model.state_dict().items()
        if name.startswith(only)
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def _outer(name: str) -> str:
    # `AutoModel.from_pretrained(bundle)` finds the body under its own names.
    return name.removeprefix("body.encoder.") if name.startswith("body.encoder.") else f"sartor.{name}"


def _inner(name: str) -> str:
    return name.removeprefix("sartor.") if name.startswith("sartor.") else f"body.encoder.{name}"
