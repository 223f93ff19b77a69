"""The request scheduler: one worker thread that takes what is waiting, in batches where batching measured faster.

It never sleeps to fill a batch: a lone request runs at once, and a batch is whatever came in while the last one ran.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SIZES = (1, 4, 16)


class Overloaded(Exception):
    """More rows are waiting than can be answered in time."""


@dataclass
class _Job:
    row: Any
    future: asyncio.Future[dict[str, Any]]
    loop: asyncio.AbstractEventLoop


@dataclass
class Scheduler:
    """Hands prepared rows to the predictor, one batch at a time."""

    predictor: Any
    max_waiting: int = 1024
    max_batch: int = 1
    batches: int = 0
    rows: int = 0
    row_ms: dict[int, float] = field(default_factory=dict)  # measured at start: batch size -> ms a row

    def __post_init__(self) -> None:
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="predictor", daemon=True)

    def start(self, rows: Sequence[Any]) -> None:
        """Warms up on real rows and measures which batch answers a row fastest; then takes requests.

        Raises: whatever the predictor raises: a server whose warm-up fails must not become ready.
        """
        self.predictor.answer([rows[0]])
        if self.predictor.batch_invariant:
            for size in SIZES:
                batch = [rows[i % len(rows)] for i in range(size)]
                took = []
                for _ in range(5):
                    began = time.perf_counter()
                    self.predictor.answer(batch)
                    took.append((time.perf_counter() - began) * 1e3 / size)
                self.row_ms[size] = sorted(took)[2]
            # A tenth faster at least: a batch that gains nothing only makes its first row wait.
            self.max_batch = max((size for size in SIZES if self.row_ms[size] < 0.9 * self.row_ms[1]), default=1)
        self._thread.start()

    def stop(self) -> None:
        """Ends the worker once everything that was accepted is answered."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(30)

    @property
    def waiting(self) -> int:
        """Rows that wait, those at work not counted."""
        return self._queue.qsize()

    def submit(self, row: Any) -> asyncio.Future[dict[str, Any]]:
        """The answer of one prepared row, to come. Cancelling it before its turn spares the work.

        Raises: Overloaded.
        """
        if self._queue.qsize() >= self.max_waiting:
            raise Overloaded
        loop = asyncio.get_running_loop()
        future: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._queue.put(_Job(row, future, loop))
        return future

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            jobs = [job]
            ended = False
            while len(jobs) < self.max_batch:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ended = True
                    break
                jobs.append(more)
            jobs = [one for one in jobs if not one.future.cancelled()]
            if jobs:
                answers = self._answers([one.row for one in jobs])
                self.batches += 1
                self.rows += len(jobs)
                jobs[0].loop.call_soon_threadsafe(_settle, jobs, answers)
            if ended:
                return

    def _answers(self, rows: list[Any]) -> list[dict[str, Any]]:
        try:
            return list(self.predictor.answer(rows))
        except BaseException as error:  # a Rust panic of the tokeniser is a BaseException; only its request may fail
            if len(rows) > 1:
                return [self._answers([row])[0] for row in rows]
            return [
                {
                    "error": {
                        "code": "predict.failed",
                        "message": f"This row could not be answered ({type(error).__name__}).",
                    }
                }
            ]


def _settle(jobs: list[_Job], answers: list[dict[str, Any]]) -> None:
    for job, answer in zip(jobs, answers, strict=True):
        if not job.future.done():
            job.future.set_result(answer)
