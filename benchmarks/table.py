"""Runs all benchmarks in turn and prints one table: ours and what a user would write, in the same run, with their ratio.

    PYTHONPATH=workflow python benchmarks/table.py [--only grid input]

Each benchmark also runs by itself and then prints more. On a machine with other work, read the ratios, not the times.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch

from cxr.training.device import choose

# Scripts in this order, with arguments that differ from their defaults.
SCRIPTS = {
    "store": [],
    "checks": [],
    "input": [],
    "checkpoint": [],
    "inference": [],
    "steps": [],
    "grid": [],
    "scores": [],
    "detection": [],
}


def machine() -> str:
    """Describe processor, cores, memory, GPU and arithmetic."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    device = choose("auto", os.cpu_count() or 1)
    return (
        f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores, "
        f"{torch.backends.cpu.get_cpu_capability()}, {memory:.0f} GiB; trained on {device.facts()['device']} in "
        f"{device.facts()['precision']}; torch {torch.__version__}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SCRIPTS), default=list(SCRIPTS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        lines = Path(name) / "lines.csv"
        for script in options.only:
            print(f"== {script}", flush=True)
            path = Path(__file__).with_name(f"{script}.py")
            subprocess.run([sys.executable, path, *SCRIPTS[script], "--lines", lines], check=True)
            print(flush=True)
        table = pd.read_csv(lines)
    print(machine())
    print(table.to_string(index=False, justify="left"))


if __name__ == "__main__":
    main()
