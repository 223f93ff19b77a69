"""The HTTP face of a predictor: /predict, health, metrics, the contract, Open Inference Protocol v2, and a page to try it on.

One ASGI callable checks host, key and size before anything is parsed, answers /predict itself, and leaves the rest to FastAPI.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import math
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sartor import leaves
from sartor.errors import RowError
from sartor.serve.scheduler import Overloaded, Scheduler

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_ROWS = 1000  # of one request
BODY_TIMEOUT_S = 10.0
OPEN_PATHS = ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")
LIVE_REQUESTS = 1000  # that the live quantiles look back on
_BUCKETS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(message)


def create_app(
    predictor: Any,
    *,
    keys: tuple[str, ...] = (),
    hosts: frozenset[str] | None = None,
    max_body_bytes: int = 2_000_000,
    max_waiting: int = 1024,
    on_ready: Callable[[], None] = lambda: None,
) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The ASGI app. hosts: names that a Host header may carry; any when None."""
    service = Service(predictor, keys=keys, hosts=hosts, max_body_bytes=max_body_bytes, max_waiting=max_waiting)
    service.on_ready = on_ready
    return service


class Service:
    """Everything between a socket and the predictor."""

    def __init__(
        self,
        predictor: Any,
        *,
        keys: tuple[str, ...],
        hosts: frozenset[str] | None,
        max_body_bytes: int,
        max_waiting: int,
    ) -> None:
        self.predictor, self.keys, self.hosts, self.max_body_bytes = predictor, keys, hosts, max_body_bytes
        self.scheduler = Scheduler(predictor, max_waiting=max_waiting)
        self.ready = False
        self.on_ready: Callable[[], None] = lambda: None
        self.name = str(predictor.meta.get("name") or "model")
        self.recent: deque[float] = deque(maxlen=LIVE_REQUESTS)  # ms, of successful /predict requests
        self.started = time.time()
        registry = CollectorRegistry()
        self.registry = registry
        self.requests = Counter(
            "sartor_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self.rows = Counter("sartor_rows", "Rows by outcome.", ["outcome"], registry=registry)
        self.seconds = Histogram("sartor_predict_seconds", "Time of /predict.", buckets=_BUCKETS, registry=registry)
        Gauge("sartor_waiting_rows", "Rows that wait.", registry=registry).set_function(lambda: self.scheduler.waiting)
        Gauge("sartor_ready", "1 when it takes requests.", registry=registry).set_function(lambda: float(self.ready))
        self.documented = _documented(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection event of ASGI 3."""
        if scope["type"] == "lifespan":
            await self.documented(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        try:
            self._admit(scope, path)
            if path == "/predict" and method == "POST":
                began = time.perf_counter()
                payload = await self._json(scope, receive)
                status, answer = await self._predict(payload, receive)
                if status == 200:
                    took = time.perf_counter() - began
                    self.seconds.observe(took)
                    self.recent.append(took * 1e3)
                self.requests.labels("/predict", str(status)).inc()
                await _reply(send, status, answer)
                return
            body = await self._body(scope, receive) if method not in ("GET", "HEAD") else b""
        except Refused as refused:
            self.requests.labels(_route(path), str(refused.status)).inc()
            await _reply(send, refused.status, {"error": {"code": refused.code, "message": refused.message}})
            return
        sent = 0

        async def once() -> MutableMapping[str, Any]:
            nonlocal sent
            sent += 1
            return {"type": "http.request", "body": body, "more_body": False} if sent == 1 else await receive()

        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self.requests.labels(_route(path), str(message["status"])).inc()
            await send(message)

        await self.documented(scope, once, counted)

    def live(self) -> dict[str, Any]:
        """How the latencies of the last requests are."""
        took = sorted(self.recent)

        def at(q: float) -> float | None:
            return round(took[min(len(took) - 1, math.ceil(q * len(took)) - 1)], 3) if took else None

        return {
            "requests": len(took),
            "since": self.started,
            "latency_p50": at(0.5),
            "latency_p95": at(0.95),
            "latency_p99": at(0.99),
        }

    def _admit(self, scope: Scope, path: str) -> None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if self.hosts is not None and name not in self.hosts:
            raise Refused(403, "request.host", "This server answers on loopback only; the Host header names another.")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and origin.split("//", 1)[-1] != host:
            raise Refused(403, "request.origin", "Requests from pages of other origins are refused.")
        if self.keys and path not in OPEN_PATHS and not (path == "/" and scope["method"] == "GET"):
            given = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
            fits = [hmac.compare_digest(given, key.encode()) for key in self.keys]
            if not any(fits):
                raise Refused(401, "request.key", "A key is needed, as in: Authorization: Bearer KEY")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        headers = dict(scope["headers"])
        told = headers.get(b"content-length")
        too_large = Refused(413, "request.too-large", f"A request may hold {self.max_body_bytes:,} bytes at most.")
        if told is not None and (not told.isdigit() or int(told) > self.max_body_bytes):
            raise too_large
        pieces, size = [], 0
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "request.cut", "The request ended before its body did.")
                    piece = message.get("body", b"")
                    size += len(piece)
                    if size > self.max_body_bytes:
                        raise too_large
                    pieces.append(piece)
                    if not message.get("more_body"):
                        return b"".join(pieces)
        except TimeoutError:
            raise Refused(408, "request.slow", f"The body did not arrive within {BODY_TIMEOUT_S:g} s.") from None

    async def _json(self, scope: Scope, receive: Receive) -> Any:
        return parse_json(await self._body(scope, receive))

    async def _predict(self, payload: Any, receive: Receive) -> tuple[int, Any]:
        many = isinstance(payload, dict) and set(payload) == {"rows"} and isinstance(payload["rows"], list)
        rows = payload["rows"] if many else [payload]
        answers = await self.answer(rows, receive)
        if many:
            return 200, {"answers": answers}
        if "error" in answers[0]:
            return (500 if answers[0]["error"]["code"] == "predict.failed" else 422), answers[0]
        return 200, answers[0]

    async def answer(self, rows: list[Any], receive: Receive | None = None) -> list[dict[str, Any]]:
        """Answers in order; a bad row gets an error of its own. A client that leaves takes its waiting rows with it.

        Raises: Refused 503 when it is not ready or too much waits, 413 for too many rows.
        """
        if not self.ready:
            raise Refused(503, "server.not-ready", "The server is starting or stopping.")
        if len(rows) > MAX_ROWS:
            raise Refused(413, "request.too-many-rows", f"A request may hold {MAX_ROWS} rows at most.")
        answers: list[Any] = []
        futures: list[asyncio.Future[dict[str, Any]]] = []
        try:
            for row in rows:
                try:
                    future = self.scheduler.submit(self.predictor.prepare(row))
                    futures.append(future)
                    answers.append(future)
                except RowError as error:
                    answers.append({"error": {"code": error.code, "message": str(error)}})
        except Overloaded:
            for future in futures:
                future.cancel()
            self.rows.labels("shed").inc(len(rows))
            raise Refused(503, "server.overloaded", "Too many rows are waiting. Try again in a second.") from None
        if futures:
            await self._until_done(futures, receive)
        found = [one.result() if isinstance(one, asyncio.Future) else one for one in answers]
        bad = sum("error" in one for one in found)
        self.rows.labels("error").inc(bad)
        self.rows.labels("ok").inc(len(found) - bad)
        return found

    async def _until_done(self, futures: list[asyncio.Future[dict[str, Any]]], receive: Receive | None) -> None:
        if receive is None or len(futures) == 1:
            # A lone row is done in milliseconds: watching for its client to leave would cost more than it could save.
            for future in futures:
                await future
            return
        work = asyncio.gather(*futures)
        watch = asyncio.ensure_future(receive())
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            self.rows.labels("cancelled").inc(len(futures))
            raise Refused(499, "request.left", "The client left.")
        watch.cancel()


def parse_json(body: bytes) -> Any:
    """JSON without NaN, without keys given twice, and not nested deeper than Python can follow.

    Raises: Refused 400.
    """

    def no_constant(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    def no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key is given twice")
        return found

    try:
        return json.loads(body, parse_constant=no_constant, object_pairs_hook=no_twice)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "request.json", f"The body is not JSON that can be read: {str(error)[:200]}.") from None


def _documented(service: Service) -> FastAPI:
    """The routes that FastAPI answers; /predict is described here and answered above."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        sample = _sample_rows(service.predictor)
        await asyncio.to_thread(service.scheduler.start, sample)
        service.ready = True
        asyncio.get_running_loop().call_soon(service.on_ready)
        yield
        service.ready = False
        await asyncio.to_thread(service.scheduler.stop)

    app = FastAPI(title=f"Sartor: {service.name}", docs_url=None, redoc_url=None, lifespan=lifespan)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        if request.url.path.startswith("/v2/"):
            return JSONResponse({"error": error.message}, error.status)
        return JSONResponse({"error": {"code": error.code, "message": error.message}}, error.status)

    @app.post("/predict", summary="One row as {column: value}, or many as {rows: […]}")
    async def predict(payload: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError("answered before routing")

    @app.get("/health/live")
    @app.get("/v2/health/live")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/health/ready")
    @app.get("/v2/health/ready")
    @app.get("/v2/models/{name}/ready")
    async def ready(name: str | None = None) -> Response:
        _known(service, name)
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(generate_latest(service.registry), media_type="text/plain; version=0.0.4")

    @app.get("/needs")
    async def needs() -> dict[str, Any]:
        return contract(service)

    @app.get("/")
    async def page() -> Response:
        nonce = secrets.token_urlsafe(16)
        text = (
            resources.files("sartor.serve")
            .joinpath("page.html")
            .read_text(encoding="utf-8")
            .replace("{{nonce}}", nonce)
        )
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return HTMLResponse(text, headers=headers)

    @app.get("/about")
    async def about() -> dict[str, Any]:
        inputs = [
            {**column, "widget": leaves.load("modality", column["kind"]).WIDGET} for column in service.predictor.inputs
        ]
        examples = service.predictor.meta.get("examples", [])
        return {"name": service.name, "inputs": inputs, "targets": service.predictor.targets, "examples": examples}

    @app.get("/v2")
    async def server() -> dict[str, Any]:
        from sartor import __version__

        return {"name": "sartor", "version": __version__, "extensions": []}

    @app.get("/v2/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        _known(service, name)
        inputs = [{"name": column["name"], "datatype": "BYTES", "shape": [-1]} for column in service.predictor.inputs]
        outputs = []
        for head in service.predictor.heads:
            many = len(head["spec"].get("classes", []))
            outputs += [
                {"name": f"{head['target']}.label", "datatype": "BYTES", "shape": [-1]},
                {"name": f"{head['target']}.probability", "datatype": "FP64", "shape": [-1]},
                {"name": f"{head['target']}.probabilities", "datatype": "FP64", "shape": [-1, many]},
            ]
        return {"name": name, "versions": ["1"], "platform": "sartor", "inputs": inputs, "outputs": outputs}

    @app.post("/v2/models/{name}/infer")
    async def infer(name: str, request: Request) -> dict[str, Any]:
        _known(service, name)
        payload = parse_json(await request.body())
        answers = await service.answer(_v2_rows(payload, service.predictor.inputs))
        return _v2_answer(payload, answers, service, name)

    return app


def contract(service: Service) -> dict[str, Any]:
    """The needs as they were proven when the bundle was built, and how latency holds now."""
    file = service.predictor.bundle.path / "report.json"
    proven = json.loads(file.read_text(encoding="utf-8")).get("needs", []) if file.is_file() else []
    live = service.live()
    for need in proven:
        now = live.get(need["measure"])
        need["live"] = now
        need["holds"] = (
            None if now is None else (now <= need["limit"] if need["op"][0] == "<" else now >= need["limit"])
        )
    return {"needs": proven, "live": live, "digest": service.predictor.bundle.digest}


def _known(service: Service, name: str | None) -> None:
    if name is not None and name != service.name:
        raise Refused(404, "model.unknown", f"There is no model of that name; there is {service.name!r}.")


def _sample_rows(predictor: Any) -> list[Any]:
    rows = predictor.meta.get("examples") or [{column["name"]: "" for column in predictor.inputs}]
    return [predictor.prepare(row) for row in rows]


def _v2_rows(payload: Any, columns: list[dict[str, str]]) -> list[dict[str, Any]]:
    try:
        given = {str(tensor["name"]): tensor for tensor in payload["inputs"]}
        data = {column["name"]: given[column["name"]]["data"] for column in columns}
        sizes = {len(values) for values in data.values()}
        shapes = [tensor.get("shape", [len(tensor["data"])]) for tensor in given.values()]
        fits = len(sizes) == 1 and all(math.prod(shape) == len(next(iter(data.values()))) for shape in shapes)
    except (KeyError, TypeError, AttributeError):
        fits = False
    if not fits:
        names = ", ".join(repr(column["name"]) for column in columns)
        raise Refused(400, "v2.inputs", f"inputs must hold one BYTES tensor of shape [n] for each of: {names}.")
    return [dict(zip(data, values, strict=True)) for values in zip(*data.values(), strict=True)]


def _v2_answer(payload: Any, answers: list[dict[str, Any]], service: Service, name: str) -> dict[str, Any]:
    for place, answer in enumerate(answers):
        if "error" in answer:
            raise Refused(400, answer["error"]["code"], f"Row {place}: {answer['error']['message']}")
    outputs: list[dict[str, Any]] = []
    single = len(service.predictor.targets) == 1
    for target in service.predictor.targets:
        found = [answer if single else answer[target] for answer in answers]
        n = len(found)
        outputs.append(
            {"name": f"{target}.label", "datatype": "BYTES", "shape": [n], "data": [a.get("label") for a in found]}
        )
        outputs.append(
            {
                "name": f"{target}.probability",
                "datatype": "FP64",
                "shape": [n],
                "data": [a.get("probability") for a in found],
            }
        )
        table = [list(a.get("probabilities", {}).values()) for a in found]
        flat = [value for row in table for value in row]
        width = len(table[0]) if table else 0
        outputs.append({"name": f"{target}.probabilities", "datatype": "FP64", "shape": [n, width], "data": flat})
    answer: dict[str, Any] = {"model_name": name, "model_version": "1", "outputs": outputs}
    if isinstance(payload.get("id"), str):
        answer["id"] = payload["id"]
    return answer


def _route(path: str) -> str:
    """The route, from a closed list: a metric's label must not be the client's to choose."""
    known = ("/", "/predict", "/metrics", "/needs", "/about", "/openapi.json", "/v2", *OPEN_PATHS)
    return path if path in known else ("/v2/models" if path.startswith("/v2/models/") else "other")


async def _reply(send: Send, status: int, answer: Any) -> None:
    body = json.dumps(_finite(answer), ensure_ascii=False).encode("utf-8", "replace")
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _finite(value: Any) -> Any:
    """The value with null for what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value
