"""Two runs on the same results, and what a killed one left: only a job whose run is provably gone is ever stopped."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from cxr.errors import InputError
from runner import guard

RESULTS = Path("results/tiny")
PACKAGE = str(Path(guard.__file__).parents[1])
# Stands for Snakemake: guards the results as it does, and starts a job in a shell.
ENGINE = """
import subprocess, sys, time
from pathlib import Path
from runner import guard
guard.start(Path("results/tiny"))
subprocess.Popen(sys.argv[1:])
time.sleep(1e6)
"""
# A job with a worker, as a loader's. Asked to end, it notes whether its worker is still there, as if it saved its state.
JOB = """
import os, signal, sys, time
from pathlib import Path

def asked(*_):
    gone = os.waitpid(worker, os.WNOHANG)[0]
    Path("worker gone first" if gone else "saved").touch()
    os.kill(worker, signal.SIGKILL)
    os._exit(1)

worker = os.fork()
if not worker:
    time.sleep(1e6)
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else asked)
Path("started.new").write_text(f"{os.getpid()} {worker}")
os.replace("started.new", "started")
time.sleep(1e6)
"""
SCRIPT = ".snakemake/scripts/abc.job.py"
FORMS = {
    "plainly": ["-m", "snakemake"],
    "with options of Python": ["-u", "-B", "-m", "snakemake"],
    "from a script that uses Snakemake as a library": ["study.py"],
    "from a line of code": ["-c", ENGINE],
}


@pytest.fixture
def work(tmp_path):
    """A folder with results and a job's script."""
    folder = tmp_path / "work"
    for path, text in {
        "study.py": ENGINE,
        "snakemake/__init__.py": "",
        "snakemake/__main__.py": ENGINE,
        SCRIPT: JOB,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / RESULTS).mkdir(parents=True)
    return folder


@pytest.fixture
def start(work):
    """A function that starts a process in the folder, in a session that is killed as a whole at the end of the test."""
    sessions = []

    def run(*words, env=None, **options):
        plain = {name: value for name, value in os.environ.items() if name not in (guard.MARK, guard.ALLOCATION)}
        plain["PYTHONPATH"] = f"{work}{os.pathsep}{PACKAGE}"
        options = {"cwd": work} | options
        sessions.append(subprocess.Popen(words, env=plain | (env or {}), start_new_session=True, **options))
        return sessions[-1]

    yield run
    for process in psutil.process_iter():
        if session_of(process) in [leader.pid for leader in sessions]:
            process.kill()
    for leader in sessions:
        leader.wait()


def session_of(process):
    try:
        return os.getsid(process.pid)
    except OSError:
        return None


@pytest.fixture
def begin(work, start):
    """A function that starts a run with a job; it returns the run, and the job and its worker."""

    def run(form="plainly", job="{python} {script}; exit $?", **options):
        command = job.format(python=sys.executable, script=work / SCRIPT)
        engine = start(sys.executable, *FORMS[form], "bash", "-c", command, **options)
        while not (work / "started").exists():
            assert engine.poll() is None
            time.sleep(0.01)
        return engine, [psutil.Process(int(number)) for number in (work / "started").read_text().split()]

    return run


def kill(engine):
    engine.kill()
    engine.wait()


def alive(processes):
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def guarded(work):
    """Guard the results in a process of its own; return its exit code and what it said."""
    program = "import pathlib; from runner import guard; guard.start(pathlib.Path('results/tiny'))"
    environment = os.environ | {"PYTHONPATH": PACKAGE}
    done = subprocess.run([sys.executable, "-c", program], cwd=work, env=environment, capture_output=True, text=True)
    return done.returncode, done.stderr


def stop(results, **more):
    """Stop the orphans on these results; return how many processes there were, and what was told."""
    told = []
    return guard.stop_orphans(results, told.append, **more), told


@pytest.mark.parametrize("form", FORMS)
def test_the_job_of_a_run_that_goes_on_is_let_alone_however_the_run_was_started(work, begin, form):
    _, job = begin(form)
    with pytest.raises(guard.Busy, match=r"another run is working on .*tiny"):
        stop(work / RESULTS)
    assert alive(job) == job
    assert not (work / "saved").exists()


