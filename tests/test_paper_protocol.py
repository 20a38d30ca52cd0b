"""What the protocol `paper` does where the paper's text, or the Keras of its time, says what was done (docs/paper.md)."""

import pandas as pd
import torch

from cxr.classifiers.networks import parametered_layers
from cxr.data import box_list, split_files
from cxr.settings import DEFAULTS
from cxr.training.resnet import resnet

PAPER = DEFAULTS.paper
# Layers with parameters of the first block of stage 5 in Keras' ResNet50, in the order of model.layers, by our names.
KERAS_BLOCK = ["conv1", "bn1", "conv2", "bn2", "conv3", "downsample.0", "bn3", "downsample.1"]


def real_records(nih_sample):
    table = pd.read_csv(
        nih_sample / "Data_Entry_2017_v2020.csv", usecols=["Image Index", "Finding Labels", "Patient ID"]
    )
    return table.set_axis(["image", "labels", "patient"], axis=1).assign(digest="d")


def test_the_boxed_images_of_the_release_are_split_into_three_sets_with_129_for_testing(nih_sample):
    boxes, _ = box_list.read_box_table(nih_sample / "BBox_List_2017.csv", None)
    (roles,) = split_files.of_boxes(boxes, real_records(nih_sample), PAPER.split, seed=0)
    assert {role: len(table) for role, table in roles.items()} == {"train": 670, "validation": 81, "test": 129}
    assert pd.concat(roles.values())["image"].is_unique
    for label, count in boxes.drop_duplicates(["image", "label"])["label"].value_counts().items():
        tested = roles["test"]["labels"].str.contains(label).sum()
        assert abs(tested / count - 129 / 880) < 0.06, f"uniformly across the labels: {label}"


def test_all_images_of_the_release_leave_10000_for_testing_and_5000_images_leave_500(nih_sample):
    records = real_records(nih_sample)
    everything = split_files.of_size(records, "all", PAPER.split, 0, [])
    some = split_files.of_size(records, "5000", PAPER.split, 0, [])
    assert len(records) == 112_120 and len(everything["test"]) == 10_000
    assert {role: len(table) for role, table in some.items()} == {"train": 4000, "validation": 500, "test": 500}
    assert set(some["test"]["image"]) < set(everything["test"]["image"])


def test_transfer_under_paper_is_that_of_keras():
    transfer = PAPER.transfer
    assert (transfer.head_input, transfer.frozen_batchnorm, transfer.head_init) == ("softmax", "keras", "glorot")
    assert DEFAULTS.sound.transfer.head_init == "torch"


def test_the_last_19_layers_of_keras_resnet50_are_ours_but_for_c_15():
    ours = [name for name, _ in parametered_layers(resnet("resnet50", 1000))]
    theirs = [*ours]
    first = theirs.index("layer4.0.conv1")
    theirs[first : first + 8] = [f"layer4.0.{name}" for name in KERAS_BLOCK]
    assert [c for c in range(20) if set(ours[107 - c :]) != set(theirs[107 - c :])] == [15]
    assert ours[-19] == theirs[-19] == "layer4.0.conv2"


def test_keras_resnet50_has_26560_biases_that_ours_has_not():
    network = resnet("resnet50", 1000)
    convolutions = [module for _, module in parametered_layers(network) if isinstance(module, torch.nn.Conv2d)]
    assert sum(each.out_channels for each in convolutions) == 26_560
    assert all(each.bias is None for each in convolutions)
    assert sum(each.numel() for each in network.parameters()) == 25_557_032
    statistics = sum(each.numel() for name, each in network.named_buffers() if "running" in name)
    assert 25_557_032 + 26_560 + statistics == 25_636_712, "what Keras' summary prints"


def test_strides_of_ours_lie_in_the_3x3_convolutions():
    network = resnet("resnet50", 1000)
    halving = [network.layer2[0], network.layer3[0], network.layer4[0]]  # Keras of the time: in the first 1 × 1
    assert [(block.conv1.stride, block.conv2.stride) for block in halving] == [((1, 1), (2, 2))] * 3
