"""What a run changes in its engine, Snakemake 9.27."""

import base64
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from snakemake.persistence import MetadataRecord
from snakemake.utils import update_config

from cxr.errors import InputError
from cxr.runtime import regular
from cxr.runtime.journal import legible
from cxr.runtime.replacing import replacing

UNSAFE = set("'$`\\!")  # characters that a shell interprets, within one kind of quotes or the other
ENCODED = "encoded_config"
TESTED = {"snakemake": "9.27", "snakemake-executor-plugin-slurm": "2.8"}
RECORDS = ".records"  # folder in the results: how each of them was made


def untested(version: Callable[[str], str] = metadata.version) -> str:
    """Return a warning if the fixes in this module were not tested with the installed Snakemake or SLURM executor, else "".

    The fixes replace internal functions of these packages, so they are left out with any other version. version: returns
    that of an installed package.
    """
    found = {}
    for name in TESTED:
        with suppress(metadata.PackageNotFoundError):  # no SLURM executor: nothing to fix
            found[name] = version(name)
    other = [f"{name} {text}" for name, text in found.items() if ".".join(text.split(".")[:2]) != TESTED[name]]
    if not other:
        return ""
    return (
        f"{' and '.join(other)}: this workflow's fixes to Snakemake were tested only with "
        f"{', '.join(f'{name} {text}' for name, text in TESTED.items())} and are left out. Results then have no records of "
        "their own, damaged files are found only when a job reads them, and a change behind kept files may need a second "
        "run. Install the versions in requirements.lock"
    )


def require_files(configurations: Iterable[Path]) -> None:
    """Raise InputError if a configuration is a pipe or a device: jobs that are processes of their own read it once more."""
    for path in configurations:
        if not path.is_file():
            raise InputError(
                f"{legible(path)}: not a regular file ({regular.kind(path)}); jobs read the configuration again, so write "
                "it to a file and give that to --configfile"
            )


def calm(scheduler: Any) -> None:
    """Make the scheduler look for jobs to start when one has ended, not again every second for each that has.

    While jobs wait, every look sets a timer for the next, whether or not the limit of starts per second was met. Every
    ended job adds a look, so after a hundred jobs there are a hundred looks per second, and each asks for the size of
    every waiting job's inputs: with 260 pairs this keeps a core busy, and a file server with it.
    """
    limiter, look_again = scheduler.job_rate_limiter, scheduler._schedule_reevalutation

    def look_where_held_back(delay: float) -> None:
        if limiter is None or limiter.get_free_jobs() == 0:
            look_again(delay)

    scheduler._schedule_reevalutation = look_where_held_back


def ask_behind_ancient(dag: Any) -> None:
    """Make a class of DAGs (``snakemake.dag.DAG``) ask every job for its own reasons to run.

    Snakemake does not ask the jobs behind one that has to run: it reaches them from that job. But it reaches no job
    through an ancient file, and does not ask the jobs behind one either: when a grid got one more depth, its shared
    features were computed, its new pairs were not trained, and the run was called done.
    """
    judge, follow = dag.update_needrun, dag.bfs

    async def update_needrun(self: Any, *arguments: Any, **options: Any) -> None:
        self.judging = True
        try:
            await judge(self, *arguments, **options)
        finally:
            self.judging = False

    def bfs(self: Any, direction: Any, *jobs: Any, **options: Any) -> Iterable[Any]:
        behind = direction is self.depending and getattr(self, "judging", False)
        return follow(self, _Reached(direction) if behind else direction, *jobs, **options)

    dag.update_needrun, dag.bfs = update_needrun, bfs


def ask_for_missing_checkpoints(dag: Any) -> None:
    """Make a class of DAGs (``snakemake.dag.DAG``) run every checkpoint whose output is missing.

    By itself it runs one only for a job that is known to run, and does not check a job for changed settings before the
    checkpoints ahead of it exist: without the splits, the answer to a changed setting was "nothing to be done".
    """
    judge = dag.update_needrun

    async def update_needrun(self: Any, *arguments: Any, **options: Any) -> None:
        if self.workflow.is_main_process:
            for job in self.jobs:
                if job.is_checkpoint and not self.finished(job):
                    missing = [file for file in job.output if not await file.exists()]
                    self.reason(job).missing_output.update(missing)
        await judge(self, *arguments, **options)

    dag.update_needrun = update_needrun


