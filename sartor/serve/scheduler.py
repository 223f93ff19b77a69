"""The request scheduler: one worker thread that takes what is waiting, in batches where batching measured faster.

It never sleeps to fill a batch: a lone request runs at once, and a batch is whatever came in while the last one ran.
"""

from __future__ import annotations

import asyncio
import queue
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

SIZES = (4, 16)  # batches that are tried at start, against the same rows one at a time
GAIN = 0.9  # a batch must take less than this share of the time: one that gains nothing only makes its first row wait
TRIALS = 5
TRIAL_S = 0.5  # spent on trials at most, so that a slow model is soon ready
MAX_WAIT_S = 2.0  # of work in the queue; beyond it a new request is better told to come again
HANG_S = 30.0  # one batch at work for so long means that the worker hangs

FAILED = "predict.failed"


@dataclass(frozen=True)
class _Job:
    row: Any
    future: asyncio.Future[dict[str, Any]]


@dataclass
class Scheduler:
    """Hands prepared rows to the predictor, one batch at a time.

    max_waiting: rows; as many as two seconds answer, by the speed measured at start, when None.
    """

    predictor: Any
    max_waiting: int | None = None
    max_batch: int = 1
    batches: int = 0
    rows: int = 0
    row_ms: float = 0.0  # one row alone, measured at start
    gain: dict[int, float] = field(default_factory=dict)  # batch size -> its time as a share of the same rows' alone

    def __post_init__(self) -> None:
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="predictor", daemon=True)
        self._busy_since: float | None = None

    def start(self, rows: Sequence[Any]) -> None:
        """Warms up on real rows and measures which batch answers them fastest; then takes requests.

        Raises: whatever the predictor raises: a server whose warm-up fails must not become ready.
        """
        self.predictor.answer([rows[0]])  # the first call allocates
        self.row_ms = 1e3 * statistics.median(_seconds(lambda: self.predictor.answer([rows[0]])) for _ in range(3))
        spent = 0.0
        for size in SIZES if self.predictor.batch_invariant else ():
            sample = list(islice(cycle(rows), size))
            alone, together = [], []
            for _ in range(TRIALS):
                if spent + 2 * size * self.row_ms / 1e3 > TRIAL_S:
                    break
                alone.append(_seconds(lambda: [self.predictor.answer([row]) for row in sample]))  # noqa: B023
                together.append(_seconds(lambda: self._batched(sample)))  # noqa: B023
                spent += alone[-1] + together[-1]
            if alone:
                self.gain[size] = statistics.median(together) / statistics.median(alone)
        best = min(self.gain, key=self.gain.__getitem__, default=1)
        self.max_batch = best if self.gain.get(best, 1.0) < GAIN else 1
        if self.max_waiting is None:
            self.max_waiting = max(64, int(MAX_WAIT_S * 1e3 / max(self.row_ms, 0.1)))
        self._thread.start()

    def stop(self) -> None:
        """Ends the worker once everything that was accepted is answered."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(HANG_S)

    @property
    def waiting(self) -> int:
        """Rows that wait, those at work not counted."""
        return self._queue.qsize()

    @property
    def full(self) -> bool:
        """Whether so much waits that a new request is better refused."""
        return self.max_waiting is not None and self._queue.qsize() >= self.max_waiting

    def stuck(self, seconds: float = HANG_S) -> bool:
        """Whether the batch at work has been there for longer than this."""
        since = self._busy_since
        return since is not None and time.monotonic() - since > seconds

    def submit(self, row: Any) -> asyncio.Future[dict[str, Any]]:
        """The answer of one prepared row, to come. Cancelling it before its turn spares the work."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._queue.put(_Job(row, future))
        return future

    def _work(self) -> None:
        ended = False
        while not ended:
            jobs: list[_Job] = []
            job = self._queue.get()
            while job is not None:
                if not job.future.cancelled():
                    jobs.append(job)
                if len(jobs) >= self.max_batch:
                    break
                try:
                    job = self._queue.get_nowait()
                except queue.Empty:
                    break
            ended = job is None
            if jobs:
                self._busy_since = time.monotonic()
                answers = self._answers([one.row for one in jobs])
                self._busy_since = None
                self.batches += 1
                self.rows += len(jobs)
                jobs[0].future.get_loop().call_soon_threadsafe(_settle, jobs, answers)

    def _answers(self, rows: list[Any]) -> list[dict[str, Any]]:
        try:
            return self._batched(rows)
        except BaseException as error:  # a Rust panic of the tokeniser is a BaseException; only its request may fail
            if len(rows) > 1:
                return [self._answers([row])[0] for row in rows]
            return [failed(error)]

    def _batched(self, rows: list[Any]) -> list[dict[str, Any]]:
        if len(rows) == 1:
            (answer,) = self.predictor.answer(rows)
            return [answer]
        answers: list[Any] = [None] * len(rows)
        for indices in self.predictor.batches(rows):  # like lengths together, so that nothing is padded far
            for i, answer in zip(indices, self.predictor.answer([rows[i] for i in indices]), strict=True):
                answers[i] = answer
        return answers


def failed(error: BaseException) -> dict[str, Any]:
    """The answer of a row that the model could not answer. It names the kind of error alone: the message may hold anything."""
    return {"error": {"code": FAILED, "message": f"This row could not be answered ({type(error).__name__})."}}


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _settle(jobs: list[_Job], answers: list[dict[str, Any]]) -> None:
    for job, answer in zip(jobs, answers, strict=True):
        if not job.future.done():
            job.future.set_result(answer)
