"""Faults of Snakemake that a run steers around."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib import metadata
from types import SimpleNamespace

import pytest
from snakemake.cli import parse_config

from runner import engine

WORKFLOW = """
import sys
sys.path.insert(0, {package!r})
from runner import engine

onstart:
    if config["calm"]:
        engine.calm(workflow.scheduler)

rule all:
    input: expand("{{number}}", number=range(24))

rule job:
    output: "{{number}}"
    shell: "sleep 0.5; touch {{output}}"
"""


def looks(repository, folder, calm):
    """How often the scheduler looked for jobs to start among 24 that run two at a time."""
    folder.mkdir()
    (folder / "Snakefile").write_text(WORKFLOW.format(package=str(repository / "workflow")))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--verbose", "--config", f"calm={calm}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert all((folder / str(number)).exists() for number in range(24))
    return len(re.findall("^Ready jobs: ", done.stderr, re.M))


def test_the_scheduler_looks_once_an_ended_job(repository, tmp_path):
    assert looks(repository, tmp_path / "calm", calm=1) <= 24 + 1


def test_by_itself_it_looks_ever_more_often(repository, tmp_path):
    """If this fails, Snakemake was mended: `engine.calm` can go."""
    assert looks(repository, tmp_path / "itself", calm=0) > 36


@pytest.mark.parametrize(("limiter", "again"), [(None, [2.0]), (0, [2.0]), (3, [])])
def test_where_the_rate_of_starts_holds_jobs_back_the_scheduler_looks_again(limiter, again):
    """Else the jobs that are held back would wait for others to end, or forever."""
    asked = []
    scheduler = SimpleNamespace(
        job_rate_limiter=None if limiter is None else SimpleNamespace(get_free_jobs=lambda: limiter),
        _schedule_reevalutation=asked.append,
    )
    engine.calm(scheduler)
    scheduler._schedule_reevalutation(2.0)
    assert asked == again


def test_what_is_reached_by_one_file_that_is_not_ancient_is_reached():
    """While jobs are judged; afterwards, and against the direction, everything is as Snakemake has it."""
    old, new = SimpleNamespace(is_ancient=True), SimpleNamespace(is_ancient=False)
    behind = {"a": {"by an old file": [old], "by both": [old, new], "by a new one": [new]}}

    class Dag:
        depending, dependencies = behind, {"a": {"ahead": [old]}}

        async def update_needrun(self):
            self.judged = [list(self.bfs(each, "a")) for each in (self.depending, self.dependencies)]

        def bfs(self, direction, *jobs):
            for job in jobs:
                yield from direction[job]

    engine.ask_behind_ancient(Dag)
    dag = Dag()
    asyncio.run(dag.update_needrun())
    assert dag.judged == [["by both", "by a new one"], ["ahead"]]
    assert list(dag.bfs(dag.depending, "a")) == list(behind["a"])


ANCIENT = """
import sys
sys.path.insert(0, {package!r})
from runner import engine
from snakemake.dag import DAG

if config["ask"]:
    engine.ask_behind_ancient(DAG)

rule all:
    input: expand("pair{{depth}}", depth=config["depths"])

rule shared:
    output: "shared"
    params: depths=config["depths"]
    shell: "echo {{params.depths}} > {{output}}"

rule pair:
    input: ancient("shared")
    output: "pair{{depth}}"
    shell: "cp {{input}} {{output}}"
"""


def deepened(repository, folder, ask):
    """A run over a depth, then one over a further depth: which pairs there are, and what the first was made from."""
    folder.mkdir()
    (folder / "Snakefile").write_text(ANCIENT.format(package=str(repository / "workflow")))
    for depths in ("[1]", "[1, 2]"):
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--config", f"ask={ask}", f"depths={depths}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    return {path.name: path.read_text().split() for path in folder.glob("pair*")}


def test_what_lies_behind_an_ancient_file_that_is_made_again_runs_for_reasons_of_its_own(repository, tmp_path):
    assert deepened(repository, tmp_path / "asked", ask=1) == {"pair1": ["1"], "pair2": ["1", "2"]}


def test_by_itself_it_does_not(repository, tmp_path):
    """If this fails, Snakemake was mended: `engine.ask_behind_ancient` can go."""
    assert "pair2" not in deepened(repository, tmp_path / "itself", ask=0)


KEPT = """
import sys
sys.path.insert(0, {package!r})
from runner import engine
from snakemake.jobs import Job

