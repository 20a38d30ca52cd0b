"""Results that cannot be written stop the run before anything is computed."""

import os
import subprocess
import sys

import pytest


def test_results_without_write_permission_are_refused_and_left_alone(repository, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    (results / "earlier.txt").write_text("kept")
    if os.geteuid() == 0:  # permission bits do not bind root, a read-only mount does
        mounted = subprocess.run(["mount", "--bind", "-o", "ro", results, results], capture_output=True)
        if mounted.returncode == 0:
            subprocess.run(["mount", "-o", "remount,ro,bind", results], check=True)
        if os.access(results, os.W_OK):
            pytest.skip("running as root, where no read-only mount can be made")
    else:
        results.chmod(0o500)
    try:
        command = [sys.executable, "-m", "snakemake", "--snakefile", repository / "Snakefile", "--directory", tmp_path]
        done = subprocess.run(
            [*map(str, command), "--cores", "1", "--configfile", str(repository / "tests/tiny.yaml")],
            capture_output=True,
            text=True,
            cwd=repository,
        )
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", results], check=False)
        else:
            results.chmod(0o700)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "results/tiny" in output and "cannot be written" in output
    assert "Traceback" not in output
    assert (results / "earlier.txt").read_text() == "kept"
    assert list(results.iterdir()) == [results / "earlier.txt"]
