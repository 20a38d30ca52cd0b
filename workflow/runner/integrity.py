"""Are the results what their jobs wrote, and is it known how they were made? Checked before a run is planned."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from cxr.errors import InputError
from cxr.runtime import seals
from cxr.runtime.journal import legible
from runner import guard

LARGEST = 100_000_000  # bytes; larger files are left to the jobs that read them
# Folders with thousands of files, which have checksums of their own or which no job reads.
PASSED = {"cache", "features", "logs", "benchmarks", "state"}
SHOWN = 5


def mend(results: Path, dry: bool, tell: Callable[[str], None]) -> None:
    """Set aside damaged results that took no training, so that they are made again if needed; a dry run only reports them.

    What took training stays: the job that would read it stops and names it. Nothing is done while another run is working.
    """
    found = [output for seal in _seals(results) for output in _condemned(seal)]
    if not found:
        return
    if dry:
        for output in found:
            tell(
                f"{legible(output)} does not match its recorded SHA-256: a run sets it aside, and makes it again if needed"
            )
        return
    try:
        lock = guard.lock(results)
    except (guard.Busy, InputError):  # the run stops at this once it is planned
        return
    with lock:
        for output in found:
            aside = seals.set_aside(output)
            tell(
                f"{legible(output)} does not match its recorded SHA-256: it is set aside as {aside.name}, and made again "
                "if a job needs it"
            )


def _seals(results: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(results):
        below[:] = [
            name for name in below if not name.startswith(".") and not (folder == str(results) and name in PASSED)
        ]
        yield from (
            Path(folder, name) for name in sorted(names) if name.startswith(".") and name.endswith(seals.ENDING)
        )


def _condemned(seal: Path) -> Iterator[Path]:
    output = seals.sealed_by(seal)
    if seals.took_training(output) or (output.is_file() and output.stat().st_size > LARGEST):
        return
    if seals.damaged(seal):
        yield output


def require_records(dag: Any, results: Path, settings: Mapping[str, Any], tell: Callable[[str], None]) -> None:
    """Stop if results pass for up to date although no record says how they were made; a dry run only warns.

    dag: planned. settings: resolved, compared with those stored beside the results. Without a record, changed settings,
    changed code and a different set of input files go unnoticed.
    """
    notes = dag.workflow.persistence
    unknown = [
        file
        for job in dag.jobs
        if not dag.needrun(job)
        for file in job.output
        if Path(file).is_relative_to(results) and os.path.exists(file) and notes.metadata(file) is None
    ]
    if not unknown:
        return
    changed = ", ".join(_changed(results / "settings.yaml", settings)) or "none known"
    text = (
        f"there is no record of how {len(unknown)} results were made ({', '.join(map(legible, sorted(unknown)[:SHOWN]))}"
        f"{', …' if len(unknown) > SHOWN else ''}): neither .snakemake nor {results}/.records lists them, so it is unknown "
        "whether they match the current settings, code and data. Settings that differ from those beside the results: "
        f"{changed}. Remove what is out of date, or accept everything as it is by adding --touch --forceall once to the command"
    )
    if dag.workflow.dryrun:
        tell(f"Warning: {text}")
    elif not dag.workflow.touch:
        sys.exit(f"Error: {text}; nothing was run")


def _changed(file: Path, settings: Mapping[str, Any]) -> Iterator[str]:
    try:
        former = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return
    yield from _differences(former if isinstance(former, Mapping) else {}, settings, "")


def _differences(former: Mapping[str, Any], now: Mapping[str, Any], above: str) -> Iterator[str]:
    for name in [*now, *(name for name in former if name not in now)]:
        one, other = former.get(name), now.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _differences(one, other, f"{above}{name}.")
        elif one != other:
            yield f"{above}{name} (then {one}, now {other})"
