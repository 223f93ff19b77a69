"""The documentation is true: help texts are the real ones, commands and needs in it parse, links lead somewhere, both languages are complete.

`python -m tests.unit.test_docs` writes the help texts anew.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import pytest
import typer
import yaml

from sartor import cli, leaves, needs
from sartor.data import read
from sartor.errors import InputError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
BOTH = (DOCS, DOCS / "zh")
COMMANDS = typer.main.get_command(cli.app).commands
HELP = re.compile(r"(<!-- help:(\w+) -->\n)(.*?)(<!-- /help:\2 -->)", re.DOTALL)
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
ENGLISH_ONLY = {"log.md", "benchmarks.md"}  # records, not explanations


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@lru_cache
def help_of(command):
    """What `sartor COMMAND --help` prints, in a fence; the same whatever the terminal."""
    plain = {"COLUMNS": "80", "TERMINAL_WIDTH": "80", "NO_COLOR": "1", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    environment = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"} | plain
    run = [sys.executable, "-c", "from sartor.cli import main; main()", command, "--help"]
    done = subprocess.run(run, capture_output=True, encoding="utf-8", env=environment, check=True, timeout=60)
    lines = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
    return f"```text\n{lines.replace('Usage: -c', 'Usage: sartor')}\n```\n"


def with_help(text):
    return HELP.sub(lambda found: found[1] + help_of(found[2]) + found[4], text)


def blocks(path):
    """(info string, content) of every fenced block."""
    return [(found[1].strip(), found[2]) for found in FENCE.finditer(path.read_text(encoding="utf-8"))]


def commands_in(path):
    """The words of every `sartor …` command in shell blocks and in inline code."""
    text = path.read_text(encoding="utf-8")
    lines = [line for kind, block in blocks(path) if kind == "sh" for line in block.replace("\\\n", " ").splitlines()]
    pieces = [piece.strip() for line in lines for piece in re.split(r"&&|\|(?!\|)", line)]
    pieces = [re.sub(r"^(?:\w+=\S+ )*(?:\.venv/bin/)?(?=sartor )", "", piece) for piece in pieces]
    pieces += re.findall(r"`(sartor [a-z][^`]*)`", FENCE.sub("", text))
    return [shlex.split(piece, comments=True) for piece in pieces if piece.startswith("sartor ")]


@pytest.mark.parametrize("folder", BOTH, ids=["en", "zh"])
def test_every_command_has_a_page_with_its_help(folder):
    for command in COMMANDS:
        text = (folder / f"{command}.md").read_text(encoding="utf-8")
        assert [found[2] for found in HELP.finditer(text)] == [command]


def test_help_texts_are_the_real_ones():
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(help_of, COMMANDS))
    stale = [name_of(path) for path in PAGES if with_help(path.read_text(encoding="utf-8")) != path.read_text("utf-8")]
    assert not stale, f"run: python -m tests.unit.test_docs ({', '.join(stale)})"


def test_every_page_exists_in_both_languages():
    english = {path.name for path in DOCS.glob("*.md")} - ENGLISH_ONLY
    assert english == {path.name for path in (DOCS / "zh").glob("*.md")}
    for folder in BOTH:
        index = (folder / "README.md").read_text(encoding="utf-8")
        assert all(f"({name})" in index for name in english - {"README.md"})


@pytest.mark.parametrize("folder", BOTH, ids=["en", "zh"])
def test_every_measure_and_key_is_explained(folder):
    text = (folder / "needs.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)(?: for C)?`", text))
    measures = {name for task in leaves.names("task") for name in leaves.load("task", task).METRICS}
    assert {*needs.SYSTEM, *measures} <= named
    assert {*cli._KEYS, "data", "needs"} <= named


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_local_links_lead_somewhere(path):
    for target in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:|#", target):
            assert (path.parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_commands_in_the_documentation_parse(path):
    wrong = " ".join(block for kind, block in blocks(path) if kind == "sh wrong")
    for _, verb, *words in commands_in(path):
        if verb == "--help":
            continue
        assert verb in COMMANDS, f"sartor {verb}"
        known = {option: parameter for parameter in COMMANDS[verb].params for option in parameter.opts}
        for word in words:
            if word.startswith("--"):
                assert word in {*known, "--help"}, f"sartor {verb} {word}"
        named = cli._targets([value for flag, value in pairwise(words) if flag == "--target"])
        for flag, value in pairwise(words):
            if flag == "--need" and value != "…" and value not in wrong:
                needs.make(data="x.csv", needs=[value], **named)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_needs_in_the_documentation_are_read_as_it_says(path):
    for kind, block in blocks(path):
        if kind == "yaml needs":
            needs.make(**yaml.safe_load(block))
        elif kind == "text needs":
            for line in block.splitlines():
                needs.parse(line)
        elif kind == "text unsupported":
            for line in block.splitlines():
                with pytest.raises(InputError) as caught:
                    needs.parse(line)
                assert caught.value.code == "need.unsupported", line


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*/needs.yaml")), ids=lambda path: path.parent.name)
def test_needs_of_the_examples_are_read(path, tmp_path):
    for file in path.parent.glob("*.*"):
        if file.is_file():
            shutil.copyfile(file, tmp_path / file.name)
    if (tmp_path / "make.py").is_file():
        pytest.importorskip("sklearn")
        subprocess.run([sys.executable, "make.py"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    asked = needs.load(tmp_path / "needs.yaml")
    assert len(read.read(asked.data, target=asked.target, task=asked.task)) > 100


def write():
    """Writes the help texts anew."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        if with_help(text) != text:
            path.write_text(with_help(text), encoding="utf-8")
            print(name_of(path))


if __name__ == "__main__":
    write()
