"""The folder of a build: its lock, its journal, its events and its cache. What a kill leaves here, the same command picks up.

Everything that is not the bundle stands in `OUT/.build`, so an unfinished build is never mistaken for a bundle.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from sartor import bundle as bundles
from sartor.errors import InputError
from sartor.events import Event, Events, Recorder, event, silent
from sartor.journal import Journal

WORK = ".build"
_MODEL = ("bundle.json", "processor", "runtime", "members", "model.safetensors", "config.json")
BUNDLE = (*_MODEL, "needs.yaml", "plan.json", "report.json", "report.html", "README.md")  # what one may hold


class Run:
    """An open build folder; a context that holds the lock. Two builds in one folder refuse each other."""

    def __init__(
        self,
        out: Path,
        *,
        identity: dict[str, Any],
        budget_s: float | None = None,
        cache: Path | None = None,
        events: Events = silent,
    ) -> None:
        """identity: what makes this the same build when it is started again.

        Raises: InputError `build.not-empty`, `build.foreign`, `build.cache-inside`, `build.inside`, `build.locked`, `build.folder`.
        """
        if (bundle := bundles.around(out)) is not None:
            raise InputError("build.inside", out=out, bundle=bundle)
        self.out, self.work, self.budget_s = out, out / WORK, budget_s
        # `os.path.exists` says no to a name that is too long, where a Path raises; making the folder says why.
        self._made_out, self._made_work = not os.path.exists(out), not os.path.exists(self.work)
        try:
            foreign = os.path.isdir(out) and any(out.iterdir())
        except OSError as error:
            raise InputError("build.folder", out=out, why=error.strerror or error) from None
        if foreign and not self.work.is_dir() and not (out / bundles.MANIFEST).is_file():
            raise InputError("build.not-empty", out=out)
        if names := _foreign(out) if foreign else []:
            raise InputError("build.foreign", out=out, names=", ".join(names[:5]) + (", …" if names[5:] else ""))
        if cache is not None and out.resolve() in cache.resolve().parents and cache.resolve() != self.work.resolve():
            raise InputError("build.cache-inside", cache=cache, out=out)
        self.cache = cache or self.work
        # A cache that several builds use is one build's at a time: what looks left behind may be another's half-written work.
        # The cache first, so that a build refused for it leaves no folder of its own.
        folders = dict.fromkeys([self.cache, self.work])
        self._locks = [_locked(folder, told=out if folder == self.work else folder) for folder in folders]
        self.identity = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()
        self.journal = self._open_journal()
        self._recorder = Recorder(out / "events.jsonl", events)
        self.stages: dict[str, float] = {}

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.journal.close()
        self._recorder.close()
        begun = any(key.startswith("decide ") for key in self.journal.known)
        if isinstance(error, InputError) and self._made_work and not begun:
            # What was refused before any compute leaves nothing behind.
            shutil.rmtree(self.work, ignore_errors=True)
            (self.out / "events.jsonl").unlink(missing_ok=True)
            if self._made_out:
                with suppress(OSError):  # what holds something, such as a cache that was asked for, stays
                    self.out.rmdir()
        for lock in self._locks:
            lock.close()

    def events(self, item: Event) -> None:
        """Hears an event: kept in OUT/events.jsonl and passed on. It is also the journal's sign of life."""
        self.journal.beat()
        self._recorder(item)

    def once(self, key: str, decide: Callable[[], Any]) -> Any:
        """As of the journal: decided once, whatever happens in between."""
        return self.journal.once(key, decide)

    def for_data(self, fingerprint: str) -> None:
        """Begins afresh when the data is no longer what the journal speaks of; cached work stays, keyed by what it was made of."""
        if self.journal.known.get("data", fingerprint) != fingerprint:
            self.journal.close()
            self._set_journal_aside()
            self.journal = self._open_journal(fingerprint)
        self.once("data", lambda: fingerprint)

    @contextmanager
    def stage(self, name: str, **facts: Any) -> Iterator[None]:
        """A named part of the build, told and timed."""
        self.events(event("stage", name=name, **facts))
        began = time.monotonic()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.monotonic() - began

    def set_foreign_aside(self) -> None:
        """Keeps what somebody put into the folder while the build ran, which the new bundle would replace: in a hidden folder, and says so."""
        if names := _foreign(self.out):
            aside = self.out / f".aside-{time.strftime('%Y%m%d-%H%M%S')}"
            aside.mkdir(exist_ok=True)
            for name in names:
                (self.out / name).rename(aside / name)
            said = f"{', '.join(names)} came into {self.out} while the build ran; now in {aside}."
            self.events(event("log", level="warning", code="", message=said))

    @property
    def left_s(self) -> float:
        """Seconds of the budget that are left; infinite when there is none."""
        return float("inf") if self.budget_s is None else self.budget_s - self.journal.spent_s

    def _open_journal(self, fingerprint: str | None = None) -> Journal:
        """The journal of this very build: the one that lies open, one that was set aside, or a new one."""
        path = self.work / "journal.jsonl"
        if path.exists() and not self._is_ours(path, fingerprint):
            self._set_journal_aside()
        if not path.exists():
            aside = sorted(self.work.glob("journal-*.jsonl"), reverse=True)
            before = next((file for file in aside if self._is_ours(file, fingerprint)), None)
            if before is not None:
                before.rename(path)
        journal = Journal(path)
        journal.once("identity", lambda: self.identity)
        return journal

    def _is_ours(self, path: Path, fingerprint: str | None) -> bool:
        known = Journal.peek(path)
        same = known.get("identity", self.identity) == self.identity
        return same and (fingerprint is None or known.get("data", fingerprint) == fingerprint)

    def _set_journal_aside(self) -> None:
        taken = [int(path.stem.rsplit("-", 1)[1]) for path in self.work.glob("journal-*.jsonl")]
        number = max(taken, default=0) + 1
        (self.work / "journal.jsonl").rename(self.work / f"journal-{number:03d}.jsonl")


def _foreign(out: Path) -> list[str]:
    """What lies in a folder of builds and no build put there. Of a bundle that is not whole yet any name that one may have counts as a build's."""
    ours = {bundles.MANIFEST, "events.jsonl", *BUNDLE}
    with suppress(OSError, ValueError, KeyError, TypeError):
        ours |= {str(name).split("/")[0] for name in json.loads((out / bundles.MANIFEST).read_bytes())["files"]}
    return sorted(entry.name for entry in out.iterdir() if entry.name not in ours and not entry.name.startswith("."))


def _locked(folder: Path, *, told: Path) -> TextIO:
    """The lock of a folder, held until it is closed or the process ends. told: the folder as the user named it.

    Raises: InputError `build.folder`, `build.locked`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError("build.folder", out=told, why=error.strerror or error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        raise InputError("build.locked", out=told, pid=lock.read().strip() or "unknown") from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
