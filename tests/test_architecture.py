"""The laws of the house: who may import whom, scripts that only unpack, environments in step with the lock."""

import ast
import re
import sys
import tomllib
from collections import defaultdict
from functools import cache

import pytest
import yaml

from runner import fingerprint

# The rooms of the package from the ground up: a room imports from the floors below it and from itself.
FLOORS = [
    {""},  # the modules outside of any room
    {"runtime"},
    {"data", "phantoms"},
    {"metrics", "training", "download"},
    {"classifiers", "detectors", "report"},
    {"inference"},
]
WITHOUT_TORCH = {"", "runtime", "data", "phantoms", "metrics", "download", "report"}


def modules(package):
    """The modules below the package: dotted name → file."""
    found = (path for path in package.rglob("*.py") if path.name != "__init__.py")
    return {".".join(path.relative_to(package).with_suffix("").parts): path for path in found}


def room(module):
    """The first folder of a module, "" on the ground."""
    return module.rpartition(".")[0].partition(".")[0]


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
    """The files of a module and of all that it imports, directly or not."""
    seen, waiting = set(), [name]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += fingerprint.imports(module)
    return {modules(package)[module] for module in seen}


def test_every_room_has_its_floor(repository):
    assert {room(name) for name in modules(repository / "workflow/cxr")} == set.union(*FLOORS)


def test_rooms_import_from_the_floors_below_alone(repository):
    floor = {name: number for number, rooms in enumerate(FLOORS) for name in rooms}
    for name in modules(repository / "workflow/cxr"):
        for other in fingerprint.imports(name):
            below = floor[room(other)] < floor[room(name)]
            assert below or room(other) == room(name), f"{name} imports {other}"


def test_modules_import_one_way(repository):
    package = repository / "workflow/cxr"
    for name, path in modules(package).items():
        for other in fingerprint.imports(name):
            assert path not in closure(package, other), f"{name} and {other} import each other"


def test_the_file_of_a_package_holds_its_description_alone(repository):
    """A definition there would be code that no fingerprint sees."""
    for path in (repository / "workflow").rglob("__init__.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree) and len(tree.body) == 1, path


def test_rooms_that_train_nothing_never_import_torch(repository):
    package = repository / "workflow/cxr"
    for name in modules(package):
        if room(name) in WITHOUT_TORCH:
            for path in closure(package, name):
                found = names_imported(path) & {"torch", "torchvision", "ultralytics"}
                assert not found, f"{name} imports {found} through {path.name}"


def test_only_the_room_of_yolo_imports_ultralytics(repository):
    importers = {p.parent for p in (repository / "workflow").rglob("*.py") if "ultralytics" in names_imported(p)}
    assert importers == {repository / "workflow/cxr/detectors/yolo"}


def test_torchvision_is_imported_only_for_its_weights_and_its_detectors(repository):
    """Its import takes seconds: the classifiers' jobs do without (see `resnet`), these modules' jobs cannot."""
    importers = {p.name for p in (repository / "workflow").rglob("*.py") if "torchvision" in names_imported(p)}
    assert importers == {"source_weights.py", "torchvision_detector.py", "detections.py", "loss.py", "classes.py"}


def test_the_package_never_mentions_snakemake_or_the_command_line(repository):
    for name, path in modules(repository / "workflow/cxr").items():
        # The first is run by make, the other must set variables that ultralytics reads while it is imported.
        if name not in ("settings_reference", "detectors.yolo.trainer"):
            assert not re.search(r"\bsnakemake\b|\bargv\b|os\.environ", path.read_text()), name


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
        "sklearn": "scikit-learn",
        "ultralytics": "ultralytics-opencv-headless",
        "pynvml": "nvidia-ml-py",
    }
    environment = yaml.safe_load((repository / "envs" / f"{name}.yaml").read_text())
    packages = {p.split("==")[0] for item in environment["dependencies"] if isinstance(item, dict) for p in item["pip"]}
    package, scripts = repository / "workflow/cxr", scripts_of(repository)[name]
    assert scripts
    for script in scripts:
        files = set().union(*(closure(package, module) for module in fingerprint.imports_of_script(script)))
        for path in files:
            for module in names_imported(path) - set(sys.stdlib_module_names) - {"cxr"}:
                assert provides.get(module, module) in packages, f"{script}: {path.name} imports {module}"


def scripts_of(repository):
    """Environment → the scripts of the rules that ask for it."""
    found = defaultdict(set)
    for path in (repository / "rules").glob("*.smk"):
        for rule in re.split(r"^\s*(?:rule|checkpoint) ", path.read_text(), flags=re.M):
            environment, script = (re.search(rf"{word}/(\w+)\.", rule) for word in ("envs", "scripts"))
            if environment and script:
                found[environment[1]].add(script[1])
    return found


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


def test_a_remembered_fingerprint_is_that_of_the_code_as_it_is(fingerprint_of, tmp_path_factory, monkeypatch):
    memory = tmp_path_factory.mktemp("elsewhere") / "folder" / "memory.json"

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


def test_modules_in_folders_count_as_those_beside_them(fingerprint_of, tmp_path):
    (tmp_path / "room/inner").mkdir(parents=True)
    deep = tmp_path / "room/inner/three.py"

    def of(one, three):
        deep.write_text(three)
        return fingerprint_of(one)

    called = "from cxr.room.inner import three\n\ndef used(n):\n    return three.f(n)\n"
    named = "from cxr.room.inner.three import f\n\ndef used(n):\n    return f(n)\n"
    for one in (called, named):
        plain = of(one, "def f(n):\n    return 1\n\ndef idle():\n    return 1\n")
        assert of(one, "def f(n):\n    return 1\n\ndef idle():\n    return 2\n") == plain
        assert of(one, "def f(n):\n    return 2\n\ndef idle():\n    return 1\n") != plain
        assert fingerprint.reached("script") >= {("room.inner.three", "f")}
    used = "from cxr.runtime import quiet\n\ndef used(n):\n    return quiet.f(n)\n"
    (tmp_path / "runtime").mkdir()
    found = []
    for number in (1, 2):
        (tmp_path / "runtime/quiet.py").write_text(f"def f(n):\n    return {number}\n")
        found.append(fingerprint_of(used))
    assert found[0] == found[1], "what runs around a job changes no number"


def test_a_file_in_a_folder_that_changed_is_noticed(fingerprint_of, tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room/three.py").write_text("A = 1\n")
    fingerprint_of("def used(n):\n    return 1\n")
    before = fingerprint._everything()
    (tmp_path / "room/three.py").write_text("A = 2\n")
    forget()
    assert fingerprint._everything() != before


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


TRAINING = ("transfer", "baseline", "gridcnn", "yolo_finetuned", "yolov2_finetuned", "torchvision_detector")


def test_a_new_metric_does_not_concern_training(repository):
    forget()
    reached = {script: fingerprint.reached(script) for script in TRAINING}
    for script, definitions in reached.items():
        rooms = {module.partition(".")[0] for module, _ in definitions}
        assert "report" not in rooms, script
        found = {module for module, _ in definitions} & {
            f"metrics.{name}" for name in ("floors", "evaluation", "detection", "detections")
        }
        assert not found, script
        assert ("metrics.classification", "classification_table") not in definitions
