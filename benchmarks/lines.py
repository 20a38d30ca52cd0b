"""Lines of the table at the end of `make bench`: what was compared, ours, theirs, and how many times better ours is."""

import argparse
import csv
from pathlib import Path

COLUMNS = ["what", "unit", "ours", "theirs", "whose", "ratio"]


def option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lines", type=Path, help="CSV file to which the lines of the common table are added")


def add(path: Path | None, what: str, unit: str, ours: float, theirs: float, whose: str, ratio: float) -> None:
    """Add a line to the file, with a header if the file is new. ratio: above 1 if ours is better."""
    if path is None:
        return
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(COLUMNS)
        writer.writerow([what, unit, f"{ours:.4g}", f"{theirs:.4g}", whose, f"{ratio:.3g}"])
