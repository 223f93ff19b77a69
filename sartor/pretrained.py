"""Checkpoints of transformers, by a local folder in the hub's format or by hub id: what their leaves have in common. Heavy half."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sartor import checkpoint
from sartor.errors import InputError

WANTED = ("*.json", "*.txt", "*.model", "model.safetensors")  # of a repository


def folder_of(ref: str, families: Sequence[str]) -> Path:
    """The folder of a checkpoint of one of these families (`model_type` in its config.json), nothing in which speaks against using it.

    Raises: InputError `backbone.*`, `weights.broken`, `leaf.missing-package`.
    """
    folder = Path(ref) if Path(ref).is_dir() else _from_hub(ref)
    return checked(ref, folder, families)


def checked(ref: str, folder: Path, families: Sequence[str]) -> Path:
    """The same folder, if it holds what is needed of a checkpoint. Raises: as `folder_of`."""
    if not (folder / "config.json").is_file():
        raise InputError("backbone.not-found", ref=ref, why=f"{folder} has no config.json")
    if not (folder / "model.safetensors").is_file():
        raise InputError("backbone.no-safetensors", ref=ref)
    checkpoint.config_of(ref, folder, families)
    return folder


def config_of(folder: Path) -> dict[str, Any]:
    """Its config.json."""
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def tensors(folder: Path, meta: Mapping[str, Any], prefixes: Sequence[str]) -> dict[str, Any]:
    """The checkpoint's tensors, without whichever of these prefixes their names begin with; refused when they are no longer the same file.

    meta: holds `ref` and the `sha256` of the weights as they were. Raises: InputError `backbone.weights-changed`.
    """
    from safetensors.torch import load_file

    check_unchanged(folder, meta)
    found = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        found[name[len(prefix) :]] = tensor
    return found


def check_unchanged(folder: Path, meta: Mapping[str, Any]) -> None:
    """meta: as in `tensors`. Raises: InputError `backbone.weights-changed`."""
    from sartor.bundle import sha256

    if (digest := sha256(folder / "model.safetensors")) != meta["sha256"]:
        raise InputError("backbone.weights-changed", ref=meta["ref"], found=digest, expected=meta["sha256"])


def _from_hub(ref: str) -> Path:
    from sartor.leaves import need_package

    hub = need_package("huggingface_hub", feature="Loading a backbone from the hub", extra="train")
    try:
        return Path(hub.snapshot_download(ref, allow_patterns=list(WANTED), local_files_only=True))
    except Exception as missing:
        if os.environ.get("HF_HUB_OFFLINE") == "1":
            raise InputError(
                "backbone.not-found", ref=ref, why="it is not in the local cache, and HF_HUB_OFFLINE=1"
            ) from missing
    try:
        return Path(hub.snapshot_download(ref, allow_patterns=list(WANTED)))
    except Exception as error:
        why = f"it is neither a folder nor in the local cache, and the hub did not give it ({type(error).__name__})"
        raise InputError("backbone.not-found", ref=ref, why=why) from error