def keep_until_replaced(job: Any) -> None:
    """Make jobs of a class (``snakemake.jobs.Job``) leave former outputs in place until they have new ones.

    By itself Snakemake removes them before a job runs, and again when it fails: when a report could not be written, the
    former one was lost too. Here outputs appear whole or not at all (``cxr.runtime.outputs``), so nothing half-written can
    stay. What a failed job leaves is marked as incomplete and made again (Snakemake records even a failed job as done with
    its new settings; its own flag ``update`` therefore lets former outputs pass for new ones).
    """
    finish = job.postprocess

    async def remove_existing_output(self: Any) -> None:
        for file in self.log:
            await file.remove(remove_non_empty_dir=False)

    async def cleanup(self: Any, *unused: Any) -> None:
        pass

    async def postprocess(self: Any, *arguments: Any, error: bool = False, **options: Any) -> None:
        notes, due = self.dag.workflow.persistence, []
        if error:
            notes._clear_cache()  # another process has recorded the members of a failed bundle that ended well
            due = await notes.incomplete(self)
        await finish(self, *arguments, error=error, **options)
        if due:
            notes.started(self)

    job.remove_existing_output, job.cleanup, job.postprocess = remove_existing_output, cleanup, postprocess


def keep_records(persistence: Any, results: Path) -> None:
    """Make Snakemake's class of records (``snakemake.persistence.file.FilePersistence``) keep those of results beside them.

    By itself it records below `.snakemake`, where Snakemake was started, which settings, code and inputs made a file. If
    that folder is lost, or results are restored from elsewhere, they all pass for up to date: "nothing to be done" after
    a changed setting. A record beside the results goes where they go, so it takes precedence.
    """
    read, write, delete = persistence._read_record, persistence._write_record, persistence._delete_record
    known: dict[str, Any] = {}

    def place(key: str) -> Path | None:
        """Return the path of the record of a file below the results, None for any other file."""
        if not Path(key).is_relative_to(results):
            return None
        name = hashlib.blake2b(os.fsencode(Path(key).relative_to(results)), digest_size=16).hexdigest()
        return results / RECORDS / f"{name}.json"

    def _read_record(self: Any, key: str) -> Any:
        if key not in known:
            known[key] = _record(place(key))
        return known[key] or read(self, key)

    def _write_record(self: Any, key: str, record: Any) -> None:
        write(self, key, record)
        known.pop(key, None)
        if path := place(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, durable=False) as file:
                json.dump({"file": key, "record": dict(record.items())}, file)

    def _delete_record(self: Any, key: str) -> bool:
        known.pop(key, None)
        if path := place(key):
            path.unlink(missing_ok=True)
        return delete(self, key)

    persistence._read_record, persistence._write_record = _read_record, _write_record
    persistence._delete_record = _delete_record


def _record(path: Path | None) -> Any:
    """Read a record; None if it is missing or cannot be read."""
    try:
        return MetadataRecord.model_validate(json.loads(path.read_text(encoding="utf-8"))["record"]) if path else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def around_planning(dag: Any, before: Callable[[Any], None], after: Callable[[Any], None]) -> None:
    """Make a class of DAGs (``snakemake.dag.DAG``) call functions of the DAG before and after it is first planned.

    Whether the run is a dry run is not known any earlier, and Snakemake's own `onstart` runs after planning.
    """
    plan = dag.init

    async def init(self: Any, *arguments: Any, **options: Any) -> None:
        before(self)
        await plan(self, *arguments, **options)
        after(self)

    dag.init = init


def encode_configuration(factory: Any) -> None:
    """Make a factory of cluster jobs' arguments (``snakemake.spawn_jobs.SpawnedJobArgsFactory``) pass on any --config.

    By itself Snakemake quotes it as Python does, in a command line within another, where an apostrophe or a $ in the name
    of a folder causes a shell error. Text with such a character is passed on as letters and digits alone (`decoded`).
    """
    argument = factory.workflow_property_to_arg

    def workflow_property_to_arg(self: Any, name: str, *arguments: Any, **options: Any) -> str:
        given = self.workflow.config_settings
        text = "".join(given.config_args or ())
        if name != "config_settings.config_args" or (text.isprintable() and not UNSAFE & set(text)):
            return argument(self, name, *arguments, **options)
        return f"--config {ENCODED}={base64.urlsafe_b64encode(json.dumps(given.config).encode()).decode()}"

    factory.workflow_property_to_arg = workflow_property_to_arg


def decoded(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the --config that `encode_configuration` encoded back in its place."""
    result = dict(config)
    if ENCODED in result:
        update_config(result, json.loads(base64.urlsafe_b64decode(result.pop(ENCODED))))
    return result


class _Reached:
    """The jobs that depend on each job, except those that depend on it through ancient files alone."""

    def __init__(self, depending: Any):
        self.depending = depending

    def __getitem__(self, job: Any) -> dict[Any, Any]:
        behind = self.depending[job].items()
        return {other: files for other, files in behind if not all(file.is_ancient for file in files)}


def or_exit(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a function; an error that the user can correct ends the run with its message, before anything runs."""
    try:
        return function(*arguments, **options)
    except InputError as error:
        sys.exit(f"Error: {error}")
