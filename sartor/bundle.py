"""A bundle: a folder with a model and everything needed to trust it. JSON, safetensors and ONNX; never pickle.

It is written aside and renamed, so it is whole or absent, and `MANIFEST.json` (written last) holds the sha256 of every
file, so that a file changed, added or missing is refused by name. Cached prefixes of a plan have the same form.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sartor.checkpoint import check_safetensors
from sartor.errors import InputError, SartorError

SCHEMA = 1
MAX_JSON_BYTES = 64_000_000  # of a manifest, a report: a build's are below 1 MB
MANIFEST = "MANIFEST.json"
# What serving needs, and nothing else; members are those of a fusion or of a cascade.
DEPLOYED = re.compile(r"bundle\.json|(members/\d+/)*(processor|runtime)/.*", re.DOTALL)
_UNLISTED = (".build", "events.jsonl")  # a build's own working files beside the bundle


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: where it is and what its `bundle.json` says."""

    path: Path
    meta: dict[str, Any]

    @property
    def form(self) -> str:
        """ "weights" (a model to train) or "graphs" (runnable files)."""
        return str(self.meta.get("form", ""))

    @property
    def manifest(self) -> dict[str, Any]:
        return read_object(self.path, MANIFEST)

    def deployed_bytes(self) -> int:
        """Bytes of the files marked `deploy`."""
        return sum(entry["bytes"] for entry in self.manifest["files"].values() if entry.get("deploy"))

    @property
    def digest(self) -> str:
        """sha256 over the deployed files: the identity of what is served."""
        return self._digest(leave=())

    @property
    def model(self) -> str:
        """sha256 of what decides the answers, under whatever name it was built: the deployed files but `bundle.json`, and of that the heads with
        their thresholds and scales."""
        told = [self._digest(leave=("bundle.json",)), self.meta["heads"]]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def _digest(self, *, leave: Iterable[str]) -> str:
        listed = sorted(self.manifest["files"].items())
        files = {name: entry["sha256"] for name, entry in listed if entry.get("deploy") and name not in leave}
        return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def load(path: Path | str, *, check: bool = True) -> Bundle:
    """Opens a bundle and checks every file against the manifest.

    Raises: InputError `bundle.not-found`, `bundle.changed` (names the files), `bundle.schema`, `bundle.path`.
    """
    path = Path(path)
    for needed in (MANIFEST, "bundle.json"):
        if not os.path.isfile(path / needed):
            raise InputError("bundle.not-found", path=path, missing=needed)
    if check and (problems := changed(path)):
        raise InputError("bundle.changed", path=path, problems="; ".join(problems[:10]))
    meta = read_object(path, "bundle.json")
    if meta.get("schema") != SCHEMA:
        raise InputError("bundle.schema", path=path, found=meta.get("schema"), known=SCHEMA)
    if check and (path / "model.safetensors").is_file():
        check_safetensors(path / "model.safetensors")
    return Bundle(path, meta)


