"""Parsing and validating the official tables: ours beside reading them with pandas without checks, in one run.

Usage: PYTHONPATH=workflow python benchmarks/tables.py FOLDER  (with Data_Entry_2017_v2020.csv and BBox_List_2017.csv)
"""

import resource
import sys
import time
from pathlib import Path

import pandas as pd

from cxr.data import box_list, label_list

ROUNDS = 3


def ours(folder: Path) -> int:
    table, bad = label_list.read_label_table(folder / "Data_Entry_2017_v2020.csv")
    drawn, bad_boxes = box_list.read_box_table(folder / "BBox_List_2017.csv", set(table["image"]))
    return len(table) + len(bad) + len(drawn) + len(bad_boxes)


def plain(folder: Path) -> int:
    return len(pd.read_csv(folder / "Data_Entry_2017_v2020.csv")) + len(pd.read_csv(folder / "BBox_List_2017.csv"))


def seconds(read, folder: Path) -> tuple[float, int]:
    began = time.perf_counter()
    rows = read(folder)
    return time.perf_counter() - began, rows


def main(folder: Path) -> None:
    for _ in range(ROUNDS):
        (checked, rows), (unchecked, _) = seconds(ours, folder), seconds(plain, folder)
        print(
            f"{rows} rows: checked {checked:.2f} s   pandas alone {unchecked:.2f} s   ratio {checked / unchecked:.1f}"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
