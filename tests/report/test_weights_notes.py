"""What a section of the report says of the weights that a detector started from."""

from types import SimpleNamespace

import pytest

from cxr.experiments import BY_NAME
from cxr.report.sections import experiments

SHA256 = "ab" * 32


def notes(name, facts, sha256=""):
    about = BY_NAME[name]
    inputs = SimpleNamespace(
        facts={("paper", name, fold): facts for fold in "01"}, settings={"paper": {about.section: {"sha256": sha256}}}
    )
    return experiments._weights_notes(inputs, about)


@pytest.mark.parametrize("name", ["yolov2_finetuned", "yolo_finetuned", "torchvision_detector"])
def test_a_detector_without_weights_was_trained_from_scratch_and_it_is_said(name):
    section = BY_NAME[name].section
    assert notes(name, {"from": "scratch"}) == [
        f"paper: no weights were given (paper.{section}.pretrained is empty), so all of it was trained from scratch."
    ]


@pytest.mark.parametrize(
    ("more", "sha256", "said"),
    [
        ({"weights_published": "yolov2.weights"}, "", "which is the checksum of the published yolov2.weights."),
        ({"weights_published": ""}, "abab", "which equals the checksum in the settings."),
        ({}, "", "this workflow does not know whether they are the official weights."),
    ],
)
def test_given_weights_are_named_with_what_is_known_of_them(more, sha256, said):
    (note,) = notes("yolov2_off_the_shelf", {"from": "a.weights", "weights_sha256": SHA256, **more}, sha256)
    assert note.startswith(f"paper: starts from a.weights, SHA-256 {SHA256}, ") and note.endswith(said)