def whole(path: Path) -> bool:
    """Whether there is a bundle, with every file as its manifest says."""
    return (path / MANIFEST).is_file() and not changed(path)


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file of a bundle.

    Raises: InputError `bundle.broken`.
    """
    try:
        with (folder / name).open("rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
        if len(data) > MAX_JSON_BYTES:
            raise InputError("bundle.broken", path=folder, why=f"{name} is larger than {MAX_JSON_BYTES:,} bytes")
        found = json.loads(data)
    except SartorError:
        raise
    except json.JSONDecodeError as error:
        why = f"{name} is not JSON ({error.msg}, line {error.lineno}, column {error.colno})"
        raise InputError("bundle.broken", path=folder, why=why) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("bundle.broken", path=folder, why=f"{name} cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise InputError("bundle.broken", path=folder, why=f"{name} is not an object")
    return found


def around(path: Path) -> Path | None:
    """The bundle that a path would lie inside; None when there is none."""
    for parent in Path(path).absolute().parents:
        if os.path.isfile(parent / MANIFEST) and os.path.isfile(parent / "bundle.json"):
            return parent
    return None


def changed(path: Path) -> list[str]:
    """Files that are not as the manifest says: '… is missing', '… was changed', '… was added'."""
    try:
        listed = read_object(path, MANIFEST)["files"]
        sums = {name: (entry["bytes"], entry["sha256"]) for name, entry in listed.items()}
    except (InputError, KeyError, TypeError, AttributeError):
        return [f"{MANIFEST} was changed"]
    problems = []
    for name, known in sums.items():
        file = inside(path, name)
        if not os.path.isfile(file):
            problems.append(f"{name} is missing")
        elif (file.stat().st_size, sha256(file)) != known:
            problems.append(f"{name} was changed")
    problems += [f"{name} was added" for name in _files(path) if name not in listed]
    return problems


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """A folder to write a bundle into; on leaving it gets its manifest and becomes `target` in one rename.

    If the block raises, nothing of it remains. An existing target is replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.parent / f".writing-{target.name}-{uuid.uuid4().hex[:8]}"
    aside.mkdir()
    try:
        yield aside
        seal(aside)
        old = target.parent / f".replaced-{target.name}-{uuid.uuid4().hex[:8]}"
        if target.exists():
            os.rename(target, old)
        os.rename(aside, target)
        _sync_folder(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def seal(folder: Path) -> None:
    """Writes the manifest of everything below `folder`, after all of it has reached the disk."""
    files = {}
    for name in _files(folder):
        file = folder / name
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
        files[name] = {"sha256": sha256(file), "bytes": file.stat().st_size, "deploy": _deployed(name)}
    write_json(folder / MANIFEST, {"schema": SCHEMA, "files": files})
    _sync_folder(folder)


def place(source: Path, target: Path) -> Bundle:
    """Puts the files of a sealed bundle into a folder that may hold a build's own files; the manifest goes last.

    Until then the folder is no bundle, so a kill leaves it absent, never half. What an earlier bundle left there goes.
    """
    target.mkdir(parents=True, exist_ok=True)
    (target / MANIFEST).unlink(missing_ok=True)
    _sync_folder(target)
    for aside in target.glob(f".{MANIFEST}.*"):  # of a manifest whose writing was killed
        aside.unlink()
    for old in target.iterdir():
        if old.name not in _UNLISTED and not old.name.startswith("."):
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    for name in json.loads((source / MANIFEST).read_text(encoding="utf-8"))["files"]:
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, file)
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    write_json(target / MANIFEST, json.loads((source / MANIFEST).read_text(encoding="utf-8")))
    _sync_folder(target)
    return load(target)


def link(source: Bundle, folder: Path, *, leave: Iterable[str] = ()) -> None:
    """Hard-links the files of a bundle into another folder, as copies where links are not possible."""
    left = set(leave)
    for name in source.manifest["files"]:
        file = folder / name
        if name in left or file.exists():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            file.hardlink_to(inside(source.path, name))
        except OSError:
            shutil.copyfile(inside(source.path, name), file)


def copy_deployed(bundle: Bundle, target: Path) -> None:
    """Copies only what is deployed, with a manifest of its own."""
    with writing(target) as folder:
        for name, entry in bundle.manifest["files"].items():
            if entry.get("deploy"):
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(inside(bundle.path, name), place)


def write_json(path: Path, data: Any) -> None:
    """Writes JSON aside, syncs it, and renames it into place."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            json.dump(data, file, ensure_ascii=False, indent=1, sort_keys=False, default=str)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sweep(folder: Path) -> None:
    """Removes what an interrupted write or step left aside."""
    for pattern in (".writing-*", ".replaced-*", "*.kept", "*.followed"):
        for left in folder.glob(pattern):
            shutil.rmtree(left, ignore_errors=True)


def _files(folder: Path) -> Iterable[str]:
    for root, folders, names in os.walk(folder):
        relative = Path(root).relative_to(folder)
        if relative == Path():
            folders[:] = [name for name in folders if name not in _UNLISTED and not name.startswith(".")]
        # A link to a folder is not walked into, so it counts as a file.
        for name in sorted([*names, *(name for name in folders if (Path(root) / name).is_symlink())]):
            path = (relative / name).as_posix()
            if path not in (MANIFEST, *_UNLISTED):
                yield path


def _deployed(name: str) -> bool:
    return DEPLOYED.fullmatch(name) is not None


def inside(folder: Path, name: str) -> Path:
    """The file of a bundle with this name.

    Raises: InputError `bundle.path` when it lies elsewhere, by its name or by a link.
    """
    pure = PurePosixPath(name)
    try:
        place = (folder / pure).resolve()
    except (OSError, ValueError, RuntimeError):  # a zero byte, a lone surrogate, links that go round in a circle
        raise InputError("bundle.path", path=folder, name=name) from None
    if pure.is_absolute() or ".." in pure.parts or not place.is_relative_to(folder.resolve()):
        raise InputError("bundle.path", path=folder, name=name)
    return place


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
