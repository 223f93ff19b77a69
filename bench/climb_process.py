"""A program in a process of its own that answers jobs, a line of JSON each way: it may stay warm for many, and is ended when it wants too much.

What it prints beside its answers goes to its log. Peers are such programs under interpreters of their own, and so is what follows our plans.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import psutil

from bench import record
from bench.record import Row
from sartor import hardware

LOOK_S = 0.2
QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
SPIN = {"GOMP_SPINCOUNT": "10000"}  # as `sartor.follow` tells the child of a build
# What a machine sets for its OpenBLAS would slow the solvers of one system more than those of another.
NOT_INHERITED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONPATH")


class Ended(Exception):
    """The program ended without an answer, or was ended: why, in words."""


class Program:
    """A context; the process starts with its first job, and every process with `warm`, whose answer nobody asks for."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        warm: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.command, self.warm = [str(word) for word in command], warm
        kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        # Our own packages are found as this process finds them, a peer's in its own environment alone.
        ours = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")} | SPIN if self.command[1:2] == ["-m"] else {}
        threads = {"OMP_NUM_THREADS": str(hardware.cores())}
        self.environment = kept | threads | QUIET | ours | dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._heard = b""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> Program:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()
        self._log.close()

    def ask(self, job: Mapping[str, Any], *, limit_s: float | None = None, limit_mb: float | None = None) -> Row:
        """Its answer, with `peak_mb`: the most memory that its processes had together, as far as it was looked at.

        limit_s: of this job alone. Raises: Ended.
        """
        if self._process is None:
            self._process = self._started()
            if self.warm is not None:
                self.ask(self.warm)
        process = self._process
        assert process.stdin is not None
        began, peak_mb = time.monotonic(), 0.0
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(dict(job)).encode() + b"\n")
            process.stdin.flush()
        while (line := self._line()) != b"":
            peak_mb = max(peak_mb, _memory_mb(process.pid))
            seconds = time.monotonic() - began
            if line is not None:
                told = None
                with suppress(ValueError):  # else a library's own print, while it was imported
                    told = json.loads(line)
                if isinstance(told, dict):
                    return {"peak_mb": peak_mb} | told
            if limit_mb is not None and peak_mb > limit_mb:
                self.end()
                raise Ended(f"ended at {limit_mb:,.0f} MB, after {seconds:.0f} s")
            if limit_s is not None and seconds > limit_s:
                self.end()
                raise Ended(f"ended after {limit_s:,.0f} s, with {peak_mb:,.0f} MB at most until then")
        code = process.wait()
        self.end()
        self._log.seek(0)
        said = [one for one in self._log.read().decode(errors="replace").splitlines() if one.strip()][-1:]
        raise Ended(f"it ended with {code}: {''.join(said)}")

    def _line(self) -> bytes | None:
        """The next line that it said; None when there is none after a moment, nothing when it has ended."""
        assert self._process is not None
        stream = self._process.stdout
        assert stream is not None
        while b"\n" not in self._heard:
            with selectors.DefaultSelector() as waiting:
                waiting.register(stream, selectors.EVENT_READ)
                if not waiting.select(LOOK_S):
                    return None
            if not (read := os.read(stream.fileno(), 1 << 16)):
                return b""
            self._heard += read
        line, _, self._heard = self._heard.partition(b"\n")
        return line + b"\n"

    def end(self) -> None:
        """Ends the process, with all that it started."""
        if self._process is None:
            return
        with suppress(psutil.NoSuchProcess):
            family = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children(recursive=True)]
            for one in family:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
        self._process.wait()
        self._process, self._heard = None, b""

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=record.ROOT,
            env=self.environment,
        )


def once(
    command: Sequence[str | Path],
    job: Mapping[str, Any],
    *,
    environment: Mapping[str, str] = MappingProxyType({}),
    **limits: Any,
) -> Row:
    """The answer of a program that starts for this one job. limits: as of `Program.ask`. Raises: Ended."""
    with Program(command, environment=environment) as program:
        return program.ask(job, **limits)


def _memory_mb(pid: int) -> float:
    """Of a process and all that it started: what is in memory, pages that several share counted for each."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        for one in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total / 1e6
