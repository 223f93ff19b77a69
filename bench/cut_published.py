"""What papers say of small models of text, beside the cuts of `bench.cut_text`: quality that is kept, times faster, times smaller.

The published ratios are over BERT-base, as their authors measured them; ours over MiniLM-L6, which is such a small model already.
"""

from __future__ import annotations

import numpy as np

from bench import cut_make, cut_text, record
from bench.record import Row

TITLE = "Published, beside ours"
REMARK = (
    "Ratios, not a contest: theirs are over BERT-base, as their authors measured them (CoFi on a GPU, 128 texts at a time); "
    "ours are over MiniLM-L6, which is such a small model already, one request at a time on this CPU."
)
# (model, quality kept, times faster, times smaller, source).
PUBLISHED = (
    ("DistilBERT", "97 % of BERT-base, GLUE", "1.6×", "1.7×", "Sanh et al. 2019, abstract: 60 % faster, 40 % smaller"),
    ("TinyBERT-4", "96.8 % of BERT-base, GLUE", "9.4×", "7.5×", "Jiao et al. 2020, abstract"),
    ("CoFi, 95 % of the body out", "97.0 % of BERT-base, SST-2: 90.4 (BERT-base 93.2, as below)", "12.2×", "", "Xia et al. 2022, list of models"),
    ("MiniLM-L6-H384", "98.2 % of BERT-base, SST-2: 91.5 of 93.2", "5.3×", "5.0×", "Wang et al. 2020, list of models"),
)  # fmt: skip


def table(book: record.Book) -> str:
    """The published ratios, then by data set those of ours that count for the line: over the tuned model's own graph in float, and over transformers' pipeline."""
    rows = book.rows()
    ours = [name for name, (_, why) in cut_text.techniques(lambda *moves: {}).items() if why == "front"]
    lines = [[name, kept, faster, smaller, "", source] for name, kept, faster, smaller, source in PUBLISHED]
    for name, systems in cut_make.by_case(rows, "technique").items():
        teacher, pipeline = systems.get(cut_text.TEACHER, {}), systems.get(cut_text.PIPELINE, {})
        for technique in ours:
            each = systems.get(technique, {})
            seeds = sorted(each.keys() & teacher.keys() & pipeline.keys())
            if not seeds or technique == cut_text.TEACHER:
                continue
            lines.append(
                [
                    f"{technique} ({name})",
                    f"{100 * _ratio(each, teacher, 'accuracy', seeds):.1f} % of MiniLM-L6",
                    f"{_ratio(teacher, each, 'p50_ms', seeds):.1f}×",
                    f"{_ratio(teacher, each, 'mb', seeds):.1f}×",
                    f"{_ratio(pipeline, each, 'p50_ms', seeds):.1f}×",
                    f"measured, {len(seeds)} seeds",
                ]
            )
    titles = (
        "model",
        "quality kept",
        "times faster, as a model",
        "times smaller",
        "times faster than transformers' pipeline",
        "source",
    )
    return f"{REMARK}\n\n{record.markdown(titles, lines)}"


def _ratio(over: dict[int, Row], under: dict[int, Row], what: str, seeds: list[int]) -> float:
    """The mean over seeds of one's figure over the other's."""
    return float(np.mean([over[seed][what] / under[seed][what] for seed in seeds]))
