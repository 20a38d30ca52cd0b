"""Rules and scripts hand each file over under its own name: nobody is trained, tuned or judged on another's images."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cxr.classifiers import fit
from cxr.detectors import files as detector_files
from cxr.metrics import evaluation, grid, leakage, variants
from cxr.report import collapse

ROLES = ("train", "validation", "test")
ELSEWHERE = {  # (rule, input): other splits than those that the input's name says
    ("features", "train"): {"train_images"},
    ("features", "judged"): {"validation_images"},
    ("features_comparison", "train"): {"train_images"},
    ("features_comparison", "judged"): {"validation_images", "test_images"},
    ("transfer", "predicted"): {
        "validation"
    },  # the grid is judged on validation, so that its choice sees no test image
}
METADATA = tuple(f"{role}_metadata" for role in ROLES)
NAMED = {name: {name} for name in (*ROLES, *METADATA)} | {"predicted": {"test_images"}}


def rules(repository: Path) -> dict[str, str]:
    """The text of every rule by its name."""
    found = {}
    for path in sorted((repository / "rules").glob("*.smk")):
        for part in re.split(r"^(?=rule |checkpoint |use rule )", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
            name = re.match(r"(?:use rule \w+ as|rule|checkpoint) (\w+)", part)[1]
            found[name] = part
    return found


def inputs(rule: str) -> dict[str, str]:
    """The entries of a rule's input and output by name."""
    entry = re.compile(r"^ {8}(\w+)=(.*?)(?=^ {8}\w|^ {4}\w|\Z)", re.M | re.S)
    return dict(entry.findall(rule))


def test_an_input_named_after_a_role_is_the_split_of_that_role_and_no_training_sees_labels_of_the_test(repository):
    seen = 0
    for rule, text in rules(repository).items():
        for name, value in inputs(text).items():
            splits = set(re.findall(r'\bof_\w+\(\s*"(\w+?)"', value))
            if splits and (name in NAMED or (rule, name) in ELSEWHERE):
                assert splits == ELSEWHERE.get((rule, name), NAMED.get(name)), f"{rule}: {name}"
                seen += 1
    assert seen > 40


def test_predictions_are_those_of_the_images_that_their_name_says(repository):
    seen = 0
    for rule, text in rules(repository).items():
        for name, value in inputs(text).items():
            files = re.findall(r"<results>\S*/(\w+)\.(?:csv|npz)\"", value)
            if files and name in ("predictions", "validation_predictions"):
                assert files == [name.removesuffix("_predictions")], f"{rule}: {name}"
                seen += 1
    assert seen > 12


@pytest.mark.parametrize("rule", ["metrics_gridcnn", "metrics_boxes", "validity_gridcnn", "validity_boxes"])
def test_what_is_scored_was_predicted_from_the_split_that_it_is_scored_on(repository, rule):
    """Training jobs predict the images of the test split; the metrics read the test split of the same folds."""
    entries = inputs(rules(repository)[rule])
    assert re.search(r'"test"', entries["test"]) and re.search(r'"train"', entries["train"])
    assert entries["test"].replace('"test"', '"train"') == entries["train"], "of the same folds"


@pytest.mark.parametrize(
    ("rule", "size", "floors"),
    [
        ("metrics_baseline", r"of_baseline\(", r"of_baseline_floors\(\"\"\)"),
        ("metrics_transfer", r"of_split\(", r"<results>/floors/\{protocol\}/\{size\}\{repeat\}.npz"),
        ("metrics_variant", r"of_split\(", r"<results>/floors/\{protocol\}/\{size\}.npz"),
        ("validity_baseline", r"of_baseline\(", r"of_baseline_floors\(\"\"\)"),
        ("validity_transfer", r"of_split\(", r"<results>/floors/\{protocol\}/\{size\}.npz"),
    ],
)
def test_a_classifier_stands_beside_the_floors_of_the_split_that_it_is_scored_on(repository, rule, size, floors):
    entries = inputs(rules(repository)[rule])
    assert re.search(size + r'"test"', entries["test"]) and re.search(floors, entries["floors"])
    assert "train" not in entries


def test_the_leakage_experiment_is_trained_and_fitted_on_a_half_and_scored_on_the_test_images(repository):
    found = {
        rule: {
            name: re.findall(r'"(?:\{draw\}/)?([\w{}]+)\.csv"', value)
            for name, value in inputs(rules(repository)[rule].partition("    output:")[0]).items()
        }
        for rule in ("leakage_network", "leakage_floors", "metrics_leakage")
    }
    network, floors, metrics = ({name: files for name, files in each.items() if files} for each in found.values())
    assert network == {"train": ["train_{half}"], "validation": ["validation_{half}"], "predicted": ["test_images"]}
    assert floors == {name: [f"{name}_{{half}}"] for name in ("train", "train_metadata")} | {
        "test_metadata": ["test_metadata"]
    }
    assert metrics["train"] == ["train_{half}"] and metrics["test"] == ["test"]