if config["keep"]:
    engine.keep_until_replaced(Job)

rule all:
    input: "page", "folder"

rule report:
    input: "table"
    output: page="page", folder=directory("folder")
    params: value=config["value"]
    shell:
        '''
        if [ -e slow ]; then touch begun; sleep 60; fi
        if [ -e bad ]; then exit 1; fi
        rm -rf folder; mkdir folder; cp {{input}} folder/table
        echo {{params.value}} > new; mv new {{output.page}}
        '''
"""


@pytest.fixture
def kept(repository, tmp_path):
    """A function that runs a small report in a folder where it has been made once, and one that says what would run."""
    (tmp_path / "Snakefile").write_text(KEPT.format(package=str(repository / "workflow")))
    (tmp_path / "table").write_bytes(b"1" * 2_000_000)  # too large to be compared by content
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--rerun-incomplete", "--nolock", "--config"]

    def run(value, *arguments, keep=1):
        asked = [*command, f"keep={keep}", f"value={value}", *arguments]
        return subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    def would_run(value):
        done = run(value, "--dry-run")
        assert done.returncode == 0, done.stderr
        return "rule report" in done.stdout + done.stderr

    done = run("old")
    assert done.returncode == 0, done.stderr
    assert not would_run("old")
    return run, would_run


def test_a_job_that_fails_leaves_what_was_there_and_is_due_again(kept, tmp_path):
    run, would_run = kept
    (tmp_path / "table").write_bytes(b"2" * 2_000_000)
    (tmp_path / "bad").touch()
    assert run("new").returncode != 0
    assert (tmp_path / "page").read_text() == "old\n" and (tmp_path / "folder/table").read_bytes()[:1] == b"1"
    assert would_run("new") and would_run("old")
    (tmp_path / "bad").unlink()
    assert run("new").returncode == 0
    assert (tmp_path / "page").read_text() == "new\n" and (tmp_path / "folder/table").read_bytes()[:1] == b"2"
    assert not would_run("new")


def test_a_job_that_fails_with_new_settings_alone_is_due_again(kept, tmp_path):
    """Snakemake notes it as done with them, and no file is newer than what was there."""
    run, would_run = kept
    (tmp_path / "bad").touch()
    assert run("new").returncode != 0
    assert (tmp_path / "page").read_text() == "old\n"
    assert would_run("new")


def test_a_killed_run_leaves_what_was_there_and_its_job_is_due_again(kept, tmp_path):
    _, would_run = kept
    (tmp_path / "slow").touch()
    running = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--nolock", "--config", "keep=1", "value=new"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert (tmp_path / "page").read_text() == "old\n" and (tmp_path / "folder/table").exists()
    assert would_run("new")


def test_by_itself_snakemake_removes_what_was_there(kept, tmp_path):
    """If this fails, Snakemake was mended: `engine.keep_until_replaced` can go."""
    run, _ = kept
    (tmp_path / "bad").touch()
    assert run("new", keep=0).returncode != 0
    assert not (tmp_path / "page").exists()


class Factory:
    """Stands for what Snakemake makes cluster jobs' arguments with."""

    def __init__(self, entries):
        given = SimpleNamespace(config_args=entries, config=parse_config(entries))
        self.workflow = SimpleNamespace(config_settings=given)

    def workflow_property_to_arg(self, name, flag=None):
        return "as Snakemake writes it"


