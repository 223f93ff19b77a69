"""A process that has opened the libraries that steps need, and forks those in which steps run: `python -m sartor.forkserver`, started by `sartor.follow`.

Opening torch and transformers takes two to eight seconds, and a build has some ten such processes: with the server all but the first begin at once. It
does nothing but open them, so what it forks is as if it had been started anew. It is for Linux and for processors: a graphics card's driver does not bear to be
forked, and where there is no server, or it fails, a process is started anew (`sartor.child`).
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Protocol

from sartor import hardware
from sartor.child import die_with_parent

MOST_BYTES = 1 << 20  # of a message: a path, and the environment
REPORT_S = 5.0  # for the server to tell how a process that has ended did


class Process(Protocol):
    """What `subprocess.Popen` and a forked process have in common."""

    stdout: IO[str] | None

    def wait(self, timeout: float | None = None) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


def start(job: Path, *, opens: Sequence[str], errors: IO[bytes], environment: Mapping[str, str]) -> Process:
    """The process that works at a job of `sartor.follow`; what it prints can be read from its `stdout`.

    opens: modules that it will need. errors: where its standard error goes.
    """
    with suppress(OSError):
        server = _server_for(environment)
        if server is not None and (forked := server.fork(job, opens, errors, environment)) is not None:
            return forked
    command = [sys.executable, "-m", "sartor.child", str(job)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=dict(environment))


class Forked:
    """A process that the server forked for this one."""

    def __init__(self, number: int, stdout: IO[str], server: _Server) -> None:
        """number: its process id. stdout: the end of the pipe that is read."""
        self.stdout: IO[str] | None = stdout
        self.returncode: int | None = None
        self._server = server
        self._handle = os.pidfd_open(number)  # of this very process, even when another has its number later

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, that of a signal negative.

        Raises: subprocess.TimeoutExpired.
        """
        if self.returncode is None:
            if not select.select([self._handle], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("sartor.forkserver", timeout or 0.0)
            self.returncode = self._server.told_exit()
            os.close(self._handle)
            if self.stdout is not None:
                self.stdout.close()
        return self.returncode

    def terminate(self) -> None:
        """Asks it to end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)


class _Server:
    """The server of this process, one forked process at a time."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.known = _heeded(environment)
        self.owner = (os.getpid(), threading.get_ident())  # the server ends with the thread that started it
        self.busy = False
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sartor.forkserver", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=dict(environment),
            )

    def serves(self, environment: Mapping[str, str]) -> bool:
        """Whether it is there, and was started with the same environment: libraries read theirs when they are opened."""
        return self._process.poll() is None and self.known == _heeded(environment)

    def fork(self, job: Path, opens: Sequence[str], errors: IO[bytes], environment: Mapping[str, str]) -> Forked | None:
        """Nothing where the server could not do it."""
        reads, writes = os.pipe()
        asked = {"job": str(job), "opens": list(opens), "environment": dict(environment), "folder": os.getcwd()}
        told = b""
        try:
            with suppress(OSError):
                socket.send_fds(self._link, [json.dumps(asked).encode()], [writes, errors.fileno()])
                told = self._link.recv(MOST_BYTES)
        finally:
            os.close(writes)
            if not told.isdigit():  # it is broken, or whoever waited for it was interrupted
                os.close(reads)
                self.close()
        if not told.isdigit():
            return None
        self.busy = True
        return Forked(int(told), os.fdopen(reads, encoding="utf-8"), self)

    def told_exit(self) -> int:
        """The exit code of the forked process, which has ended; as if killed where the server does not say."""
        self.busy = False
        with suppress(OSError, ValueError):
            if select.select([self._link], [], [], REPORT_S)[0]:
                return int(self._link.recv(MOST_BYTES))
        self.close()
        return -signal.SIGKILL

    def close(self) -> None:
        """Ends the server, and with it what it forked."""
        self._link.close()
        self._process.kill()
        self._process.wait()


_servers: dict[tuple[int, int], _Server] = {}  # by process and thread


def _server_for(environment: Mapping[str, str]) -> _Server | None:
    """The server of this thread, started where there is none; nothing where there cannot be one or it is at work."""
    if not _can_fork() or hardware.accelerator():
        return None
    owner = (os.getpid(), threading.get_ident())
    server = _servers.get(owner)
    if server is not None and server.busy:
        return None
    if server is not None and not server.serves(environment):
        server.close()
        server = None
    if server is None:
        server = _servers[owner] = _Server(environment)
    return server


@lru_cache
def _can_fork() -> bool:
    """Whether this system has what forking a process for another one takes."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    atexit.register(_close)
    return True


def _close() -> None:
    """Ends the servers of this process."""
    for owner, server in list(_servers.items()):
        if owner[0] == os.getpid():
            server.close()


def _heeded(environment: Mapping[str, str]) -> dict[str, str]:
    """Of an environment what libraries may read when they are opened: Sartor reads its own when it needs it."""
    return {name: value for name, value in environment.items() if not name.startswith(("SARTOR_", "PYTEST_"))}


def main(link: socket.socket) -> int:
    """Forks until nobody asks any more; in a forked process the exit code of its job."""
    from sartor.follow import child_main

    # Of a signal to the whole group only what is at work and its owner take notice: it saves what it has, and the owner says what it means.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    while True:
        message, files, _, _ = socket.recv_fds(link, MOST_BYTES, 2)
        if not message:
            return 0
        asked = json.loads(message)
        for name in ("torch", *asked["opens"]):
            with suppress(ImportError):  # it is for the job to say what it lacks
                import_module(name)
        child = os.fork()
        if not child:
            link.close()
            _become(asked, files)
            return child_main(asked["job"])
        for file in files:
            os.close(file)
        link.send(str(child).encode())
        _, status = os.waitpid(child, 0)
        link.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(asked: Mapping[str, Any], files: Sequence[int]) -> None:
    """Makes a forked process what `python -m sartor.child` is: its output, environment, folder and signals."""
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files, start=1):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])


if __name__ == "__main__":
    die_with_parent()
    raise SystemExit(main(socket.socket(fileno=int(sys.argv[1]))))
