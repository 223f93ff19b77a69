"""The server under the app: uvicorn's, with what it leaves open closed.

A head that never ends is cut off by time and by size. On SIGTERM readiness falls at once, every response then closes its
connection so that clients move on, and only after a moment are the doors shut: nothing that was accepted goes unanswered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from socket import socket
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIMEOUT_S = 10.0
MAX_HEAD_BYTES = 65_536
KEEP_ALIVE_S = 75  # longer than load balancers keep theirs (60 s), so that it is never ours that closes under a request
DRAIN_S = 0.5  # from the signal until the doors shut, while clients are connected
FINISH_S = 25  # then, for the requests at work; orchestrators kill after 30
IDLE_S = 0.1  # for bytes that were under way when the doors shut


def run(app: Any, listener: socket, *, on_ready: Callable[[], None]) -> None:
    """Serves until a signal: the first lets everything that was accepted finish, the second ends it at once.

    app: an ASGI app with `draining`, which is set at the first signal. on_ready: called once connections are answered.
    """
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=FINISH_S,
    )
    listener.setblocking(False)
    _Server(config, app=app, on_ready=on_ready).run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *, app: Any, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.app, self.on_ready, self.closes_at = app, on_ready, 0.0

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.on_ready()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        # Closing a listener resets the connections that its queue still holds: they are taken in first.
        waiting = [connection for listener in sockets or [] for connection in _queued(listener)]
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            await loop.connect_accepted_socket(self._connection, connection)
        await super().shutdown(sockets)

    def _connection(self) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state)

    async def on_tick(self, counter: int) -> bool:
        if self.app.draining and (not self.server_state.connections or time.monotonic() >= self.closes_at):
            self.should_exit = True
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._captured_signals.append(sig)
        if self.app.draining:
            self.should_exit = self.force_exit = True
        else:
            self.app.draining = True
            self.closes_at = time.monotonic() + DRAIN_S


def _queued(listener: socket) -> Iterator[socket]:
    while True:
        try:
            yield listener.accept()[0]
        except OSError:
            return


class Connection(HttpToolsProtocol):
    """One connection of HTTP/1.1."""

    _in_head = True
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lift_deadline()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._in_head:
            self._lift_deadline()
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._close)

    def shutdown(self) -> None:
        if self._idle:
            self.loop.call_later(IDLE_S, self._close_if_idle)
        else:
            self.cycle.keep_alive = False

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_if_idle(self) -> None:
        if self._idle:
            self._close()

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _lift_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