@pytest.mark.parametrize("value", ["o'brien", "$HOME `ls` !", 'a "b"\'c', "C:\\x", "Röntgen's"])
def test_a_configuration_reaches_a_job_through_two_shells(value):
    factory = type("Own", (Factory,), {})
    engine.encode_configuration(factory)
    made = factory([f"data={{root: {json.dumps(value, ensure_ascii=False)}}}", "seed=3"])
    argument = made.workflow_property_to_arg("config_settings.config_args", flag="--config")
    inner = subprocess.run(["sh", "-c", f'printf %s "$(sh -c "printf %s {argument.split()[1]}")"'], capture_output=True)
    received = parse_config([inner.stdout.decode()])
    assert engine.decoded(received) == {"data": {"root": value}, "seed": 3}
    assert made.workflow_property_to_arg("directory") == "as Snakemake writes it"
    plain = factory(["data={root: /data/CXR8}"])
    assert plain.workflow_property_to_arg("config_settings.config_args") == "as Snakemake writes it"
    assert engine.decoded({"seed": 3}) == {"seed": 3}


def test_what_was_given_on_the_command_line_is_laid_over_the_configuration_key_by_key():
    factory = type("Own", (Factory,), {})
    engine.encode_configuration(factory)
    argument = factory(["data={root: o'brien}"]).workflow_property_to_arg("config_settings.config_args")
    given = parse_config([argument.split(maxsplit=1)[1]])
    assert engine.decoded({"data": {"source": "nih", "root": "data"}, "seed": 3} | given) == {
        "data": {"source": "nih", "root": "o'brien"}, "seed": 3
    }  # fmt: skip


def test_a_configuration_from_a_pipe_is_refused_because_jobs_would_read_it_again(repository, tmp_path):
    command = [sys.executable, "-m", "snakemake", "--snakefile", repository / "Snakefile", "--directory", tmp_path]
    command += ["--workflow-profile", "none", "-n", "--quiet", "--cores", "1", "--configfile", "/dev/stdin"]
    text = json.dumps({"name": "tiny", "data": {"source": "phantoms"}})
    done = subprocess.run([*map(str, command)], input=text, capture_output=True, text=True, cwd=repository)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "Error: /dev/stdin: not a regular file (a named pipe); jobs read the configuration again" in done.stderr
    (tmp_path / "given.json").write_text(text)
    engine.require_files([tmp_path / "given.json"])


# ---- versions


@pytest.mark.parametrize(
    ("snakemake_version", "slurm_version", "said"),
    [("9.27.1", "2.8.0", ""), ("9.27.9", "2.8.3", ""), ("9.28.0", "2.8.0", "snakemake 9.28.0:"),
     ("10.27", "2.8", "snakemake 10.27:"), ("9.27.1", "2.9.0", "snakemake-executor-plugin-slurm 2.9.0:"),
     ("9.2.7", "3.0", "snakemake 9.2.7 and snakemake-executor-plugin-slurm 3.0:"), ("9.27.1", None, "")],
)  # fmt: skip
def test_the_fixes_apply_only_to_the_versions_that_they_were_tested_with(snakemake_version, slurm_version, said):
    def version(name):
        found = {"snakemake": snakemake_version, "snakemake-executor-plugin-slurm": slurm_version}[name]
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    text = engine.untested(version)
    assert text.startswith(said) and bool(text) == bool(said)


def test_the_locked_versions_are_tested_ones():
    assert engine.untested() == ""


OTHER = """
import sys
from importlib import metadata
version = metadata.version
metadata.version = lambda name: "9.99.0" if name == "snakemake" else version(name)
from snakemake.cli import main
main(sys.argv[1:])
"""


def test_with_another_version_the_workflow_says_what_it_does_without_and_is_planned(repository, tmp_path):
    command = [
        sys.executable,
        "-c",
        OTHER,
        "--snakefile",
        repository / "Snakefile",
        "--directory",
        tmp_path,
        "-n",
        "--quiet",
    ]
    command += ["--cores", "1", "--configfile", repository / "tests/tiny.yaml"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=repository)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Warning: snakemake 9.99.0: this workflow's fixes to Snakemake") == 1
