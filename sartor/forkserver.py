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
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Protocol

from sartor import hardware
from sartor.child import die_with_parent

MOST_BYTES = 1 << 20  # of a message
MOST_ENVIRONMENT = 100_000  # characters: a message holds all of it
REPORT_S = 20.0  # for the server to tell how a process that has ended did


class Process(Protocol):
    """What `subprocess.Popen` and a forked process have in common."""

    stdout: IO[str] | None

    def wait(self, timeout: float | None = None) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


def start(
    job: Path,
    *,
    opens: Sequence[str],
    errors: IO[bytes],
    environment: Mapping[str, str],
    timeout_s: float | None = None,
) -> Process:
    """The process that works at a job of `sartor.follow`; what it prints can be read from its `stdout`.

    opens: modules that it will need. errors: where its standard error goes. timeout_s: that the server may take.
    """
    server = _server_for(environment)
    if server is not None and (forked := server.fork(job, opens, errors, environment, timeout_s)) is not None:
        return forked
    command = [sys.executable, "-m", "sartor.child", str(job)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=dict(environment))


class Forked:
    """A process that the server forked for this one."""

    def __init__(self, handle: int, stdout: IO[str], server: _Server) -> None:
        """handle: of this very process, even when another has its number later (pidfd_open(2)). stdout: the end of the pipe that is read."""
        self.stdout: IO[str] | None = stdout
        self.returncode: int | None = None
        self._handle, self._server = handle, server
        self._lock = threading.Lock()  # a watchdog ends it from a thread of its own

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, that of a signal negative.

        Raises: subprocess.TimeoutExpired.
        """
        if self.returncode is None:
            if not _readable(self._handle, timeout):
                raise subprocess.TimeoutExpired("sartor.forkserver", timeout or 0.0)
            code = self._server.told_exit()
            with self._lock:
                self.returncode = code
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
        with self._lock, suppress(OSError):  # it may have ended
            if self.returncode is None:
                signal.pidfd_send_signal(self._handle, number)


class _Server:
    """The server of a thread, for one forked process at a time."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.known = _heeded(environment)
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

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def fork(
        self,
        job: Path,
        opens: Sequence[str],
        errors: IO[bytes],
        environment: Mapping[str, str],
        timeout_s: float | None,
    ) -> Forked | None:
        """Nothing where the server could not do it, or not in time; it is ended then, as it is when whoever waits for it is interrupted."""
        files: list[int] = []
        self.busy = True
        try:
            asked = {
                "job": str(job),
                "opens": list(opens),
                "environment": dict(environment),
                "folder": os.getcwd(),
                "cores": list(os.sched_getaffinity(0)),
            }
            reads, writes = os.pipe()
            files += [reads, writes]
            self._link.settimeout(timeout_s)
            socket.send_fds(self._link, [json.dumps(asked).encode()], [writes, errors.fileno()])
            # The message holds its own end of the pipe: another that is open here would be handed to whatever this process forks meanwhile.
            os.close(files.pop())
            _, handles, _, _ = socket.recv_fds(self._link, MOST_BYTES, 1)
            files += handles
            self._link.settimeout(None)
            if not handles:
                raise BrokenPipeError("the server has ended")
            stdout = os.fdopen(reads)
            files.remove(reads)
            return Forked(handles[0], stdout, self)
        except BaseException as error:
            for file in files:
                os.close(file)
            self.close()
            if isinstance(error, OSError):
                return None
            raise

    def told_exit(self) -> int:
        """The exit code of the forked process, which has ended; as if killed where the server does not say."""
        with suppress(OSError, ValueError):
            if self.busy and _readable(self._link.fileno(), REPORT_S):
                code = int(self._link.recv(MOST_BYTES))
                self.busy = False
                return code
        self.close()
        return -signal.SIGKILL

    def close(self) -> None:
        """Ends the server, and with it what it forked."""
        self.busy = False
        self._link.close()
        self._process.kill()
        self._process.wait()


_servers: dict[tuple[int, int], _Server] = {}  # by process and thread: a server ends with the thread that started it


def _server_for(environment: Mapping[str, str]) -> _Server | None:
    """The server of this thread, started where there is none; nothing where there cannot be one or it is at work."""
    size = sum(len(name) + len(value) for name, value in environment.items())
    if not _can_fork() or hardware.accelerator() or size > MOST_ENVIRONMENT:
        return None
    owner = (os.getpid(), threading.get_ident())
    for other, server in list(_servers.items()):
        # Libraries read their environment when they are opened, and are themselves what was installed then.
        stale = server.ended or (other == owner and server.known != _heeded(environment))
        if other[0] == owner[0] and stale and not server.busy:
            server.close()
            del _servers[other]
    if owner not in _servers:
        try:
            _servers[owner] = _Server(environment)
        except OSError:
            return None
    return None if _servers[owner].busy else _servers[owner]


@lru_cache
def _can_fork() -> bool:
    """Whether this system has what forking a process for another one takes."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    try:
        handle = os.pidfd_open(os.getpid())
        signal.pidfd_send_signal(handle, 0)
        os.close(handle)
    except OSError:
        return False
    atexit.register(_close)
    return True


def _close() -> None:
    """Ends the servers of this process."""
    for owner in [owner for owner in _servers if owner[0] == os.getpid()]:
        _servers.pop(owner).close()


def _heeded(environment: Mapping[str, str]) -> list[Any]:
    """What libraries may heed when they are opened: the environment but for Sartor's own, which it reads when it needs it; what is installed."""
    told = {name: value for name, value in environment.items() if not name.startswith(("SARTOR_", "PYTEST_"))}
    installed = []
    for path in sys.path:
        if path.endswith("-packages"):
            with suppress(OSError):
                installed.append((path, os.stat(path).st_mtime_ns))
    return [told, installed]


def _readable(file: int, timeout: float | None) -> bool:
    """Whether a file can be read within so many seconds. `select` cannot ask about those beyond 1,023."""
    waiting = select.poll()
    waiting.register(file, select.POLLIN)
    return bool(waiting.poll(None if timeout is None else 1e3 * max(0.0, timeout)))


def main(link: socket.socket) -> int:
    """Forks until nobody asks any more; in a forked process the exit code of its job."""
    began = set(os.environ)
    from sartor.follow import child_main

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
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
        server = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until the forked process heeds it
        child = os.fork()
        if not child:
            link.close()
            die_with_parent(server)
            _become(asked, files, began)
            return child_main(asked["job"])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        handle = os.pidfd_open(child)
        for file in files:
            os.close(file)
        socket.send_fds(link, [b"forked"], [handle])
        os.close(handle)
        _, status = os.waitpid(child, 0)
        link.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(asked: Mapping[str, Any], files: Sequence[int], began: Set[str]) -> None:
    """Makes a forked process what `python -m sartor.child` is: its output, environment, folder, cores and signals. began: names of the server's own environment."""
    for number, file in enumerate(files, start=1):
        os.dup2(file, number)
        os.close(file)
    for name in began - asked["environment"].keys():
        os.environ.pop(name, None)
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    os.sched_setaffinity(0, asked["cores"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


if __name__ == "__main__":
    die_with_parent()
    raise SystemExit(main(socket.socket(fileno=int(sys.argv[1]))))
