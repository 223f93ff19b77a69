"""The verbs that exist, run as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys


def sartor(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "sartor.cli", *arguments], capture_output=True, text=True, **options)


def test_audit_finds_a_planted_duplicate_and_conflict(tmp_path):
    rows = [f"the parcel number {i} is {i * 7} days late again,{'late' if i % 2 else 'other'}" for i in range(60)]
    rows += [rows[3], rows[4].rsplit(",", 1)[0] + ",late"]
    file = tmp_path / "data.csv"
    file.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    done = sartor("audit", str(file), "--json")
    assert done.returncode == 0, done.stderr
    assert {"audit.duplicate", "audit.conflict"} <= {finding["code"] for finding in json.loads(done.stdout)}


def test_a_missing_file_is_one_line_and_exit_2(tmp_path):
    done = sartor("audit", str(tmp_path / "nothing.csv"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "nothing.csv" in done.stderr


def test_predict_refuses_what_is_not_a_bundle(tmp_path):
    done = sartor("predict", str(tmp_path), "hello")
    assert done.returncode == 2
    assert "is not a bundle" in done.stderr


def test_help_imports_no_torch():
    code = "import sys, sartor.cli; assert not {'torch', 'pyarrow', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_last_setting_of_a_key_counts_and_an_option_of_its_own_before_it(tmp_path):
    from sartor import cli

    (tmp_path / "a.csv").write_text("text,label\n", encoding="utf-8")
    settings = ["budget=5m", "budget=10m"]
    assert cli._needs(str(tmp_path / "a.csv"), {}, {}, settings).budget_s == 600
    assert cli._needs(str(tmp_path / "a.csv"), {}, {"budget": "20m"}, settings).budget_s == 1200


def test_a_folder_for_another_runtime_wants_the_runtime(tmp_path):
    answer = sartor("export", str(tmp_path), "--deploy", str(tmp_path / "small"), "--out", str(tmp_path / "torch"))
    assert answer.returncode == 2
    assert "--out takes a runtime in --to beside it" in answer.stderr
    assert not (tmp_path / "small").exists()
