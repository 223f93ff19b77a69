"""Finds leaves: a leaf is one module in the folder of its kind, and the folder is the registry.

A third party adds a leaf through an entry point in the group `sartor.<kind>` that names a module. Nothing is imported
until a leaf is asked for by name, so listing them costs no torch.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from sartor.errors import InputError, near

KINDS = ("modality", "task", "backbone", "step", "runtime")


@lru_cache
def _modules(kind: str) -> dict[str, str]:
    """The module path of each leaf of a kind; a leaf of ours is never shadowed by a third party's."""
    assert kind in KINDS, kind
    package = importlib.import_module(f"sartor.{kind}")
    found = {point.name: point.value for point in importlib.metadata.entry_points(group=f"sartor.{kind}")}
    found.update({item.name: f"sartor.{kind}.{item.name}" for item in pkgutil.iter_modules(package.__path__)})
    return dict(sorted(found.items()))


def names(kind: str) -> list[str]:
    """The public names of all leaves of a kind, sorted."""
    return list(_modules(kind))


def load(kind: str, name: str) -> ModuleType:
    """The module of one leaf.

    Raises: InputError `leaf.unknown`, with the nearest right name.
    """
    modules = _modules(kind)
    if name not in modules:
        raise InputError("leaf.unknown", kind=kind, name=name, near=near(name, modules), known=", ".join(modules))
    return importlib.import_module(modules[name])


def third_party_digest(kind: str, name: str) -> str | None:
    """sha256 of the source file of a leaf that is not ours, for cache keys; None for our own."""
    path = _modules(kind).get(name, "")
    if not path or path.startswith("sartor."):
        return None
    spec = importlib.util.find_spec(path)
    if spec is None or spec.origin is None:
        return None
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


def need_package(package: str, *, feature: str, extra: str | None = None) -> ModuleType:
    """Imports an optional package, or says in one line what to install.

    Raises: InputError `leaf.missing-package`.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != package.split(".")[0]:
            raise
        command = f"pip install 'sartor[{extra}]'" if extra else f"pip install {package}"
        raise InputError("leaf.missing-package", feature=feature, package=package, command=command) from None
