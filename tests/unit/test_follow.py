"""What following a plan shares out: the rows that a plan can be about, and the time among the plans that its steps take. No child runs here."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sartor import bundle as bundles
from sartor import follow
from sartor.data.dataset import Column, Dataset, Schema, Splits
from sartor.errors import SartorError
from sartor.modality import image
from sartor.plan import Move, Plan

INPUTS = [{"name": "title", "kind": "text"}, {"name": "front", "kind": "image"}, {"name": "back", "kind": "image"}]


def picture(seed: int = 0) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, size=(8, 8, 3)).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def context(rows: list[tuple[object, object, object]], inputs: list[dict[str, str]]) -> follow.Context:
    """Of rows of (title, front, back), all for training but the last, which validates."""
    kinds = [pa.large_string(), pa.large_binary(), pa.large_binary(), pa.large_string()]
    names = [*(column["name"] for column in INPUTS), "label"]
    values = list(zip(*((*row, "yes" if i % 2 else "no") for i, row in enumerate(rows)), strict=True))
    table = pa.table({name: pa.array(one, kind) for name, one, kind in zip(names, values, kinds, strict=True)})
    columns = [Column(column["name"], column["kind"], "input") for column in INPUTS]
    schema = Schema((*columns, Column("label", "label", "target")))
    dataset = Dataset(table, schema, np.full(len(rows), -1, np.int8), "", "memory")
    train, last = np.arange(len(rows) - 1), np.array([len(rows) - 1])
    return follow.Context(dataset, Splits(train, last, last), inputs, {"label": "classify"}, 0)


def test_a_plan_about_some_inputs_sees_the_rows_that_have_what_it_reads(monkeypatch):
    pytest.importorskip("PIL")
    one, other = picture(0), picture(1)
    rows = [
        ("lamp", one, other),
        ("", one, other),
        (" ", one, None),
        (None, None, other),
        ("vase", one, other[:60]),
        ("lamp", b"", other),
        ("rug", other, one),
        ("rug", one, one),
    ]
    of_texts = context(rows, INPUTS[:1]).examples("train")
    assert of_texts.rows.tolist() == [0, 4, 5, 6]  # an empty text says nothing
    assert context(rows, INPUTS[1:]).examples("train").rows.tolist() == [0, 1, 6]  # both pictures are read
    assert context(rows, INPUTS).examples("train").rows.tolist() == list(range(7))  # those of the split, as they are
    decoded = []
    plain = image.key
    monkeypatch.setattr(image, "key", lambda value: decoded.append(value) or plain(value))
    context(rows, INPUTS[:2]).examples("train")
    assert decoded == [one, one, None]  # of the rows without a title alone


MEMBERS = [
    {"inputs": ["title"], "plan": Plan("texts", (Move("start", {"backbone": "ngram", "leaf": "ngram"}),)).as_dict()},
    {"inputs": ["front", "back"], "plan": Plan("nets", (Move("start", {"backbone": "convnet"}),)).as_dict()},
]
FUSED = Plan("fused", (Move("fuse", {"members": MEMBERS}), Move("export", {})))


class Clockwork:
    """Children that take as long as they are told to, by a clock that moves with them alone; each makes what it was asked for."""

    def __init__(self, takes: dict[str, float]) -> None:
        self.takes, self.now, self.given = takes, 100.0, []

    def monotonic(self) -> float:
        return self.now

    def run(self, job: dict, cache: Path, events: object, timeout_s: float | None) -> tuple[int, int]:
        name = job["plan"]["name"]
        self.given.append((name, timeout_s))
        if timeout_s is not None and timeout_s < self.takes[name]:
            self.now += timeout_s
            return -9, 0
        self.now += self.takes[name]
        for key in job["keys"][job["first"] :]:
            with bundles.writing(cache / key) as folder:
                (folder / "bundle.json").write_text(json.dumps({"schema": bundles.SCHEMA}))
        return 0, 0


def followed(tmp_path: Path, clock: Clockwork, monkeypatch: pytest.MonkeyPatch, timeout_s: float | None) -> list[dict]:
    monkeypatch.setattr(follow, "_run_child", clock.run)
    monkeypatch.setattr(follow.time, "monotonic", clock.monotonic)
    heard: list[dict] = []
    made_of = {"seed": 0, "inputs": INPUTS, "targets": {"label": "classify"}}
    settings = {"data": tmp_path, "cache": tmp_path / "cache", "made_of": made_of, "threads": 1}
    follow.follow(FUSED, **settings, events=heard.append, timeout_s=timeout_s)
    return heard


def test_the_time_of_a_fusion_is_shared_among_its_members_and_itself(tmp_path, monkeypatch):
    clock = Clockwork({"texts": 10.0, "nets": 30.0, "fused": 5.0})
    followed(tmp_path, clock, monkeypatch, 60.0)
    assert clock.given == [("texts", 60.0), ("nets", 50.0), ("fused", 20.0)]


def test_a_fusion_ends_when_its_members_have_used_the_time(tmp_path, monkeypatch):
    clock = Clockwork({"texts": 10.0, "nets": 30.0, "fused": 30.0})
    with pytest.raises(SartorError, match="fused"):
        followed(tmp_path, clock, monkeypatch, 60.0)
    assert clock.now == 160.0
    assert [name for name, _ in clock.given] == ["texts", "nets", "fused"]


def test_what_a_killed_child_had_done_is_not_done_again(tmp_path, monkeypatch):
    """The first child ends two of three steps and is killed in the third."""
    plan = Plan("tuned", (Move("start", {"backbone": "convnet"}), Move("train", {}), Move("export", {})))
    asked = []

    def run(job: dict, cache: Path, events: object, timeout_s: float | None) -> tuple[int, int]:
        asked.append((job["first"], job["pieces"]))
        ends = 3 if len(asked) > 1 else 2
        for key in job["keys"][job["first"] : ends]:
            with bundles.writing(cache / key) as folder:
                (folder / "bundle.json").write_text(json.dumps({"schema": bundles.SCHEMA}))
        return (0, 2) if ends == 3 else (-9, 2)

    monkeypatch.setattr(follow, "_run_child", run)
    made_of = {"seed": 0, "inputs": INPUTS, "targets": {"label": "classify"}}
    follow.follow(plan, data=tmp_path, cache=tmp_path / "cache", made_of=made_of, threads=1)
    assert asked == [(0, 1), (2, 2)]


def test_another_source_of_a_leaf_in_a_member_is_another_plan(monkeypatch):
    def key() -> str:
        return follow.keys(FUSED, made_of={"seed": 0})[-1]

    before = key()
    digests = {"convnet": "a"}
    monkeypatch.setattr("sartor.leaves.third_party_digest", lambda kind, name: digests.get(name))
    nets = [dict(member) for member in MEMBERS]
    nets[1]["plan"] = Plan("nets", (Move("start", {"backbone": "convnet", "leaf": "convnet"}),)).as_dict()
    fused = Plan("fused", (Move("fuse", {"members": nets}), Move("export", {})))
    one = follow.keys(fused, made_of={"seed": 0})
    digests["convnet"] = "b"
    other = follow.keys(fused, made_of={"seed": 0})
    assert one != other
    assert before == key()


def test_members_of_a_fusion_that_is_there_are_not_made_again(tmp_path, monkeypatch):
    import shutil

    clock = Clockwork({"texts": 1.0, "nets": 1.0, "fused": 1.0})
    followed(tmp_path, clock, monkeypatch, None)
    keys = follow.keys(FUSED, made_of={"seed": 0, "inputs": INPUTS, "targets": {"label": "classify"}})
    for path in (tmp_path / "cache").iterdir():
        if path.name not in keys:  # what a cache lost, or another build swept
            shutil.rmtree(path)
    clock.given.clear()
    heard = followed(tmp_path, clock, monkeypatch, None)
    assert clock.given == []
    assert [item["status"] for item in heard] == ["cached"]
    shutil.rmtree(tmp_path / "cache" / keys[-1])
    followed(tmp_path, clock, monkeypatch, None)
    assert [name for name, _ in clock.given] == ["fused"]  # to be exported: what takes the members is done
