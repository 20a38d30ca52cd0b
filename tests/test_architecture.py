"""The laws of the house: who may import whom, scripts that only unpack, environments in step with the lock."""

import ast
import re
import tomllib
from functools import cache

import pytest
import yaml

from cxr import fingerprint

LIGHT = ["settings", "labels", "records", "boxes", "splits", "voc", "images", "metrics", "floors", "detections", "detection_scores",
         "evaluation", "figures", "report", "preflight", "phantoms", "textures", "selection", "sheets", "yolo_labels",
         "acquisition", "download", "identity", "layouts", "locks", "release", "room", "unpack", "gpus", "outputs", "finished",
         "folder", "comparison", "comparison_report", "headline", "metric_names", "phantom_plan", "report_inputs", "verdicts",
         "pictures", "decoders", "dicom", "dicom_elements", "dicom_grey", "dicom_tables",
         "prepared", "predicted", "new_images", "overlays", "champion", "png", "ledger", "duplicates", "remarks",
         "tables", "image_names", "box_frames", "seals", "jobs", "journal", "csv_cells", "yolo_data", "checksums", "weights",
         "bounds", "codestreams", "dicom_bytes", "memory", "regular", "bands", "made"]  # fmt: skip


@cache
def names_imported(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def closure(package, name):
    seen, waiting = set(), [name]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += fingerprint.imports(module)
    return {package / f"{module}.py" for module in seen}


@pytest.mark.parametrize("name", LIGHT)
def test_data_metrics_and_report_never_import_torch(repository, name):
    for path in closure(repository / "workflow/cxr", name):
        assert not names_imported(path) & {"torch", "torchvision", "ultralytics"}, path.name


def test_only_the_detector_imports_ultralytics(repository):
    importers = [p.name for p in (repository / "workflow").rglob("*.py") if "ultralytics" in names_imported(p)]
    assert importers == ["detector.py"]


def test_torchvision_is_imported_only_for_its_weights_and_its_detectors(repository):
    """Its import takes seconds: the classifiers' jobs do without (see `resnets`), these two modules' jobs cannot."""
    importers = {p.name for p in (repository / "workflow").rglob("*.py") if "torchvision" in names_imported(p)}
    assert importers == {"source.py", "torchvision_detector.py"}


def test_imports_run_one_way(repository):
    package = repository / "workflow/cxr"
    for path in package.glob("*.py"):
        for other in fingerprint.imports(path.stem):
            assert path not in closure(package, other), f"{path.stem} and {other} import each other"


def test_the_package_never_mentions_snakemake_or_the_command_line(repository):
    for path in (repository / "workflow/cxr").glob("*.py"):
        if path.stem not in ("reference", "detector"):  # run by make; must set variables ultralytics reads on import
            assert not re.search(r"\bsnakemake\b|\bargv\b|os\.environ", path.read_text()), path.name


def test_scripts_hold_no_decision_and_no_loop(repository):
    for path in (repository / "workflow/scripts").glob("*.py"):
        kinds = {type(node) for node in ast.walk(ast.parse(path.read_text()))}
        assert not kinds & {ast.If, ast.For, ast.While, ast.Try, ast.FunctionDef}, path.name


def locked(repository):
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", (repository / "requirements.lock").read_text(), re.M))


def test_the_lock_pins_every_direct_dependency_and_names_no_address(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    pins = locked(repository)
    for requirement in project["dependencies"] + project["optional-dependencies"]["dev"]:
        name, exact, version = re.match(r"([a-z0-9-]+)(==)?([^\s;]*)", requirement).groups()
        assert name in pins
        assert not exact or pins[name] == version
    text = (repository / "requirements.lock").read_text()
    assert "://" not in text
    assert text.count("--hash=sha256:") > len(pins)


@pytest.mark.parametrize("name", ["data", "training", "detection"])
def test_environments_are_in_step_with_the_lock(repository, name):
    pins = locked(repository)
    environment = yaml.safe_load((repository / "envs" / f"{name}.yaml").read_text())
    packages = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    assert packages
    for package in packages:
        assert pins[package.split("==")[0]] == package.split("==")[1]


@pytest.mark.parametrize("name", ["data", "training", "detection"])
def test_environments_hold_what_their_modules_import(repository, name):
    """Every third-party import of the modules behind the environment's rules comes from one of its packages."""
    provides = {
        "yaml": "pyyaml",
        "PIL": "pillow",
        "ultralytics": "ultralytics-opencv-headless",
        "pynvml": "nvidia-ml-py",
    }
    roots = {
        "data": [
            "phantoms",
            "preflight",
            "splitting",
            "voc",
            "yolo_data",
            "selection",
            "comparison",
            "evaluation",
            "sheets",
            "report",
            "new_images",
            "overlays",
        ],
        "training": ["source", "baseline", "transfer", "gridcnn", "pretraining", "torchvision_detector", "prediction"],
        "detection": ["yolo", "box_prediction"],
    }[name]
    environment = yaml.safe_load((repository / "envs" / f"{name}.yaml").read_text())
    packages = {p.split("==")[0] for item in environment["dependencies"] if isinstance(item, dict) for p in item["pip"]}
    import sys

    for root in roots:
        for path in closure(repository / "workflow/cxr", root):
            for module in names_imported(path) - set(sys.stdlib_module_names) - {"cxr"}:
                assert provides.get(module, module) in packages, f"{path.name} imports {module}"


@pytest.fixture
def fingerprint_of(tmp_path, monkeypatch):
    """A function from the text of two modules to the fingerprint of a script that uses `one.used`."""
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path)
    monkeypatch.setattr(fingerprint, "SCRIPTS", tmp_path)
    (tmp_path / "script.py").write_text("from cxr import one\n\none.used(3)\n")

    def of(one, two="X = 1\nY = 2\n"):
        forget()
        (tmp_path / "one.py").write_text(one)
        (tmp_path / "two.py").write_text(two)
        return fingerprint.of_script("script")

    yield of
    forget()


def forget():
    for function in (
        fingerprint.of_script,
        fingerprint.imports,
        fingerprint._module,
        fingerprint._parsed,
        fingerprint._memory,
        fingerprint._everything,
    ):
        function.cache_clear()


def test_a_changed_comment_changes_no_fingerprint_and_a_changed_number_does(fingerprint_of):
    plain = fingerprint_of("def used(n):\n    return 1\n")
    assert fingerprint_of('"""One."""\n\ndef used(n):\n    """Say one."""\n    return 1  # one\n') == plain
    assert fingerprint_of("def used(n):\n    return 2\n") != plain


def test_a_remembered_fingerprint_is_that_of_the_code_as_it_is(fingerprint_of, tmp_path, monkeypatch):
    memory = tmp_path / "folder" / "memory.json"

    def remembered():
        forget()
        return fingerprint.remembered(memory, "script")

    first = fingerprint_of("def used(n):\n    return 1\n")
    assert remembered() == first
    with monkeypatch.context() as patched:
        patched.setattr(fingerprint.ast, "parse", None)  # would fail
        assert remembered() == first
    second = fingerprint_of("def used(n):\n    return 2\n")
    assert remembered() == second != first
    memory.write_text("{broken")
    assert remembered() == second
    assert [path.name for path in memory.parent.iterdir()] == ["memory.json"]


def test_only_definitions_in_use_count_however_they_are_reached(fingerprint_of):
    used = "from cxr import two\nfrom cxr.two import X\nZ = 5\n\ndef used(n):\n    return helper(n)\n\n"
    helper = "def helper(n):\n    return {}\n\ndef idle():\n    return {}\n"
    plain = fingerprint_of(used + helper.format("n", 0))
    assert fingerprint_of(used + helper.format("n", 1)) == plain, "an idle function"
    assert fingerprint_of(used + helper.format("n + 1", 0)) != plain, "a function called by the used one"
    named, attribute, constant = (fingerprint_of(used + helper.format(word, 0)) for word in ("X", "two.Y", "Z"))
    assert fingerprint_of(used + helper.format("X", 0), "X = 2\nY = 2\n") != named
    assert fingerprint_of(used + helper.format("X", 0), "X = 1\nY = 3\n") == named
    assert fingerprint_of(used + helper.format("two.Y", 0), "X = 1\nY = 3\n") != attribute
    assert fingerprint_of(used.replace("5", "6") + helper.format("Z", 0)) != constant
    assert fingerprint_of(used + helper.format("getattr(two, 'Y')", 0), "X = 1\nY = 3\n") != fingerprint_of(
        used + helper.format("getattr(two, 'Y')", 0)
    ), "a module used as a whole"


TRAINING = ("transfer", "baseline", "gridcnn", "yolo_finetuned", "torchvision_detector")


def test_a_new_metric_does_not_concern_training(repository):
    forget()
    reached = {script: fingerprint.reached(script) for script in TRAINING}
    for script, definitions in reached.items():
        modules = {module for module, _ in definitions}
        assert not modules & {"floors", "evaluation", "report", "figures", "detection_scores", "detections"}, script
        assert ("metrics", "classification_table") not in definitions
