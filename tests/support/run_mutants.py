"""Applies wrong changes to the code, one at a time, and says which of them the tests notice: `make mutants`.

The changes ("mutants") are listed in the YAML files of tests/mutants, each with the tests that must fail on it. They are made
in copies of the repository below the temporary folder, never in the repository itself. First the tests run there
unchanged, and must pass. A mutant is *killed* where one of its tests fails, and *survives* where all of them pass; one with
`survives` in its entry is explained. One on which the tests cannot even be collected says nothing, and is a fault of the
list.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
MOST_SURVIVORS = 5
LONGEST = 900  # seconds that the tests of one mutant may take; a change may well make an endless loop
KILLED, SURVIVED, EXPLAINED, FAULTY = "killed", "SURVIVED", "explained", "FAULTY"
LEFT_OUT = ("PYTHONPATH", "PYTEST_ADDOPTS", "PYTHONDONTWRITEBYTECODE", "PYTEST_XDIST_WORKER")
FAILED = re.compile(r"^(?:FAILED|ERROR) (.*)$", re.M)
PASSED = re.compile(r"^PASSED (.*)$", re.M)


@dataclass(frozen=True)
class Mutant:
    """A wrong change. `of`: text that stands exactly once in `module`; `to`: what stands there instead; `means`: what that
    would do; tests: files or node ids, one of which must fail; survives: why none does ("": one must).
    """

    module: str
    of: str
    to: str
    means: str
    tests: tuple[str, ...]
    survives: str = ""

    @staticmethod
    def of_entry(entry: dict[str, Any]) -> "Mutant":
        return Mutant(**{**entry, "tests": tuple(entry["tests"])})

    def applied(self, text: str) -> str:
        """Return the module's text with the change. Raises ValueError where `of` does not stand in it exactly once."""
        if (count := text.count(self.of)) != 1:
            raise ValueError(
                f"{self.module}: the text to change stands there {count} times instead of once: {self.of!r}"
            )
        return text.replace(self.of, self.to)


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant; told: the test that failed, or what is wrong."""

    mutant: Mutant
    what: str
    told: str = ""

    @property
    def line(self) -> str:
        return f"{self.what:9} {self.mutant.module}: {self.mutant.means}" + (
            f"\n          {self.told}" if self.told else ""
        )


@dataclass
class Copies:
    """Copies of the repository, each lent to one mutant at a time."""

    free: SimpleQueue = field(default_factory=SimpleQueue)

    @contextmanager
    def one(self) -> Iterator[Path]:
        copy = self.free.get()
        try:
            yield copy
        finally:
            self.free.put(copy)


def read(folder: Path, names: Sequence[str] = ()) -> list[Mutant]:
    """Read the mutants of the lists in a folder, in the order of their names. names: of the lists wanted; none: all."""
    paths = [folder / f"{name}.yaml" for name in names] or sorted(folder.glob("*.yaml"))
    lists = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
    return [Mutant.of_entry(entry) for entries in lists for entry in entries]


def copied(repository: Path, to: Path) -> Path:
    """Copy the files that git tracks, or would."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # as hooks set it
    listed = subprocess.run(command, cwd=repository, env=environment, capture_output=True, check=True).stdout
    for name in filter(None, listed.split(b"\0")):
        source, target = repository / os.fsdecode(name), to / os.fsdecode(name)
        if os.path.lexists(source):  # a deleted file is listed until the next commit
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return to


