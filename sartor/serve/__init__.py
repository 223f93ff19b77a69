"""Serves a bundle over HTTP. Light half: there is no torch in this process."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

from sartor.errors import InputError

MAX_BODY_BYTES = 2_000_000


def serve(
    bundle: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    threads: int | None = None,
    insecure: bool = False,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> None:
    """Answers until it is told to stop; prints `serving http://HOST:PORT` once it is ready.

    port 0 takes a free one. Keys come from SARTOR_API_KEY, several separated by commas.
    Raises: InputError `serve.open` when it would listen beyond this machine without a key, `serve.port` when the port is taken.
    """
    import uvicorn

    from sartor.predict import load
    from sartor.serve.app import create_app

    keys = tuple(key.strip() for key in os.environ.get("SARTOR_API_KEY", "").split(",") if key.strip())
    if not is_loopback(host) and not keys and not insecure:
        raise InputError("serve.open", host=host)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InputError("serve.port", host=host, port=port, why=error.strerror or error) from None
    predictor = load(bundle, threads=threads)
    taken = listener.getsockname()[1]
    app = create_app(
        predictor,
        keys=keys,
        hosts=None if not is_loopback(host) else frozenset({"127.0.0.1", "localhost", "[::1]", host}),
        max_body_bytes=max_body_bytes,
        on_ready=lambda: print(f"serving http://{host}:{taken}", flush=True),
    )
    config = uvicorn.Config(
        app, access_log=False, log_level="warning", server_header=False, timeout_graceful_shutdown=30, lifespan="on"
    )
    uvicorn.Server(config).run(sockets=[listener])


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
