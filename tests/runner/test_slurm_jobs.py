"""What reaches SLURM's commands and a job's shell: names of runs, ids of jobs, and paths that a shell takes as they are."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_interface_executor_plugins.utils import format_cli_arg

from cxr import settings
from runner import slurm_jobs

RUN, EARLIER = "6f1c2f0e-30c2-4a32-9d7e-0c4a1b2d3e4f", "5a0b7c1d-1111-4222-8333-0123456789ab"
# Stand for SLURM's commands: each notes its arguments; squeue gives the answers prepared for it, one after the other.
TOOL = """#!/bin/sh
printf '%s\\n' "$@" > "$0.arguments"
echo called >> "$0.calls"
answer="$0.answer$(wc -l < "$0.calls")"
if [ -e "$answer" ]; then cat "$answer"; fi
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A folder with made-up commands of SLURM, which come first on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("squeue", "scancel"):
        (folder / name).write_text(TOOL)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def answers(cluster, *texts):
    for number, text in enumerate(texts, 1):
        (cluster / f"squeue.answer{number}").write_text(text)


def arguments(cluster, tool):
    path = cluster / f"{tool}.arguments"
    return path.read_text().splitlines() if path.exists() else None


@pytest.fixture
def results(tmp_path):
    """Results on which an earlier run worked."""
    folder = tmp_path / "results/tiny"
    folder.mkdir(parents=True)
    (folder / slurm_jobs.NOTE).write_text(f"{EARLIER}\n")
    return folder


def take_over(results, **more):
    told = []
    return slurm_jobs.take_over(results, RUN, told.append, **more), told


def test_jobs_of_an_earlier_run_are_cancelled_and_waited_for_and_the_run_is_noted(cluster, results):
    answers(cluster, "17\n18\n", "18\n", "")
    assert take_over(results) == (2, ["cancelling 2 SLURM jobs that an earlier run left behind: 17, 18"])
    assert arguments(cluster, "scancel") == ["17", "18"]
    assert arguments(cluster, "squeue") == ["--noheader", "--format=%A", f"--user={os.getuid()}", f"--name={EARLIER}"]
    assert (cluster / "squeue.calls").read_text().count("called") == 3
    assert (results / slurm_jobs.NOTE).read_text() == f"{RUN}\n"


def test_where_no_run_was_before_slurm_is_not_asked(cluster, tmp_path):
    assert take_over(tmp_path / "results/new") == (0, [])
    assert arguments(cluster, "squeue") is None and arguments(cluster, "scancel") is None
    assert (tmp_path / "results/new" / slurm_jobs.NOTE).read_text() == f"{RUN}\n"


def test_a_run_whose_jobs_have_ended_is_followed_at_once(cluster, results):
    assert take_over(results) == (0, [])
    assert arguments(cluster, "scancel") is None


def test_jobs_that_do_not_end_stop_the_run_and_stay_noted(cluster, results):
    answers(cluster, "17\n", "17\n")
    with pytest.raises(RuntimeError, match="SLURM jobs of an earlier run do not end: 17; cancel them, then run again"):
        take_over(results, patience=-1)
    assert (results / slurm_jobs.NOTE).read_text() == f"{EARLIER}\n"


@pytest.mark.parametrize("code", ["exit 1", "exec no-such-program"])
def test_without_an_answer_of_slurm_nothing_is_started(cluster, results, code):
    (cluster / "squeue").write_text(f"#!/bin/sh\necho the controller is away >&2; {code}\n")
    with pytest.raises(RuntimeError, match="squeue did not answer about the jobs of an earlier run: the controller is"):
        take_over(results)
    assert (results / slurm_jobs.NOTE).read_text() == f"{EARLIER}\n"


@pytest.mark.parametrize(
    "line",
    [
        "--me", "*", "%", "-u root", f"{EARLIER},%", f"{EARLIER} {EARLIER}", EARLIER[:-1], EARLIER.upper(),
        "$(touch planted)", "bash", f"-{EARLIER}", "", " ", "\0",
    ],
)  # fmt: skip
def test_a_note_of_anything_but_names_of_runs_reaches_no_command(cluster, results, line):
    (results / slurm_jobs.NOTE).write_text(f"{EARLIER}\n{line}\n", newline="")
    if not line:
        assert take_over(results) == (0, [])
        return
    with pytest.raises(RuntimeError, match=r"\.slurm: '.* is not the name of a run, .*squeue --me"):
        take_over(results)
    assert arguments(cluster, "squeue") is None and arguments(cluster, "scancel") is None


def test_names_with_the_prefix_that_the_executor_allows_are_names_of_runs(cluster, results):
    (results / slurm_jobs.NOTE).write_text(f"my-study_{EARLIER}\n{EARLIER}\n")
    take_over(results)
    assert arguments(cluster, "squeue")[-1] == f"--name=my-study_{EARLIER},{EARLIER}"


