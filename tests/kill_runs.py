"""Kills runs of the whole workflow at random moments and checks that one more command ends with the same numbers.

    python tests/kill_runs.py --runs 20 --seed 0

Each run starts from nothing, is killed once (a job, the engine, everything at once; by SIGKILL, SIGTERM or SIGINT), and
is then repeated by the same plain command. Its metric tables must equal those of a run that nobody disturbed, byte for
byte.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil

REPOSITORY = Path(__file__).resolve().parents[1]
# One protocol, trained long enough to be killed at it, with a state saved ten times a second.
CONFIG = [
    "protocols=[sound]",
    "machine={checkpoint: 0.1}",
    "source={training: {epochs: 2, steps: 20}}",
    "sound={split: {box_folds: 1}, baseline: {training: {epochs: 2, steps: 40}}, "
    "transfer: {layers: [0, 2], training: {epochs: 2, steps: 20}}, "
    "gridcnn: {training: {epochs: 2, steps: 200}}, yolo: {epochs: 3}}",
]
VICTIMS = [
    ("job", signal.SIGKILL),
    ("job", signal.SIGTERM),
    ("engine", signal.SIGKILL),
    ("engine", signal.SIGTERM),
    ("everything", signal.SIGKILL),
    ("everything", signal.SIGINT),
]


def start(folder: Path, log: Path, *arguments: str) -> subprocess.Popen:
    """Start Snakemake in a session of its own, so that a whole process group can be killed."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(REPOSITORY / "Snakefile"),
        "--directory",
        str(folder),
    ]
    command += [
        "--cores",
        "2",
        "--configfile",
        str(REPOSITORY / "tests/tiny.yaml"),
        "--config",
        *CONFIG,
        "--",
        *arguments,
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with log.open("a") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, cwd=folder, env=environment, start_new_session=True)


def jobs(engine: subprocess.Popen) -> list[psutil.Process]:
    """The scripts that run under an engine."""
    found = []
    for process in psutil.Process(engine.pid).children(recursive=True):
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if len(words) > 1 and ".snakemake/scripts/" in words[1]:
            found.append(process)
    return found


def strike(engine: subprocess.Popen, victim: str, number: signal.Signals, draw: random.Random) -> str:
    """Send the signal; return what was hit."""
    if victim == "everything":
        os.killpg(engine.pid, number)
        return "everything"
    if victim == "engine":
        engine.send_signal(number)
        return "the engine"
    running = jobs(engine)
    if not running:
        return "nothing: no job was running"
    chosen = draw.choice(running)
    name = Path(chosen.cmdline()[1]).name.partition(".")[2]
    chosen.send_signal(number)
    return f"the job {name}"


def tables(folder: Path) -> dict[str, str]:
    """The numbers of a finished run, less those of the clock: metric tables, grids and choices, as text."""
    results = folder / "results/tiny"
    found = [path for pattern in ("metrics/*/*.csv", "transfer/*/*.csv") for path in results.glob(pattern)]
    texts = {}
    for path in sorted(found):
        table = pd.read_csv(path, dtype=str)
        texts[str(path.relative_to(results))] = table.drop(columns="seconds", errors="ignore").to_csv()
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored, by all that follows
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="kill-runs-") as name:
        root = Path(name)
        began = time.monotonic()
        (root / "whole").mkdir()
        if start(root / "whole", root / "whole.log").wait():
            sys.exit((root / "whole.log").read_text()[-3000:])
        lasted = time.monotonic() - began
        expected = tables(root / "whole")
        print(f"undisturbed: {lasted:.0f} s, {len(expected)} tables", flush=True)
        wrong = 0
        for run in range(1, options.runs + 1):
            victim, number = draw.choice(VICTIMS)
            moment = draw.uniform(0.05, 0.95) * lasted
            folder, log = root / f"run{run}", root / f"run{run}.log"
            folder.mkdir()
            engine = start(folder, log)
            time.sleep(moment)
            while victim == "job" and engine.poll() is None and not jobs(engine):
                time.sleep(0.02)
            hit = strike(engine, victim, number, draw) if engine.poll() is None else "nothing: it had ended"
            engine.wait()
            again = start(folder, log).wait()
            found = tables(folder)
            differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            same = again == 0 and not differing
            wrong += not same
            resumed = log.read_text().count("going on after")
            print(
                f"run {run}: {number.name} to {hit} after {moment:.0f} s; then exit code {again}, "
                f"{resumed} trainings taken up, numbers {'the same' if same else f'DIFFERENT: {differing}'}",
                flush=True,
            )
            if not same:
                print(log.read_text()[-3000:], flush=True)
    print(f"{options.runs - wrong} of {options.runs} ended with the numbers of the undisturbed run")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
