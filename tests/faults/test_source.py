"""The source itself: nothing that runs code from a file, no assert that guards, an import that does nothing; and hostile weights."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from bad_input import NUMBER, tensors

import sartor
from sartor.bundle import check_safetensors
from sartor.checkpoint import MAX_HEADER_BYTES
from sartor.errors import InputError

PACKAGE = Path(sartor.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN_MODULES = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "execfile", "__import__"),
    *("os.system", "os.popen", "torch.load", "torch.jit.load", "torch.export.load", "torch.package.PackageImporter"),
    *("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all", "yaml.full_load_all"),
    *("shutil.unpack_archive", "tarfile.open"),
}
FORBIDDEN_METHODS = {"extractall", "extract", "unpack_archive"}
SAFE_LOADERS = {"_Loader", "yaml.SafeLoader", "yaml.CSafeLoader", "SafeLoader"}
# Modules that read what others wrote: there an assert must not stand where a check belongs, for `python -O` leaves it out.
UNTRUSTED = (
    "data/",
    "serve/",
    "backbone/",
    "runtime/",
    "bundle.py",
    "checkpoint.py",
    "needs.py",
    "plan.py",
    "predict.py",
)
ASSERTED = {
    ("data/split.py", "len(np.unique(used)) == len(used)"): "what the lines above it computed: no row in two splits",
    ("needs.py", "value.measured is not None"): "its one caller returned before for what was not measured",
    ("runtime/torch.py", "graph == 'forward'"): "the name is the code's own, never the file's",
    (
        "runtime/onnx.py",
        "program is not None",
    ): "for the type checker: the exporter gives None only where it is told to",
    ("runtime/onnx.py", "os.path.getsize(target) > 0"): "of a file that this process has just written",
}


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def dotted(node):
    """`a.b.c` of a name or an attribute; nothing of other expressions."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def dangers(tree):
    """(line, what) of everything in a module that could run what a file says."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, item.name) for item in node.names if item.name.split(".")[0] in FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{item.name}" for item in node.names]
            yield from ((node.lineno, name) for name in names if name in FORBIDDEN_CALLS | {"yaml.load"})
            if str(node.module).split(".")[0] in FORBIDDEN_MODULES:
                yield node.lineno, node.module
        elif isinstance(node, ast.Call):
            called, given = dotted(node.func), {word.arg: word.value for word in node.keywords}
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if called in FORBIDDEN_CALLS or method in FORBIDDEN_METHODS:
                yield node.lineno, called or method
            if called == "yaml.load" and dotted(given.get("Loader")) not in SAFE_LOADERS:
                yield node.lineno, "yaml.load without a safe loader"
            if called == "np.load" and not is_false(given.get("allow_pickle")):
                yield node.lineno, "np.load without allow_pickle=False"
            for option in ("shell", "trust_remote_code", "allow_pickle"):
                if option in given and not is_false(given[option]):
                    yield node.lineno, f"{option} that is not False"


def is_false(node):
    return isinstance(node, ast.Constant) and node.value is False


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_in_the_source_runs_what_a_file_says(path):
    assert list(dangers(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from marshal import loads",
        "import torch\ntorch.load(path, weights_only=True)",
        "from torch import load",
        "torch.jit.load(path)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
        "archive.extractall(folder)",
        "np.load(path)",
        "AutoModel.from_pretrained(path, trust_remote_code=flag)",
    ],
)
def test_the_check_of_the_source_finds_each_of_them(text):
    assert list(dangers(ast.parse(text)))


def test_no_assert_guards_where_untrusted_files_are_read():
    found = set()
    for path in SOURCES:
        if name_of(path).startswith(UNTRUSTED):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= {
                (name_of(path), ast.unparse(node.test)) for node in ast.walk(tree) if isinstance(node, ast.Assert)
            }
    assert found == set(ASSERTED), (
        "an assert vanishes under python -O: raise an error, or say here why it guards nothing"
    )


WATCH = """
import os, sys
FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.mkdir", "os.rename",
             "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "shutil.", "tempfile.", "ctypes.dlsym/never")
seen = []
def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else False
        if writes and str(path) != os.devnull:
            seen.append((event, str(path)))
    elif event.startswith(FORBIDDEN):
        seen.append((event, str(arguments)[:200]))
sys.addaudithook(watch)
for name in {modules!r}:
    __import__(name)
