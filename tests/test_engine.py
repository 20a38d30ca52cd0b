"""Faults of Snakemake that a run steers around."""

import re
import subprocess
import sys

WORKFLOW = """
import sys
sys.path.insert(0, {package!r})
import engine

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


ANCIENT = """
import sys
sys.path.insert(0, {package!r})
import engine
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
