"""What holds for every leaf of every kind, and for a leaf the moment it exists."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from sartor import leaves
from sartor.errors import InputError

EVERY = [(kind, name) for kind in leaves.KINDS for name in leaves.names(kind)]
FUNCTIONS = {
    "modality": ("recognise", "read", "profile", "audit", "key", "parts", "leave_out", "show"),
    "task": (
        "suits",
        "examples",
        "learn",
        "encode",
        "head",
        "loss",
        "infer",
        "decode",
        "trivial",
        "fit_linear",
        "same",
        "audit",
        "figures",
    ),
    "backbone": ("cards", "start", "processor", "body"),
    "step": ("run", "resolve"),
    "runtime": ("write", "open"),
}


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_leaf_has_the_functions_of_its_kind(kind, name):
    leaf = leaves.load(kind, name)
    for function in FUNCTIONS[kind]:
        assert callable(getattr(leaf, function, None)), f"{kind}/{name} lacks {function}"
        assert inspect.getdoc(getattr(leaf, function)), f"{kind}/{name}.{function} has no docstring"
    assert leaf.__doc__


BODIES = [name for kind, name in EVERY if kind == "backbone"]


@pytest.mark.parametrize("name", BODIES)
def test_a_body_brings_what_its_way_of_training_asks_for(name):
    leaf = leaves.load("backbone", name)
    wanted = {"gradient": ("resolve_options", "flops", "processor"), "fit": ("fit",), "fused": ("processor",)}[
        leaf.TRAINS
    ]
    assert all(callable(getattr(leaf, function, None)) for function in wanted), wanted
    assert isinstance(leaf.TAKES, tuple)
    assert all(card.leaf == name and card.licence for card in leaf.cards())


@pytest.mark.parametrize("name", [name for kind, name in EVERY if kind == "task"])
def test_a_task_measures_its_primary_metric(name):
    leaf = leaves.load("task", name)
    assert leaf.PRIMARY in leaf.METRICS
    assert not leaf.METRICS[leaf.PRIMARY].per_class


def test_every_leaf_imports_with_torch_blocked():
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'sklearn', 'matplotlib'): sys.modules[name] = None\n"
        "from sartor import leaves\n"
        f"[leaves.load(kind, name) for kind, name in {EVERY!r}]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_loads_nothing_heavy():
    code = "import sartor, sys; assert not {'torch', 'transformers', 'numpy', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "module",
    [
        "predict",
        "bundle",
        "report",
        "runtime.onnx",
        "needs",
        "measure",
        "verify",
        "serve",
        "serve.app",
        "serve.connection",
    ],
)
def test_the_light_half_imports_no_torch(module):
    code = f"import sartor.{module}, sys; assert not {{'torch', 'transformers', 'sklearn', 'matplotlib'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_leaf_is_named_with_the_nearest_right_one():
    with pytest.raises(InputError, match="Did you mean 'classify'"):
        leaves.load("task", "clasify")