assert not seen, seen
print(len(sys.modules), "torch" in sys.modules)
"""


def watched_import(*modules):
    code = WATCH.replace("{modules!r}", repr(modules))
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


def test_importing_the_package_opens_no_socket_starts_no_process_and_writes_no_file():
    count, torch = watched_import("sartor")
    assert torch == "False"
    assert int(count) < 200


def test_nor_does_importing_any_light_module():
    heavy = (
        "loop.py",
        "model.py",
        "device.py",
        "adapting.py",
        "activations.py",
        "tuning.py",
        "distilling.py",
        "latencies.py",
        "pruning.py",
        "shaping.py",
        "step/",
        "runtime/torch.py",
        "serve/__main__.py",
        "child.py",
    )
    names = [
        name_of(path).removesuffix(".py").removesuffix("/__init__")
        for path in SOURCES
        if not name_of(path).startswith(heavy)
    ]
    modules = ["sartor" if name == "__init__" else f"sartor.{name.replace('/', '.')}" for name in names]
    assert watched_import(*modules)[1] == "False"


MANY = {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(100_000)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "ends after 0 bytes"),
        (b"\x05\0\0", "ends after 3 bytes"),
        (b"\xff" * 8, "ends after 8 bytes"),
        (tensors()[:20], "ends after 20 bytes"),
        (tensors(header=b" " * 100_000_000), "its header has 100,000,000 bytes"),
        (tensors(header=b" " * MAX_HEADER_BYTES), "not JSON"),
        (tensors(MANY), "its header has"),
        (tensors(dict(list(MANY.items())[:30_000])), "30,000 tensors"),
        (tensors(header=b'{"w": {}'), "not JSON (Expecting"),
        (tensors(header=b"[]"), "not an object"),
        (tensors(header=b'{"\xff": {}}'), "not UTF-8 (byte 11)"),
        (tensors(header=b"[" * 1_000_000), "nested too deep"),
        (tensors(header=b'{"w": ' + json.dumps(NUMBER).encode() + b', "w": {}}'), "names 'w' twice"),
        (tensors(header=b'{"w": {"dtype": "F32", "dtype": "F16"}}'), "names 'dtype' twice"),
        (tensors(header=b'{"w": {"shape": [' + b"9" * 5_000 + b"]}}"), "digits"),
        (tensors({"w": 5}), "no dtype"),
        (tensors({"w": NUMBER | {"dtype": "P64"}}), "no dtype"),
        (tensors({"w": NUMBER | {"dtype": ["F32"]}}), "no dtype"),
        (tensors({"w": NUMBER | {"shape": [-2, -2]}}), "no counts"),
        (tensors({"w": NUMBER | {"shape": [2.0, 2]}}), "no counts"),
        (tensors({"w": NUMBER | {"shape": [True] * 4}}), "no counts"),
        (tensors({"w": NUMBER | {"shape": [1] * 1_000}}), "no counts"),
        (tensors({"w": NUMBER | {"shape": [2**62, 2**62, 4]}}), "not what its shape takes"),
        (tensors({"w": NUMBER | {"data_offsets": [16, 0]}}), "not what its shape takes"),
        (tensors({"w": NUMBER | {"data_offsets": [0]}}), "no dtype"),
        (tensors({"a": NUMBER, "b": NUMBER}), "begins at byte 0"),
        (tensors({"w": NUMBER | {"data_offsets": [8, 24]}}, data=bytes(24)), "begins at byte 8"),
        (tensors(data=bytes(20)), "end at byte 16"),
        (tensors(data=bytes(12)), "end at byte 16"),
        (tensors({"w": NUMBER, "__metadata__": {"a": 1}}), "metadata"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_hostile_weights_are_refused_by_their_header_alone(tmp_path, content, said):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    del content
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        check_safetensors(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.code == "weights.broken"
    assert said in str(caught.value)
    assert peak < 50_000_000


def test_weights_that_are_whole_are_taken(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "model.safetensors"
    held = {"a": np.zeros((3, 4), np.float32), "b": np.zeros(0, np.float16), "c": np.array(1, np.int64)}
    numpy.save_file(held, path, metadata={"format": "pt"})
    check_safetensors(path)
    check_safetensors_of_minilm()


def check_safetensors_of_minilm():
    from sartor.backbone import hub

    if hub.cards():
        check_safetensors(hub.find("minilm") / "model.safetensors")