def pytest(copy: Path, tests: Iterable[str], *options: str, longest: float | None = None) -> tuple[int | None, str]:
    """Run tests in a copy, without leaving or finding compiled code; return pytest's exit code and what it said.

    longest: seconds after which they are stopped; the code is None then.
    """
    for folder in list(copy.rglob("__pycache__")):  # by time and size alone an old one may pass for the new one's
        shutil.rmtree(folder, ignore_errors=True)
    environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={copy}.tmp"]
    process = subprocess.Popen(
        [*command, *options, *tests], cwd=copy, env=environment, text=True, encoding="utf-8", errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=longest)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def unproven(copy: Path, tests: Sequence[str]) -> str:
    """Say what is wrong with the tests where nothing is changed: one fails, or none of a name runs. "" if all is well."""
    code, output = pytest(copy, tests, "-rp")
    if code != 0:
        return f"the tests do not pass without any change (pytest ended with {code}):\n{output[-3000:]}"
    passed = PASSED.findall(output)
    idle = [
        name for name in tests if not any(each == name or each.startswith((f"{name}::", f"{name}[")) for each in passed)
    ]
    return f"no test runs, perhaps because all are skipped here: {', '.join(idle)}" if idle else ""


def tried(mutant: Mutant, copy: Path) -> Outcome:
    """Apply a mutant in a copy, run its tests, and take it back."""
    path = copy / mutant.module
    before = path.read_bytes()
    try:
        path.write_text(mutant.applied(before.decode("utf-8")), encoding="utf-8")
        code, output = pytest(copy, mutant.tests, "-x", "-rfE", longest=LONGEST)
    except (OSError, ValueError) as error:
        return Outcome(mutant, FAULTY, str(error))
    finally:
        path.write_bytes(before)
    failed = FAILED.findall(output)
    if code is None:
        return Outcome(mutant, KILLED, f"its tests did not end within {LONGEST} s")
    if code == 1:
        return Outcome(mutant, KILLED, failed[0][:160] if failed else "")
    if code == 0:
        return Outcome(mutant, EXPLAINED if mutant.survives else SURVIVED, mutant.survives)
    return Outcome(mutant, FAULTY, f"its tests cannot be collected (pytest ended with {code}): {output.strip()[-300:]}")


def verdict(outcomes: Sequence[Outcome]) -> tuple[int, str]:
    """Return the exit code and a summary."""
    counts = Counter(outcome.what for outcome in outcomes)
    survivors = counts[SURVIVED] + counts[EXPLAINED]
    bad = counts[SURVIVED] or counts[FAULTY] or survivors > MOST_SURVIVORS
    summary = (
        f"{len(outcomes)} mutants: {counts[KILLED]} killed, {counts[SURVIVED]} survived, {counts[EXPLAINED]} survived as "
        f"explained, {counts[FAULTY]} faulty; at most {MOST_SURVIVORS} may survive, each explained"
    )
    return int(bool(bad)), summary


def try_all(repository: Path, mutants: Sequence[Mutant], jobs: int) -> int:
    """Try mutants in copies of a repository, print what becomes of each, and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        copies = Copies()
        first = copied(repository, Path(folder, "copy0"))
        tests = list(dict.fromkeys(name for mutant in mutants for name in mutant.tests))
        print(
            f"{len(mutants)} mutants; first their {len(tests)} tests (or files of tests) without any change", flush=True
        )
        if problem := unproven(first, tests):
            print(problem)
            return 1
        for number in range(jobs):
            further = Path(folder, f"copy{number}")
            copies.free.put(shutil.copytree(first, further, symlinks=True) if number else first)

        def one(mutant: Mutant) -> Outcome:
            with copies.one() as place:
                return tried(mutant, place)

        outcomes = []
        for outcome in pool.map(one, mutants):
            print(outcome.line, flush=True)
            outcomes.append(outcome)
    code, summary = verdict(outcomes)
    print(summary)
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", nargs="*", help="lists of tests/mutants, without .yaml (default: all)")
    parser.add_argument("--only", default="", help="only mutants whose module, text or meaning holds this")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time, each in its own copy (default: 2)")
    options = parser.parse_args(arguments)
    wanted = [
        mutant
        for mutant in read(REPOSITORY / "tests/mutants", options.lists)
        if options.only in "\n".join((mutant.module, mutant.of, mutant.to, mutant.means))
    ]
    if not wanted:
        parser.error(f"no mutant holds '{options.only}'")
    return try_all(REPOSITORY, wanted, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
