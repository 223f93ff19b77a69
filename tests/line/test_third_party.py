"""One leaf of each kind from a package of its own (tests/plugin) goes down the whole line, with no line of Sartor touched."""

from __future__ import annotations

import csv
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sartor
from sartor import bundle as bundles
from sartor import measure
from sartor.plan import source_digest

PLUGIN = Path(__file__).parent.parent / "plugin"
NEEDS = ["accuracy >= 0.8", "brier <= 0.15", "latency_p95 <= 200 ms", "size <= 1 MB"]
PLAN = {
    "name": "kmer on a grid",
    "steps": [
        {"step": "start", "arguments": {"backbone": "kmer", "leaf": "kmer"}},
        {"step": "fit"},
        {"step": "shrink", "arguments": {"bits": 5}},
        {"step": "export", "arguments": {"runtime": "npz"}},
    ],
}
FOREIGN = {"modality": "dna", "task": "yesno", "backbone": "kmer", "step": "shrink", "runtime": "npz"}
MOTIF = "TATAAAAGGC"


def sequences(rows, seed):
    """(DNA, whether it holds a promoter's motif); one motif in four has a letter at random, one row in thirty is mislabelled."""
    rng = random.Random(seed)
    made = []
    for _ in range(rows):
        letters = rng.choices("ACGT", k=rng.randint(45, 90))
        promoter = rng.random() < 0.5
        if promoter:
            motif = list(MOTIF)
            if rng.random() < 0.25:
                motif[rng.randrange(len(motif))] = rng.choice("ACGTN")
            begin = rng.randrange(len(letters) - len(motif))
            letters[begin : begin + len(motif)] = motif
        text = "".join(letters)
        made.append((text.lower() if rng.random() < 0.1 else text, promoter != (rng.random() < 1 / 30)))
    return made


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "sequence", "promoter"])
        writer.writerows((f"s{n}", text, "yes" if told else "no") for n, (text, told) in enumerate(rows))
    return path


@pytest.fixture(scope="module")
def dna_csv(tmp_path_factory):
    """1,200 rows, six of which hold letters that are none of DNA's."""
    rows = sequences(1200, 0)
    for n in range(0, 1200, 200):
        rows[n] = ("XX" + rows[n][0], rows[n][1])
    return write(tmp_path_factory.mktemp("dna") / "promoters.csv", rows)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the installed package."""
    folder = tmp_path_factory.mktemp("third-party")
    source = shutil.copytree(PLUGIN, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "site"), str(source)]
    subprocess.run(command, check=True, timeout=120)
    return folder / "site"


@pytest.fixture(scope="module")
def installed(site):
    """Until the module's tests are done, child processes see the installed package, and this process does not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")])))
        yield site


def run(*words, given=None):
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=300, input=given)


def command(*words):
    return run("-m", "sartor.cli", *words)


