"""Builds by the command line for `bench.climb`, each in a folder that belongs to the code as it stands, with a ledger of its own.

A look at test rows makes the next one stricter; the cases of a benchmark ask one after the other what several users would ask once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench import record
from bench.record import Book, Row


@dataclass(frozen=True)
class Builder:
    """Of the builds of one book. script: named when one fails."""

    book: Book

    def build(
        self, case: str, needs: Mapping[str, Any], *, plan: Mapping[str, Any] | None = None, cache: Path | None = None
    ) -> tuple[Path, Row]:
        """(its folder, report.json) of a build that ended with a verdict. needs: as in needs.yaml. plan: the one to follow. cache: that several builds share."""
        out = self.folder(case)
        command = ["build", str(self._needs(out, needs)), "--out", str(out / "bundle")]
        if plan is not None:
            file = out / "given-plan.json"
            file.write_text(json.dumps(plan, ensure_ascii=False), encoding="utf-8")
            command += ["--plan", str(file)]
        if cache is not None:
            command += ["--cache", str(cache)]
        code = self._run(case, out, command).returncode
        if code not in (0, 3, 4):
            raise SystemExit(f"bench.climb: the build of {case} ended with {code}; the same command resumes")
        told: Row = json.loads((out / "bundle" / "report.json").read_text(encoding="utf-8"))
        assert told["exit"] == code
        return out / "bundle", told

    def candidates(self, case: str, needs: Mapping[str, Any]) -> list[Row]:
        """What `sartor plan` says that a build would consider."""
        out = self.folder(case)
        done = self._run(case, out, ["plan", str(self._needs(out, needs)), "--json"])
        if done.returncode != 0:
            raise SystemExit(f"bench.climb: the plan of {case} ended with {done.returncode}")
        return json.loads(done.stdout)["candidates"]  # type: ignore[no-any-return]

    def folder(self, case: str) -> Path:
        """Of a case; what an older code built goes, so that nothing it measured can be mistaken for this code's."""
        slug = re.sub(r"[^\w]+", "-", case).strip("-")
        home = record.OUT / "climb" / self.book.name
        folder = home / f"{slug}-{self.book.code[:12]}"
        for old in home.glob(f"{slug}-*"):
            if re.fullmatch(rf"{re.escape(slug)}-[0-9a-f]{{12}}", old.name) and old != folder:
                shutil.rmtree(old)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _needs(self, out: Path, needs: Mapping[str, Any]) -> Path:
        file = out / "needs.yaml"
        file.write_text(yaml.safe_dump(dict(needs), allow_unicode=True, sort_keys=False), encoding="utf-8")
        return file

    def _run(self, case: str, out: Path, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        print(f"\n{case}: sartor {' '.join(command)}", flush=True)
        environment = os.environ | {"SARTOR_STATE": str(out / "state")}
        return subprocess.run(
            [sys.executable, "-m", "sartor", *command], stdout=subprocess.PIPE, text=True, env=environment
        )


def values(told: Row) -> dict[str, Row]:
    """{measure: value} of a report, of all test rows that training did not see; of one of several targets TARGET.MEASURE."""
    found = {}
    for value in told["values"]:
        key = value["key"]
        if not key.get("where") and not key.get("for_class") and not key.get("against"):
            target = f"{key['target']}." if key.get("target") else ""
            found.setdefault(target + key["measure"], value)
    return found


def ran(bundle: Path) -> dict[str, float]:
    """{step: seconds} of the steps that a build ran itself, and did not find in its cache."""
    events = [json.loads(line) for line in (bundle / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    done = [item for item in events if item.get("event") == "step" and item.get("status") == "done"]
    return {item["step"]: item["seconds"] for item in done}


def chosen(told: Row) -> str:
    """The name of the candidate that was packaged."""
    return str(next(one for one in told["candidates"] if one["id"] == told["chosen"])["name"])


def paths(parts: Mapping[str, Path]) -> dict[str, str]:
    """As `data:` of a needs.yaml takes them."""
    return {part: str(file.resolve()) for part, file in parts.items()}
