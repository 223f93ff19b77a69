"""ONNX Runtime: what transformers and n-grams are served with. Opening needs onnxruntime alone; writing needs torch and onnx."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sartor.bundle import inside
from sartor.errors import InputError

NEEDS_TORCH = False
OPSET = 17
FOLDER = "runtime/onnx"
TOLERANCE = 1e-3  # of the logits, float against torch; ours stay near 1e-5
WEIGHED = ("MatMul", "Gemm", "Gather")  # operators of an encoder that hold weights
# A sum and a layer norm as one operator: 40 µs for 25 tokens of MiniLM, where the two apart take 10 (ONNX Runtime 1.32); a quarter to a half of the time of a cut encoder.
NOT_FUSED = ["SkipLayerNormFusion"]
BLOCK = 32  # weights with one scale, where weights alone are rounded


def open(folder: Path, meta: Mapping[str, Any], *, threads: int) -> OnnxGraphs:
    """Opens the graphs of a bundle.

    Graphs with external data are refused: a path inside a model file may point anywhere.
    Raises: InputError `bundle.path` for a graph outside the bundle.
    """
    return OnnxGraphs({name: inside(folder, file) for name, file in meta["graphs"].items()}, threads=threads)


class OnnxGraphs:
    """Sessions of ONNX Runtime by graph name."""

    def __init__(self, files: Mapping[str, Path], *, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that sleep between two operators take longer to wake than a small operator takes; those that spin between two requests steal the cores from the server's own loop.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self.sessions = {}
        for name, file in files.items():
            # From bytes, ONNX Runtime has no folder to read external data from.
            # Without the fallback, which tries the same again and prints about it on standard output.
            self.sessions[name] = onnxruntime.InferenceSession(
                file.read_bytes(),
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=0,
                disabled_optimizers=NOT_FUSED,
            )
        self.takes = {name: {i.name for i in session.get_inputs()} for name, session in self.sessions.items()}
        self.gives = {name: [o.name for o in session.get_outputs()] for name, session in self.sessions.items()}

    def call(self, graph: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs one graph on the arrays that it takes."""
        feed = {name: array for name, array in arrays.items() if name in self.takes[graph]}
        return dict(zip(self.gives[graph], self.sessions[graph].run(None, feed), strict=True))


