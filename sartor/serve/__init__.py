"""Serves a bundle over HTTP. Light half: there is no torch in this process."""

from __future__ import annotations

import ipaddress
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sartor import leaves
from sartor.errors import InputError, SartorError

if TYPE_CHECKING:
    from sartor.predict import Predictor

MAX_BODY_BYTES = 2_000_000
MOST_THREADS = 1_024


def serve(
    bundle: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    threads: int | None = None,
    insecure: bool = False,
    max_body_bytes: int | None = None,
) -> None:
    """Answers until it is told to stop; prints `serving http://HOST:PORT` once it is ready.

    port 0 takes a free one. max_body_bytes: of one request; what its inputs may need when left out. Keys come from SARTOR_API_KEY, several separated by commas.
    Raises: InputError `serve.open` when it would listen beyond this machine without a key, `serve.port` when the port cannot
    be had; SartorError `serve.failed` when the model does not answer its own examples.
    """
    import gc
    import time

    import psutil
    from threadpoolctl import threadpool_limits

    from sartor.predict import load
    from sartor.serve import connection
    from sartor.serve.app import Service

    keys = tuple(key.strip() for key in os.environ.get("SARTOR_API_KEY", "").split(",") if key.strip())
    if not is_loopback(host) and not keys and not insecure:
        raise InputError("serve.open", host=host)
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise InputError("needs.value", key="--threads", expected=f"a number from 1 to {MOST_THREADS}", found=threads)
    # The runtime has its threads; those of BLAS, which a spectrum wakes, would wait for the same cores: recordings, p95 4.3 in place of .4 ms (docs/log.md, 2026-11-27).
    threadpool_limits(1, user_api="blas")
    listener = _bind(host, port)
    predictor = load(bundle, threads=threads)
    service = Service(
        predictor,
        keys=keys,
        hosts=frozenset({"127.0.0.1", "localhost", "[::1]", _in_url(host)}) if is_loopback(host) else None,
        max_body_bytes=max_body_bytes or _most(predictor),
    )
    try:
        service.start()
    except Exception as error:
        raise SartorError("serve.failed", path=bundle, said=f"{type(error).__name__}: {error}") from error
    gc.collect()
    gc.freeze()  # what is loaded now stays; collecting it again and again would only make requests wait

    def announce() -> None:
        service.cold_start_s = time.time() - psutil.Process().create_time()
        print(f"serving http://{_in_url(host)}:{listener.getsockname()[1]}", flush=True)

    with suppress(KeyboardInterrupt):  # Ctrl-C is how one stops it by hand
        connection.run(service, listener, on_ready=announce)


def _most(predictor: Predictor) -> int:
    """Bytes that one request may hold: for every picture or recording as much as is read of one, in base64."""
    inputs = [leaves.load("modality", column["kind"]) for column in predictor.inputs]
    return MAX_BODY_BYTES + sum(-(-leaf.MAX_BYTES * 4 // 3) for leaf in inputs if leaf.WIDGET.startswith("file:"))


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _bind(host: str, port: int) -> socket.socket:
    """A socket that has the port but does not listen yet: until it is ready, a client is refused rather than kept waiting."""
    host = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError, UnicodeError) as error:  # a name that is no host fails to be encoded as one
        listener.close()
        raise InputError(
            "serve.port", host=host, port=port, why=str(getattr(error, "strerror", None) or error).rstrip(".")
        ) from None
    return listener


def _in_url(host: str) -> str:
    host = host.strip("[]")
    return f"[{host}]" if ":" in host else host
