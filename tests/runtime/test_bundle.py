"""What a bundle's finished members keep for another attempt of their bundle."""

import shutil

import pytest

from cxr.runtime import bundle, seals
from cxr.runtime.journal import Journal
from cxr.runtime.outputs import whole

KEY, RUN = "key", "run-1"


@pytest.fixture
def job(tmp_path):
    """Run a job that writes its number; `made` says which numbers were written."""
    made, number = [], 0
    outputs = [("model", str(tmp_path / "pair/model.pt")), ("facts", str(tmp_path / "pair/facts.json"))]

    def run(key=KEY, batch=RUN, fails=False):
        nonlocal number
        number += 1
        shutil.rmtree(tmp_path / "pair", ignore_errors=True)  # as Snakemake does before it starts a job
        with (
            Journal(tmp_path / "log", "job") as tell,
            bundle.once(outputs, tmp_path / "state/pair", key, batch, tell),
        ):
            (tmp_path / "pair").mkdir()
            with whole(outputs) as out:
                for part in out.values():
                    part.write_text(str(number))
            made.append(number)
            if fails:
                raise ValueError("no")

    return run, made, tmp_path


def contents(folder):
    for name in ("model.pt", "facts.json"):
        seals.verified(folder / "pair" / name, folder)
    return {path.name: path.read_text() for path in (folder / "pair").iterdir() if not path.name.startswith(".")}


def test_a_finished_job_takes_its_results_back_and_ends_well(job):
    run, made, folder = job
    run()
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == 0 and made == [1]
    assert contents(folder) == {"model.pt": "1", "facts.json": "1"}
    assert "restored" in (folder / "log").read_text()


@pytest.mark.parametrize("other", [{"key": "another"}, {"batch": "run-2"}])
def test_other_settings_or_another_run_train_anew(job, other):
    run, made, folder = job
    run()
    run(**other)
    assert made == [1, 2] and contents(folder)["model.pt"] == "2"


def test_a_failed_job_keeps_nothing_and_without_a_cluster_nothing_is_kept(job):
    run, made, folder = job
    with pytest.raises(ValueError, match="no"):
        run(fails=True)
    run(batch="")
    run(batch="")
    assert made == [1, 2, 3] and not list((folder / "state").rglob("*"))


def test_what_is_kept_goes_when_the_run_is_over(job):
    run, made, folder = job
    run()
    (folder / "state/other_training").write_text("a state")
    bundle.forget(folder / "state")
    assert [path.name for path in (folder / "state").rglob("*")] == ["other_training"]
    run()
    assert made == [1, 2]