def test_a_job_whose_shell_has_ended_is_let_alone_while_its_run_goes_on(work, begin):
    """Its parent is then the first process of the machine, not the run."""
    _, job = begin(job="{python} {script} &")
    with pytest.raises(guard.Busy):
        stop(work / RESULTS)
    assert alive(job) == job


def test_the_job_of_a_run_that_goes_on_is_let_alone_although_its_lock_was_removed(work, begin):
    _, job = begin()
    (work / RESULTS / guard.RESULTS_LOCK).unlink()
    code, words = guarded(work)
    assert code == 1 and words.startswith("Error: another run is working on results/tiny (process")
    assert alive(job) == job


@pytest.mark.parametrize("form", FORMS)
def test_the_job_of_a_killed_run_is_asked_to_save_before_its_worker_ends(work, begin, form):
    engine, job = begin(form)
    kill(engine)
    stopped, told = stop(work / RESULTS)
    assert stopped == 3  # the shell too
    assert told == [f"stopping process {job[0].pid}, a job that an earlier run left behind"]
    assert (work / "saved").exists() and not alive(job)


def test_a_run_that_was_killed_but_not_yet_looked_after_by_its_parent_is_gone(work, begin):
    engine, job = begin()
    engine.kill()
    while psutil.Process(engine.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert stop(work / RESULTS)[0] == 3
    assert (work / "saved").exists() and not alive(job)


def test_a_job_that_does_not_end_is_killed_with_all_that_belongs_to_it(work, begin):
    engine, job = begin(job="{python} {script} stubborn; exit $?")
    kill(engine)
    assert stop(work / RESULTS, patience=0.3)[0] == 3
    assert not alive(job)


def test_a_job_without_a_script_is_stopped_too(work, start):
    engine = start(sys.executable, "study.py", "bash", "-c", "sleep 1000 & touch started; wait; exit $?")
    while not (work / "started").exists():
        assert engine.poll() is None
        time.sleep(0.01)
    kill(engine)
    assert stop(work / RESULTS)[0] == 2
    assert stop(work / RESULTS)[0] == 0


def test_results_that_were_moved_are_still_those_of_the_job_and_a_copy_is_not(work, begin):
    engine, job = begin()
    kill(engine)
    moved = work.rename(work.parent / "moved")
    copy = shutil.copytree(moved, work)
    assert stop(copy / RESULTS)[0] == 0
    assert alive(job) == job
    assert stop(moved / RESULTS)[0] == 3
    assert (moved / "saved").exists() and not alive(job)


def test_results_that_were_removed_and_made_again_are_those_of_the_job_that_would_write_there(work, begin):
    engine, job = begin()
    kill(engine)
    shutil.rmtree(work / RESULTS)
    (work / RESULTS).mkdir()
    assert stop(work / RESULTS)[0] == 3
    assert not alive(job)


def gone(results=str(RESULTS)):
    """The mark of a run on this machine that has ended; no process of the test started at its tick of 10 ms."""
    ended = subprocess.Popen(["sleep", "1000"])
    earlier = str(int(guard._born(ended.pid)) - 1000)
    kill(ended)
    return replace(guard._own_mark(Path(results)), pid=ended.pid, born=earlier, allocation="")


def environment(mark):
    return {guard.MARK: json.dumps(asdict(mark))}


@pytest.fixture
def others(work):
    """Processes of this user that no killed run on these results has left, by what they are: (words, environment)."""
    (work / "results/other").mkdir()
    script, mark = [sys.executable, str(work / SCRIPT)], gone()
    mark_of_other = gone("results/other")
    return {
        "looks at a script": (["tail", "-f", str(work / SCRIPT)], {}),
        "a script of another program": (script, {}),
        "of other results": (script, environment(mark_of_other)),
        "of another machine": (script, environment(replace(mark, place=mark.place.replace(" ", "-2 ", 1)))),
        "of another container": (script, environment(replace(mark, place=f"{mark.place[:-2]}0]"))),
        "of an unknown place": (script, environment(replace(mark, place=""))),
        "run by SLURM": (script, environment(mark) | {guard.ALLOCATION: "17"}),
        "with a mark that is none": (script, {guard.MARK: "{}"}),
        "with a mark of other kinds": (script, {guard.MARK: json.dumps(asdict(mark) | {"pid": "1"})}),
        "with a mark that is a list": (script, {guard.MARK: "[]"}),
    }


def test_nothing_else_is_stopped(work, start, others):
    processes = [psutil.Process(start(*words, env=more).pid) for words, more in others.values()]
    assert stop(work / RESULTS) == (0, [])
    assert alive(processes) == processes


def test_a_job_within_the_allocation_of_its_run_is_stopped_and_one_of_another_is_not(work, start):
    words = [sys.executable, str(work / SCRIPT)]
    own, another = (
        start(*words, env=environment(replace(gone(), allocation="17")) | {guard.ALLOCATION: number})
        for number in ("17", "18")
    )
    assert stop(work / RESULTS)[0] >= 1
    assert own.poll() is not None and another.poll() is None


def test_processes_of_another_user_are_let_alone_by_root_too(work, start):
    if os.getuid() != 0:
        pytest.skip("starting a process of another user needs root")
    process = start("sleep", "1000", env=environment(gone()), user=12345, group=12345)
    assert stop(work / RESULTS) == (0, [])
    assert process.poll() is None
    own = start("sleep", "1000", env=environment(gone()))
    assert stop(work / RESULTS)[0] == 1
    assert own.poll() is not None and process.poll() is None


@pytest.mark.parametrize("now", ["another program", "the run that looks"])
def test_a_number_that_is_now_another_process_is_not_the_run(work, start, now):
    other = start("sleep", "1000")
    pid = other.pid if now == "another program" else os.getpid()
    left = start("sleep", "1000", env=environment(replace(gone(), pid=pid)))
    assert stop(work / RESULTS)[0] == 1
    assert left.poll() is not None and other.poll() is None


def test_a_run_started_by_a_job_that_was_left_behind_does_not_stop_itself(work, start):
    nested = f'import pathlib; from runner import guard; print(guard.stop_orphans(pathlib.Path("{RESULTS}"), print))'
    shell = ["bash", "-c", f"{sys.executable} -c '{nested}'; exit $?"]
    assert start(*shell, env=environment(gone()), stdout=subprocess.PIPE).communicate()[0] == b"0\n"


def test_a_second_run_is_refused_with_the_name_of_the_first(work, begin):
    engine, _ = begin()
    with pytest.raises(guard.Busy, match=rf"another run is working on .*tiny \(process {engine.pid} on .*wait for it"):
        guard.lock(work / RESULTS)
    engine.kill()
    engine.wait()
    guard.lock(work / RESULTS).close()


def refuse_locks(*_):
    raise OSError(errno.ENOLCK, "No locks available")


def test_where_there_are_no_locks_this_is_told_and_a_run_on_this_machine_is_noticed(work, begin, monkeypatch):
    engine, _ = begin()
    monkeypatch.setattr(fcntl, "flock", refuse_locks)
    told = []
    with pytest.raises(guard.Busy, match=f"process {engine.pid}"):
        guard.lock(work / RESULTS, told.append)
    kill(engine)
    guard.lock(work / RESULTS, told.append).close()
    assert (
        len(told) == 2 and "has no locks (No locks available): a second run on these results is noticed only" in told[0]
    )


def test_where_there_are_no_locks_a_copy_of_the_results_of_a_run_is_free(work, begin, monkeypatch):
    begin()
    copy = shutil.copytree(work, work.parent / "copy")
    monkeypatch.setattr(fcntl, "flock", refuse_locks)
    guard.lock(copy / RESULTS, lambda line: None).close()


@pytest.mark.parametrize("content", ["my own notes\nof many days\n", "{}", "\n\n"])
@pytest.mark.parametrize("place", [Path.symlink_to, Path.hardlink_to])
def test_a_file_of_the_user_in_the_place_of_the_lock_is_neither_emptied_nor_overwritten(work, content, place):
    own = work / "notes.txt"
    own.write_text(content)
    place(work / RESULTS / guard.RESULTS_LOCK, own)
    with pytest.raises(InputError, match=r"\.cxr-lock: this is "):
        guard.lock(work / RESULTS)
    assert own.read_text() == content


def test_a_lock_that_cannot_be_used_stops_a_run_in_a_sentence(work):
    (work / RESULTS / guard.RESULTS_LOCK).mkdir()
    code, words = guarded(work)
    assert code == 1 and words.startswith("Error: results/tiny/.cxr-lock: ") and words.count("\n") == 1
