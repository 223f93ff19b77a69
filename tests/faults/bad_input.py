"""Everything bad that a user may give: each kind of broken file, configuration and command, with what must be said of it.

`python -m tests.faults.bad_input` runs them all and writes the messages into docs/bad-input.md and docs/zh/bad-input.md.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pickle
import re
import shutil
import socket
import stat
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from sartor import bundle as bundles
from sartor import cli

ROOT = Path(__file__).parents[2]
OUT = "out"  # the folder that no refused build may leave behind


@dataclass(frozen=True)
class Kind:
    """One kind of bad input. make: writes it below a folder and gives the words of the command. said: in the message."""

    name: str
    make: Callable[[Path], list[str]]
    said: tuple[str, ...]
    exit: int = 2
    stdin: str = ""
    as_nobody: bool = False  # root may read everything, so the command must run as somebody else

    @property
    def slug(self) -> str:
        return re.sub(r"\W+", "-", self.name)


@dataclass(frozen=True)
class Answer:
    """What the command did."""

    exit: int
    stdout: str
    stderr: str

    def message(self, kind: Kind) -> str:
        """What a user reads of it: the message, or of rows set aside the line that counts them."""
        if kind.exit == 0:
            told = (self.stdout + self.stderr).splitlines()
            return next((text.strip() for text in told if kind.said[0] in text), "")
        found = re.search(r"^(sartor|Error): ", self.stderr, re.MULTILINE)
        return self.stderr[found.start() if found else 0 :].strip()


# Running


def run(kind: Kind, folder: Path) -> Answer:
    """Makes the input below `folder` and runs the command in this process. No process may start and nothing be computed."""
    return command(kind.make(folder), folder, stdin=kind.stdin, nobody=kind.as_nobody)


def command(words: list[str], folder: Path, *, stdin: str = "", nobody: bool = False) -> Answer:
    """The command line in this process, in that folder; as a user without rights where it is told to."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["sartor", *words]),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(os.fsencode(stdin)), encoding="utf-8")),
        mock.patch("subprocess.Popen", side_effect=AssertionError("a process was started")),
        mock.patch("sartor.hardware.matrix_gflops", return_value=50.0),
        mock.patch.dict(os.environ, {"SARTOR_API_KEY": "", "COLUMNS": "120"}),
        as_nobody(
            nobody
        ),  # the last to begin and the first to end: nobody may be kept out of the folder that one comes back to
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
    return Answer(code if isinstance(code, int) else 1, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def as_nobody(wanted: bool) -> Iterator[None]:
    if not wanted or os.geteuid() != 0:
        yield
        return
    for module in (
        "sartor.line",
        "sartor.display",
    ):  # read as root; nobody may be kept out of the folder that they lie in
        import_module(module)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def folder_for(kind: Kind) -> Iterator[Path]:
    """An empty folder that everybody may enter; what was made unreadable in it is removed all the same."""
    folder = Path(tempfile.mkdtemp(prefix="sartor-bad-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for path in folder.rglob("*"):
            if not path.is_symlink() and path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(folder)


def tree(folder: Path) -> dict[str, object]:
    """What lies below a folder: names with their content, so that nothing made or lost goes unseen."""
    found: dict[str, object] = {}
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place) / name
            mode = path.lstat().st_mode
            held = path.read_bytes() if stat.S_ISREG(mode) and path.stat().st_size < 1_000_000 else mode
            found[str(path.relative_to(folder))] = held
    return found


# Good things, to be broken


def rows(count: int = 60) -> list[tuple[str, str]]:
    """Texts that all differ, with two classes."""
    return [(f"the parcel number {i} came {i % 7} days late again", "late" if i % 2 else "other") for i in range(count)]


def csv_text(count: int = 60, *, header: str = "text,label\n", delimiter: str = ",") -> str:
    return header + "".join(f"{text}{delimiter}{label}\n" for text, label in rows(count))


# A class and a number to be told of texts, and of the cells of a table.
TWO = "text,label,price\n" + "".join(f"{text},{label},{i * 7 % 41 / 4}\n" for i, (text, label) in enumerate(rows()))
CELLS = "age,label,price\n" + "".join(
    f"{i * 13 % 37},{'late' if i % 2 else 'other'},{i * 7 % 41 / 4}\n" for i in range(60)
)


def good(folder: Path, name: str = "good.csv") -> str:
    (folder / name).write_text(csv_text(), encoding="utf-8")
    return str(folder / name)


PLAN = {
    "name": "ngram",
    "steps": [
        {"step": "start", "arguments": {"backbone": "ngram", "leaf": "ngram"}},
        {"step": "fit", "arguments": {}},
        {"step": "export", "arguments": {"runtime": "onnx"}},
    ],
}


@lru_cache
def _template() -> Path:
    """A whole bundle of a constant model, made without training."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    place = Path(tempfile.mkdtemp(prefix="sartor-bundle-"))
    nodes = [helper.make_node("MatMul", ["rows", "w"], ["x"]), helper.make_node("Add", ["x", "b"], ["output_0"])]
    tensors = [
        numpy_helper.from_array(np.zeros((1, 2), dtype=np.float32), "w"),
        numpy_helper.from_array(np.array([0.0, 1.0], dtype=np.float32), "b"),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("output_0", TensorProto.FLOAT, ["batch", 2])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    meta = {
        "schema": bundles.SCHEMA,
        "form": "graphs",
        "name": "constant",
        "threads": 1,
        "inputs": [{"name": "text", "kind": "text"}],
        "heads": [
            {
                "target": "label",
                "task": "classify",
                "output": "output_0",
                "spec": {"classes": ["late", "other"], "counts": [10, 20]},
            }
        ],
        "backbone": {"leaf": "trivial", "ref": "trivial", "owns_weights": True, "outputs": 2},
        "runtime": {
            "name": "onnx",
            "graphs": {"forward": "runtime/onnx/model.onnx"},
            "precision": "float32",
            "batch_invariant": True,
        },
        "examples": [{"text": "where is my parcel"}],
        "fingerprint": "0" * 64,
    }
    with bundles.writing(place / "bundle") as folder:
        (folder / "runtime" / "onnx").mkdir(parents=True)
        (folder / "runtime" / "onnx" / "model.onnx").write_bytes(model.SerializeToString())
        bundles.write_json(folder / "bundle.json", meta)
        bundles.write_json(folder / "report.json", {"exit": 0, "needs": [], "values": [], "reason": "It is constant."})
        (folder / "needs.yaml").write_text("data: gone.csv\nneeds: [accuracy >= 0.9]\n", encoding="utf-8")
    return place / "bundle"


def whole_bundle(folder: Path) -> Path:
    """A bundle in which nothing is wrong."""
    return Path(shutil.copytree(_template(), folder / "bundle"))


def checkpoint(folder: Path, *, config: str | None = None, weights: bytes | None = None) -> Path:
    """A tiny checkpoint in the hub's format; only what is looked at before any compute is in it."""
    place = folder / "encoder"
    place.mkdir()
    told = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 16}
    (place / "config.json").write_text(json.dumps(told) if config is None else config, encoding="utf-8")
    (place / "model.safetensors").write_bytes(tensors() if weights is None else weights)
    return place


def tensors(
    entries: dict[str, object] | None = None, *, data: bytes = b"\0" * 16, header: bytes | None = None
) -> bytes:
    """The bytes of a safetensors file."""
    told = {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}} if entries is None else entries
    header = json.dumps(told).encode() if header is None else header
    return struct.pack("<Q", len(header)) + header + data


