"""Settings: one source, clear refusals, and documents that keep in step."""

from pathlib import Path

import pytest
import yaml

from cxr import settings, settings_reference
from cxr.errors import InputError


def test_nothing_given_gives_the_defaults():
    assert settings.load({}) == settings.DEFAULTS


def test_a_nested_key_changes_only_itself():
    changed = settings.load({"paper": {"transfer": {"training": {"epochs": 2}}}})
    before, after = settings.DEFAULTS.model_dump(), changed.model_dump()
    assert after["paper"]["transfer"]["training"]["epochs"] == 2
    after["paper"]["transfer"]["training"]["epochs"] = before["paper"]["transfer"]["training"]["epochs"]
    assert before == after


def test_the_protocols_keep_their_own_defaults_under_an_override():
    changed = settings.load({"paper": {"transfer": {"select": 3}}, "sound": {"transfer": {"select": 3}}})
    assert (changed.paper.transfer.head_input, changed.sound.transfer.head_input) == ("softmax", "features")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"sead": 1}, ["'sead'", "nearest known key: 'seed'"]),
        ({"paper": {"transfer": {"szies": [1]}}}, ["'paper.transfer.szies'", "'paper.transfer.sizes'"]),
        ({"sound": {"gridcnn": {"threshold": 3}}}, ["sound.gridcnn.threshold", "= 3", "0 < value < 1"]),
        ({"machine": {"precision": "fp8"}}, ["machine.precision", "fp8", "auto, float32, bfloat16"]),
        ({"paper": {"transfer": {"layers": [-1]}}}, ["paper.transfer.layers", "[-1]", "none below 0"]),
        (
            {"paper": {"transfer": {"comparison": {"head_input": ["softmx"]}}}},
            ["paper.transfer.comparison.head_input", "softmx", "'softmax', 'logits' or 'features'"],
        ),
        ({"paper": {"transfer": {"comparison": {"sizes": [5]}}}}, ["comparison.sizes", "[5]", "none below 10"]),
        ({"sound": {"transfer": {"comparison": {"layers": [2, 2]}}}}, ["comparison.layers", "each value once"]),
        ({"sound": {"transfer": {"sizes": [100, 100]}}}, ["sound.transfer.sizes", "each once"]),
        ({"paper": 3}, ["'paper'", "= 3"]),
        ({"seed": "x"}, ["'seed'", "= x", "integer"]),
        ({"images": {"box_size": 500}}, ["images.box_size = 500", "paper.gridcnn.image_size = 1024"]),
        ({"sound": {"split": {"rule": "official"}}}, ["data.test_list"]),
        (
            {"paper": {"split": {"box_folds": 5, "box_validation": 0}}},
            ["paper.split.box_folds = 5", "paper.split.box_validation above 0"],
        ),
    ],
)
def test_bad_settings_are_refused_in_one_line_that_names_key_value_and_range(config, words):
    with pytest.raises(InputError) as refusal:
        settings.load(config)
    assert "\n" not in str(refusal.value)
    for word in words:
        assert word in str(refusal.value)


SHIPPED = sorted((Path(__file__).resolve().parents[1] / "config").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_configurations_load(path):
    loaded = settings.load(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert loaded.name == {"config": "demo"}.get(path.stem, path.stem)


def test_no_shipped_configuration_is_overlooked():
    assert {path.stem for path in SHIPPED} >= {"config", "paper", "sound", "collapse", "detection", "sample"}


def test_the_papers_configuration_has_the_papers_values(repository):
    paper = settings.load(yaml.safe_load((repository / "config/paper.yaml").read_text())).paper
    assert len(paper.transfer.layers) * len(paper.transfer.sizes) == 260
    assert (paper.transfer.layers[-1], paper.transfer.sizes[-1]) == (19, 5000)
    assert (paper.transfer.training.epochs, paper.transfer.training.steps) == (5, 100)
    assert (paper.transfer.long.epochs, paper.transfer.long.steps) == (100, 100)
    grid = paper.gridcnn.training
    assert (grid.optimizer, grid.learning_rate, grid.batch, grid.epochs) == ("adam", 0.005, 1, 5)
    assert (paper.yolov2.training.batch, paper.yolov2.training.epochs, paper.yolov2.network) == (16, 40, "yolov2")
    assert paper.yolov2.enabled and not paper.yolo.enabled


def test_readme_and_schema_are_in_step_with_the_definitions(repository):
    assert (repository / "config/README.md").read_text() == settings_reference.markdown(), "run make docs"
    assert (repository / "config/schema.json").read_text() == settings_reference.schema(), "run make docs"


def test_a_job_records_the_settings_that_it_was_given_and_no_default():
    given = {"head": "findings", "loss": "overlap", "training": {"epochs": 3}}
    assert settings.GridCNN(**given).received() == given
