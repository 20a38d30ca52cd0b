"""What a run mends of its engine, Snakemake 9.27."""

import base64
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from snakemake.persistence import MetadataRecord
from snakemake.utils import update_config

from cxr.errors import InputError

UNSAFE = set("'$`\\!")  # what a shell does not take as it stands, between whichever quotes
ENCODED = "encoded_config"
RECORDS = ".records"  # folder in the results: how each of them was made


def calm(scheduler: Any) -> None:
    """Let the scheduler look for jobs to start when one has ended, not again every second for each that has.

    Every look while jobs wait sets a timer for the next, whether or not the limit of starts per second was met; as every
    ended job adds a look, after a hundred there are a hundred a second, each asking for the size of every waiting job's
    inputs: a core of its own for 260 pairs, and as many questions to a file server.
    """
    limiter, look_again = scheduler.job_rate_limiter, scheduler._schedule_reevalutation

    def look_where_held_back(delay: float) -> None:
        if limiter is None or limiter.get_free_jobs() == 0:
            look_again(delay)

    scheduler._schedule_reevalutation = look_where_held_back


def ask_behind_ancient(dag: Any) -> None:
    """Let a class of DAGs (``snakemake.dag.DAG``) ask every job for its own reasons to run.

    The jobs behind one that has to run are not asked: they are reached from it. But nothing is reached by way of an
    ancient file, and what lies behind one is not asked either: of a grid with a further depth its shared features were
    computed, its new pairs not trained, and the run called done.
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
    """Let a class of DAGs (``snakemake.dag.DAG``) run every checkpoint whose output is missing.

    By itself it runs one only for a job that is known to run, and does not ask a job for changed settings before the
    checkpoints ahead of it are there: without the splits a changed setting was answered by "nothing to be done".
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
    """Let jobs of a class (``snakemake.jobs.Job``) leave former outputs in place until they have new ones.

    By itself Snakemake removes them before a job runs, and again when it fails: a report that could not be written took
    the former one along. Here outputs appear whole or not at all (``cxr.outputs``), so nothing half-written can stay. What
    a failed job leaves is marked as incomplete, and so is made again (Snakemake notes even a failed job as done with its
    new settings; its own flag ``update`` therefore lets former outputs pass for new ones).
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
            notes._clear_cache()  # of a bundle that failed, the members that ended well have been noted by another process
            due = await notes.incomplete(self)
        await finish(self, *arguments, error=error, **options)
        if due:
            notes.started(self)

    job.remove_existing_output, job.cleanup, job.postprocess = remove_existing_output, cleanup, postprocess


def keep_records(persistence: Any, results: Path) -> None:
    """Let a class of Snakemake's memory (``snakemake.persistence.file.FilePersistence``) keep the records of results with them.

    By itself it notes below `.snakemake`, where Snakemake was started, with which settings, code and inputs a file was
    made. Where that folder is lost, or results are restored from elsewhere, whatever lies there passes for up to date:
    "nothing to be done" after a changed setting. A record beside the results goes where they go, so it counts first.
    """
    read, write, delete = persistence._read_record, persistence._write_record, persistence._delete_record
    known: dict[str, Any] = {}

    def place(key: str) -> Path | None:
        """Where the record of a file below the results lies."""
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
            part = path.with_suffix(".part")
            part.write_text(json.dumps({"file": key, "record": dict(record.items())}), encoding="utf-8")
            part.replace(path)

    def _delete_record(self: Any, key: str) -> bool:
        known.pop(key, None)
        if path := place(key):
            path.unlink(missing_ok=True)
        return delete(self, key)

    persistence._read_record, persistence._write_record = _read_record, _write_record
    persistence._delete_record = _delete_record


def _record(path: Path | None) -> Any:
    """Read a record; None where there is none, or one that cannot be read."""
    try:
        return MetadataRecord.model_validate(json.loads(path.read_text(encoding="utf-8"))["record"]) if path else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def around_planning(dag: Any, before: Callable[[Any], None], after: Callable[[Any], None]) -> None:
    """Let a class of DAGs (``snakemake.dag.DAG``) call functions of the DAG before and after it is first planned.

    Whether the run is a dry one is not known any earlier, and what Snakemake's own `onstart` does comes after planning.
    """
    plan = dag.init

    async def init(self: Any, *arguments: Any, **options: Any) -> None:
        before(self)
        await plan(self, *arguments, **options)
        after(self)

    dag.init = init


def encode_configuration(factory: Any) -> None:
    """Let a factory of cluster jobs' arguments (``snakemake.spawn_jobs.SpawnedJobArgsFactory``) hand on any --config.

    By itself Snakemake quotes it as Python does, in a command line within another, where an apostrophe or a $ in the name
    of a folder ends in a shell's error. What has such a character is handed on in letters and digits alone (`decoded`).
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
    """Return a configuration with what `encode_configuration` made of --config in its place."""
    result = dict(config)
    if ENCODED in result:
        update_config(result, json.loads(base64.urlsafe_b64decode(result.pop(ENCODED))))
    return result


class _Reached:
    """What jobs lead to, but for what they lead to by ancient files alone."""

    def __init__(self, depending: Any):
        self.depending = depending

    def __getitem__(self, job: Any) -> dict[Any, Any]:
        behind = self.depending[job].items()
        return {other: files for other, files in behind if not all(file.is_ancient for file in files)}


def or_exit(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a function; what a user can mend ends the run with its message, before anything is run."""
    try:
        return function(*arguments, **options)
    except InputError as error:
        sys.exit(f"Error: {error}")
