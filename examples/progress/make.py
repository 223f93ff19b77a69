"""Writes progress.csv: scikit-learn's diabetes data (Efron et al. 2004), a number to foretell."""

from __future__ import annotations

import csv
from pathlib import Path

from sklearn.datasets import load_diabetes

HERE = Path(__file__).parent / "progress.csv"


def main() -> None:
    """442 patients: age, sex, body mass, blood pressure and six blood values, and how far the disease went in a year."""
    given = load_diabetes(scaled=False)
    names = [
        "age",
        "sex",
        "body_mass",
        "blood_pressure",
        "cholesterol",
        "ldl",
        "hdl",
        "cholesterol_ratio",
        "triglycerides",
        "glucose",
    ]
    with HERE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "progress"])
        for values, target in zip(given.data, given.target, strict=True):
            writer.writerow([*(f"{value:g}" for value in values), f"{target:g}"])
    print(f"{len(given.target):,} rows in {HERE}")


if __name__ == "__main__":
    main()