@pytest.mark.parametrize("kind", ["baseline", "transfer"])
def test_validity_is_of_the_predictions_floors_and_test_images_of_the_metrics(repository, kind):
    found = rules(repository)
    metrics, validity = (
        inputs(found[f"{rule}_{kind}"].partition("    output:")[0]) for rule in ("metrics", "validity")
    )
    chosen_on = {"validation_predictions", "validation_floors", "validation"}
    assert validity.keys() - metrics.keys() == {"test_metadata", *chosen_on}
    assert validity["test_metadata"].replace("test_metadata", "test").strip() == validity["test"].strip()
    for name in chosen_on:
        own = validity[name.removeprefix("validation_") if "_" in name else "test"].strip()
        role = own.replace("predictions.csv", "validation.csv").replace('"test"', '"validation"')
        role = role.replace('floors("")', 'floors("_validation")').replace("{size}.npz", "{size}_validation.npz")
        assert validity[name].strip() == role, name
    for name in metrics:
        expected = metrics[name].replace("{activation}", "sigmoid").replace("{repeat}", "")  # of the first training
        assert validity[name].strip() == expected.strip(), name


def test_the_image_free_predictors_see_no_label_of_the_test_images(repository):
    entries = inputs(rules(repository)["ladder"].partition("    output:")[0])
    given = {name: re.findall(r'"(\w+)"', value) for name, value in entries.items()}
    assert given == {name: [name] for name in ("train", *METADATA)}
    script = (repository / "workflow/scripts/ladder.py").read_text(encoding="utf-8")
    assert set(re.findall(r"(\w+)=Path\(snakemake.input.\1\)", script)) == set(given)


def own_parts(value: ast.AST) -> Iterator[ast.AST]:
    """The nodes of an argument's value, without the values of keyword arguments within it."""
    yield value
    for part in ast.iter_child_nodes(value):
        if not (isinstance(part, ast.keyword) and part.arg):
            yield from own_parts(part)


def handed_over(script: Path) -> list[tuple[str, set[str]]]:
    """Arguments of a script's calls, each with the inputs (`….input.NAME`) that its value is made of.

    Of a call within a call (`files=Files(train=…)`) the inner keyword counts; an input without one belongs to the outer.
    """
    found = []
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        for keyword in node.keywords if isinstance(node, ast.Call) else []:
            names = {
                part.attr
                for part in own_parts(keyword.value)
                if isinstance(part, ast.Attribute)
                and isinstance(part.value, ast.Attribute)
                and part.value.attr == "input"
            }
            if keyword.arg and names - {"items", "get"}:
                found.append((keyword.arg, names))
    return found


def test_scripts_hand_every_split_and_prediction_over_under_its_own_name(repository):
    seen = 0
    known = {*ROLES, "predicted", "judged", "predictions", "validation_predictions", "facts"}
    for script in sorted((repository / "workflow/scripts").glob("*.py")):
        for argument, names in handed_over(script):
            own = re.sub(r"_splits?$", "", argument)
            if own in known or names & known:
                assert names == {own}, f"{script.name}: {argument}"
                seen += 1
    assert seen > 9


def test_every_class_that_is_made_of_a_jobs_splits_is_tested_here(repository):
    """Their `of` takes what a script would otherwise hand over by name."""
    found = set()
    for path in (repository / "workflow/cxr").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for method in node.body if isinstance(node, ast.ClassDef) else []:
                if isinstance(method, ast.FunctionDef) and any(each.arg == "job" for each in method.args.args):
                    read = {part.attr for part in ast.walk(method) if isinstance(part, ast.Attribute)}
                    found |= {f"{path.stem}.{node.name}"} if read & {*ROLES, "predicted"} else set()
    assert found == {
        "fit.Inputs",
        "files.BoxedImages",
        "evaluation.FoldFiles",
        "evaluation.ValidityFiles",
        "grid.Training",
        "collapse.Compared",
        "leakage.RepeatFiles",
        "variants.Training",
    }


def test_the_files_of_a_validity_table_keep_their_names():
    names = [field.name for field in dataclasses.fields(evaluation.ValidityFiles)]
    given = {name.removesuffix("_split"): name for name in names}
    files = evaluation.ValidityFiles.of(SimpleNamespace(input=SimpleNamespace(**given)))
    assert vars(files) == {name: Path(name) for name in names} and len(given) == 7


@pytest.mark.parametrize("kind", [fit.Inputs, detector_files.BoxedImages])
def test_the_files_of_a_training_keep_their_names(kind):
    """What a job is given as its training split is its training split, and so on for all that it reads."""

    class Named(SimpleNamespace):
        def __getattr__(self, name):
            return name

    settings = Named(augment={}, settings={}, image_size=32, box_size=64)
    found = vars(kind.of(Named(input=Named(), params=settings, output=Named())))
    named = {name: value for name, value in found.items() if isinstance(value, Path)}
    assert {"validation_split", "index", "store"} <= set(named)
    assert all(value == Path(name.removesuffix("_split")) for name, value in named.items()), named


