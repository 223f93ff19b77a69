"""Writes tissue.csv: scikit-learn's breast cancer data (UCI, Wolberg et al. 1995), with their names in plain words."""

from __future__ import annotations

import csv
from pathlib import Path

from sklearn.datasets import load_breast_cancer

HERE = Path(__file__).parent / "tissue.csv"


def main() -> None:
    """569 rows of 30 measures of cell nuclei, and the diagnosis."""
    given = load_breast_cancer()
    with HERE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([name.replace(" ", "_") for name in given.feature_names] + ["diagnosis"])
        for values, target in zip(given.data, given.target, strict=True):
            writer.writerow([*(f"{value:g}" for value in values), given.target_names[target]])
    print(f"{len(given.target):,} rows in {HERE}")


if __name__ == "__main__":
    main()
