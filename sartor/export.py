"""Exporting: the files that are deployed and nothing else, or the same weights in the format of another runtime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sartor import bundle as bundles
from sartor import leaves
from sartor.bundle import Bundle
from sartor.errors import InputError, near
from sartor.step import export

UNPROVEN = ("report.json", "report.html", "README.md")  # they speak of the graphs that were measured, not of these


def deploy(path: Path | str, target: Path) -> Bundle:
    """Copies what is deployed: enough to serve the same answers.

    Raises: InputError `bundle.*`, `export.exists`, `export.folder`, `build.inside`.
    """
    bundle = bundles.load(path)
    _check_free(target)
    with _writable(target):
        bundles.copy_deployed(bundle, target)
    return bundles.load(target)


def to_runtime(path: Path | str, runtime: str, target: Path) -> Bundle:
    """A bundle of the same weights whose graphs another runtime runs, compared with the model on the bundle's example rows.

    Nothing is claimed of it until `sartor verify` measured it.
    Raises: InputError `leaf.unknown`, `export.*`.
    """
    bundle = bundles.load(path)
    known = runtimes()
    if runtime not in known:
        raise InputError(
            "leaf.unknown", kind="runtime", name=runtime, near=near(runtime, known), known=", ".join(known)
        )
    _check_free(target)
    if not (bundle.path / "model.safetensors").is_file():
        raise InputError("export.no-weights", path=path)
    with _writable(target), bundles.writing(target) as folder:
        graphs = [name for name in bundle.manifest["files"] if name.startswith("runtime/")]
        bundles.link(bundle, folder, leave=["bundle.json", *UNPROVEN, *graphs])
        record = export.write(bundle, runtime, bundle.meta["examples"], folder)
        bundles.write_json(folder / "bundle.json", bundle.meta | {"runtime": record})
    return bundles.load(target)


def runtimes() -> list[str]:
    """Those that weights can be exported to."""
    return [name for name in leaves.names("runtime") if getattr(leaves.load("runtime", name), "OF_ONE_MODEL", True)]


def _check_free(target: Path) -> None:
    with _writable(target):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InputError("export.exists", path=target)
    if (bundle := bundles.around(target)) is not None:
        raise InputError("build.inside", out=target, bundle=bundle)


@contextmanager
def _writable(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError("export.folder", path=target, why=error.strerror or error) from error
