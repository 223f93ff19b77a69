"""cleanlab at its best on the rows of one case. Runs under its own interpreter: `PYTHON bench/cleanlab_peer.py FOLDER`.

FOLDER holds given.npy, probabilities.npy, and features.npy or texts.json with embeddings.npy; scores.npz and told.json are written beside them.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import cleanlab
import numpy as np
from cleanlab.classification import CleanLearning
from cleanlab.rank import get_label_quality_scores
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_union

METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")


def main() -> None:
    """Scores by every ranking on the probabilities that were given, and by CleanLearning on the features."""
    folder = Path(sys.argv[1])
    given, probabilities = np.load(folder / "given.npy"), np.load(folder / "probabilities.npy")
    scores, seconds = {}, {}
    for method in METHODS:
        for adjust in (False, True):
            if adjust and method == "confidence_weighted_entropy":
                continue  # refused by cleanlab
            name = f"our probabilities, {method}" + (", adjusted" if adjust else "")
            began = time.monotonic()
            scores[name] = get_label_quality_scores(given, probabilities, method=method, adjust_pred_probs=adjust)
            seconds[name] = time.monotonic() - began
    learned: dict[str, tuple[Any, float]] = {}  # what is learned from, and the seconds before that
    if (folder / "features.npy").is_file():
        learned["features"] = (np.load(folder / "features.npy"), 0.0)
    else:
        began = time.monotonic()
        # Character n-grams as well: without them a text in a script without spaces is one word.
        reader = make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, min_df=2),
        )
        read = reader.fit_transform(json.loads((folder / "texts.json").read_text(encoding="utf-8")))
        learned["TF-IDF"] = (read, time.monotonic() - began)
        learned["MiniLM"] = (np.load(folder / "embeddings.npy"), 0.0)
    # As its documentation does for text: a logistic regression in five folds.
    for name, (features, before) in learned.items():
        began = time.monotonic()
        learner = CleanLearning(LogisticRegression(max_iter=400), seed=0)
        issues = learner.find_label_issues(features, given)
        scores[f"CleanLearning, {name}"] = issues["label_quality"].to_numpy()
        seconds[f"CleanLearning, {name}"] = before + time.monotonic() - began
    np.savez(folder / "scores.npz", **scores)
    told = {"version": cleanlab.__version__, "seconds": seconds}
    (folder / "told.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