def test_the_executor_makes_names_as_they_are_expected():
    """If this fails, the executor calls its jobs otherwise: `slurm_jobs.NAME` has to follow."""
    plugin = pytest.importorskip("snakemake_executor_plugin_slurm")
    source = Path(plugin.__file__).read_text()
    assert "self.run_uuid = str(uuid.uuid4())" in source and 'r"^[A-Za-z0-9_-]{1,50}$"' in source


@pytest.mark.parametrize(
    "answer", ["17\n--signal=KILL\n", "17 *\n", "17_[1-3]\n", "slurm_load_jobs error\n", "-1\n", "1٣\n"]
)
def test_an_answer_that_is_not_ids_reaches_no_command(cluster, results, answer):
    answers(cluster, answer)
    with pytest.raises(
        RuntimeError, match=r"squeue answered '.*' instead of the ids of an earlier run's jobs; nothing was cancelled"
    ):
        take_over(results)
    assert arguments(cluster, "scancel") is None


@pytest.mark.parametrize("place", [Path.symlink_to, Path.hardlink_to])
def test_a_file_of_the_user_in_the_place_of_the_note_is_not_overwritten(cluster, results, tmp_path, place):
    own = tmp_path / "own"
    own.write_text("of the user")
    (results / slurm_jobs.NOTE).unlink()
    place(results / slurm_jobs.NOTE, own)
    with pytest.raises(RuntimeError, match=r"\.slurm: "):
        take_over(results)
    assert own.read_text() == "of the user"


def test_a_note_that_is_no_file_stops_the_run_in_a_sentence(cluster, results):
    (results / slurm_jobs.NOTE).unlink()
    (results / slurm_jobs.NOTE).mkdir()
    with pytest.raises(RuntimeError, match=r"\.slurm: this is not a regular file; remove it and run again"):
        take_over(results)


def as_a_job_sees_it(path, folder):
    """Hand a path to a job as the SLURM executor does: in a command within a command line, both read by a shell."""
    command = f"printf '%s\\n' {format_cli_arg('--wait-for-files', [path])}"
    escaped = command.replace('"', '\\"')
    wrapped = subprocess.run(["sh", "-c", f'printf %s "{escaped}"'], capture_output=True, text=True, cwd=folder)
    seen = subprocess.run(["sh", "-c", wrapped.stdout], capture_output=True, text=True, cwd=folder)
    return seen.stdout.partition("--wait-for-files\n")[2].removesuffix("\n")


PLAIN = [
    "/data/CXR8",
    "o'brien's lab/CXR8",
    "/data/of a; touch planted",
    "/a & b",
    "/a>planted",
    "/100%!",
    "/*",
    "~",
    "Röntgen",
    "(a)",
]
READ_OTHERWISE = [
    "/data/$(touch planted)", "/data/`touch planted`", "/$HOME", "/o'brien's $(touch planted)", "/a\nb", "/a\tb",
    "'x'; touch planted; '/y", '"x"; touch planted; "/y', "/a\x7fb", "/a\u200bb",
]  # fmt: skip


@pytest.mark.parametrize("path", PLAIN)
def test_a_path_that_a_job_can_be_given_arrives_as_it_is(tmp_path, path):
    slurm_jobs.require_plain({"data.root": path})
    assert as_a_job_sees_it(path, tmp_path) == path
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize("path", READ_OTHERWISE)
def test_a_path_that_a_shell_would_read_otherwise_is_refused_by_the_name_of_its_key(tmp_path, path):
    assert as_a_job_sees_it(path, tmp_path) != path
    refused(path)


def test_a_backslash_is_refused_which_each_further_shell_takes_in_its_own_way():
    refused("/a\\b")


def refused(path):
    with pytest.raises(RuntimeError, match=r"^sound\.yolo\.pretrained: the path '?.* cannot be passed to a SLURM job"):
        slurm_jobs.require_plain({"data.root": "/data", "sound.yolo.pretrained": path})


TABLES = {"labels": "L.csv", "boxes": "B.csv", "train_val": "", "test": ""}


