"""The list of wrong changes that `make mutants` tries: each still fits the code, and the runner tells what becomes of it."""

import os
import re
import shutil
import subprocess

import pytest
import run_mutants as run

MUTANTS = run.read(run.REPOSITORY / "tests/mutants")


def test_there_are_enough_and_each_is_another():
    assert len(MUTANTS) >= 60
    assert len({(mutant.module, mutant.of, mutant.to) for mutant in MUTANTS}) == len(MUTANTS)
    assert len({(mutant.module, mutant.means) for mutant in MUTANTS}) == len(MUTANTS), "each means something else"


def test_few_may_survive_and_each_says_why():
    explained = [mutant for mutant in MUTANTS if mutant.survives]
    assert len(explained) <= run.MOST_SURVIVORS
    assert all(len(mutant.survives) > 20 for mutant in explained)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.module}: {mutant.means}")
def test_a_mutant_changes_one_place_of_its_module_into_code(repository, mutant):
    assert not mutant.module.startswith("tests/"), "a test is no product"
    before = (repository / mutant.module).read_text(encoding="utf-8")
    after = mutant.applied(before)  # raises where the text does not stand there exactly once
    assert after != before and mutant.means
    if mutant.module.endswith(".py"):
        compile(after, mutant.module, "exec")


@pytest.mark.parametrize("name", sorted({name for mutant in MUTANTS for name in mutant.tests}))
def test_a_test_that_a_mutant_names_is_there(repository, name):
    path, _, test = name.partition("::")
    text = (repository / path).read_text(encoding="utf-8")
    assert re.fullmatch(r"tests/(\w+/)*test_\w+\.py", path)
    if test:
        assert re.search(rf"^\s*def {re.escape(test.split('::')[-1].partition('[')[0])}\(", text, re.M)


# The runner, on a repository of two files


@pytest.fixture
def tiny(tmp_path):
    """A repository with a module, its test, and a file that git ignores."""
    if shutil.which("git") is None:
        pytest.skip("the runner asks git which files belong to the repository")
    folder = tmp_path / "tiny"
    (folder / "tests").mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", "init", "--quiet"], cwd=folder, env=environment, check=True)
    (folder / ".gitignore").write_text("ignored\n__pycache__/\n", encoding="utf-8")
    (folder / "ignored").write_text("no part of it", encoding="utf-8")
    (folder / "pyproject.toml").write_text('[tool.pytest.ini_options]\npythonpath = ["."]\n', encoding="utf-8")
    (folder / "product.py").write_text(
        "def double(x):\n    return 2 * x\n\n\ndef idle():\n    return 0\n", encoding="utf-8"
    )
    (folder / "tests/test_product.py").write_text(
        "import pytest\nimport product\n\n\ndef test_double():\n    assert product.double(3) == 6\n\n\n"
        "@pytest.mark.skip(reason='never')\ndef test_skipped():\n    pass\n\n\ndef test_wrong():\n    assert False\n",
        encoding="utf-8",
    )
    return folder


def mutant(of, to, tests=("tests/test_product.py::test_double",), survives=""):
    return run.Mutant("product.py", of, to, f"{of} is {to}", tests, survives)


def test_the_runner_tells_killed_surviving_explained_and_faulty_mutants_apart(tiny, capsys):
    mutants = [
        mutant("2 * x", "3 * x"),
        mutant("2 * x", "x + x"),
        mutant("return 0", "return 1", survives="nothing calls it"),
        mutant("def double", "import absent\n\n\ndef double"),
        mutant("never there", "nor here"),
    ]
    assert run.try_all(tiny, mutants, jobs=2) == 1
    told = capsys.readouterr().out
    assert re.findall(r"^(\w+) +product\.py: ", told, re.M) == ["killed", "SURVIVED", "explained", "FAULTY", "FAULTY"]
    assert "tests/test_product.py::test_double" in told and "nothing calls it" in told
    assert "cannot be collected" in told and "stands there 0 times instead of once" in told
    assert "5 mutants: 1 killed, 1 survived, 1 survived as explained, 2 faulty" in told


def test_nothing_of_the_repository_is_touched_and_killed_mutants_are_a_success(tiny, capsys):
    before = {path: path.read_bytes() for path in tiny.rglob("*") if path.is_file() and ".git" not in path.parts}
    same = [mutant("2 * x", f"{number} * x") for number in (3, 4)]  # of one size, within one second
    assert run.try_all(tiny, same, jobs=1) == 0
    after = {path: path.read_bytes() for path in tiny.rglob("*") if path.is_file() and ".git" not in path.parts}
    assert after == before
    assert "2 mutants: 2 killed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tests/test_product.py::test_wrong", "the tests do not pass without any change"),
        ("tests/test_product.py::test_skipped", "no test runs, perhaps because all are skipped here"),
        ("tests/test_product.py::test_absent", "the tests do not pass without any change (pytest ended with 4)"),
    ],
)
def test_tests_that_prove_nothing_without_a_change_stop_it(tiny, capsys, name, said):
    assert run.try_all(tiny, [mutant("2 * x", "3 * x", tests=(name,))], jobs=1) == 1
    assert said in capsys.readouterr().out


def test_a_mutant_that_never_ends_is_killed(tiny, capsys, monkeypatch):
    monkeypatch.setattr(run, "LONGEST", 5)
    assert run.try_all(tiny, [mutant("return 2 * x", "return __import__('time').sleep(600)")], jobs=1) == 0
    assert "its tests did not end within 5 s" in capsys.readouterr().out


def test_the_copy_holds_what_git_would_track_and_no_more(tiny, tmp_path):
    (tiny / "link").symlink_to("product.py")
    copy = run.copied(tiny, tmp_path / "copy")
    assert sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*") if not path.is_dir()) == [
        ".gitignore", "link", "product.py", "pyproject.toml", "tests/test_product.py"
    ]  # fmt: skip
    assert (copy / "link").is_symlink()


def outcomes(killed=0, survived=0, explained=0, faulty=0):
    counts = {run.KILLED: killed, run.SURVIVED: survived, run.EXPLAINED: explained, run.FAULTY: faulty}
    return [run.Outcome(mutant("a", "b"), what) for what, count in counts.items() for _ in range(count)]


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({"killed": 60}, 0),
        ({"killed": 55, "explained": 5}, 0),
        ({"killed": 54, "explained": 6}, 1),
        ({"killed": 59, "survived": 1}, 1),
        ({"killed": 59, "faulty": 1}, 1),
    ],
)
def test_at_most_five_may_survive_each_explained(counts, code):
    assert run.verdict(outcomes(**counts))[0] == code