def test_the_files_of_a_fold_keep_their_names_and_their_fold():
    names = ("predictions", "validation_predictions", *ROLES)
    job = SimpleNamespace(input=SimpleNamespace(**{name: [f"{name}{fold}" for fold in range(3)] for name in names}))
    for fold, files in enumerate(evaluation.FoldFiles.of(job)):
        assert vars(files).keys() == {*names[:2], *(f"{role}_split" for role in ROLES)}
        assert all(path == Path(f"{name.removesuffix('_split')}{fold}") for name, path in vars(files).items())
    job.input.validation.pop()
    with pytest.raises(ValueError, match="shorter"):
        evaluation.FoldFiles.of(job)


def test_the_files_of_a_grids_trainings_keep_their_names_and_their_training():
    names = ("predictions", "facts", "train", "validation")
    given = SimpleNamespace(**{name: [f"{name}{at}" for at in range(3)] for name in names})
    trained = [[0, 20, 0, 0], [4, 20, 1, 1], [0, 20, 0, 1]]
    job = SimpleNamespace(input=given, params=SimpleNamespace(trained=trained))
    for at, found in enumerate(grid.Training.of(job)):
        assert [found.layers, found.size, found.draw, found.seed] == trained[at]
        assert all(getattr(found, name) == Path(f"{name}{at}") for name in names)
    given.validation.pop()
    with pytest.raises(ValueError, match="shorter"):
        grid.Training.of(job)


def test_the_files_of_a_compared_job_keep_their_names_and_their_job():
    names = ("predictions", "facts", "scores", "train", "test")
    given = SimpleNamespace(**{name: [f"{name}{number}" for number in range(3)] for name in names})
    jobs = [("softmax", "eval", number, 100) for number in range(3)]
    for number, each in enumerate(
        collapse.Compared.of(SimpleNamespace(input=given, params=SimpleNamespace(jobs=jobs)))
    ):
        assert vars(each) == {"job": jobs[number]} | {name: Path(f"{name}{number}") for name in names}


def test_the_files_of_a_repeat_keep_their_names_their_repeat_and_their_half():
    names = ("train", "predictions", "floors")
    given = {name: [f"{draw}/{name}_{half}" for draw in range(3) for half in "ab"] for name in names}
    job = SimpleNamespace(input=type("Named", (dict,), {"test": [f"{draw}/test" for draw in range(3)]})(given))
    for draw, files in enumerate(leakage.RepeatFiles.of(job)):
        halves = {name: [Path(f"{draw}/{name}_{half}") for half in "ab"] for name in names}
        assert vars(files) == {"test": Path(f"{draw}/test")} | halves
    given["floors"] = given["floors"][:4]
    with pytest.raises(ValueError, match="shorter"):
        leakage.RepeatFiles.of(SimpleNamespace(input=type("Named", (dict,), {"test": ["0", "1", "2"]})(given)))


def test_the_files_of_a_variants_training_keep_their_names_their_draw_and_their_fold():
    names, draws, folds = ("mse_all", "mse_fewer"), [1, 2], range(3)
    said = [f"{name}/draw{draw}/{fold}" for name in names for draw in draws for fold in folds]
    given = SimpleNamespace(
        predictions=said,
        fewer=[f"fewer{draw}/{fold}" for draw in draws for fold in folds],
        train=[f"train{fold}" for fold in folds],
        test=[f"test{fold}" for fold in folds],
    )
    job = SimpleNamespace(input=given, params=SimpleNamespace(draws=draws, variants=names))
    found = variants.Training.of(job)
    assert [(each.variant, each.draw) for each in found] == [(name, draw) for name in names for draw in draws]
    for each in found:
        assert each.predictions == [Path(f"{each.variant}/draw{each.draw}/{fold}") for fold in folds]
        assert each.test == [Path(f"test{fold}") for fold in folds]
        own = f"fewer{each.draw}/" if each.variant == "mse_fewer" else "train"
        assert each.train == [Path(f"{own}{fold}") for fold in folds]
    given.predictions = given.predictions[:-3]
    with pytest.raises(ValueError, match="shorter"):
        variants.Training.of(job)


def test_every_variant_of_the_grid_cnn_is_judged_on_validation_and_predicts_test_images(repository):
    entries = inputs(rules(repository)["gridcnn_variant"].partition("    output:")[0])
    given = {name: re.findall(r'"(\w+)"', value) for name, value in entries.items() if name != "index"}
    assert given == {"train": ["train"], "validation": ["validation"], "predicted": ["test_images"]}
    entries = inputs(rules(repository)["gridcnn_variants"].partition("    output:")[0])
    assert re.findall(r'"(\w+)"', entries["test"]) == ["test"] and re.findall(r'"(\w+)"', entries["train"]) == ["train"]