def test_every_path_from_outside_that_a_job_waits_for_is_looked_at_by_its_key(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    weights = {
        "yolov2": {"pretrained": "y.weights", "cfg": "y.cfg"},
        "yolo": {"pretrained": "y.pt"},
        "torchvision_detector": {"pretrained": "t.pt"},
    }
    own = settings.load({"protocols": ["sound"], "data": {"source": "phantoms"}, "paper": weights, "sound": weights})
    assert slurm_jobs.paths(own, "root", TABLES) == {
        "the working directory": str(tmp_path),
        "data.root": "root",
        "data.label_table": "L.csv",
        "data.box_table": "B.csv",
        "sound.yolov2.pretrained": "y.weights",
        "sound.yolov2.cfg": "y.cfg",
        "sound.yolo.pretrained": "y.pt",
        "sound.torchvision_detector.pretrained": "t.pt",
    }


def test_rules_take_no_other_path_from_the_settings_as_an_input(repository):
    """What a rule takes as an input gets into the command lines of its jobs: `slurm_jobs.paths` has to name it."""
    texts = "".join(path.read_text() for path in sorted((repository / "rules").glob("*.smk")))
    blocks = re.findall(r"^ *input:\n((?:  +.*\n|\n)*?)(?= *\w+:\n)", texts, re.M)
    named = {
        found for block in blocks for found in re.findall(r"(?:SETTINGS|protocol_of\(wildcards\))\.([\w.]+)", block)
    }
    assert "yolo.pretrained" in named
    switches = {"protocols", "leakage.enabled"}
    checked = {f"{name}.pretrained" for name in ("yolo", "yolov2", "torchvision_detector")}
    checked |= {"yolov2.cfg", "validate.names", "validate.boxes"}
    assert named <= checked | switches
    given = settings.load({"validate": {"table": "/t", "names": "/n", "boxes": "/b"}})
    assert {"validate.table", "validate.names", "validate.boxes"} <= slurm_jobs.paths(given, "/root", {}).keys()


def executor(
    python=sys.executable, snakefile="/flow/Snakefile", options="--force --configfiles '/my study/paper.yaml'"
):
    """Stands for the SLURM executor, and the words that all its jobs' command lines share."""
    factory = SimpleNamespace(general_args=lambda executor_common_settings: options)
    return SimpleNamespace(
        get_python_executable=lambda: python,
        get_snakefile=lambda: snakefile,
        common_settings=None,
        workflow=SimpleNamespace(spawned_job_args_factory=factory),
    )


def test_the_command_line_of_a_plain_run_is_let_through():
    slurm_jobs.require_plain_command(executor())
    slurm_jobs.require_plain_command(
        executor(options="""--config 'data={root: "/data/CXR8"}' --directory "/o'brien" """)
    )


@pytest.mark.parametrize(
    "python", ["/my study/bin/python", "/a;touch planted;/python", "/$(touch planted)/python", "/a'b"]
)
def test_a_python_that_a_shell_would_not_start_is_refused(python):
    with pytest.raises(RuntimeError, match=re.escape(f"{python}: a SLURM job cannot be started with this Python")):
        slurm_jobs.require_plain_command(executor(python=python))


@pytest.mark.parametrize(
    "value", ["/$(touch planted)/x.yaml", "/`touch planted`/x.yaml", "/a\\b/x.yaml", "/a\nb/x.yaml"]
)
def test_an_option_that_a_shell_would_read_otherwise_is_refused_by_its_name(value):
    with pytest.raises(RuntimeError, match=r"^--snakefile '/.*: this option cannot be passed to a SLURM job"):
        slurm_jobs.require_plain_command(executor(snakefile=value))
    options = f"--force {format_cli_arg('--configfiles', [Path('/plain.yaml'), Path(value)])} --nolock"
    with pytest.raises(
        RuntimeError, match=r"(?s)^--configfiles /plain.yaml '/.*: this option cannot be passed to a SLURM job"
    ):
        slurm_jobs.require_plain_command(executor(options=options))


def test_what_the_executor_takes_from_a_profile_reaches_sbatch_as_it_is(tmp_path):
    """If this fails, the executor no longer quotes it: it has to be looked at here."""
    submit = pytest.importorskip("snakemake_executor_plugin_slurm.submit_string")
    value = "$(touch planted) `touch planted` 'a' \"b\" \\c"
    resources = {"constraint": value, "qos": value, "slurm_cluster": value, "mem_mb": 100, "runtime": 10}
    job = SimpleNamespace(resources=Resources(resources), threads=1)
    params = {
        "run_uuid": value, "slurm_logfile": value, "comment_str": value, "workdir": value,
        "account": f"-A {shlex.quote(value)}", "partition": f"-p {shlex.quote(value)}",
    }  # fmt: skip
    command = submit.get_submit_command(job, params).removeprefix("sbatch ")
    seen = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    words = seen.stdout.splitlines()
    assert words.count(value) + words.count(f"--qos={value}") == len(params) + 3
    assert not (tmp_path / "planted").exists()


class Resources(dict):
    def __getattr__(self, name):
        return self[name]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("of $(touch planted)/work", "Error: the working directory: the path "),
        ("work", "Error: --configfiles "),
    ],
)
def test_a_run_is_refused_before_anything_is_submitted(repository, cluster, tmp_path, place, words):
    for name in ("sbatch", "scontrol", "sacctmgr", "sinfo"):
        (cluster / name).write_text(TOOL)
        (cluster / name).chmod(0o755)
    (folder := tmp_path / place).mkdir(parents=True)
    own = tmp_path / ("`touch planted`.yaml" if place == "work" else "plain.yaml")
    own.write_text((repository / "tests/tiny.yaml").read_text())
    command = [sys.executable, "-m", "snakemake", "--snakefile", repository / "Snakefile", "--directory", folder]
    command += ["--workflow-profile", repository / "profiles/slurm", "--configfile", own, "--", "preflight"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode != 0 and words in done.stderr, done.stderr[-3000:]
    assert arguments(cluster, "sbatch") is None
    assert not list(tmp_path.rglob("planted"))
