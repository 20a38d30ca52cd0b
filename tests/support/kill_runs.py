"""Kills runs of the whole workflow at random moments and checks that one more command ends with the same numbers.

    python tests/support/kill_runs.py --runs 20 --seed 0

Each run is killed once and then repeated by the same plain command. Its metric tables must equal those of a run that nobody
disturbed, byte for byte; otherwise the exit code is 1.

Random is the moment, and which of the jobs that run then is hit. What is hit (a job, the engine, everything at once) and by
which signal takes turns in a random order, so that all of them come up alike. Of seven runs six begin with images and
splits; their moments are drawn from those at which a training that had saved its state was under way in the undisturbed run,
and from the drawn one on it is waited for such a training: without this most kills would fall between two trainings of
this small study. The seventh starts from nothing, and is killed at a moment drawn from all of the undisturbed run's, whatever
is under way then. A moment is told by how much the run has written to its log, not by the clock: a run that is faster or
slower than the undisturbed one is killed as far on in its work.

A run "goes on" where a training took up a saved state, as the facts of its model say. After SIGTERM to the engine none
does: it lets the jobs that run come to their end.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
# One protocol. A training lasts longer than the next command takes to begin, so that of a killed engine too something is
# left to take up; its state is saved as often as 1% of the time allows.
CONFIG = [
    "protocols=[sound]",
    "machine={checkpoint: 0.1}",
    "source={training: {epochs: 3, steps: 60}}",
    "sound={split: {box_folds: 1}, baseline: {training: {epochs: 3, steps: 80}}, "
    "transfer: {layers: [0, 2], training: {epochs: 4, steps: 250}, long: {epochs: 4, steps: 250}}, "
    "gridcnn: {training: {epochs: 2, steps: 200}}, yolo: {epochs: 10}, "
    "torchvision_detector: {training: {epochs: 3, steps: 8}}}",
]
TRAININGS = ("source_weights", "baseline", "transfer", "gridcnn", "yolo_finetuned", "torchvision_detector")  # scripts
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


def script(job: psutil.Process) -> str:
    """The name of a job's script, or "" where it has ended."""
    try:
        return Path(job.cmdline()[1]).name.partition(".")[2].removesuffix(".py")
    except (psutil.Error, IndexError):
        return ""


def states(folder: Path) -> list[Path]:
    """The saved states of trainings; the features of the grid have a place for one too."""
    found = (folder / "results/tiny/state").rglob("*")
    return [path for path in found if path.is_file() and path.suffix != ".new" and path.parent.name != "features"]


def trainings_under_way(engine: subprocess.Popen, folder: Path) -> list[psutil.Process]:
    """The jobs that train, once one of them has saved its state."""
    return [job for job in jobs(engine) if script(job) in TRAININGS] if states(folder) else []


def strike(
    engine: subprocess.Popen,
    victim: str,
    number: signal.Signals,
    draw: random.Random,
    among: Callable[[], list[psutil.Process]] | None = None,
) -> str:
    """Send the signal; return what was hit. among: gives the jobs of which one may be hit; without it, all that run."""
    if victim == "everything":
        os.killpg(engine.pid, number)
        return "everything"
    if victim == "engine":
        engine.send_signal(number)
        return "the engine"
    running = among() if among else jobs(engine)
    if not running:
        return "nothing: no job was running"
    chosen = draw.choice(running)
    name = script(chosen)
    with contextlib.suppress(psutil.Error):  # it ended by itself this very moment
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


def taken_up(folder: Path) -> list[str]:
    """The trainings that went on from a saved state, as the facts of their models say."""
    results = folder / "results/tiny"
    facts = {path.parent: json.loads(path.read_text()) for path in results.rglob("facts.json")}
    return sorted(str(place.relative_to(results)) for place, said in facts.items() if said.get("interruptions"))


@dataclass(frozen=True)
class Plan:
    """How one run is disturbed. moment: in [0, 1), of those to draw from; anywhere: whatever is under way then."""

    victim: str
    number: signal.Signals
    moment: float
    anywhere: bool


def plans(runs: int, draw: random.Random) -> Iterator[Plan]:
    turns: list[tuple[str, signal.Signals]] = []
    for run in range(runs):
        if not turns:
            turns = draw.sample(VICTIMS, len(VICTIMS))
        yield Plan(*turns.pop(), moment=draw.random(), anywhere=run % 7 == 6)


def disturb(
    engine: subprocess.Popen, folder: Path, log: Path, plan: Plan, moments: list[int], draw: random.Random
) -> str:
    """Wait for the moment and send the signal; return what was hit, with the saved states at hand.

    moments: to draw from, in bytes of the log.
    """
    began = time.monotonic()
    while engine.poll() is None and log.stat().st_size < moments[int(plan.moment * len(moments))]:
        time.sleep(0.02)
    waits_for = (lambda: jobs(engine)) if plan.anywhere else (lambda: trainings_under_way(engine, folder))
    while (plan.victim == "job" or not plan.anywhere) and engine.poll() is None and not waits_for():
        time.sleep(0.02)
    if engine.poll() is not None:
        return "nothing: it had ended"
    at_hand = ", ".join(sorted(f"{path.parent.name}/{path.name}" for path in states(folder)))
    hit = strike(engine, plan.victim, plan.number, draw, waits_for)
    return f"{hit} after {time.monotonic() - began:.0f} s (saved states: {at_hand or 'none'})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored, by all that follows
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="kill-runs-") as place:
        root = Path(place)
        (root / "prepared").mkdir()
        finish(root / "prepared", root / "prepared.log", "data")
        shutil.copytree(root / "prepared", root / "whole")
        moments, of_trainings = finish(root / "whole", root / "whole.log")
        expected = tables(root / "whole")
        print(
            f"undisturbed: {len(of_trainings) / len(moments):.0%} of the time with a training under way that had saved its "
            f"state; {len(expected)} tables",
            flush=True,
        )
        same = going_on = 0
        for run, plan in enumerate(plans(options.runs, draw), 1):
            name = f"run{run:02}"  # as long as "whole": the log names the folder
            folder, log = root / name, root / f"{name}.log"
            folder.mkdir() if plan.anywhere else shutil.copytree(root / "prepared", folder)
            engine = start(folder, log)
            hit = disturb(engine, folder, log, plan, moments if plan.anywhere else of_trainings, draw)
            engine.wait()
            again = start(folder, log).wait()
            found, resumed = tables(folder), taken_up(folder)
            differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            good = again == 0 and not differing
            same, going_on = same + good, going_on + bool(resumed)
            print(
                f"run {run}: {plan.number.name} to {hit}; then exit code {again}, went on: {', '.join(resumed) or 'none'}; "
                f"numbers {'the same' if good else f'DIFFERENT: {differing}'}",
                flush=True,
            )
            if not good:
                print(log.read_text()[-3000:], flush=True)
            shutil.rmtree(folder)
    print(f"{same} of {options.runs} ended with the numbers of the undisturbed run")
    print(f"{going_on} of {options.runs} went on from a saved state")
    sys.exit(same < options.runs)


def finish(folder: Path, log: Path, *targets: str) -> tuple[list[int], list[int]]:
    """Run without a disturbance; return the log's bytes every tenth of a second, and while a training had saved its state."""
    engine = start(folder, log, *targets)
    moments, of_trainings = [], []
    while engine.poll() is None:
        moments.append(log.stat().st_size)
        if states(folder):
            of_trainings.append(moments[-1])
        time.sleep(0.1)
    if engine.returncode:
        sys.exit(log.read_text()[-3000:])
    return moments, of_trainings


if __name__ == "__main__":
    main()
