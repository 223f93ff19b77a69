"""The HTTP face of a predictor: /predict, health, metrics, the contract, Open Inference Protocol v2, and a page to try it on.

One ASGI callable checks host, key and size before anything is parsed, answers /predict itself, and leaves the rest to FastAPI.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import math
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.exceptions import HTTPException

from sartor import leaves
from sartor.errors import RowError
from sartor.serve.scheduler import FAILED, HANG_S, Scheduler, failed

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_ROWS = 1000  # of one request
SHARE = 32  # rows of one request that wait at once, so that a large request does not hold up the small ones
WATCH_FROM = 32  # rows waiting, from which on it pays to notice that the client of a lone row has left
BODY_TIMEOUT_S = 10.0
LEAST_HELD_BYTES = 64_000_000  # of bodies at once, even where a single one may hold little
LINGER_S, LINGER_BYTES = 2.0, 64_000_000  # what is still read of a body that was refused
OPEN_PATHS = ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")
ROUTES = ("/", "/predict", "/metrics", "/needs", "/about", "/openapi.json", "/v2", *OPEN_PATHS)
LIVE_REQUESTS = 1000  # that the live quantiles look back on
_BUCKETS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_NO_SNIFF = (b"x-content-type-options", b"nosniff")
_CLOSE = (b"connection", b"close")

logger = logging.getLogger("sartor.serve")


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str, message: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.status, self.code, self.message, self.headers = status, code, message, headers
        super().__init__(message)

    def told(self, path: str) -> dict[str, Any]:
        """The body of the answer, in the form of the protocol that the path belongs to."""
        if path.startswith("/v2"):
            return {"error": self.message}
        return {"error": {"code": self.code, "message": self.message}}


_FAULT = Refused(500, "server.fault", "The server failed on this request.")


class Service:
    """The ASGI app: everything between a socket and the predictor.

    keys: any of them opens what needs one; nothing needs one when there are none. hosts: names that a Host header may carry;
    any when None. `draining` is set from outside when the server is about to stop: readiness falls and connections are closed
    after their answer, but everything that still comes in is answered.
    """

    def __init__(
        self,
        predictor: Any,
        *,
        keys: tuple[str, ...] = (),
        hosts: frozenset[str] | None = None,
        max_body_bytes: int = 2_000_000,
        max_waiting: int | None = None,
    ) -> None:
        self.predictor, self.hosts, self.max_body_bytes = predictor, hosts, max_body_bytes
        self.keys = tuple(key.encode() for key in keys)
        # What has to be decoded first is decoded by the worker, one row at a time: it would hold up every other client.
        self.whole = bool(getattr(predictor, "reads_files", False))
        self.scheduler = Scheduler(_Whole(predictor) if self.whole else predictor, max_waiting=max_waiting)
        self.max_held_bytes = max(LEAST_HELD_BYTES, 4 * max_body_bytes)
        self.held_bytes = 0  # of bodies whose requests are not answered yet
        self.accepting = False
        self.draining = False
        self.cold_start_s: float | None = None  # of this process, where it is one
        self.name = str(predictor.meta.get("name") or "model")
        self.recent: deque[float] = deque(
            maxlen=LIVE_REQUESTS
        )  # ms, of /predict requests of one row that were answered
        self.since = time.time()
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

    def start(self) -> None:
        """Warms the predictor up on the bundle's examples, and takes requests from then on.

        Raises: whatever the predictor raises.
        """
        rows = self.predictor.meta.get("examples") or [{column["name"]: "" for column in self.predictor.inputs}]
        prepared = [self.predictor.prepare(row) for row in rows]
        self.scheduler.start(rows if self.whole else prepared)
        self.accepting = True

    def stop(self) -> None:
        """Takes no more requests, and returns when those that were accepted are answered."""
        self.accepting = False
        self.scheduler.stop()

    @property
    def ready(self) -> bool:
        """Whether new clients should be sent here."""
        return self.accepting and not self.draining and not self.scheduler.stuck()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection event of ASGI 3."""
        if scope["type"] == "lifespan":
            await self.documented(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            await self._respond(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        predicting = path == "/predict" and method == "POST"
        headers = dict(scope["headers"])
        body, whole = b"", method in ("GET", "HEAD")  # whole: everything that belongs to the request has been read
        refused: Refused | None = None
        try:
            self._admit(scope, headers)
            if not whole:
                body, whole = await self._body(headers, receive), True
            if predicting:
                status, data = await self._predict(body, receive)
        except Refused as error:
            refused = error
        except Exception:
            logger.exception("a fault in %s", _route(path))
            refused = _FAULT
        finally:
            self.held_bytes -= len(body)
        if refused is not None:
            await self._refuse(refused, scope, None if whole else receive, send)
        elif predicting:
            self.requests.labels("/predict", str(status)).inc()
            await send(_start(status, data, (_CLOSE,) if self.draining else ()))
            await send({"type": "http.response.body", "body": data})
        else:
            await self._hand_over(scope, body, receive, send)

    async def _hand_over(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Hands a request that was admitted and read to FastAPI. HEAD is GET without the body."""
        given = False
        head = scope["method"] == "HEAD"

        async def once() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.requests.labels(_route(scope["path"]), str(message["status"])).inc()
                message = {
                    **message,
                    "headers": [*message["headers"], _NO_SNIFF, *((_CLOSE,) if self.draining else ())],
                }
            elif head:
                message = {**message, "body": b""}
            await send(message)

        await self.documented({**scope, "method": "GET"} if head else scope, once, counted)

    async def _refuse(self, refused: Refused, scope: Scope, unread: Receive | None, send: Send) -> None:
        """Answers with an error, before the body has come where it is not wanted.

        The answer goes out at once; then what is under way is read for a moment, because a connection that is closed with bytes
        unread is reset, and a reset makes the client's side throw the answer away.
        """
        self.requests.labels(_route(scope["path"]), str(refused.status)).inc()
        data = encode(refused.told(scope["path"]))
        closing = (_CLOSE,) if self.draining or unread is not None else ()
        await send(_start(refused.status, data, (*refused.headers, *closing)))
        await send({"type": "http.response.body", "body": data, "more_body": unread is not None})
        if unread is not None:
            await _linger(unread)
            await send({"type": "http.response.body", "body": b""})

    def live(self) -> dict[str, Any]:
        """What this process can tell of itself, by the names that needs have for it; latencies of its last one-row requests."""
        import psutil

        took = sorted(self.recent)

        def at(q: float) -> float | None:
            return round(took[math.ceil(q * len(took)) - 1], 3) if took else None

        return {
            "requests": len(took),
            "since": self.since,
            "latency_p50": at(0.5),
            "latency_p95": at(0.95),
            "latency_p99": at(0.99),
            "memory": round(psutil.Process().memory_info().rss / 1e6, 1),
            "cold_start": None if self.cold_start_s is None else round(self.cold_start_s, 2),
        }

    @cached_property
    def proven(self) -> list[dict[str, Any]]:
        """The needs as they were judged when the bundle was built; none in a bundle that is not a finished build."""
        file = self.predictor.bundle.path / "report.json"
        return json.loads(file.read_text(encoding="utf-8")).get("needs", []) if file.is_file() else []

    @cached_property
    def digest(self) -> str:
        """The identity of what is served."""
        return str(self.predictor.bundle.digest)

    def contract(self) -> dict[str, Any]:
        """The needs as they were proven, what can be seen of them now, and whether they hold."""
        live = self.live()
        needs = []
        for need in self.proven:
            now = live.get(need["measure"])
            needs.append(
                {**need, "live": now, "holds": None if now is None else _holds(now, need["op"], need["limit"])}
            )
        return {"needs": needs, "live": live, "digest": self.digest}

    def _admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        if self.hosts is not None and name not in self.hosts:
            raise Refused(403, "request.host", "This server answers on loopback only; the Host header names another.")
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and origin.split("//", 1)[-1] != host:
            raise Refused(403, "request.origin", "Requests from pages of other origins are refused.")
        path = scope["path"]
        page = path == "/" and scope["method"] in ("GET", "HEAD")  # holds nothing: it asks for the key itself
        if self.keys and not page and path not in OPEN_PATHS and not self._has_key(scope):
            told = "A key is needed, as in: Authorization: Bearer KEY"
            raise Refused(401, "request.key", told, [(b"www-authenticate", b"Bearer")])

    def _has_key(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, key = given[0].partition(b" ")
        fits = [
            hmac.compare_digest(key.strip(), known) for known in self.keys
        ]  # all of them, so that time tells nothing
        return scheme.lower() == b"bearer" and any(fits)

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        told = headers.get(b"content-length")
        too_large = Refused(413, "request.too-large", f"A request may hold {self.max_body_bytes:,} bytes at most.")
        if told is not None and (not told.isdigit() or int(told) > self.max_body_bytes):
            raise too_large
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refused(415, "request.encoding", "Bodies are taken as they are, without Content-Encoding.")
        if self.held_bytes + int(told or 0) > self.max_held_bytes:
            raise self._overloaded()
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
                    self.held_bytes += len(piece)
                    pieces.append(piece)
                    if self.held_bytes > self.max_held_bytes:
                        raise self._overloaded()
                    if not message.get("more_body"):
                        whole, pieces = b"".join(pieces), []
                        return whole
        except TimeoutError:
            raise Refused(408, "request.slow", f"The body did not arrive within {BODY_TIMEOUT_S:g} s.") from None
        finally:
            self.held_bytes -= sum(map(len, pieces))  # of a body that is not whole

    def _overloaded(self) -> Refused:
        return Refused(
            503, "server.overloaded", "Too much is waiting. Try again in a second.", [(b"retry-after", b"1")]
        )

    async def _predict(self, body: bytes, receive: Receive) -> tuple[int, bytes]:
        """The status and body of the answer to a /predict request; its time, from bytes to bytes, is kept."""
        began = time.perf_counter()
        payload = parse_json(body)
        many = isinstance(payload, dict) and set(payload) == {"rows"} and isinstance(payload["rows"], list)
        answers = await self.answer(payload["rows"] if many else [payload], receive)
        error = None if many else answers[0].get("error")
        data = encode({"answers": answers} if many else answers[0])
        if error is not None:
            return 500 if error["code"] == FAILED else 422, data
        took = time.perf_counter() - began
        self.seconds.observe(took)
        if not many:
            self.recent.append(took * 1e3)
        return 200, data

    async def answer(self, rows: list[Any], receive: Receive | None = None) -> list[dict[str, Any]]:
        """Answers in order; a bad row gets an error of its own. A client that leaves takes its waiting rows with it.

        Raises: Refused 503 when it is not ready or too much waits, 413 for too many rows.
        """
        if not self.accepting:
            raise Refused(503, "server.not-ready", "The server is starting or stopping.", [(b"retry-after", b"1")])
        if len(rows) > MAX_ROWS:
            raise Refused(413, "request.too-many-rows", f"A request may hold {MAX_ROWS} rows at most.")
        if self.scheduler.full:
            self.rows.labels("shed").inc(len(rows))
            raise self._overloaded()
        # A lone row is done in milliseconds: watching for its client to leave would cost more than it could save.
        watched = receive is not None and (len(rows) > 1 or self.scheduler.waiting >= WATCH_FROM)
        watch = asyncio.ensure_future(receive()) if watched and receive is not None else None
        answers: list[dict[str, Any]] = []
        try:
            share = 1 if self.whole else SHARE
            for begin in range(0, len(rows), share):
                answers += await self._share(rows[begin : begin + share], watch)
        except Refused:
            self.rows.labels("cancelled").inc(len(rows))
            raise
        finally:
            if watch is not None:
                watch.cancel()
        bad = sum("error" in one for one in answers)
        if bad:
            self.rows.labels("error").inc(bad)
        self.rows.labels("ok").inc(len(answers) - bad)
        return answers

    async def _share(self, rows: list[Any], watch: asyncio.Future[Message] | None) -> list[dict[str, Any]]:
        found: list[Any] = []
        for row in rows:
            try:
                found.append(self.scheduler.submit(row if self.whole else self.predictor.prepare(row)))
            except RowError as error:
                found.append({"error": {"code": error.code, "message": str(error)}})
            except Exception as error:
                found.append(failed(error))
        futures = [one for one in found if isinstance(one, asyncio.Future)]
        if watch is None:
            for future in futures:
                await future
        elif futures:
            work = asyncio.gather(*futures)
            either: set[asyncio.Future[Any]] = {work, watch}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                raise Refused(499, "request.left", "The client left.")
        return [one.result() if isinstance(one, asyncio.Future) else one for one in found]


class _Whole:
    """A predictor as the scheduler sees it, that takes rows as they arrived."""

    batch_invariant = False  # so that rows run one at a time

    def __init__(self, predictor: Any) -> None:
        self.answer = predictor.predict


def parse_json(body: bytes) -> Any:
    """JSON in UTF-8 without NaN or infinity, without keys given twice, and not nested deeper than Python can follow.

    Raises: Refused 400.
    """
    try:
        return _DECODER.decode(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Refused(400, "request.json", f"The body is not JSON that can be read: {str(error)[:200]}.") from None


def encode(answer: Any) -> bytes:
    """JSON in UTF-8, with null for what JSON has no number for."""
    try:
        text = _ENCODER.encode(answer)
    except ValueError:
        text = _ENCODER.encode(_finite(answer))
    return text.encode("utf-8", "replace")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_no_twice, parse_constant=_no_constant, parse_float=_finite_float)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


def _holds(now: float, op: str, limit: float) -> bool:
    return {"<=": now <= limit, "<": now < limit, ">=": now >= limit, ">": now > limit}[op]


def _start(status: int, data: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> Message:
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode()), _NO_SNIFF]
    return {"type": "http.response.start", "status": status, "headers": [*own, *headers]}


async def _linger(receive: Receive) -> None:
    left = LINGER_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while left > 0:
                message = await receive()
                if not message.get("more_body"):
                    return
                left -= len(message["body"])


def _route(path: str) -> str:
    """The route, from a closed list: a metric's label must not be the client's to choose."""
    return path if path in ROUTES else ("/v2/models" if path.startswith("/v2/models/") else "other")


class _Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return encode(content)


@lru_cache
def _page() -> str:
    return resources.files("sartor.serve").joinpath("page.html").read_text(encoding="utf-8")


def _documented(service: Service) -> FastAPI:
    """The routes that FastAPI answers; /predict is described here and answered above."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        if not service.accepting:
            await asyncio.to_thread(service.start)
        yield
        await asyncio.to_thread(service.stop)

    app = FastAPI(
        title=f"Sartor: {service.name}", docs_url=None, redoc_url=None, lifespan=lifespan, redirect_slashes=False
    )
    predictor = service.predictor

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        headers = {name.decode(): value.decode() for name, value in error.headers}
        return _Json(error.told(request.url.path), error.status, headers)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        path, headers = request.url.path, dict(error.headers or {})
        if error.status_code == 405:
            told = Refused(
                405, "request.method", f"{path} does not take {request.method}; it takes {headers.get('Allow')}."
            )
        else:
            told = Refused(
                error.status_code, "request.path", f"There is no {path[:200]} here. There is: {', '.join(ROUTES)}."
            )
        return _Json(told.told(path), told.status, headers)

    @app.exception_handler(Exception)  # answered so, and then raised for the log
    async def fault(request: Request, error: Exception) -> Response:
        return _Json(_FAULT.told(request.url.path), _FAULT.status)

    @app.post("/predict", summary="One row as {column: value}, or many as {rows: […]}")
    async def predict(payload: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError("answered before routing")

    @app.get("/health/live")
    @app.get("/v2/health/live")
    async def live() -> Response:
        alive = not service.scheduler.stuck(2 * HANG_S)
        return _Json({"live": alive}, 200 if alive else 503)

    @app.get("/health/ready")
    @app.get("/v2/health/ready")
    async def ready() -> Response:
        return _Json({"ready": service.ready}, 200 if service.ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(service.registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/needs")
    async def needs() -> Response:
        return _Json(service.contract())

    @app.get("/about")
    async def about() -> Response:
        inputs = [{**column, "widget": leaves.load("modality", column["kind"]).WIDGET} for column in predictor.inputs]
        examples = predictor.meta.get("examples", [])
        return _Json({"name": service.name, "inputs": inputs, "targets": predictor.targets, "examples": examples})

    @app.get("/")
    async def page() -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src data:; media-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
        return HTMLResponse(_page().replace("{{nonce}}", nonce), headers=headers)

    @app.get("/v2")
    async def server() -> Response:
        from sartor import __version__

        return _Json({"name": "sartor", "version": __version__, "extensions": []})

    @app.get("/v2/models/{name}/ready")
    @app.get("/v2/models/{name}/versions/1/ready")
    async def model_ready(name: str) -> Response:
        _known(service, name)
        return _Json({"name": name, "ready": service.ready}, 200 if service.ready else 503)

    @app.get("/v2/models/{name}")
    @app.get("/v2/models/{name}/versions/1")
    async def model(name: str) -> Response:
        _known(service, name)
        inputs = [{"name": column["name"], "datatype": "BYTES", "shape": [-1]} for column in predictor.inputs]
        return _Json(
            {"name": name, "versions": ["1"], "platform": "sartor", "inputs": inputs, "outputs": _v2_outputs(predictor)}
        )

    @app.post("/v2/models/{name}/infer")
    @app.post("/v2/models/{name}/versions/1/infer")
    async def infer(name: str, request: Request) -> Response:
        _known(service, name)
        payload = parse_json(await request.body())
        rows = _v2_rows(payload, predictor.inputs)
        wanted = _v2_wanted(payload, predictor)
        answers = await service.answer(rows)
        for place, answer in enumerate(answers):
            if "error" in answer:
                status = 500 if answer["error"]["code"] == FAILED else 400
                raise Refused(status, answer["error"]["code"], f"Row {place}: {answer['error']['message']}")
        told: dict[str, Any] = {
            "model_name": name,
            "model_version": "1",
            "outputs": _v2_tensors(answers, wanted, predictor),
        }
        if isinstance(payload.get("id"), str):
            told["id"] = payload["id"]
        return _Json(told)

    return app


def _known(service: Service, name: str) -> None:
    if name != service.name:
        raise Refused(404, "model.unknown", f"There is no model of that name; there is {service.name!r}.")


def _v2_rows(payload: Any, columns: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The rows of an inference request, whose every input is one tensor of n texts, flat or nested as its shape says.

    Raises: Refused 400.
    """
    names = [column["name"] for column in columns]
    try:
        given = {tensor["name"]: _v2_values(tensor) for tensor in payload["inputs"]}
        fits = sorted(given) == sorted(names) and len(payload["inputs"]) == len(names)
        fits = fits and len({len(values) for values in given.values()}) == 1
    except (KeyError, TypeError, ValueError, AttributeError):
        fits = False
    if not fits:
        listed = ", ".join(repr(name) for name in names)
        raise Refused(
            400, "v2.inputs", f"inputs must hold one BYTES tensor of shape [n] for each of: {listed}; no other."
        )
    return [dict(zip(names, values, strict=True)) for values in zip(*(given[name] for name in names), strict=True)]


def _v2_values(tensor: Any) -> list[Any]:
    shape, values = tensor["shape"], tensor["data"]
    if tensor["datatype"] != "BYTES" or not isinstance(values, list) or not isinstance(shape, list):
        raise ValueError
    if (
        not 1 <= len(shape) <= 2
        or any(type(size) is not int or size < 0 for size in shape)
        or shape[1:] not in ([], [1])
    ):
        raise ValueError
    flat = [value[0] if isinstance(value, list) and len(value) == 1 and len(shape) == 2 else value for value in values]
    if len(flat) != shape[0]:
        raise ValueError
    return flat


def _v2_outputs(predictor: Any) -> list[dict[str, Any]]:
    """The output tensors that a request can ask for."""
    found = []
    for head in predictor.heads:
        target, classes = head["target"], head["spec"].get("classes")
        if classes is None or not getattr(leaves.load("task", head["task"]), "EXCLUSIVE", True):
            # A task whose answers are not one class each: as JSON, shaped as over /predict.
            found.append({"name": f"{target}.answer", "datatype": "BYTES", "shape": [-1]})
            continue
        found += [
            {"name": f"{target}.label", "datatype": "BYTES", "shape": [-1]},
            {"name": f"{target}.probability", "datatype": "FP64", "shape": [-1]},
            {"name": f"{target}.probabilities", "datatype": "FP64", "shape": [-1, len(classes)]},
        ]
    return found


def _v2_wanted(payload: Any, predictor: Any) -> list[dict[str, Any]]:
    """Those outputs that the request names; all where it names none.

    Raises: Refused 400.
    """
    every = _v2_outputs(predictor)
    asked = payload.get("outputs")
    if not asked:
        return every
    known = {output["name"]: output for output in every}
    try:
        return [known[output["name"]] for output in asked]
    except (KeyError, TypeError):
        raise Refused(400, "v2.outputs", f"outputs can name: {', '.join(known)}.") from None


def _v2_tensors(answers: list[dict[str, Any]], wanted: list[dict[str, Any]], predictor: Any) -> list[dict[str, Any]]:
    tensors = []
    for output in wanted:
        target, _, part = output["name"].rpartition(".")
        found = [answer if len(predictor.targets) == 1 else answer[target] for answer in answers]
        shape, data = [len(found), *output["shape"][1:]], [answer.get(part) for answer in found]
        if part == "answer":
            data = [json.dumps(answer, ensure_ascii=False) for answer in found]
        elif part == "probabilities":
            none = [None] * shape[1]  # of an answer that was withheld
            data = [value for row in data for value in (list(row.values()) if row else none)]
        tensors.append({**output, "shape": shape, "data": data})
    return tensors
