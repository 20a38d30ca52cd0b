"""OpenCV 4's Darknet reader gives the same boxes for the same cfg and weights.

Its answers are in tests/references/yolov2.json; write_yolov2_cases.py there says how they are made again.
"""

import hashlib
import json

import numpy as np
import pytest
import yolov2_cases as cases
from darknet_boxes import summary

from cxr.detectors.yolov2 import architecture, configuration, darknet_weights
from cxr.detectors.yolov2.network import Darknet
from cxr.errors import InputError

CLOSE = 1e-4


@pytest.fixture(scope="module")
def references(repository):
    return json.loads((repository / "tests/references/yolov2.json").read_text())["networks"]


@pytest.fixture(scope="module")
def weights(repository):
    folder = repository.parent / "shared" / "weights"
    if not (folder / f"{next(iter(cases.REAL))}.weights").is_file():
        pytest.skip("no Darknet weights beside the repository (../shared/weights)")
    return folder


def compare(network, pixels, expected):
    boxes, _, kept = cases.answers(network, pixels)
    found = summary(boxes.astype(float), kept.astype(float))
    assert found.keys() == expected.keys()
    for name, numbers in expected.items():
        np.testing.assert_allclose(found[name], numbers, rtol=0, atol=CLOSE, err_msg=name)


def compare_radiographs(network, folder, references):
    for name in cases.RADIOGRAPHS:
        compare(network, cases.radiograph(folder / "full" / name, network.height), references[name])


@pytest.fixture(scope="module", params=cases.WRITTEN)
def written(request, tmp_path_factory):
    """A network read back from the files that OpenCV read too: its cfg, and weights by our writer."""
    path = tmp_path_factory.mktemp("written") / "weights"
    darknet_weights.write(cases.written(request.param), path)
    network = Darknet(configuration.parse(cases.cfg(request.param), request.param)).eval()
    darknet_weights.load(network, path)
    return request.param, network, hashlib.sha256(path.read_bytes()).hexdigest()


def test_opencv_reads_what_we_write_and_gives_our_boxes(written, references):
    name, network, sha256 = written
    assert sha256 == references[name]["weights_sha256"], (
        "the file is not the one that OpenCV read: make the numbers again"
    )
    compare(network, cases.drawn(network.height), references[name]["pictures"]["waves"])


def test_boxes_on_radiographs_by_weights_that_we_wrote(written, references, nih_sample):
    name, network, _ = written
    compare_radiographs(network, nih_sample, references[name]["pictures"])


@pytest.mark.parametrize(("name", "classes"), cases.REAL.items())
def test_real_files_give_opencvs_boxes(name, classes, references, weights, nih_sample):
    network = cases.real(name, weights)
    boxes, confidences, _ = cases.answers(network, cases.drawn(network.height))
    assert len(boxes) == 245 and confidences.shape[1] == classes
    compare(network, cases.drawn(network.height), references[name]["pictures"]["waves"])
    compare_radiographs(network, nih_sample, references[name]["pictures"])


def test_a_real_file_of_the_other_network_is_refused(weights):
    network = Darknet(configuration.read(weights / "yololite_voc.cfg"))
    with pytest.raises(InputError, match=r"yololite_coco.weights: too long .* 308,400 bytes are left"):
        darknet_weights.load(network, weights / "yololite_coco.weights")


@pytest.mark.parametrize("name", darknet_weights.PUBLISHED)
def test_published_weights_are_known_by_size_and_checksum_and_fit_our_network(name, weights):
    published = darknet_weights.PUBLISHED[name]
    path = weights / published.name
    if not path.is_file():
        pytest.skip(f"no {published.name} of the authors beside the repository (../shared/weights)")
    assert darknet_weights.recognised(path) == published
    header = darknet_weights.load(Darknet(configuration.parse(architecture.cfg(name, 80), name)), path)
    assert header.length + darknet_weights.length(
        Darknet(configuration.parse(architecture.cfg(name, 80), name))
    ) - 20 == (published.length)