class _Gadget:
    """A pickle of it makes a folder when it is opened."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("pickle-was-opened",)


# How kinds are made


def of_data(
    content: str | bytes, *more: str, name: str = "data.csv", verb: str = "audit"
) -> Callable[[Path], list[str]]:
    """A file of this content, given to a verb."""

    def make(folder: Path) -> list[str]:
        raw = content if isinstance(content, bytes) else content.encode("utf-8")
        (folder / name).write_bytes(raw)
        return [verb, str(folder / name), *more]

    return make


def of_needs(text: str | bytes, **files: str) -> Callable[[Path], list[str]]:
    """A needs.yaml beside good data and these CSV files, built."""

    def make(folder: Path) -> list[str]:
        good(folder)
        for name, content in files.items():
            (folder / f"{name}.csv").write_text(content, encoding="utf-8")
        (folder / "needs.yaml").write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return ["build", str(folder / "needs.yaml"), "--out", str(folder / OUT)]

    return make


def of_build(*more: str) -> Callable[[Path], list[str]]:
    """Good data, built with these options."""
    return lambda folder: ["build", good(folder), "--target", "label", "--out", str(folder / OUT), *more]


def of_several(*more: str, plan: str | None = None) -> Callable[[Path], list[str]]:
    """Texts with a class and a number as targets, built with these options and by this plan.json."""

    def make(folder: Path) -> list[str]:
        (folder / "two.csv").write_text(TWO, encoding="utf-8")
        targets = ["--target", "label:classify", "--target", "price:regress"]
        if plan is not None:
            (folder / "plan.json").write_text(plan, encoding="utf-8")
            targets += ["--plan", str(folder / "plan.json")]
        return ["build", str(folder / "two.csv"), *targets, "--out", str(folder / OUT), *more]

    return make


def of_plan(text: str) -> Callable[[Path], list[str]]:
    """Good data, built by this plan.json."""

    def make(folder: Path) -> list[str]:
        (folder / "plan.json").write_text(text, encoding="utf-8")
        return of_build("--plan", str(folder / "plan.json"))(folder)

    return make


def of_steps(*steps: tuple[str, dict[str, object]]) -> Callable[[Path], list[str]]:
    return of_plan(json.dumps({"steps": [{"step": name, "arguments": given} for name, given in steps]}))


def of_backbone(prepare: Callable[[Path], Path]) -> Callable[[Path], list[str]]:
    """Good data, built on the checkpoint that `prepare` makes."""
    return lambda folder: of_build("--backbone", str(prepare(folder)))(folder)


def of_bundle(harm: Callable[[Path], object] | None, *words: str) -> Callable[[Path], list[str]]:
    """A bundle that was harmed, given to a verb: its name, then what follows the bundle."""

    def make(folder: Path) -> list[str]:
        place = whole_bundle(folder)
        if harm is not None:
            harm(place)
        verb, *rest = words
        return [verb, str(place), *(word.format(folder=folder) for word in rest)]

    return make


def resealed(harm: Callable[[dict], object], name: str = "bundle.json") -> Callable[[Path], None]:
    """A file of the bundle changed together with the manifest, as a forger would."""

    def apply(place: Path) -> None:
        told = json.loads((place / name).read_text(encoding="utf-8"))
        harm(told)
        bundles.write_json(place / name, told)
        bundles.seal(place)

    return apply


def manifest(harm: Callable[[dict], object]) -> Callable[[Path], None]:
    def apply(place: Path) -> None:
        told = json.loads((place / bundles.MANIFEST).read_text(encoding="utf-8"))
        harm(told)
        bundles.write_json(place / bundles.MANIFEST, told)

    return apply


def _zip(folder: Path, members: dict[str, bytes], *, link: bool = False) -> list[str]:
    with zipfile.ZipFile(folder / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o120777 if link else 0o100644) << 16
            archive.writestr(info, content)
    return ["audit", str(folder / "data.zip")]


def _parquet(folder: Path, table: pa.Table, *, cut: int = 0) -> list[str]:
    pq.write_table(table, folder / "data.parquet")
    if cut:
        raw = (folder / "data.parquet").read_bytes()
        (folder / "data.parquet").write_bytes(raw[:-cut])
    return ["audit", str(folder / "data.parquet")]


def _parquet_of_bytes(folder: Path) -> list[str]:
    words = _parquet(folder, pa.table({"text": [text for text, _ in rows()], "label": ["x", "y"] * 30}))
    raw = (folder / "data.parquet").read_bytes()
    (folder / "data.parquet").write_bytes(raw.replace(b"parcel", b"par\xff\xfel"))
    return words


def _parts(folder: Path, **texts: str) -> list[str]:
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return ["build", *(word for name in texts for word in (f"--{name}", str(folder / f"{name}.csv")))]


def _unreadable(folder: Path) -> list[str]:
    words = of_data(csv_text())(folder)
    Path(words[1]).chmod(0)
    return words


def _fifo(folder: Path) -> list[str]:
    os.mkfifo(folder / "data.csv")
    return ["audit", str(folder / "data.csv")]


def _dangling(folder: Path) -> list[str]:
    (folder / "data.csv").symlink_to("elsewhere.csv")
    return ["audit", str(folder / "data.csv")]


def _unsupported_zip(folder: Path) -> list[str]:
    words = _zip(folder, {"data.csv": csv_text().encode()})
    raw = bytearray((folder / "data.zip").read_bytes())
    raw[8:10] = (99).to_bytes(2, "little")  # the method of the member, in its own header and in the list
    at = raw.index(b"PK\x01\x02")
    raw[at + 10 : at + 12] = (99).to_bytes(2, "little")
    (folder / "data.zip").write_bytes(raw)
    return words


def _two_tables(folder: Path) -> list[str]:
    (folder / "data").mkdir()
    good(folder / "data", "first.csv")
    good(folder / "data", "second.csv")
    return ["audit", str(folder / "data")]


def _empty_folder(folder: Path) -> list[str]:
    (folder / "data.csv").mkdir()
    return ["audit", str(folder / "data.csv")]


def _out_is_file(folder: Path) -> list[str]:
    (folder / "taken").write_text("years of work", encoding="utf-8")
    return ["build", good(folder), "--target", "label", "--out", str(folder / "taken")]


def _out_not_empty(folder: Path) -> list[str]:
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter.txt").write_text("years of work", encoding="utf-8")
    return ["build", good(folder), "--target", "label", "--out", str(folder / "thesis")]


def _out_read_only(folder: Path) -> list[str]:
    data = good(folder)
    (folder / "shut").mkdir()
    (folder / "shut").chmod(0o555)
    return ["build", data, "--target", "label", "--out", str(folder / "shut" / "model")]


def _out_in_bundle(folder: Path) -> list[str]:
    return ["build", good(folder), "--target", "label", "--out", str(whole_bundle(folder) / "model")]


def _needs_folder(folder: Path) -> list[str]:
    (folder / "needs.yaml").mkdir()
    return ["build", str(folder / "needs.yaml"), "--out", str(folder / OUT)]


_SOCKETS: list[socket.socket] = []


def _taken_port(folder: Path) -> list[str]:
    taken = socket.create_server(("127.0.0.1", 0))
    _SOCKETS.append(taken)  # open until this process ends
    return ["serve", str(whole_bundle(folder)), "--port", str(taken.getsockname()[1])]


def _pickled(folder: Path) -> Path:
    place = checkpoint(folder)
    (place / "model.safetensors").unlink()
    (place / "pytorch_model.bin").write_bytes(pickle.dumps(_Gadget()))
    return place


def _own_code(folder: Path) -> Path:
    place = checkpoint(folder, config=json.dumps({"model_type": "bert", "auto_map": {"AutoModel": "evil.Model"}}))
    (place / "evil.py").write_text("import os; os.mkdir('code-was-run')\n", encoding="utf-8")
    return place


def _own_tokenizer(folder: Path) -> Path:
    place = checkpoint(folder)
    told = {"tokenizer_class": "Evil", "init": [{"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}]}
    (place / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")
    return place


def _bare_folder(folder: Path) -> Path:
    (folder / "encoder").mkdir()
    return folder / "encoder"


def _rows_file(text: str, name: str = "rows.jsonl") -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        (folder / name).write_text(text, encoding="utf-8")
        return ["predict", str(whole_bundle(folder)), str(folder / name)]

    return make


BLANK = "".join(f'"  ","{label}"\n' for _, label in rows())
CHINESE = "".join(f"这家酒店的房间很大、服务也很好、下次还会再来{i}\t{'好' if i % 2 else '坏'}\n" for i in range(60))
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
NUMBER = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}

KINDS: dict[str, list[Kind]] = {
    "Files": [
        Kind("a file that is not there", lambda folder: (good(folder), ["audit", str(folder / "god.csv")])[1], ("no file", "god.csv", "Did you mean 'good.csv'?")),
        Kind("an empty folder", _empty_folder, ("data.csv", "no files", "Name the file")),
        Kind("a folder with two tables", _two_tables, ("2 tables", "first.csv", "second.csv", "Name the file")),
        Kind("an empty file", of_data(""), ("data.csv is empty", "right file")),
        Kind("a file of white space", of_data("  \n\t\n   \n"), ("data.csv is empty", "right file")),
        Kind("only a header", of_data("text,label\n"), ("data.csv", "no rows", "right file")),
        Kind("a name with a line end and a terminal escape", of_data("", name="a\n\x1b[31mb.csv"), (r"a\n\x1b[31mb.csv", "is empty")),
        Kind("a name that is too long", lambda folder: ["audit", str(folder / ("x" * 300 + ".csv"))], ("cannot be opened", "too long", "Check the path")),
        Kind("a file that may not be read", _unreadable, ("data.csv", "cannot be opened", "ermission denied", "permissions"), as_nobody=True),
        Kind("a link that leads nowhere", _dangling, ("data.csv is a link to elsewhere.csv", "Mend the link")),
        Kind("a named pipe", _fifo, ("data.csv is a named pipe", "into a file")),
        Kind("a device", lambda folder: ["audit", "/dev/null"], ("/dev/null is a device", "into a file")),
        Kind("a home that nobody has", lambda folder: ["audit", "~nobody-here/data.csv"], ("no file", "~nobody-here/data.csv")),
        Kind("a hub data set that is not in the cache", lambda folder: ["audit", "nobody/nothing"], ("nobody/nothing", "cannot be had", "give its folder")),
        Kind("an image named .csv", of_data(PNG), ("data.csv is not text", "an image")),
        Kind("a zip archive named .csv", lambda folder: (_zip(folder, {"a.csv": b"x"}), of_data((folder / "data.zip").read_bytes())(folder))[1], ("data.csv is not text", "zip archive", "save the sheet as CSV")),
        Kind("a PDF named .csv", of_data(b"%PDF-1.7\n" + bytes(200)), ("data.csv is not text", "a PDF", "into a CSV")),
        Kind("a pickle named .csv", of_data(pickle.dumps(_Gadget())), ("data.csv is not text", "a pickle", "never read")),
        Kind("a pickle", of_data(pickle.dumps(_Gadget()), name="data.pkl"), ("data.pkl is .pkl", "never read", "Parquet or CSV")),
        Kind("an Excel sheet", of_data(b"PK\x03\x04", name="data.xlsx"), (".xlsx", "Save the sheet as CSV")),
        Kind("a file of unknown kind", of_data("just some words\nand more of them\n" * 20, name="data.dat"), ("data.dat is .dat", "Readable: .csv")),
        Kind("zero bytes in the text", of_data(csv_text(5).encode() + b"\0\0\0\0,late\n" + csv_text(9).encode()), ("data.csv is not text", "a zero byte in line 7", "CSV (UTF-8)")),
        Kind("control characters in the text", of_data(bytes([1, 2, 3, 4]) * 50 + csv_text().encode()), ("data.csv is not text", "control characters", "CSV (UTF-8)")),
        Kind("an encoding that cannot be told", of_data(csv_text(header="текст,класс\n").replace("parcel", "посылка пришла поздно и разбитая, верните деньги пожалуйста").encode("koi8-r")), ("encoding of", "data.csv", "Save it as UTF-8")),
        Kind("a truncated UTF-16 file", of_data(csv_text(30).encode("utf-16")[:-1] + b"\xd8\xd8\xd8" * 3, name="data.csv"), ("encoding of", "data.csv", "UTF-8")),
        Kind("a truncated .gz", of_data(gzip.compress(csv_text().encode())[:-20], name="data.csv.gz"), ("data.csv.gz cannot be read", "complete")),
        Kind("a .gz that is none", of_data(csv_text(), name="data.csv.gz"), ("data.csv.gz cannot be read", "gzip", "complete")),
        Kind("a .gz that is a bomb", of_data(gzip.compress(b"a,b\n" * (28 << 20)), name="data.csv.gz"), ("data.csv.gz is refused", "200 times its size")),
        Kind("a .zip that is none", of_data(csv_text(), name="data.zip"), ("data.zip is refused", "cannot be opened")),
        Kind("a .zip that is a bomb", lambda folder: _zip(folder, {"data.csv": bytes(110 << 20)}), ("data.zip is refused", "times its size")),
        Kind("a .zip with a member outside of it", lambda folder: _zip(folder, {"../data.csv": b"x"}), ("data.zip is refused", "'../data.csv' lies outside")),
        Kind("a .zip with a link in it", lambda folder: _zip(folder, {"data.csv": b"/etc/passwd"}, link=True), ("data.zip is refused", "'data.csv' is a link")),
        Kind("a .zip packed in an unknown way", _unsupported_zip, ("data.zip cannot be read", "compression")),
        Kind("a truncated Parquet file", lambda folder: _parquet(folder, pa.table({"text": ["a b"] * 50, "label": ["x", "y"] * 25}), cut=30), ("data.parquet cannot be read", "Parquet", "complete")),
        Kind("bytes in Parquet that are no text", _parquet_of_bytes, ("data.parquet cannot be read", "UTF8", "complete")),
        Kind("a line of 65 million characters", of_data(b"text,label\n" + b"x" * 68_000_000), ("data.csv is not text", "a line of more than", "line end")),
    ],
    "Rows and columns": [
        Kind("two columns of one name", of_data(csv_text(header="text,text\n")), ("data.csv has several columns called 'text'", "name of its own")),
        Kind("a header shorter than the rows", of_data("text,label\n" + "".join(f"{t},{n},x\n" for t, n in rows())), ("header of 2 names", "3 cells", "every column a name")),
        Kind("10,000 columns", of_data("\n".join(",".join(f"c{i}" if not row else str(i * row) for i in range(10_000)) for row in range(12))), ("10,000 columns", "4,096", "turn the table around")),
        Kind("a target that is not there", of_data(csv_text(), "--target", "lable"), ("no column 'lable'", "Did you mean 'label'?")),
        Kind("no column that could be a target", of_data("".join(f"some words of the number {i} here\n" for i in range(60))), ("No column can be told to be the target", "--target")),
        Kind("several columns that could be the target", of_data("text,colour,size\n" + "".join(f"{t},{'red' if i % 2 else 'blue'},{'big' if i % 3 else 'small'}\n" for i, (t, _) in enumerate(rows()))), ("Several columns could be the target", "'colour'", "'size'", "--target colour")),
        Kind("one class only", of_data("text,label\n" + "".join(f"{t},late\n" for t, _ in rows())), ("'label' cannot be the target", "one value in 60 rows", "at least two values")),
        Kind("every label different", of_data("text,label\n" + "".join(f"{t},class number {i}\n" for i, (t, _) in enumerate(rows())), "--target", "label"), ("'label' cannot be the target", "60 different values in 60 rows", "--target")),
        Kind("no label at all", of_data("text,label\n" + "".join(f"{t},\n" for t, _ in rows()), "--target", "label"), ("'label' cannot be the target", "no value in 0 rows", "mend this one")),
        Kind("a measured number as the classes", of_needs("data: prices.csv\ntarget: price\ntask: classify\n", prices="text,price\n" + "".join(f"{t},{i * 1.37:.2f}\n" for i, (t, _) in enumerate(rows()))), ("'price' cannot be the target", "60 different values", "--target")),
        Kind("words as the number to tell", of_needs("data: good.csv\ntarget: label\ntask: regress\n"), ("'label' cannot be the target", "A target has numbers")),
        Kind("nothing beside the target but one value", of_data("weight,label\n" + "".join(f"3,{n}\n" for _, n in rows()), "--target", "label"), ("Nothing to learn from", "'weight'", "--input")),
        Kind("inputs that are all blank", of_data("text,label\n" + BLANK, "--target", "label"), ("Nothing to learn from", "'text' (nothing)")),
        Kind("an input that is the target", of_build("--input", "label"), ("'label' cannot be input and target",)),
        Kind("an input that is not there", of_build("--input", "txt"), ("no column 'txt'", "Did you mean 'text'?")),
        Kind("blank cells as the input", lambda folder: of_data("text,weight,label\n" + "".join(f"{t},,{n}\n" for t, n in rows()), "--target", "label", "--input", "weight", "--out", str(folder / OUT), verb="build")(folder), ("'weight' cannot be an input",)),
        Kind("too few rows", lambda folder: of_data(csv_text(6), "--target", "label", "--out", str(folder / OUT), verb="build")(folder), ("6 rows", "at least 10", "Label more rows")),
        Kind("a group column that is not there", of_build("--group", "custmer"), ("no column 'custmer'", "The columns are")),
        Kind("parts with different columns", lambda folder: [*_parts(folder, train=csv_text(), test=csv_text(header="body,kind\n")), "--out", str(folder / OUT)], ("test.csv does not fit", "body, kind", "text, label", "same columns")),
        Kind("a part without the target", lambda folder: [*_parts(folder, train=csv_text(), test="text\n" + "".join(f"{t} today\n" for t, _ in rows())), "--target", "label", "--out", str(folder / OUT)], ("test.csv has no column 'label'",)),
        Kind("only a test part", lambda folder: [*_parts(folder, test=csv_text()), "--out", str(folder / OUT)], ("no part to train on", "Give train")),
        Kind("texts that hold the delimiter, without quotes", of_data("text,label\n" + "".join(f"a{', b' * (1 + i % 4)} and number {i},late\n" for i in range(60))), ("60 of the 60 rows", "line 2, has 3 cells where 2", "must stand in quotes")),
        Kind("one row with too many cells", of_data(csv_text() + "one, two, three,late\n"), ("One row could not be read", "line 62", "4 cells where 2"), exit=0),
        Kind("a quote that is never closed", of_data("text,label\n" + "".join(f'"{t}, and again",{n}\n' for t, n in rows()) + '"never closed,late\nmore words here,other\n'), ("One row could not be read", "line 62", "quote"), exit=0),
        Kind("a header in the middle", of_data(csv_text() + csv_text()[: len("text,label\n")] + csv_text(90)[-600:].split("\n", 1)[1]), ("One row could not be read", "line 62", "repeats the header"), exit=0),
        Kind("two files pasted together, with the second's byte-order mark", of_data("\ufeff" + csv_text() + "\ufefftext,label\n" + csv_text(90)[-600:].split("\n", 1)[1]), ("One row could not be read", "line 62", "repeats the header"), exit=0),
        Kind("a row in another encoding", of_data("文本,标签\n".encode() + CHINESE.replace("\t", ",").encode() + b"\xff\xfe\xfa,\xb5\n"), ("One row could not be read", "line 62", "not valid utf-8"), exit=0),
        Kind("a broken character in GB18030", of_data(("文本\t标签\n" + CHINESE).encode("gb18030") + b"\xb7\x0a" + "很好\t好\t好\n".encode("gb18030"), name="data.tsv"), ("line 62",), exit=0),
        Kind("rows without a text", of_data(csv_text() + " ,late\n"), ("One row has nothing in 'text'",), exit=0),
        Kind("rows without a label", of_data(csv_text() + "a parcel that nobody labelled,\n"), ("One row has no 'label'",), exit=0),
        Kind("a class in the test part alone", lambda folder: ["audit", str(_named_parts(folder))], ("1 class in test is not in train", "'broken'"), exit=0),
        Kind("no JSON in a .jsonl", of_data(csv_text(), name="data.jsonl"), ("data.jsonl is not JSON Lines", "line 1", "column 1", "one object per line")),
        Kind("an array of numbers in a .json", of_data("[1, 2, 3]", name="data.json"), ("data.json is not JSON Lines", "line 1", "not a JSON object")),
        Kind("an array that is broken", of_data('[{"text": "a",\n "label": }]', name="data.json"), ("data.json is not JSON Lines", "line 2, column 11")),
        Kind("a broken line of JSON", of_data("".join(json.dumps({"text": t, "label": n}) + "\n" for t, n in rows()) + '{"text": "cut\n', name="data.jsonl"), ("One row could not be read", "line 61", "not JSON"), exit=0),
        Kind("lines of JSON that are mostly broken", of_data('{"text": "a b", "label": "x"}\n' + '{"text": \n' * 9, name="data.jsonl"), ("9 of the 10 rows", "line 2", "one whole JSON object")),
        Kind("JSON nested 100,000 deep", of_data('{"text": ' + "[" * 100_000, name="data.jsonl"), ("data.jsonl is not JSON Lines", "line 1")),
        Kind("Parquet without columns to learn from", lambda folder: [*_parquet(folder, pa.table({"text": [[1], [2]] * 30, "label": ["x", "y"] * 30})), "--target", "label"], ("Nothing to learn from", "lists or objects")),
    ],
    "needs.yaml": [
        Kind("a needs.yaml that is not there", lambda folder: ["build", str(folder / "needs.yaml")], ("needs.yaml cannot be read", "no such file")),
        Kind("a folder called needs.yaml", _needs_folder, ("needs.yaml cannot be read", "not a file")),
        Kind("a needs.yaml of more than 100,000 bytes", of_needs("# " + "x" * 200_000), ("needs.yaml cannot be read", "larger than 100,000 bytes")),
        Kind("a needs.yaml that is not UTF-8", of_needs(b"data: good.csv\ntarget: \xff\xfe\n"), ("not UTF-8", "line 2, byte 9", "save it as UTF-8")),
        Kind("a control character in it", of_needs("data: good.csv\ntarget: la\x07bel\n"), ("control character", "line 2, column 11")),
        Kind("YAML that is broken", of_needs("data: good.csv\nneeds: [accuracy >= 0.9\ntarget: label\n"), ("needs.yaml cannot be read", "line 3, column 7")),
        Kind("a tab that indents", of_needs("data: good.csv\nneeds:\n\t- accuracy >= 0.9\n"), ("needs.yaml cannot be read", "line 3, column 1")),
        Kind("a key given twice", of_needs("data: good.csv\nseed: 1\nseed: 2\n"), ("'seed' is given twice", "line 3, column 1")),
        Kind("a Python tag", of_needs("data: !!python/object/apply:os.mkdir [tag-was-run]\n"), ("the tag", "is not read", "line 1, column 7")),
        Kind("an alias, as bombs are made of", of_needs("data: good.csv\ninput: &a [text]\ntarget: *a\n"), ("aliases are not read", "line 3, column 9")),
        Kind("lists 10,000 deep", of_needs("data: good.csv\nneeds: " + "[" * 10_000), ("nested too deep", "line 2")),
        Kind("a number of 5,000 digits", of_needs("data: good.csv\nseed: " + "9" * 5_000 + "\n"), ("cannot be read", "line 2, column 7", "quotes")),
        Kind("a value of 50,000 characters", of_needs("data: good.csv\ntarget: " + "x" * 50_000 + "\n"), ("more than 10,000 characters", "line 2, column 9")),
        Kind("a day that no month has", of_needs("data: good.csv\ntarget: 2025-02-31\n"), ("'2025-02-31' cannot be read", "line 2, column 9", "quotes")),
        Kind("a list of needs.yaml's keys", of_needs("- data: good.csv\n"), ("holds no keys", "data: FILE")),
        Kind("a key that there is not", of_needs("data: good.csv\nbudgte: 5m\n"), ("no key 'budgte'", "Did you mean 'budget'?")),
        Kind("no data", of_needs("target: label\n"), ("No data is named", "Give a file")),
        Kind("a number as data", of_needs("data: 5\n"), ("data takes", "found 5")),
        Kind("a part that there is not", of_needs("data: {train: good.csv, tset: good.csv}\n"), ("'tset'", "Did you mean 'test'?")),
        Kind("a mapping as needs", of_needs("data: good.csv\nneeds: {accuracy: 0.9}\n"), ("needs takes a list", "accuracy >= 0.9")),
        Kind("a number as needs", of_needs("data: good.csv\nneeds: 5\n"), ("needs takes a list", "found 5")),
        Kind("an empty list of inputs", of_needs("data: good.csv\ninput: []\n"), ("input takes a column or a list of columns",)),
        Kind("a list as the target", of_needs("data: good.csv\ntarget: [label]\n"), ("target takes text", "['label']")),
        Kind("a number as the task of a target", of_needs("data: good.csv\ntarget: {label: 5}\n"), ("target takes text, or {COLUMN: TASK", "{'label': 5}")),
        Kind("a task that there is not, of one of several targets", of_needs("data: good.csv\ntarget: {label: classfy, text: regress}\n"), ("no task called 'classfy'", "Did you mean 'classify'?")),
        Kind("one task beside several targets", of_needs("data: good.csv\ntarget: {label: classify, text: classify}\ntask: classify\n"), ("beside targets that may each have their own", "{label: classify}")),
        Kind("a target called error beside another", of_needs("data: good.csv\ntarget: {label: classify, error: classify}\n"), ("cannot be called 'error'", "Rename the column")),
        Kind("several targets that are not there or cannot be one", of_needs("data: two.csv\ntarget: {lable: classify, text: regress}\ninput: text\n", two=TWO), ("no column 'lable'", "Did you mean 'label'?", "'text' cannot be input and target")),
        Kind("several targets of a table alone", of_needs("data: cells.csv\ntarget: {label: classify, price: regress}\n", cells=CELLS), ("No backbone that is at hand", "'label', 'price'", "a model for each target")),
        Kind("a task that there is not", of_needs("data: good.csv\ntask: classfy\n"), ("no task called 'classfy'", "Did you mean 'classify'?")),
        Kind("everything wrong at once", of_needs("data: good.csv\nneeds: [acuracy >= 0.9]\nbudget: soon\nseed: -1\nhardware: gpu\n"), ("acuracy", "'soon'", "found -1", "cpu:N")),
    ],
    "Needs": [
        Kind("a measure that is misspelt", of_build("--need", "acuracy >= 0.9"), ("no measure 'acuracy'", "Did you mean 'accuracy'?")),
        Kind("a need without an operator", of_build("--need", "accuracy 0.9"), ("one of >= <= > <", "^")),
        Kind("a need without a number", of_build("--need", "accuracy >= high"), ("a number is expected", "^")),
        Kind("an empty need", of_build("--need", " "), ("a measure", "^")),
        Kind("a need of 1,000 characters", of_build("--need", "accuracy >= 0.9" + " or" * 400), ("at most 500 characters",)),
        Kind("a share of 90", of_build("--need", "accuracy >= 90"), ("out of range", "Did you mean 90%?")),
        Kind("a latency below 0", of_build("--need", "latency_p95 <= -5 ms"), ("out of range", "above 0")),
        Kind("a limit beyond all numbers", of_build("--need", "log_loss <= 1e999"), ("out of range",)),
        Kind("the wrong direction", of_build("--need", "accuracy <= 0.9"), ("higher is better", "Write >=")),
        Kind("the wrong unit", of_build("--need", "latency_p95 <= 10 MB"), ("one of ms, s", "^")),
        Kind("no unit", of_build("--need", "size <= 40"), ("one of B, kB", "^")),
        Kind("one measure limited twice", of_build("--need", "accuracy >= 0.9", "--need", "accuracy >= 0.8"), ("accuracy is limited twice", "'accuracy >= 0.9'", "'accuracy >= 0.8'", "Keep the one")),
        Kind("a class that is not there", of_build("--need", "recall for lat >= 0.9"), ("no class 'lat'", "Did you mean 'late'?")),
        Kind("a need for a target that is not named", of_build("--need", "labl.accuracy >= 0.9"), ("no target 'labl'", "Did you mean 'label'?", "The targets are: 'label'")),
        Kind("a need that does not say which of several targets", of_several("--need", "mae <= 3"), ("does not say which of the targets", "price.mae")),
        Kind("a latency of one target", of_build("--need", "label.latency_p95 <= 10 ms"), ("of the whole model", "Write: latency_p95 <= 10 ms")),
        Kind("a measure of a class without one", of_build("--need", "recall >= 0.9"), ("is of one class", "for urgent")),
        Kind("a number of clients that is none", of_build("--need", "latency_p95 <= 10 ms at concurrency ²"), ("whole number of clients", "^")),
        Kind("a slice by a column that is not there", of_build("--need", "accuracy where lang == zh >= 0.9"), ("no column 'lang'", "The columns are")),
        Kind("a slice by a value that is not there", of_build("--need", "accuracy where label == lat >= 0.9"), ("No row has 'lat'", "'late'")),
        Kind("a coverage above 1", of_build("--need", "accuracy >= 0.9 at coverage >= 2"), ("out of range", "coverage")),
        Kind("a limit relative to nothing", of_build("--need", "accuracy >= baseline"), ("by how much",)),
    ],
    "Options of a build": [
        Kind("a budget of words", of_build("--budget", "soon"), ("'soon' is no length of time", "20m")),
        Kind("a budget of nothing", of_build("--budget", "0s"), ("'0s' is no length of time", "20m")),
        Kind("a budget below nothing", of_build("--budget", "-5m"), ("'-5m' is no length of time",)),
        Kind("a budget of 100 years", of_build("--budget", "876000h"), ("at most 366 days", "876000h")),
        Kind("a GPU as hardware", of_build("--hardware", "gpu"), ("hardware takes cpu:N", "'gpu'")),
        Kind("a confidence above 1", of_build("--confidence", "1.5"), ("confidence takes a number from 0.6 to below 1", "1.5")),
        Kind("a seed of letters", of_build("--seed", "x"), ("--seed", "valid integer")),
        Kind("a seed below 0", of_build("--seed", "-3"), ("seed takes a whole number from 0", "-3")),
        Kind("a seed that is too large", of_build("--seed", "99999999999"), ("seed takes a whole number from 0", "99999999999")),
        Kind("a measure to prefer that does not say its target", of_several("--prefer", "mae"), ("'mae' cannot be preferred", "Did you mean 'price.mae'?")),
        Kind("a measure to prefer that there is not", of_build("--prefer", "sped"), ("'sped' cannot be preferred", "There is: ")),
        Kind("--set without a value", of_build("--set", "seed"), ("--set takes KEY=VALUE", "'seed'")),
        Kind("--set with broken YAML", of_build("--set", "needs=[accuracy >= 0.9"), ("--set needs", "line 1, column")),
        Kind("--set of a key that there is not", of_build("--set", "sead=3"), ("no key 'sead'", "Did you mean 'seed'?")),
        Kind("--out that is a file", _out_is_file, ("Nothing can be written to", "taken", "another --out")),
        Kind("--out with other files in it", _out_not_empty, ("thesis holds other files", "another --out")),
        Kind("--out that may not be written", _out_read_only, ("Nothing can be written to", "another --out"), as_nobody=True),
        Kind("--out inside a bundle", _out_in_bundle, ("lies inside the bundle", "another folder")),
        Kind("a name for --out that is too long", lambda folder: ["build", good(folder), "--target", "label", "--out", str(folder / ("x" * 300))], ("Nothing can be written to", "too long", "another --out")),
        Kind("bytes that are not UTF-8 in a name", lambda folder: ["audit", os.fsdecode(b"caf\xe9.csv")], ("not valid UTF-8", "Rename the file")),
    ],
    "Plans": [
        Kind("a plan that is not there", of_build("--plan", "nowhere.json"), ("nowhere.json cannot be read as a plan", "No such file")),
        Kind("a plan that is no JSON", of_plan('{"steps": [\n  {"step": }]}'), ("plan.json cannot be read as a plan", "line 2, column 12")),
        Kind("a plan without steps", of_plan('{"name": "x"}'), ("plan.json cannot be read as a plan", "no key 'steps'")),
        Kind("a plan that is a list", of_plan("[1, 2]"), ("plan.json cannot be read as a plan", "form of a plan")),
        Kind("a plan of no steps", of_plan('{"steps": []}'), ("ends with no step at all", "export")),
        Kind("a step that there is not", of_steps(("strat", {"backbone": "ngram", "leaf": "ngram"})), ("no step called 'strat'", "Did you mean 'start'?")),
        Kind("a step that is a number", of_plan('{"steps": [{"step": 5}]}'), ("plan.json cannot be read as a plan", "not a text")),
        Kind("steps in the wrong order", of_steps(("fit", {}), ("start", {"backbone": "ngram", "leaf": "ngram"})), ("the step 'fit' takes", "gives ''")),
        Kind("a plan that ends before its export", of_steps(("start", {"backbone": "ngram", "leaf": "ngram"}), ("fit", {})), ("ends with 'weights'", "step export")),
        Kind("an argument that a step does not take", of_plan(json.dumps(PLAN).replace('"runtime"', '"runtim"')), ("'export'", "takes no 'runtim'", "Did you mean 'runtime'?")),
        Kind("an argument of the wrong type", of_steps(("start", {"backbone": "ngram", "leaf": "ngram"}), ("fit", {"bf16": "yes"}), ("export", {})), ("'fit'", "takes bool as 'bf16'", "'yes'")),
        Kind("a start without a backbone", of_steps(("start", {"leaf": "ngram"}), ("fit", {}), ("export", {})), ("'start'", "backbone", "None")),
        Kind("a backbone leaf that there is not", of_plan(json.dumps(PLAN).replace('"leaf": "ngram"', '"leaf": "ngrams"')), ("no backbone called 'ngrams'", "Did you mean 'ngram'?")),
        Kind("a plan for one target, of several", of_several(plan=json.dumps(PLAN)), ("the backbone 'ngram' makes models of one target", "'label', 'price'")),
        Kind("a runtime that there is not", of_plan(json.dumps(PLAN).replace('"onnx"', '"onx"')), ("no runtime called 'onx'", "Did you mean 'onnx'?")),
        Kind("a graph for the runtime of several models", of_plan(json.dumps(PLAN).replace('"onnx"', '"cascade"')), ("a runtime of one model's graphs", "found 'cascade'")),
    ],
    "Backbones": [
        Kind("a backbone that is not there", of_build("--backbone", "nobody/nothing"), ("'nobody/nothing' cannot be used", "local folder")),
        Kind("a backbone of one target for several", of_several("--backbone", "ngram"), ("'ngram' learns one target", "'label', 'price'", "trained by gradients")),
        Kind("a folder without a configuration", of_backbone(_bare_folder), ("no config.json", "local folder")),
        Kind("pickled weights alone", of_backbone(_pickled), ("no model.safetensors", "never loaded", "convert them")),
        Kind("a configuration that is no JSON", of_backbone(lambda folder: checkpoint(folder, config="{\n  'model_type': 'bert'}")), ("config.json", "line 2, column 3")),
        Kind("a configuration that is a list", of_backbone(lambda folder: checkpoint(folder, config="[]")), ("config.json", "Fetch it again")),
        Kind("a family that is not supported", of_backbone(lambda folder: checkpoint(folder, config='{"model_type": "gpt2"}')), ("family 'gpt2'", "Supported: ", "bert")),
        Kind("a size that is none", of_backbone(lambda folder: checkpoint(folder, config='{"model_type": "bert", "hidden_size": "wide"}')), ("'wide' as hidden_size", "no size")),
        Kind("code of its own (auto_map)", of_backbone(_own_code), ("auto_map in config.json", "never run", "supported family")),
        Kind("a tokeniser with code of its own", of_backbone(_own_tokenizer), ("auto_map in tokenizer_config.json", "never run")),
        Kind("truncated weights", of_backbone(lambda folder: checkpoint(folder, weights=tensors()[:-5])), ("model.safetensors is refused", "end at byte")),
        Kind("weights that end in their header", of_backbone(lambda folder: checkpoint(folder, weights=tensors()[:30])), ("model.safetensors is refused", "ends after 30 bytes")),
        Kind("weights with a header of 100 MB", of_backbone(lambda folder: checkpoint(folder, weights=tensors(header=b" " * 100_000_000, data=b""))), ("model.safetensors is refused", "its header has 100,000,000 bytes")),
        Kind("weights that overlap", of_backbone(lambda folder: checkpoint(folder, weights=tensors({"a": NUMBER, "b": NUMBER}))), ("model.safetensors is refused", "'b' begins at byte 0", "16 is expected")),
    ],
    "Bundles": [
        Kind("a folder that is no bundle", lambda folder: ["predict", str(folder), "hello"], ("is not a bundle", "no MANIFEST.json", "sartor build DATA")),
        Kind("a bundle that is a file", lambda folder: ["report", good(folder)], ("is not a bundle", "no MANIFEST.json")),
        Kind("a byte changed", of_bundle(lambda place: (place / "runtime/onnx/model.onnx").write_bytes(b"x" * 99), "predict", "hello"), ("not what was built", "runtime/onnx/model.onnx was changed", "Build it again")),
        Kind("a file missing", of_bundle(lambda place: (place / "report.json").unlink(), "report"), ("not what was built", "report.json is missing")),
        Kind("a file added", of_bundle(lambda place: (place / "run.py").write_text("x"), "verify"), ("not what was built", "run.py was added")),
        Kind("a link to a folder added", of_bundle(lambda place: (place / "more").symlink_to("/etc"), "verify"), ("not what was built", "more was added")),
        Kind("a file that is a link to another place", of_bundle(lambda place: ((place / "report.json").unlink(), (place / "report.json").symlink_to("/etc/hostname")), "report"), ("report.json", "lies outside")),
        Kind("a manifest that is no JSON", of_bundle(lambda place: (place / bundles.MANIFEST).write_text("{"), "predict", "hello"), ("MANIFEST.json was changed",)),
        Kind("a manifest that is a list", of_bundle(lambda place: (place / bundles.MANIFEST).write_text("[1]"), "predict", "hello"), ("MANIFEST.json was changed",)),
        Kind("a manifest that names a file outside", of_bundle(manifest(lambda told: told["files"].update({"../secret": {"bytes": 1, "sha256": "0"}})), "explain", "hello"), ("'../secret'", "lies outside", "refused")),
        Kind("a manifest with a zero byte in a name", of_bundle(manifest(lambda told: told["files"].update({"a\0b": {"bytes": 1, "sha256": "0"}})), "serve"), ("lies outside", "refused")),
        Kind("a schema of the future", of_bundle(resealed(lambda told: told.update(schema=99)), "predict", "hello"), ("schema 99", "reads schema 1", "newer Sartor")),
        Kind("a bundle.json that is a list, resealed", of_bundle(lambda place: ((place / "bundle.json").write_text("[1]"), bundles.seal(place)), "predict", "hello"), ("bundle.json is not an object", "Build it again")),
        Kind("a bundle.json without inputs, resealed", of_bundle(resealed(lambda told: told.pop("inputs")), "predict", "hello"), ("cannot be used", "inputs")),
        Kind("a graph outside of the bundle, resealed", of_bundle(resealed(lambda told: told["runtime"].update(graphs={"forward": "../../etc/passwd"})), "predict", "hello"), ("'../../etc/passwd'", "lies outside")),
        Kind("a graph that is no ONNX, resealed", of_bundle(lambda place: ((place / "runtime/onnx/model.onnx").write_bytes(b"no graph"), bundles.seal(place)), "predict", "hello"), ("cannot be used", "Build it again")),
        Kind("hostile weights in a bundle, resealed", of_bundle(lambda place: ((place / "model.safetensors").write_bytes(tensors()[:-1]), bundles.seal(place)), "predict", "hello"), ("model.safetensors is refused",)),
        Kind("a report that is broken, resealed", of_bundle(resealed(lambda told: told.pop("needs"), "report.json"), "report"), ("report of", "no 'needs'", "sartor verify")),
        Kind("a report in a language that there is not", of_bundle(None, "report", "--lang", "fr"), ("--lang takes en or zh", "'fr'")),
        Kind("a page where nothing can be written", of_bundle(None, "report", "--html", "nowhere/page.html"), ("page cannot be written", "nowhere/page.html", "another --html")),
        Kind("a page inside of the bundle", of_bundle(None, "report", "--html", "{folder}/bundle/new.html"), ("lies inside the bundle", "another folder")),
        Kind("data that is gone, to verify on", of_bundle(None, "verify"), ("is not here", "gone.csv", "Name the file")),
        Kind("other classes, to verify on", lambda folder: [*of_bundle(None, "verify")(folder), *of_data(csv_text().replace("late\n", "good\n").replace("other\n", "bad\n"))(folder)[1:]], ("None of the classes in column 'label'", "'good'", "'late', 'other'")),
        Kind("other columns, to verify on", lambda folder: [*of_bundle(None, "verify")(folder), *of_data(csv_text(header="body,kind\n"))(folder)[1:]], ("no column 'text'", "The columns are")),
        Kind("an export of nothing", of_bundle(None, "export"), ("Say what to export", "--deploy")),
        Kind("an export to a runtime that there is not", of_bundle(None, "export", "--to", "tensorrt"), ("no runtime called 'tensorrt'", "There is")),
        Kind("an export to the runtime of several models", of_bundle(None, "export", "--to", "cascade"), ("no runtime called 'cascade'", "There is: onnx")),
        Kind("an export of weights that are not there", of_bundle(None, "export", "--to", "torch", "--out", "{folder}/torch"), ("no weights of its own to export",)),
        Kind("an export over other files", lambda folder: [*of_bundle(None, "export", "--deploy")(folder), good(folder)], ("good.csv exists already", "another folder")),
        Kind("an export into the bundle itself", of_bundle(None, "export", "--deploy", "{folder}/bundle/small"), ("lies inside the bundle",)),
        Kind("an export below a file", lambda folder: [*of_bundle(None, "export", "--deploy")(folder), good(folder) + "/small"], ("Nothing can be written to", "another folder")),
    ],
    "Rows to answer": [
        Kind("a file of rows that is not there", of_bundle(None, "predict", "{folder}/rows.csv"), ("no file", "rows.csv")),
        Kind("a file of rows that is empty", _rows_file(""), ("rows.jsonl is empty",)),
        Kind("rows without the column", _rows_file("body\nhello there you\nand you there\n", "rows.csv"), ("2 of 2 rows could not be answered", "no column 'text'"), exit=0),
        Kind("a row of a number", of_bundle(None, "predict", '{{"text": 5}}'), ("1 of 1 rows could not be answered", "a number"), exit=0),
        Kind("a row with a text of a million characters", of_bundle(None, "predict"), ("1 of 1 rows could not be answered", "1,000,000 characters"), exit=0, stdin="x" * 1_000_001),
        Kind("standard input that is not UTF-8", of_bundle(None, "predict"), ("standard input", "Save it as UTF-8"), stdin="caf\udce9\n"),
        Kind("an answer to explain of a target that there is not", of_bundle(None, "explain", "hello there", "--target", "lable"), ("no 'lable'", "Did you mean 'label'?")),
        Kind("a row to explain without the column", of_bundle(None, "explain", '{{"txet": "hello"}}'), ("no column 'text'", "Did you mean 'txet'?")),
    ],
    "Serving": [
        Kind("a port in use", _taken_port, ("Cannot listen on", "in use", "port 0 takes a free one")),
        Kind("a port beyond all ports", of_bundle(None, "serve", "--port", "99999"), ("Cannot listen on", "0-65535", "port 0 takes a free one")),
        Kind("a host for everybody, without a key", of_bundle(None, "serve", "--host", "::"), ("no key is set", "SARTOR_API_KEY", "--insecure")),
        Kind("a host that is none", of_bundle(None, "serve", "--host", "no..where", "--insecure"), ("Cannot listen on no..where", "port 0 takes a free one")),
        Kind("threads below 1", of_bundle(None, "serve", "--threads", "-1"), ("--threads takes a number from 1", "-1")),
        Kind("a model that is not whole", of_bundle(lambda place: (place / "runtime/onnx/model.onnx").unlink(), "serve", "--port", "0"), ("not what was built", "model.onnx is missing")),
    ],
    "Commands": [
        Kind("no verb", lambda folder: [], ("Usage: sartor",)),
        Kind("a verb that is misspelt", lambda folder: ["biuld"], ("No such command 'biuld'", "build")),
        Kind("an option that is misspelt", lambda folder: ["build", "--traget", "x"], ("No such option", "--traget", "--target")),
        Kind("an option without its value", lambda folder: ["build", "--target"], ("--target", "requires an argument")),
        Kind("an argument missing", lambda folder: ["predict"], ("Missing argument",)),
        Kind("an argument too many", lambda folder: ["doctor", "now"], ("unexpected extra argument", "now")),
        Kind("rows to label for several targets", lambda folder: ["label", good(folder), "--unlabelled", good(folder), "--target", "label", "--target", "text"], ("chosen for one target", "'label', 'text'", "--target")),
        Kind("a build of nothing", lambda folder: ["build"], ("No data is named", "Give a file")),
    ],
}  # fmt: skip
EVERY = [kind for kinds in KINDS.values() for kind in kinds]


def _named_parts(folder: Path) -> Path:
    place = folder / "data"
    place.mkdir()
    (place / "train.csv").write_text(csv_text(), encoding="utf-8")
    (place / "test.csv").write_text(
        csv_text(90)[-900:].split("\n", 1)[1] + "a new one that broke,broken\n", encoding="utf-8"
    )
    return place


# The table for users

TITLES = {
    "Files": "文件",
    "Rows and columns": "行与列",
    "needs.yaml": "needs.yaml",
    "Needs": "需求",
    "Options of a build": "构建的选项",
    "Plans": "计划",
    "Backbones": "骨干",
    "Bundles": "模型包",
    "Rows to answer": "要回答的行",
    "Serving": "服务",
    "Commands": "命令",
}
MARK = "<!-- messages -->"
PAGES = (ROOT / "docs" / "bad-input.md", ROOT / "docs" / "zh" / "bad-input.md")


def kinds_in(page: str) -> list[str]:
    """The kinds that a written table has."""
    return re.findall(r"^\| ([^|]*?) \| ", page, re.MULTILINE)


def write() -> None:
    """Runs every kind and writes its message into both pages."""
    messages = {}
    for kind in EVERY:
        with folder_for(kind) as folder:
            shown = (
                run(kind, folder)
                .message(kind)
                .replace(f"{folder}/", "")
                .replace(str(folder), "FOLDER")
                .replace(str(Path.home()), "~")
            )
            messages[kind.name] = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8000", shown)
    for page, heads in zip(PAGES, ({name: name for name in TITLES}, TITLES), strict=True):
        columns = "| what is given | what is said |" if page.parent.name == "docs" else "| 给出的内容 | 提示 |"
        lines = []
        for group, kinds in KINDS.items():
            lines += ["", f"## {heads[group]}", "", columns, "|---|---|"]
            lines += [f"| {kind.name} | {_cell(messages[kind.name])} |" for kind in kinds]
        before = page.read_text(encoding="utf-8").split(MARK)[0]
        page.write_text(f"{before}{MARK}\n" + "\n".join(lines) + "\n", encoding="utf-8")
        print(page.relative_to(ROOT))


def _cell(message: str) -> str:
    text = re.sub(r"x{40,}", "xxx…", message.removeprefix("sartor: ").split("\n\n")[0])
    for character in "\\|<>*_[]`":
        text = text.replace(character, f"\\{character}")
    lines = [
        f"<code>{line.replace(' ', '&nbsp;')}</code>" if line.startswith("  ") else line for line in text.split("\n")
    ]
    return "<br>".join(lines)


if __name__ == "__main__":
    write()