def answers(bundle, rows):
    done = run("-m", "sartor.cli", "predict", bundle, "--json", given="\n".join(rows))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def built(installed, dna_csv, tmp_path_factory):
    """A build of the plan from the command line: (its folder, what the process said)."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "plan.json").write_text(json.dumps(PLAN), encoding="utf-8")
    limits = [word for text in NEEDS for word in ("--need", text)]
    task = ["--target", "promoter", "--task", "yesno", "--hardware", "cpu:1"]
    done = command("build", dna_csv, *task, *limits, "--plan", folder / "plan.json", "--out", folder / "promoters")
    return folder / "promoters", done


def record_of(out):
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


def test_sartor_itself_is_the_same_with_the_package_installed(installed):
    code = "import sartor, sartor.plan as p; print(sartor.__file__, p.source_digest())"
    assert run("-c", code).stdout.split() == [sartor.__file__, source_digest()]
    assert not (installed / "sartor").exists()
    for file in Path(sartor.__file__).parent.rglob("*.py"):
        assert "sartor_kmer" not in file.read_text(encoding="utf-8"), file


def test_every_contract_holds_for_every_leaf_of_the_package(installed):
    file = Path(__file__).parent.parent / "contract" / "test_leaves.py"
    done = run("-m", "pytest", "-vv", "-p", "no:cacheprovider", file)
    assert done.returncode == 0, done.stdout
    for kind, name in FOREIGN.items():
        assert f"[{kind}-{name}] PASSED" in done.stdout, (kind, name)


def test_a_build_of_foreign_leaves_alone_meets_its_needs(built):
    out, done = built
    assert done.returncode == 0, done.stdout + done.stderr
    record = record_of(out)
    assert {need["measure"]: need["verdict"] for need in record["needs"]} == {
        "accuracy": "met",
        "brier": "met",
        "latency_p95": "met",
        "size": "met",
    }
    meta = json.loads((out / "bundle.json").read_text(encoding="utf-8"))
    assert meta["inputs"] == [{"name": "sequence", "kind": "dna"}]
    assert meta["heads"][0]["task"] == "yesno"
    assert meta["backbone"]["leaf"] == "kmer"
    assert meta["runtime"]["name"] == "npz"
    (candidate,) = record["candidates"]
    assert candidate["notes"]["shrink"]["bits"] == 5
    assert 0 < candidate["notes"]["shrink"]["moved_steps"] <= 0.51
    assert {finding["code"] for finding in record["findings"]} >= {"dna.letters"}


def test_the_report_of_such_a_build_is_drawn(built):
    out, _ = built
    page = (out / "report.html").read_text(encoding="utf-8")
    for said in ("brier", "kmer on a grid", "ACGTN", 'id="confusion"'):
        assert said in page, said
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag" not in card
    assert "brier" in card


def test_verify_measures_the_same_on_the_same_rows(built):
    out, _ = built
    done = command("verify", out, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    before = {need["measure"]: need["measured"] for need in record_of(out)["needs"]}
    again = {need["measure"]: need["measured"] for need in json.loads(done.stdout)["needs"]}
    for name in ("accuracy", "brier", "size"):
        assert again[name] == before[name], name


def test_the_server_answers_as_the_predictor_does(built):
    out, _ = built
    rows = [text for text, _ in sequences(40, 7)] + ["NOT DNA"]
    expected = answers(out, rows)
    assert [sorted(answer) for answer in expected] == [["probability", "yes"]] * 40 + [["error"]]
    with measure.served(out, threads=1) as address:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=60)

        def ask(payload):
            connection.request("POST", "/predict", json.dumps(payload), {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

        assert ask({"rows": [{"sequence": row} for row in rows]}) == (200, {"answers": expected})
        # A row's answer never depends on the rows beside it, to the last bit.
        assert [ask({"sequence": row})[1] for row in rows] == expected
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()


def test_explain_finds_the_motif(built):
    out, _ = built
    row = "GCGC" * 6 + "TATAAAAGGCGC" + "GCGC" * 6
    done = command("explain", out, row, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["answer"]["yes"] is True
    strongest = max(found["parts"], key=lambda part: part["weight"])
    assert 20 <= strongest["begin"] <= 32
    assert strongest["weight"] > 0
    assert command("explain", out, row).returncode == 0


def test_what_is_deployed_or_exported_again_answers_as_before(built, tmp_path):
    out, _ = built
    assert command("export", out, "--deploy", tmp_path / "deployed").returncode == 0
    assert command("export", out, "--to", "torch", "--out", tmp_path / "torch").returncode == 0
    rows = [text for text, _ in sequences(20, 8)]
    before, small, torch = (answers(path, rows) for path in (out, tmp_path / "deployed", tmp_path / "torch"))
    assert small == before
    for one, two in zip(torch, before, strict=True):
        assert one["yes"] == two["yes"]
        assert one["probability"] == pytest.approx(two["probability"], abs=1e-5)


def test_rounded_weights_make_a_smaller_file(built):
    files = bundles.load(built[0]).manifest["files"]
    assert files["runtime/npz/model.npz"]["bytes"] < 0.5 * files["model.safetensors"]["bytes"]


def test_without_a_plan_the_planner_tries_the_backbone_that_reads_dna(installed, dna_csv, tmp_path):
    out = tmp_path / "automatic"
    need = ["--need", "accuracy >= 0.8", "--hardware", "cpu:1"]
    done = command("build", dna_csv, "--target", "promoter", *need, "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    record = record_of(out)
    assert {c["id"]: c["status"] for c in record["candidates"]} == {"majority": "measured", "kmer": "measured"}
    assert record["chosen"] == "kmer"
    assert any("reads as dna" in note for note in record["data"]["notes"])


TRAIN = """
import sys
from pathlib import Path
import numpy as np
from sartor import follow, leaves, predict
from sartor.data import read, split, store
from sartor.plan import Move, Plan

data, folder = sys.argv[1], Path(sys.argv[2])
dataset = read.read(data, target="good", task="yesno")
splits = split.split(dataset, target="good", task="yesno")
store.save(dataset, splits, folder / "data")
made_of = {"seed": 0, "inputs": [{"name": "text", "kind": "text"}], "targets": {"good": "yesno"}}
moves = [
    Move("start", {"backbone": "minilm", "max_tokens": 32}),
    Move("fit", {}),
    Move("train", {"epochs": 1}),
    Move("shrink", {"bits": 8}),
]
bundle = follow.follow(
    Plan("crossed", tuple(moves)), data=folder / "data", cache=folder / "cache", made_of=made_of, threads=1
)
test = leaves.load("task", "yesno").examples(dataset, splits.test, "good")
answers = predict.load(bundle.path).predict(list(test.inputs))
print(np.mean([a["yes"] == t for a, t in zip(answers, test.targets["good"])]))
"""


def test_a_foreign_task_and_step_go_with_a_body_of_ours_that_is_tuned(installed, tmp_path):
    from conftest import opinions

    with (tmp_path / "opinions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "good"])
        writer.writerows((text, "yes" if label == "positive" else "no") for text, label in opinions(200, 2))
    done = run("-c", TRAIN, tmp_path / "opinions.csv", tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0.7
