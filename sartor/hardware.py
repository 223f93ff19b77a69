"""What this machine is: cores, instruction sets, memory. Read, never guessed."""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from pathlib import Path
from typing import Any


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def accelerator() -> str:
    """The name of the graphics card that trains; empty where there is none, or where `SARTOR_DEVICE=cpu` says to do without."""
    return "" if os.environ.get("SARTOR_DEVICE") == "cpu" else next(iter(gpus()), "")


def has_bf16() -> bool:
    """Whether bfloat16 products run in hardware where training computes; without, they are slower than float32."""
    return bool(accelerator()) or bool({"avx512_bf16", "amx_bf16"} & flags())


def has_vnni() -> bool:
    """Whether 8-bit products are summed in 32 bits."""
    return bool({"avx512_vnni", "avx_vnni", "amx_int8"} & flags())


@lru_cache
def flags() -> frozenset[str]:
    """The processor's flags as Linux names them; empty where they cannot be read."""
    for line in _cpuinfo():
        if line.startswith(("flags", "Features")):
            return frozenset(line.split(":", 1)[1].split())
    return frozenset()


def describe() -> dict[str, Any]:
    """The machine, for reports and cache keys."""
    import psutil

    name = next(
        (line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    told = (
        "avx2",
        "avx512f",
        "avx512_vnni",
        "avx512_bf16",
        "avx_vnni",
        "amx_bf16",
        "amx_int8",
        "asimd",
        "i8mm",
        "bf16",
    )
    return {
        "cpu": name,
        "cores": cores(),
        "isa": [flag for flag in told if flag in flags()],
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


@lru_cache
def gpus() -> tuple[str, ...]:
    """The names of CUDA devices, as the driver tells them; empty where there is none."""
    import shutil
    import subprocess

    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    done = subprocess.run(
        [tool, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=20
    )
    return tuple(done.stdout.strip().splitlines()) if done.returncode == 0 else ()


def matrix_gflops(size: int = 1024, *, serving: bool = False) -> float:
    """Measured float32 speed of a matrix product, in 10⁹ operations a second; the median of nine. On the graphics card where one trains.

    serving: on the processor, whatever trains.
    """
    import time

    import numpy as np

    if accelerator() and not serving:
        import torch

        from sartor.device import device

        on = torch.ones(4 * size, 4 * size, device=device())
        took = []
        for _ in range(10):
            began = time.perf_counter()
            float((on @ on)[0, 0])  # read, so that it is waited for
            took.append(time.perf_counter() - began)
        return float(2 * (4 * size) ** 3 / np.median(took[1:]) / 1e9)
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    took = []
    for _ in range(10):
        began = time.perf_counter()
        a @ b
        took.append(time.perf_counter() - began)
    return float(2 * size**3 / np.median(took[1:]) / 1e9)


def convolution_gflops(channels: int = 64, side: int = 16, batch: int = 64) -> float:
    """Measured speed of a 3 × 3 convolution forwards and backwards as training does it, in 10⁹ operations a second; the median of nine.

    In bfloat16 where the processor has it. Needs torch.
    """
    import time

    import numpy as np
    import torch

    from sartor.device import device

    kind = torch.bfloat16 if has_bf16() else torch.float32
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    layer = layer.to(device(), kind, memory_format=torch.channels_last)
    batch_of = torch.ones(batch, channels, side, side, dtype=kind, device=device())
    batch_of = batch_of.to(memory_format=torch.channels_last)
    batch_of.requires_grad_()
    took = []
    for _ in range(12):
        began = time.perf_counter()
        layer(batch_of).sum().backward()
        float(batch_of.grad[0, 0, 0, 0])  # read, so that it is waited for
        took.append(time.perf_counter() - began)
    operations = 2 * 9 * channels * channels * side * side * batch
    return float(3 * operations / np.median(took[3:]) / 1e9)  # backwards there are two such products


@lru_cache
def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
