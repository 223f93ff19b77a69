"""Results of benchmarks: JSON lines that say by which code, on which machine and with which seed each figure was made.

A row counts only while the code that decides its figure is unchanged: any edit to that source, or another version of a
library that computes, retires it, and the next run makes it again. Until then it can still be shown, as what earlier code
did (`told`). Files are for one writer at a time.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sartor import follow, hardware
from sartor.plan import source_digest

Row = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"  # committed
OUT = ROOT / "bench" / "out"  # not committed: builds, and the results of runs that were cut short by an option
DOCS = ROOT / "docs" / "benchmarks.md"
SERVER = tuple(sorted((ROOT / "sartor" / "serve").glob("*.py")))  # decides latencies, but not what a build computes
SECTIONS = {
    "quality": "Quality",
    "honesty": "Honesty",
    "kill": "Kill",
    "serve": "Serve",
    "training": "Training speed",
}
INTRODUCTION = """# Benchmarks

Measured, not promised. Each table is written by a script in `bench/` from the rows in `bench/results/`, which hold the commit, the
machine, the seed and the time. A row counts while the code that made it is unchanged; what earlier code made says so, and its
script makes it again. Bounds are those of the build's verdicts: one-sided, at 95 % over all needs together.
"""
NOTHING = "*No row was made by the code as it stands.*"
EARLIER = (
    "*Made by earlier code, which has changed since: these rows no longer count, and are made again by the next run.*"
)


@dataclass(frozen=True)
class Book:
    """The rows of one benchmark.

    sources: the script and what else decides its figures, beside the source of Sartor that decides what a build computes.
    columns: title -> the cell of a row's values. folder: where NAME.jsonl stands. parts: where the figures are not those of
    whole builds, the files of Sartor that run inside their clock; they take the place of all that decides a build. only: rows of
    this code and this machine alone, whether they count or not.
    """

    name: str
    sources: tuple[Path, ...]
    columns: Mapping[str, Callable[[Row], Any]] = field(default_factory=dict)
    folder: Path = RESULTS
    parts: tuple[Path, ...] = ()
    only: tuple[str, str] | None = None

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.jsonl"

    @property
    def code(self) -> str:
        """sha256 over everything that decides a figure: Sartor's source, the script's, and the libraries that compute."""
        if self.only is not None:
            return self.only[0]
        digest = hashlib.sha256(b"" if self.parts else source_digest().encode())
        for path in (*self.sources, *self.parts):
            digest.update(path.name.encode() + path.read_bytes())
        digest.update(json.dumps(follow.versions(), sort_keys=True).encode())
        return digest.hexdigest()

    def once(self, case: str, seed: int, work: Callable[[], Mapping[str, Any]]) -> Row:
        """The row that stands for this case and seed, made by this code on this machine; else `work` is run and its row kept.

        What `work` raises passes through, and nothing is kept.
        """
        code, here = self.code, machine()
        for row in reversed(self.rows()):
            if (row["case"], row["seed"], row["machine"]) == (case, seed, here):
                return row
        values = portable(dict(work()))
        row = {
            "bench": self.name,
            "case": case,
            "seed": seed,
            "code": code,  # as it was before the work: an edit meanwhile does not count as this code
            "commit": commit(),
            "machine": here,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "values": values,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = not self.file.is_file() or self.file.read_bytes()[-1:] in (b"", b"\n")
        with self.file.open("a", encoding="utf-8") as file:  # after a line that a kill cut short, on a line of its own
            file.write(("" if whole else "\n") + json.dumps(row, ensure_ascii=False, default=float) + "\n")
        return json.loads(json.dumps(row, default=float))  # type: ignore[no-any-return]

    def rows(self) -> list[Row]:
        """The rows that count, the last one of each case, seed and machine, in the order of their first making."""
        code = self.code
        found: dict[tuple[str, int, str], Row] = {}
        for row in self._every():
            if row["code"] == code and (self.only is None or row["machine"] == self.only[1]):
                found[row["case"], row["seed"], row["machine"]] = row
        return list(found.values())

    def by_machine(self) -> list[Book]:
        """The rows that count, a book for each machine: figures of two machines do not belong into one table."""
        code = self.code
        return [replace(self, only=(code, place)) for place in dict.fromkeys(row["machine"] for row in self.rows())]

    def earlier(self) -> Book | None:
        """The rows of earlier code: the last such code that made at least half as many, on one machine, as any did."""
        code = self.code
        found: dict[tuple[str, str], set[tuple[str, int]]] = {}
        for row in self._every():
            if row["code"] != code:
                found.setdefault((row["code"], row["machine"]), set()).add((row["case"], row["seed"]))
        most = max(map(len, found.values()), default=0)
        books = [replace(self, only=key) for key, cases in found.items() if 2 * len(cases) >= most]
        return max(books, key=lambda book: max(row["when"] for row in book.rows()), default=None)

    def _every(self) -> Iterable[Row]:
        """All rows of the file, in the order of their making."""
        for line in self.file.read_text(encoding="utf-8").splitlines() if self.file.is_file() else []:
            try:
                yield json.loads(line)
            except ValueError:
                continue  # cut short by a kill

    def table(self) -> str:
        """Markdown of the rows that count, and where they were made."""
        rows = self.rows()
        lines = [
            [str(cell(row["values"] | {"case": row["case"], "seed": row["seed"]})) for cell in self.columns.values()]
            for row in rows
        ]
        return "\n\n".join([markdown(list(self.columns), lines), made(rows)]) if rows else NOTHING

    def publish(self, table: Callable[[Book], str] | None = None, *, docs: Path = DOCS) -> str:
        """Writes what is `told` of it into the documentation. A book of a run that was cut short is only returned."""
        text = told(self, table)
        if self.folder == RESULTS:
            write_section(docs, self.name, text)
        return text


def told(book: Book, table: Callable[[Book], str] | None = None) -> str:
    """The tables of the rows that count, one for each machine; where earlier code made more rows than any of these has, theirs below.

    table: makes one from a book; the book's own where left out.
    """
    table = table or Book.table
    books = book.by_machine()
    found = [table(one) for one in books] or [NOTHING]
    before = book.earlier()
    if before is not None and len(before.rows()) > max((len(one.rows()) for one in books), default=0):
        with suppress(KeyError, TypeError, ValueError, IndexError):  # rows of a form that the script no longer knows
            found += [EARLIER, table(before)]
    return "\n\n".join(found)


def book(
    name: str,
    script: str,
    *sources: Path,
    columns: Mapping[str, Callable[[Row], Any]],
    short: bool,
    parts: Iterable[str] = (),
) -> Book:
    """The book of a script. short: the run is cut short by an option, so its rows are kept apart and never published."""
    files = tuple(ROOT / "sartor" / part for part in parts)
    return Book(name, (Path(script), *sources), columns, OUT / "results" if short else RESULTS, files)


def write_section(docs: Path, name: str, body: str) -> None:
    """Puts a text between the markers of a benchmark, in place; makes the page, its sections and the markers where missing."""
    docs.parent.mkdir(parents=True, exist_ok=True)
    page = docs.read_text(encoding="utf-8") if docs.is_file() else INTRODUCTION
    for known, title in (SECTIONS | {name: SECTIONS.get(name, name.capitalize())}).items():
        if _begin(known) not in page:
            page = f"{page.rstrip()}\n\n## {title}\n\n{_begin(known)}\n{NOTHING}\n{_end(known)}\n"
    before, rest = page.split(_begin(name), 1)
    _, after = rest.split(_end(name), 1)
    docs.write_text(f"{before}{_begin(name)}\n{body.strip()}\n{_end(name)}{after}", encoding="utf-8")


def markdown(titles: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    titles = list(titles)
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in (titles, ["---"] * len(titles), *rows))


def made(rows: Iterable[Row]) -> str:
    """Where and by which commit rows were made, in a line for each machine."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["machine"], []).append(row)
    return "\n".join(
        f"Made on {place}; commit {', '.join(sorted({row['commit'] for row in each}))}; "
        f"{min(row['when'] for row in each)[:10]} to {max(row['when'] for row in each)[:10]}."
        for place, each in found.items()
    )


def machine() -> str:
    """This machine in a few words."""
    told = hardware.describe()
    return f"{told['cpu']}, {told['cores']} cores, {' '.join(told['isa']) or 'no known extensions'}"


def commit() -> str:
    """The commit that is checked out, with `-dirty` when source differs from it; `unknown` outside git."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    head = git("rev-parse", "--short=10", "HEAD")
    return (head + ("-dirty" if git("status", "--porcelain", "--", "sartor", "bench/*.py") else "")) or "unknown"


def portable(value: Any) -> Any:
    """The same without absolute paths: only their last name says anything on another machine."""
    if isinstance(value, Mapping):
        return {portable(str(key)): portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [portable(item) for item in value]
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str):
        return re.sub(r"(?<![\w:/.<])/(?:[^\s/'\"`,;:)]+/)+([^\s/'\"`,;:)]*)", r"\1", value)
    return value


def _begin(name: str) -> str:
    return f"<!-- bench:{name} -->"


def _end(name: str) -> str:
    return f"<!-- /bench:{name} -->"
