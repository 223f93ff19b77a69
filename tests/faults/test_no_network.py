"""No network at all: a build works from what is here, and nobody tries to reach anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# Python reads this at the start of every process that has its folder on the path, the workers and servers of a build included.
GUARD = """
import ipaddress, os, socket
def guarded(inner):
    def call(self, address, *rest):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not ipaddress.ip_address(address[0]).is_loopback:
            refuse(address)
        return inner(self, address, *rest)
    return call
def refuse(address):
    with open(os.environ["GUARD_LOG"], "a") as log:
        log.write(f"{address}\\n")
    raise OSError(101, "Network is unreachable")
class Guarded(socket.socket):
    connect = guarded(socket.socket.connect)
    connect_ex = guarded(socket.socket.connect_ex)
    sendto = lambda self, data, *rest: guarded(lambda self, address, *more: super(Guarded, self).sendto(data, *rest))(self, rest[-1])
looked_up = socket.getaddrinfo
def getaddrinfo(host, *rest, **named):
    if host not in (None, "", "localhost", b"localhost"):
        try:
            ipaddress.ip_address(host if isinstance(host, str) else host.decode())
        except ValueError:
            refuse(host)
    return looked_up(host, *rest, **named)
socket.socket, socket.getaddrinfo = Guarded, getaddrinfo
open(os.environ["GUARD_LOG"] + ".on", "a").close()
"""
PLAN = {
    "name": "frozen",
    "steps": [
        {"step": "start", "arguments": {"backbone": "minilm", "leaf": "hub", "max_tokens": 32}},
        {"step": "fit", "arguments": {}},
        {"step": "export", "arguments": {}},
    ],
}


@pytest.fixture
def offline(tmp_path):
    """The environment of a machine that reaches nothing but itself, and the file of what was tried all the same."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(tmp_path / "guard"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    return environment | {"GUARD_LOG": str(tmp_path / "tried")}


def sartor(environment, *words):
    command = [sys.executable, "-m", "sartor.cli", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_the_guard_refuses_and_notes(offline, tmp_path):
    code = "import socket; socket.create_connection(('198.51.100.7', 80), 1)"
    done = subprocess.run([sys.executable, "-c", code], env=offline, capture_output=True, text=True)
    assert "unreachable" in done.stderr
    assert (tmp_path / "tried").read_text().startswith("('198.51.100.7', 80)")


def test_a_whole_build_reaches_for_nothing(offline, tmp_path, opinions_csv):
    (tmp_path / "plan.json").write_text(json.dumps(PLAN), encoding="utf-8")
    needs = ("--need", "accuracy >= 0.6", "--need", "latency_p95 <= 500 ms")
    out = tmp_path / "out"
    done = sartor(
        offline, "build", opinions_csv, "--target", "label", *needs, "--plan", tmp_path / "plan.json", "--out", out
    )
    assert done.returncode == 0, done.stderr
    assert sartor(offline, "predict", out, "the plot was superb").returncode == 0
    assert (tmp_path / "tried.on").exists()
    assert not (tmp_path / "tried").exists(), (tmp_path / "tried").read_text()


def test_what_is_not_here_is_named(offline, tmp_path, opinions_csv):
    needs = ("--need", "accuracy >= 0.6", "--backbone", "nobody/nothing-at-all")
    done = sartor(offline, "build", opinions_csv, "--target", "label", *needs, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "nobody/nothing-at-all" in done.stderr
    assert not (tmp_path / "out").exists()
