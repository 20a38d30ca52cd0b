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
