"""A bundle is whole or absent, and a changed byte is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sartor import bundle as bundles
from sartor.errors import InputError


def make(path):
    with bundles.writing(path) as folder:
        bundles.write_json(folder / "bundle.json", {"schema": bundles.SCHEMA, "form": "graphs"})
        (folder / "runtime").mkdir()
        (folder / "runtime" / "model.bin").write_bytes(b"12345678")
        (folder / "report.json").write_text("{}", encoding="utf-8")
    return path


def test_written_bundle_opens_and_counts_only_deployed_bytes(tmp_path):
    bundle = bundles.load(make(tmp_path / "b"))
    assert bundle.form == "graphs"
    assert bundle.deployed_bytes() == 8 + (tmp_path / "b" / "bundle.json").stat().st_size


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda b: (b / "runtime" / "model.bin").write_bytes(b"12345679"), "runtime/model.bin was changed"),
        (lambda b: (b / "runtime" / "model.bin").unlink(), "runtime/model.bin is missing"),
        (lambda b: (b / "extra.txt").write_text("x"), "extra.txt was added"),
        (lambda b: (b / "bundle.json").write_text("{}"), "bundle.json was changed"),
        (lambda b: (b / bundles.MANIFEST).write_text("{"), "MANIFEST.json was changed"),
    ],
)
def test_changed_bundle_is_refused_by_name(tmp_path, harm, said):
    path = make(tmp_path / "b")
    harm(path)
    with pytest.raises(InputError, match=said) as caught:
        bundles.load(path)
    assert caught.value.code == "bundle.changed"


def test_manifest_may_not_name_a_file_outside(tmp_path):
    path = make(tmp_path / "b")
    manifest = json.loads((path / bundles.MANIFEST).read_text())
    manifest["files"]["../secret"] = {"sha256": "0", "bytes": 1}
    (path / bundles.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError) as caught:
        bundles.load(path)
    assert caught.value.code == "bundle.path"


def test_interrupted_write_leaves_the_old_bundle_and_no_rest(tmp_path):
    path = make(tmp_path / "b")
    before = bundles.load(path).digest

    def half():
        with bundles.writing(path) as folder:
            (folder / "bundle.json").write_text("half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        half()
    assert bundles.load(path).digest == before
    assert [item.name for item in tmp_path.iterdir()] == ["b"]


def test_deployed_files_alone_are_a_bundle(tmp_path):
    bundle = bundles.load(make(tmp_path / "b"))
    bundles.copy_deployed(bundle, tmp_path / "deployed")
    alone = bundles.load(tmp_path / "deployed")
    assert not (tmp_path / "deployed" / "report.json").exists()
    assert alone.digest == bundle.digest


def test_another_threshold_is_another_model_and_another_name_is_not(tmp_path):
    bundle = bundles.load(make(tmp_path / "one"))

    def model(name="one", **head):
        return replace(bundle, meta=bundle.meta | {"name": name, "heads": [{"target": "label"} | head]}).model

    assert model() == model(name="two")
    assert len({model(), model(abstain_below=0.7), model(abstain_below=0.6), model(scale=1.2)}) == 4
    before = model()
    (bundle.path / "runtime" / "model.bin").write_bytes(b"12345679")
    bundles.seal(bundle.path)
    assert model() != before


def test_the_card_shows_what_was_typed_and_it_cannot_act():
    from sartor import package

    head = {"target": "<img src=x onerror=alert(1)>", "task": "classify"}
    need = {"need": 'recall for "a|b`c" >= 0.9', "measured": 0.899996, "low": 0.88, "high": 0.91, "limit": 0.9}
    record = {
        "name": "<b>bold</b>",
        "sartor": "0",
        "created": "2026-11-23T18:00:00Z",
        "data": {"rows": 10, "rule": "stratified by '<script>x</script>' | [a](b)"},
        "needs": [need | {"unit": "", "n": 10, "confidence": 0.9999551, "verdict": "unproven"}],
        "look": {"number": 1},
        "reason": "It *is* the best.",
    }
    meta = {"inputs": [{"kind": "text"}], "heads": [head, head | {"target": "b"}], "backbone": {"ref": "ngram"}}
    card = package.card(record, meta)
    for typed in ("<b>", "<script", "[a](b)", "*is*"):
        assert typed not in card
    [row] = [line for line in card.splitlines() if "recall" in line]
    assert '`` recall for "a\\|b`c" >= 0.9 ``' in row
    assert "0.9 |" not in row.replace(">= 0.9", "")  # the figure does not round to the limit
    assert "99.996%" in row
    assert "`<img src=x onerror=alert(1)>` (classify)" in card  # as code, which is never HTML