def write(
    model: Any,
    folder: Path,
    *,
    sample: Mapping[str, np.ndarray],
    checks: Sequence[Mapping[str, np.ndarray]] = (),
    axes: Mapping[str, Mapping[int, str]] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Exports `forward` with free axes, and compares the file with the model on the sample and on the checks.

    axes: {array: {axis: its name}} of those that may have any length; batch and length, the first two, when left out.

    The TorchScript exporter is tried first (its graphs are the ones whose attention ONNX Runtime knows how to fuse), then the
    dynamo exporter. Whichever is within TOLERANCE of the model's own outputs is kept.
    Raises: InputError `export.failed` with what each exporter said.
    """
    import onnx

    target = folder / FOLDER / "model.onnx"
    target.parent.mkdir(parents=True, exist_ok=True)
    said = []
    for exporter in ("torchscript", "dynamo"):
        try:
            _export(model, target, sample, axes=axes or _usual(sample), dynamo=exporter == "dynamo")
            onnx.checker.check_model(str(target))
            gap = parity(model, target, [sample, *checks])
        except Exception as error:  # exporters raise anything
            said.append(f"{exporter}: {type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}")
            continue
        if gap <= TOLERANCE:
            return {
                "name": "onnx",
                "graphs": {"forward": f"{FOLDER}/model.onnx"},
                "precision": "float32",
                "exporter": exporter,
                "parity": gap,
                "batch_invariant": True,
            }
        said.append(f"{exporter}: its outputs differ from the model's by {gap:.2g}")
    target.unlink(missing_ok=True)
    raise InputError("export.failed", format="onnx", said="; ".join(said))


def parity(model: Any, file: Path, batches: Sequence[Mapping[str, np.ndarray]]) -> float:
    """The largest absolute difference between the file's outputs and the model's over all batches."""
    import torch

    graphs = OnnxGraphs({"forward": file}, threads=max(1, torch.get_num_threads()))
    worst = 0.0
    for piece in batches:
        with torch.no_grad():
            expected = model(**{name: torch.from_numpy(array) for name, array in piece.items()})
        found = graphs.call("forward", piece)
        for name, tensor in expected.items():
            difference = np.abs(found[name] - tensor.float().numpy())
            worst = max(worst, float(difference.max()) if np.isfinite(found[name]).all() else float("inf"))
    return worst


def _usual(sample: Mapping[str, np.ndarray]) -> dict[str, dict[int, str]]:
    return {name: dict(zip(range(array.ndim), ("batch", "length"), strict=False)) for name, array in sample.items()}


def _export(
    model: Any,
    target: Path,
    sample: Mapping[str, np.ndarray],
    *,
    axes: Mapping[str, Mapping[int, str]],
    dynamo: bool,
) -> None:
    import logging
    import warnings

    import torch

    names = list(sample)
    arguments = tuple(torch.from_numpy(sample[name]) for name in names)
    outputs = model.output_names

    class Positional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            found = self.model(**dict(zip(names, tensors, strict=True)))
            return tuple(found[name] for name in outputs)

    free = {name: dict(axes[name]) for name in names}
    wrapper = Positional().eval()
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = tuple(dict.fromkeys(free[name], torch.export.Dim.DYNAMIC) for name in names)
            program = torch.onnx.export(
                wrapper,
                arguments,
                dynamo=True,
                dynamic_shapes=(shapes,),
                input_names=names,
                output_names=outputs,
                verbose=False,
            )
            assert program is not None
            program.save(str(target), external_data=False)
        else:
            torch.onnx.export(
                wrapper,
                arguments,
                str(target),
                dynamo=False,
                opset_version=OPSET,
                input_names=names,
                output_names=outputs,
                dynamic_axes={**free, **{name: {0: "batch"} for name in outputs}},
                do_constant_folding=True,
            )
    assert os.path.getsize(target) > 0


def fuse(
    source: Path,
    target: Path,
    *,
    heads: int,
    width: int,
    sample: Mapping[str, np.ndarray],
) -> tuple[dict[str, int], float]:
    """Rewrites embeddings, attention and GELU as ONNX Runtime's fused operators: (how many of each, the largest difference).

    Fusing is a rewriting of patterns. Where it fails, finds nothing or changes the outputs by more than TOLERANCE, the plain graph is
    kept, with 0 fused operators.
    """
    import logging

    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("fusion", "onnx_model", "optimizer", "onnxruntime")):
            logging.getLogger(name).setLevel(logging.ERROR)
    options = FusionOptions("bert")
    options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = False  # as of NOT_FUSED
    try:
        model = optimizer.optimize_model(
            str(source),
            model_type="bert",
            num_heads=heads,
            hidden_size=width,
            optimization_options=options,
            opt_level=0,
        )
        model.save_model_to_file(str(target), use_external_data_format=False)
        before, after = (OnnxGraphs({"forward": file}, threads=1).call("forward", sample) for file in (source, target))
        gap = max(float(np.abs(after[name] - before[name]).max()) for name in before)
        if gap <= TOLERANCE:
            return {name: int(n) for name, n in model.get_fused_operator_statistics().items() if n}, gap
    except Exception as error:  # a rewriter raises anything on a graph that it does not know
        logging.getLogger(__name__).debug("not fused: %s", error)
    shutil.copyfile(source, target)
    return {}, 0.0


def quantise_static(
    source: Path, target: Path, batches: Sequence[Mapping[str, np.ndarray]], *, reduce_range: bool, per_channel: bool
) -> None:
    """Weights and activations to int8, whose ranges are those that these batches of training rows show.

    A constant scale leaves every row's answer independent of its batch. Of products only those with weights are rounded; what two activations make stays
    float. reduce_range: as for `quantise_dynamic`.
    """
    import logging

    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.getLogger().setLevel(logging.ERROR)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            found = next(self.left, None)
            return None if found is None else {name: array for name, array in found.items() if name in takes}

    prepared = target.with_name("prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    takes = OnnxGraphs({"forward": prepared}, threads=1).takes["forward"]
    kinds = operators(prepared)
    # A sum or a product of activations that is not beside a weight is float in between anyway; rounding it as well costs answers and no time.
    chosen = {"op_types_to_quantize": [*WEIGHED]} if "Conv" not in kinds else {}
    quantize_static(
        str(prepared),
        str(target),
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
        reduce_range=reduce_range,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": 1},
        **chosen,
    )
    prepared.unlink()


def operators(file: Path) -> set[str]:
    """The kinds of operators of a graph."""
    import onnx

    return {node.op_type for node in onnx.load(str(file), load_external_data=False).graph.node}


def quantise_weights(source: Path, target: Path, *, bits: int) -> None:
    """Weights alone, in blocks of BLOCK numbers with one scale each (Frantar et al. 2023 call rounding to the nearest RTN); activations stay float.

    bits: 4 or 8. Tables have four in blocks as well; eight in one piece beside eight, or where their rows are shorter than a block.
    """
    import logging

    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    logging.getLogger().setLevel(logging.ERROR)
    model = onnx.load(str(source))
    in_blocks = {
        one.name
        for one in model.graph.initializer
        if bits == 4 and one.data_type == onnx.TensorProto.FLOAT and len(one.dims) == 2 and one.dims[1] >= BLOCK
    }
    left = [node.name for node in model.graph.node if node.op_type == "Gather" and node.input[0] not in in_blocks]
    config = DefaultWeightOnlyQuantConfig(
        block_size=BLOCK, is_symmetric=True, accuracy_level=4, op_types_to_quantize=("MatMul", "Gather"), bits=bits
    )
    worker = MatMulNBitsQuantizer(model, algo_config=config, nodes_to_exclude=left)
    worker.process()
    blocks = target.with_name("blocks.onnx")
    worker.model.save_model_to_file(str(blocks), use_external_data_format=False)
    quantize_dynamic(
        str(blocks),
        str(target),
        op_types_to_quantize=["Gather"],
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": 1},
    )
    blocks.unlink()


def quantise_dynamic(source: Path, target: Path, *, reduce_range: bool, per_channel: bool) -> None:
    """Weights to int8 (symmetric), activations scaled per tensor at run time, embeddings to int8 as well.

    reduce_range: 7-bit weights, for processors without VNNI, whose 16-bit sums saturate (ONNX Runtime, "Quantize ONNX models").
    """
    import logging

    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)
    quantize_dynamic(
        str(source),
        str(target),
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
        reduce_range=reduce_range,
        # Fused operators are of another domain, whose outputs shape inference cannot type.
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": 1},
    )
