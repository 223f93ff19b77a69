"""The request scheduler and the service around it, with predictors that can be held and broken."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import httpx
import pytest

from sartor.errors import RowError
from sartor.serve import scheduler as schedulers
from sartor.serve.app import Refused, Service
from sartor.serve.scheduler import Scheduler


class Echo:
    """Answers each row with itself, and remembers the batches. Until `go` is set, only the warm-up is answered."""

    meta = {"name": "echo", "examples": [{"text": "warm"}]}  # noqa: RUF012
    inputs = [{"name": "text", "kind": "text"}]  # noqa: RUF012
    targets = ["label"]  # noqa: RUF012
    batch_invariant = True

    def __init__(self, path=None):
        self.bundle = SimpleNamespace(path=path, digest="0" * 64)
        self.seen: list[list[str]] = []
        self.go = threading.Event()
        self.go.set()
        self.at_work = threading.Event()

    def prepare(self, row):
        if "text" not in row:
            raise RowError("row.missing-column", column="text", near="", known="'text'")
        return row["text"]

    def answer(self, rows):
        if list(rows) != ["warm"] * len(rows):
            self.at_work.set()
            assert self.go.wait(60)
            self.seen.append(list(rows))
        for row in rows:
            if row == "poison":
                raise ValueError("a secret of the model")
            if row == "panic":
                raise BaseException("a panic")
        return [{"label": row, "probability": 1.0, "probabilities": {row: 1.0}} for row in rows]

    def batches(self, rows):
        return [list(range(len(rows)))]

    def hold(self):
        self.go.clear()
        self.at_work.clear()


def started(predictor, *, max_batch=4, **settings):
    scheduler = Scheduler(predictor, **settings)
    scheduler.start(["warm"])
    scheduler.max_batch = max_batch
    return scheduler


def ready(predictor, **settings):
    service = Service(predictor, **settings)
    service.start()
    service.scheduler.max_batch = 4
    return service


async def until(event):
    assert await asyncio.to_thread(event.wait, 60)


def test_every_row_gets_the_answer_of_its_own():
    scheduler = started(Echo(), max_batch=16)

    async def main():
        return await asyncio.gather(*(scheduler.submit(str(i)) for i in range(500)))

    assert [answer["label"] for answer in asyncio.run(main())] == [str(i) for i in range(500)]
    scheduler.stop()


def test_a_lone_row_runs_at_once_and_what_waits_meanwhile_is_the_next_batch():
    predictor = Echo()
    scheduler = started(predictor)

    async def main():
        predictor.hold()
        futures = [scheduler.submit("a")]
        await until(predictor.at_work)
        futures += [scheduler.submit(row) for row in "bcdefg"]
        predictor.go.set()
        await asyncio.gather(*futures)

    asyncio.run(main())
    scheduler.stop()
    assert predictor.seen == [["a"], ["b", "c", "d", "e"], ["f", "g"]]


def test_a_row_cancelled_before_its_turn_is_never_computed():
    predictor = Echo()
    scheduler = started(predictor)

    async def main():
        predictor.hold()
        first = scheduler.submit("first")
        await until(predictor.at_work)
        left, kept = scheduler.submit("left"), scheduler.submit("kept")
        left.cancel()
        predictor.go.set()
        await asyncio.gather(first, kept)

    asyncio.run(main())
    scheduler.stop()
    assert predictor.seen == [["first"], ["kept"]]


@pytest.mark.parametrize("bad", ["poison", "panic"])
def test_a_row_that_breaks_the_model_harms_no_neighbour(bad):
    predictor = Echo()
    scheduler = started(predictor)

    async def main():
        predictor.hold()
        first = scheduler.submit("first")
        await until(predictor.at_work)
        rest = [scheduler.submit(row) for row in ("a", bad, "b")]
        predictor.go.set()
        return await asyncio.gather(first, *rest)

    first, a, broken, b = asyncio.run(main())
    scheduler.stop()
    assert [first["label"], a["label"], b["label"]] == ["first", "a", "b"]
    assert broken["error"]["code"] == "predict.failed"
    assert "secret" not in broken["error"]["message"]


def test_an_answer_too_few_is_an_error_and_never_a_hang():
    predictor = Echo()
    scheduler = started(predictor)
    predictor.answer = lambda rows: []

    async def main():
        return await asyncio.gather(*(scheduler.submit(row) for row in "ab"))

    assert [answer["error"]["code"] for answer in asyncio.run(main())] == ["predict.failed"] * 2
    scheduler.stop()


def test_stopping_answers_everything_that_was_accepted():
    predictor = Echo()
    scheduler = started(predictor)

    async def main():
        predictor.hold()
        futures = [scheduler.submit(str(i)) for i in range(50)]
        stopping = asyncio.create_task(asyncio.to_thread(scheduler.stop))
        predictor.go.set()
        await stopping
        return await asyncio.gather(*futures)

    assert len(asyncio.run(main())) == 50


def test_a_model_that_fails_its_warm_up_never_becomes_ready():
    service = Service(Echo())
    service.predictor.answer = lambda rows: 1 / 0
    with pytest.raises(ZeroDivisionError):
        service.start()
    assert not service.ready


@pytest.mark.parametrize(
    ("batch_costs", "expected"), [(lambda n: n, 1), (lambda n: 1.0, 16), (lambda n: 0.5 if n == 4 else n, 4)]
)
def test_rows_are_batched_only_where_that_was_measured_to_be_faster(monkeypatch, batch_costs, expected):
    clock = SimpleNamespace(ms=0.0)
    monkeypatch.setattr(schedulers.time, "perf_counter", lambda: clock.ms / 1e3)

    class Timed(Echo):
        def answer(self, rows):
            clock.ms += batch_costs(len(rows))
            return super().answer(rows)

    scheduler = Scheduler(Timed())
    scheduler.start(["warm"])
    scheduler.stop()
    assert scheduler.max_batch == expected


def test_a_runtime_that_is_not_batch_invariant_is_given_rows_singly():
    predictor = Echo()
    predictor.batch_invariant = False
    scheduler = Scheduler(predictor)
    scheduler.start(["warm"])
    scheduler.stop()
    assert scheduler.max_batch == 1


def test_a_slow_model_may_keep_fewer_rows_waiting(monkeypatch):
    clock = SimpleNamespace(ms=0.0)
    monkeypatch.setattr(schedulers.time, "perf_counter", lambda: clock.ms / 1e3)
    waiting = []
    for cost in (1.0, 10.0):

        class Timed(Echo):
            def answer(self, rows, cost=cost):
                clock.ms += cost * len(rows)
                return super().answer(rows)

        scheduler = Scheduler(Timed())
        scheduler.start(["warm"])
        scheduler.stop()
        waiting.append(scheduler.max_waiting)
    assert waiting == pytest.approx([2000, 200], rel=0.01)


def test_too_much_waiting_is_refused_with_when_to_come_again_and_what_was_accepted_is_answered():
    predictor = Echo()
    service = ready(predictor, max_waiting=3)

    async def main():
        predictor.hold()
        accepted = [asyncio.create_task(service.answer([{"text": "0"}]))]
        await until(predictor.at_work)
        accepted += [asyncio.create_task(service.answer([{"text": str(i)}])) for i in range(1, 4)]
        while service.scheduler.waiting < 3:
            await asyncio.sleep(0)
        with pytest.raises(Refused) as refused:
            await service.answer([{"text": "more"}])
        predictor.go.set()
        answers = await asyncio.gather(*accepted)
        return refused.value, [answer[0]["label"] for answer in answers]

    refused, labels = asyncio.run(main())
    service.stop()
    assert (refused.status, refused.code) == (503, "server.overloaded")
    assert dict(refused.headers)[b"retry-after"] == b"1"
    assert labels == ["0", "1", "2", "3"]
    assert service.rows.labels("shed")._value.get() == 1
    assert service.rows.labels("ok")._value.get() == 4


def test_a_client_that_leaves_takes_its_waiting_rows_with_it():
    predictor = Echo()
    service = ready(predictor)

    async def main():
        predictor.hold()
        gone = asyncio.Event()

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        task = asyncio.create_task(service.answer([{"text": str(i)} for i in range(200)], receive))
        await until(predictor.at_work)
        gone.set()
        with pytest.raises(Refused) as refused:
            await task
        predictor.go.set()
        assert (await service.answer([{"text": "next"}]))[0]["label"] == "next"
        return refused.value.status

    assert asyncio.run(main()) == 499
    service.stop()
    computed = sum(map(len, predictor.seen))
    assert computed <= service.scheduler.max_batch + 1
    assert service.rows.labels("cancelled")._value.get() == 200


def test_a_large_request_does_not_hold_up_a_small_one():
    predictor = Echo()
    service = ready(predictor)

    async def main():
        predictor.hold()
        large = asyncio.create_task(service.answer([{"text": f"large {i}"} for i in range(900)]))
        await until(predictor.at_work)
        small = asyncio.create_task(service.answer([{"text": "small"}]))
        await asyncio.sleep(0)
        predictor.go.set()
        await asyncio.gather(small, large)

    asyncio.run(main())
    service.stop()
    order = [row for batch in predictor.seen for row in batch]
    assert order.index("small") < 100
    assert [row for row in order if row != "small"] == [f"large {i}" for i in range(900)]


def test_a_server_that_drains_is_not_ready_but_alive_and_still_answers(tmp_path):
    service = ready(Echo(tmp_path))
    service.draining = True

    async def main():
        transport = httpx.ASGITransport(app=service)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [
                await client.get("/health/ready"),
                await client.get("/health/live"),
                await client.post("/predict", json={"text": "late"}),
            ]

    not_ready, live, late = asyncio.run(main())
    service.stop()
    assert (not_ready.status_code, live.status_code, late.status_code) == (503, 200, 200)
    assert late.headers["connection"] == "close"


def test_a_worker_that_hangs_is_told_by_the_health_checks(monkeypatch, tmp_path):
    predictor = Echo(tmp_path)
    service = ready(predictor)

    async def main():
        predictor.hold()
        task = asyncio.create_task(service.answer([{"text": "slow"}]))
        await until(predictor.at_work)
        monkeypatch.setattr(schedulers.time, "monotonic", lambda now=schedulers.time.monotonic: now() + 3600)
        transport = httpx.ASGITransport(app=service)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            statuses = [(await client.get(f"/health/{name}")).status_code for name in ("ready", "live")]
        monkeypatch.undo()
        predictor.go.set()
        await task
        return statuses

    assert asyncio.run(main()) == [503, 503]
    assert service.ready
    service.stop()


def test_a_fault_of_ours_is_a_500_that_is_counted_and_tells_nothing(tmp_path):
    service = ready(Echo(tmp_path))

    async def broken(rows, receive=None):
        raise RuntimeError("a secret of the server")

    service.answer = broken

    async def main():
        transport = httpx.ASGITransport(app=service)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/predict", json={"text": "a"})

    answer = asyncio.run(main())
    service.stop()
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "server.fault"
    assert "secret" not in answer.text
    assert service.requests.labels("/predict", "500")._value.get() == 1
