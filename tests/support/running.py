"""Running the real Snakemake from a test, and reading what it ran or would run."""

import os
import re
import subprocess
import sys
from collections import Counter

STARTED = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):$", re.M)


def snakemake(repository, folder, *arguments, config=None, timeout=1800):
    """Run Snakemake in a folder with the tiny configuration; configuration files follow each other, later ones win."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", repository / "Snakefile", "--directory", folder]
    command += ["--cores", "2", "--configfile", repository / "tests/tiny.yaml"]
    command += ["--config", *config] if config else []
    done = subprocess.run(
        [*map(str, command), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=repository,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    )
    return done.returncode, done.stdout + done.stderr


def planned(repository, folder, *arguments, config=None):
    """The rules a dry run would execute, with their numbers of jobs."""
    code, output = snakemake(repository, folder, "--dry-run", *arguments, config=config)
    assert code == 0, output
    table = output.partition("Job stats:")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^(\w+)\s+(\d+)$", table, re.M))
    return {rule: int(count) for rule, count in rows.items() if rule not in ("total", "all")}


def executed(repository, folder, *arguments, config=None, **more):
    """Run, and return rule → number of jobs that were started; `all` left out."""
    code, output = snakemake(repository, folder, *arguments, config=config, **more)
    assert code == 0, output[-6000:]
    found = Counter(STARTED.findall(output.partition("Select jobs to execute")[2]))
    del found["all"]
    return dict(found)
