"""OpenVINO, an extra: the same ONNX graphs, which it fuses and schedules in its own way. Opening needs openvino alone; writing needs torch and onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor.bundle import inside
from sartor.errors import InputError
from sartor.runtime import onnx

NEEDS_TORCH = False


def open(folder: Path, meta: Mapping[str, Any], *, threads: int) -> OpenVinoGraphs:
    """Opens the graphs of a bundle, without any data outside of them.

    Raises: InputError `bundle.path` for a graph outside the bundle, `leaf.missing-package` without openvino.
    """
    files = {name: inside(folder, file) for name, file in meta["graphs"].items()}
    return OpenVinoGraphs(files, threads=threads)


class OpenVinoGraphs:
    """Compiled models of OpenVINO by graph name."""

    def __init__(self, files: Mapping[str, Path], *, threads: int) -> None:
        core = _core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",  # not what the processor likes best: what was measured is what is served
            "ENABLE_CPU_PINNING": False,  # the server's own loop wants a core too
        }
        # From bytes it has no folder to read external data from.
        self.models = {
            name: core.compile_model(core.read_model(model=file.read_bytes(), weights=b""), "CPU", settings)
            for name, file in files.items()
        }
        self.takes = {name: {one.any_name for one in model.inputs} for name, model in self.models.items()}
        self.gives = {name: [one.any_name for one in model.outputs] for name, model in self.models.items()}
        self.requests = {name: model.create_infer_request() for name, model in self.models.items()}

    def call(self, graph: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs one graph on the arrays that it takes."""
        feed = {name: array for name, array in arrays.items() if name in self.takes[graph]}
        found = self.requests[graph].infer(feed)
        return {name: np.array(found[place]) for place, name in enumerate(self.gives[graph])}


def write(
    model: Any,
    folder: Path,
    *,
    sample: Mapping[str, np.ndarray],
    checks: Sequence[Mapping[str, np.ndarray]] = (),
    axes: Mapping[str, Mapping[int, str]] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """The graphs of the runtime `onnx`, after a look whether OpenVINO answers them alike.

    Raises: InputError `export.failed`, `leaf.missing-package`.
    """
    _core()
    record = onnx.write(model, folder, sample=sample, checks=checks, axes=axes, **options)
    files = {name: folder / file for name, file in record["graphs"].items()}
    plain, other = onnx.OnnxGraphs(files, threads=1), OpenVinoGraphs(files, threads=1)
    gap = 0.0
    for batch in (sample, *checks):
        one, two = plain.call("forward", batch), other.call("forward", batch)
        gap = max(gap, *(float(np.abs(two[name] - one[name]).max()) for name in one))
    if not gap <= onnx.TOLERANCE:
        said = f"OpenVINO's outputs differ from ONNX Runtime's by {gap:.2g}"
        raise InputError("export.failed", format="openvino", said=said)
    return record | {"name": "openvino", "parity": max(gap, record["parity"])}


def _core() -> Any:
    """Raises: InputError `leaf.missing-package`."""
    try:
        import openvino
    except ImportError:
        feature, command = "The runtime openvino", "pip install 'sartor[openvino]'"
        raise InputError("leaf.missing-package", feature=feature, package="openvino", command=command) from None
    return openvino.Core()
