"""Pictures and recordings through the whole line: a folder of files to a bundle that is judged, served, explained and shown."""

from __future__ import annotations

import base64
import json

import hostile
import httpx
import pytest

from sartor import cli, explain, line, measure, needs, predict
from sartor import report as reports
from sartor.plan import Move, Plan
from sartor.verify import verify

READS = {"pictures": ("image", "convnet"), "recordings": ("audio", "melnet")}


def files_of(bundle, count=24):
    """(name, bytes) of some of the files that a bundle was built from."""
    folder = bundle.parent / bundle.name.removeprefix("built-")
    return [(path, path.read_bytes()) for path in sorted(folder.rglob("*.*"))[:: max(1, 160 // count)]]


@pytest.mark.parametrize("name", READS)
def test_files_in_folders_become_a_model_that_is_judged(small_bundles, name):
    record = reports.read(small_bundles[name])
    tried = {one["id"].split("-")[0]: one["status"] for one in record["candidates"]}
    assert READS[name][1] in tried
    assert record["needs"][0]["verdict"] == "met", record["needs"]
    assert record["needs"][0]["measured"] >= 0.8
    again = verify(small_bundles[name])
    assert again["needs"][0]["measured"] == record["needs"][0]["measured"]


@pytest.mark.parametrize("name", READS)
def test_what_is_served_is_what_was_trained(small_bundles, name):
    bundle, column = small_bundles[name], READS[name][0]
    rows = [{column: data} for _, data in files_of(bundle)]
    trained = predict.load(bundle, runtime="torch").predict(rows)
    here = predict.load(bundle).predict(rows)
    sent = [{column: {"base64": base64.b64encode(row[column]).decode()}} for row in rows]
    with measure.served(bundle, threads=1) as address:
        told = httpx.post(f"http://{address.host}:{address.port}/predict", json={"rows": sent}, timeout=60)
    assert told.status_code == 200
    eight_bits = predict.load(bundle).meta["runtime"].get("precision") == "int8"
    for served, own, wanted in zip(told.json()["answers"], here, trained, strict=True):
        assert served["probabilities"] == pytest.approx(own["probabilities"], abs=1e-6)
        assert served["label"] == wanted["label"]
        assert served["probabilities"] == pytest.approx(wanted["probabilities"], abs=0.1 if eight_bits else 1e-4)


@pytest.mark.parametrize("name", READS)
def test_a_file_is_answered_and_explained_by_its_parts(small_bundles, name, capsys):
    bundle = small_bundles[name]
    path, data = files_of(bundle)[0]
    cli.predict(bundle, [str(path)])
    told = capsys.readouterr().out.strip().split("\t")
    assert told[0] in hostile.CLASSES
    assert told[2] == str(path)
    cli.predict(bundle, [str(path.parent)], as_json=True)
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(answers) == len(list(path.parent.iterdir()))
    assert all(answer["file"].startswith(str(path.parent)) for answer in answers)
    found = explain.explain(predict.load(bundle), {READS[name][0]: data})
    assert len(found["parts"]) > 4
    assert all(part["text"] and len(part["text"]) < 60 for part in found["parts"])
    assert any(abs(part["weight"]) > 1e-4 for part in found["parts"])


@pytest.mark.parametrize("name", READS)
def test_the_bundle_keeps_small_examples_and_its_report_shows_pictures_of_mistakes(small_bundles, name):
    bundle = predict.load(small_bundles[name])
    examples = bundle.meta["examples"]
    assert len(examples) == 8
    assert all("error" not in answer for answer in bundle.predict(examples))
    record = reports.read(small_bundles[name])
    mistakes = record["figures"]["label"]["mistakes"]
    assert mistakes
    page = (small_bundles[name] / "report.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/') >= 1


def test_parts_and_names_of_pictures_come_through_a_build_from_a_table(tmp_path):
    folder = hostile.pictures(tmp_path / "rows", 80)
    rows = [(path.relative_to(folder).as_posix(), path.parent.name) for path in sorted(folder.rglob("*.png"))]
    copy = folder / "down" / "copy.png"
    copy.write_bytes((folder / rows[0][0]).read_bytes())
    rows.append(("down/copy.png", "down"))
    (folder / "rows.csv").write_text("picture,which\n" + "".join(f"{name},{label}\n" for name, label in rows))
    line.build(
        needs.make(data=str(folder / "rows.csv"), target="which", needs=["size <= 50 MB"]),
        tmp_path / "out",
        plan=Plan(
            "majority", (Move("start", {"backbone": "trivial", "leaf": "trivial"}), Move("fit", {}), Move("export", {}))
        ),
    )
    record = reports.read(tmp_path / "out")
    conflict = next(one for one in record["findings"] if one["code"] == "audit.conflict")
    assert "down/copy.png" in conflict["details"]["files"]
    assert record["needs"][0]["verdict"] == "met"
