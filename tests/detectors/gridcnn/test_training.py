"""The grid CNN: 18 convolutions, 16 × 16 cells, the paper's three losses; maps of findings under a sound protocol."""

import json
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from four_images import Stopping
from torch import nn

from cxr import settings
from cxr.data import image_cache as data_image_cache
from cxr.data import splits
from cxr.detectors import files as detector_files
from cxr.detectors.gridcnn import network as gridcnn_network
from cxr.detectors.gridcnn import objectives, pretraining, training
from cxr.detectors.gridcnn import targets as gridcnn_targets
from cxr.detectors.gridcnn.decision import worth
from cxr.errors import InputError, Interrupted
from cxr.labels import BOXED_FINDINGS
from cxr.phantoms import data_set
from cxr.phantoms.plan import plan
from cxr.runtime.checksums import sha256_of
from cxr.runtime.journal import Journal
from cxr.settings import Augment, GridCNN, Pretraining, Schedule
from cxr.training.batches import Stream
from cxr.training.checkpoint import Keeper
from cxr.training.device import Device
from cxr.training.loop import Validation, fit, infer
from cxr.training.runs import plain

CPU, ROUNDED = (Device(torch.device("cpu"), bfloat16) for bfloat16 in (False, True))  # without instructions: emulated
MASS, NODULE = BOXED_FINDINGS.index("Mass"), BOXED_FINDINGS.index("Nodule")
ANY = gridcnn_network.MAPS - 1
MASKS = np.full((gridcnn_network.MAPS, 16, 16), 0.1)
QUARTER = np.array([[0.0, 0, 512, 512]])  # the upper left 8 × 8 cells


@pytest.fixture
def tell(tmp_path):
    with Journal(tmp_path / "log.txt", "test") as journal:
        yield journal


def convolutions(network):
    return sum(isinstance(module, nn.Conv2d) for module in network.modules())


@pytest.mark.parametrize("side", [64, 256, 1024])
@pytest.mark.parametrize("head", ["dense", "convolution"])
def test_eighteen_convolutions_one_fully_connected_layer_and_sixteen_cells(side, head):
    network = gridcnn_network.GridNetwork(side, 4, head, np.full((16, 16), 0.1)).eval()
    kinds = [type(module) for module in network.modules()]
    assert (kinds.count(nn.Conv2d), kinds.count(nn.Linear)) == (18, 1)
    with torch.no_grad():
        assert network(torch.rand(1, 1, side, side)).shape == (1, 16, 16)


@pytest.mark.parametrize("side", [64, 128, 256, 512, 1024])
def test_the_network_of_findings_has_eighteen_convolutions_at_every_side(side):
    network = gridcnn_network.FindingNetwork(side, 4, MASKS, 0.1).eval()
    assert convolutions(network) == 18
    with torch.no_grad():
        maps, presence = gridcnn_network.unpacked(network(torch.rand(2, 1, side, side)))
    assert (maps.shape, presence.shape) == ((2, 9, 16, 16), (2, 8))


def test_the_papers_network_and_training_are_as_the_paper_says():
    paper = settings.PAPER.gridcnn
    network = gridcnn_network.GridNetwork(paper.image_size, paper.width, paper.head, np.full((16, 16), 0.1))
    assert convolutions(network) == 18
    assert network.fc.out_features == 16 * 16
    after_each = [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(after_each) == 18
    assert (paper.image_size, paper.loss, paper.target) == (1024, "mse", "majority")
    assert paper.augment == Augment()
    assert paper.training == Schedule(epochs=5, steps=0, batch=1, optimizer="adam", learning_rate=0.005)


def test_the_shared_head_starts_near_the_mean_mask():
    mask = np.linspace(0.05, 0.6, 256).reshape(16, 16)
    network = gridcnn_network.GridNetwork(64, 4, "convolution", mask).eval()
    nn.init.zeros_(network.fc.weight)
    assert torch.allclose(network(torch.rand(1, 1, 64, 64)).sigmoid()[0].double(), torch.from_numpy(mask), atol=1e-5)


def test_every_map_of_findings_starts_at_its_mean_mask():
    masks = np.linspace(0.01, 0.6, gridcnn_network.MAPS * 256).reshape(gridcnn_network.MAPS, 16, 16)
    masks[MASS] = 0  # no box of it in the training images
    network = gridcnn_network.FindingNetwork(64, 4, masks, 0.1).eval()
    with torch.no_grad():
        confidence = gridcnn_network.unpacked(network(torch.rand(3, 1, 64, 64)))[0].sigmoid().numpy()
    assert np.allclose(confidence, np.clip(masks, gridcnn_network.RAREST, 1)[None], atol=1e-5)


def test_losses_by_hand():
    logits = torch.logit(torch.tensor([[[0.8, 0.4]]]))
    target = torch.tensor([[[1.0, 0.0]]])
    assert objectives.objective("mse").loss(logits, target).item() == pytest.approx((0.04 + 0.16) / 2, rel=1e-4)
    assert objectives.objective("l1").loss(logits, target).item() == pytest.approx((0.2 + 0.4) / 2, rel=1e-4)
    expected = 1 - 0.8 / np.hypot(0.8, 0.4)
    assert objectives.objective("cosine").loss(logits, target).item() == pytest.approx(expected, rel=1e-4)


def outputs_of(maps, presence):
    """Pack confidences of maps (N, 9, 16, 16) and of presence (N, 8) as the network gives them."""
    return torch.logit(torch.cat([maps.flatten(1), presence], 1))


def test_soft_f1_is_the_score_with_confidences_as_areas():
    target = torch.zeros(2, 16, 16)
    target[0, 0, :4] = 1
    confidence = torch.zeros(2, 16, 16)
    confidence[0, 0, 2:6] = 0.5  # shares 1 of 2
    confidence[1, 0, 0] = 1
    precision, recall = (1 / 2.5 + 0 / 1.5) / 2, 1 / 4.1  # the second image has no target, so no recall
    expected = 2 * precision * recall / (precision + recall)
    assert objectives.soft_f1(confidence, target).item() == pytest.approx(expected, rel=1e-5)
    assert objectives.soft_f1(torch.zeros(2, 16, 16), torch.zeros(2, 16, 16)) == 0


def test_the_overlap_loss_by_hand():
    maps, presence = torch.full((1, 9, 16, 16), 0.25), torch.full((1, 8), 0.5)
    targets = gridcnn_targets.finding_targets([[("Mass", QUARTER)]], [{"Nodule"}], "majority")
    # of any: 64 cells of 256 wanted, 64 of confidence, 16 shared
    precision, recall = 16 / 64.5, 16 / 64.1
    soft_f1 = 2 * precision * recall / (precision + recall)
    in_quarter, outside, absent = -np.log(0.25), -np.log(0.75), -np.log(0.75)
    one_map = (64 * in_quarter + 192 * outside) / 256
    findings = one_map + 6 * absent  # Mass; six others absent; Nodule unknown
    expected = 3 * findings + objectives.ANY_WEIGHT * one_map + 0.5 * np.log(2) + 1 - soft_f1
    loss = objectives.overlap_objective(3, 0.5, False).loss(outputs_of(maps, presence), torch.from_numpy(targets))
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_any_finding_is_the_mean_of_its_map_and_the_union_and_may_be_made_for_a_decision():
    maps = torch.full((2, 9, 16, 16), 1e-9)
    maps[0, MASS, 0, 0], maps[0, NODULE, 0, 0], maps[0, ANY, 0, 0], maps[0, ANY, 5, 5] = 0.2, 0.5, 0.4, 0.25
    outputs = outputs_of(maps, torch.full((2, 8), 0.5))
    plain_, decisive = (objectives.overlap_objective(1, 1, each).predict(outputs) for each in (False, True))
    assert plain_[0, ANY, 0, 0].item() == pytest.approx((0.4 + 1 - 0.8 * 0.5) / 2, abs=1e-5)
    assert plain_[0, ANY, 5, 5].item() == pytest.approx(0.125, abs=1e-5)
    np.testing.assert_allclose(decisive[:, ANY], worth(plain_[:, ANY].numpy()), rtol=1e-6, atol=1e-9)
    assert decisive[0, ANY, 0, 0] == 1
    assert torch.equal(decisive[:, ANY + 1], plain_[:, ANY]), "the probability stands behind"
    assert plain_[0, MASS, 0, 0].item() == pytest.approx(0.2, abs=1e-5) and decisive[0, MASS, 0, 0] == 1
    assert torch.isfinite(decisive).all()


def test_presence_is_asked_of_unknown_findings_too():
    maps = torch.full((1, 9, 16, 16), 0.25)
    presence = torch.full((1, 8), 0.1)
    right = presence.clone()
    right[0, [MASS, NODULE]] = 0.9
    targets = torch.from_numpy(gridcnn_targets.finding_targets([[("Mass", QUARTER)]], [{"Nodule"}], "majority"))
    loss = objectives.overlap_objective(1, 1, False).loss
    both, one = loss(outputs_of(maps, right), targets), loss(outputs_of(maps, presence), targets)
    assert (one - both).item() == pytest.approx(2 * (np.log(0.9) - np.log(0.1)) / 8, rel=1e-4)


def test_a_cell_counts_when_more_than_half_is_covered():
    boxes = [np.array([[0.0, 0, 64 + 32, 64]]), np.array([[0.0, 0, 64 + 33, 64]])]
    majority = gridcnn_targets.training_targets(boxes, "majority")
    assert majority[:, 0, :2].tolist() == [[1, 0], [1, 1]]
    assert gridcnn_targets.training_targets(boxes, "coverage")[0, 0, 1] == pytest.approx(0.5)


def test_targets_of_findings_by_hand():
    two = [("Mass", np.array([[0.0, 0, 64, 64]])), ("Nodule", np.array([[32.0, 0, 80, 64]]))]
    targets = gridcnn_targets.finding_targets([two, []], [set(), {"Mass", "Edema"}], "coverage")
    assert targets[0, MASS, 0, :2].tolist() == [1, 0]
    assert targets[0, NODULE, 0, :3].tolist() == [0.5, 0.25, 0]
    assert targets[0, ANY, 0, :3].tolist() == [1, 0.25, 0]
    assert targets[0].sum() == 1 + 0.75 + 1.25
    assert np.isnan(targets[1, MASS]).all()
    assert np.nansum(targets[1]) == 0 and np.isnan(targets[1]).sum() == 256, "no box: nothing anywhere, Mass unknown"


def test_a_finding_named_and_boxed_is_known():
    targets = gridcnn_targets.finding_targets([[("Mass", QUARTER)]], [{"Mass"}], "majority")
    assert targets[0, MASS].sum() == 64


def test_unboxed_findings_are_those_of_the_labels_without_a_box():
    table = pd.DataFrame({"image": ["a.png", "b.png"], "labels": ["Mass", "Mass|Nodule"]})
    named = {"b.png": "Mass|Nodule", "a.png": "Effusion|Mass|Hernia"}
    assert gridcnn_targets.unboxed(named, table) == [{"Effusion", "Hernia"}, set()]


def test_an_unknown_finding_gives_no_gradient():
    network = gridcnn_network.FindingNetwork(64, 4, MASKS, 0.0)
    targets = gridcnn_targets.finding_targets([[("Mass", QUARTER)]] * 2, [{"Nodule"}] * 2, "majority")
    objectives.overlap_objective(1, 1, False).loss(
        network(torch.rand(2, 1, 64, 64)), torch.from_numpy(targets)
    ).backward()
    gradient = network.cell_bias.grad.abs().sum((1, 2))
    weights = network.maps.weight.grad.abs().sum(1)
    assert gradient[NODULE] == 0 and weights[NODULE] == 0
    assert (np.delete(gradient.numpy(), NODULE) > 0).all()


def test_pixels_shrink_by_area_mean():
    pixels = np.array([[[0, 4], [8, 12]]], dtype=np.uint8)
    assert training.reduced(pixels, 1).tolist() == [[[6]]]
    assert training.reduced(pixels, 2) is pixels
    blocks = np.array([[0, 2, 10, 10], [2, 4, 10, 14], [50, 50, 8, 8], [50, 50, 8, 9]], np.uint8)
    assert training.reduced(np.stack([blocks, blocks.T]), 2).tolist() == [[[2, 11], [50, 8]], [[2, 50], [11, 8]]]


@pytest.mark.parametrize("head", ["convolution", "findings"])
def test_rows_of_cells_are_rows_of_pixels(head):
    """A bright spot in row 3, column 9 of the cells changes what is said of that cell the most: of none across it."""
    if head == "findings":
        network = gridcnn_network.FindingNetwork(128, 8, MASKS, 0.0).eval()
        nn.init.normal_(network.maps.weight)
    else:
        network = gridcnn_network.GridNetwork(128, 8, head, np.full((16, 16), 0.1)).eval()
    dark = torch.rand(1, 1, 128, 128) / 4
    bright = dark.clone()
    bright[..., 24:32, 72:80] = 1
    with torch.no_grad():
        one, other = (network(images) for images in (dark, bright))
    if head == "findings":
        one, other = (gridcnn_network.unpacked(each)[0].mean(1) for each in (one, other))
    change = (other - one)[0].abs()
    row, column = divmod(int(change.argmax()), 16)
    assert abs(row - 3) <= 1
    assert min(abs(column - 9), abs(column - 6)) <= 1, "in the column itself, or in the one mirrored across the midline"


def test_the_score_that_chooses_an_epoch_by_hand():
    """Two images with cells and one without, which has no part in precision or recall."""
    target = np.zeros((3, 16, 16))
    target[0, 0, :4], target[1, 5, :2] = 1, 1
    confidence = np.zeros((3, 16, 16))
    confidence[0, 0, :4], confidence[0, 1, :2] = [0.8, 0.8, 0.35, 0.35], 0.2
    confidence[1, 5, 0] = 0.6
    confidence[2] = 0.35
    precision, recall = (2.3 / 2.7 + 1) / 2, (2.3 / 4 + 0.6 / 2) / 2
    weighted = 2 * precision * recall / (precision + recall)
    at_best = 2 * 1 * 0.75 / 1.75  # at 0.3: all four cells of the one, one of the other's two, and no wrong one
    found = training._scores(confidence, target)
    assert found == {"f1_weighted": pytest.approx(weighted), "f1": pytest.approx(at_best)}
    maps, wanted = np.zeros((3, gridcnn_network.MAPS + 1, 16, 16)), np.zeros((3, gridcnn_network.MAPS, 16, 16))
    maps[:, ANY], wanted[:, ANY] = confidence, target
    assert training._scores(maps, wanted) == found, "of the map of any finding"


@pytest.mark.parametrize("head", ["dense", "findings"])
def test_the_floor_of_the_curves_is_the_mean_training_mask_on_the_validation_images(head):
    """Two training images: all of it, and its left half. A validation image: its left half. Others would be 0.5 and 0.25."""
    whole, left = ([("Mass", np.array([[0, 0, edge, 1024.0]]))] for edge in (1024, 512))
    images = [
        training.Boxed(["a"] * len(drawn), drawn, [set()] * len(drawn), None) for drawn in ([whole, left], [left])
    ]
    found = training._curve_floors(*images, head)
    assert found["loss"] == pytest.approx(0.5 * 0.5**2), "1 on the left, 0.5 on the right"
    precision = 1 / 1.5  # the confidence that lies on the left
    assert found["f1_weighted"] == pytest.approx(2 * precision / (precision + 1))
    assert found["f1"] == 1, "cut between 0.5 and 1"


def four_images():
    random = np.random.default_rng(0)
    pixels = {f"{number}.png": random.integers(0, 255, (64, 64), dtype=np.uint8) for number in range(4)}
    drawn = [[(finding, np.array([corner]))] for finding, corner in zip(
        ("Mass", "Nodule", "Cardiomegaly", "Effusion"),
        ([0.0, 0, 256, 256], [600.0, 0, 1024, 256], [0.0, 600, 512, 1024], [700.0, 700, 1000, 1000]),
        strict=True,
    )]  # fmt: skip
    return list(pixels), lambda names: np.stack([pixels[name] for name in names]), drawn


def fitted(tell, schedule, keeper=None, dropout=0.0, members=1, test_time_flip=False, device=CPU):
    torch.manual_seed(0)
    names, read, drawn = four_images()
    targets = gridcnn_targets.finding_targets(drawn, [set()] * 4, "majority")
    one = partial(gridcnn_network.FindingNetwork, 64, 8, targets.mean(0), dropout)
    network = gridcnn_network.Members(members, one, test_time_flip)
    objective = objectives.overlap_objective(1, 1, False)
    stream = Stream(names, read, targets, Augment(), schedule.batch, 0, CPU.torch)
    validation = Validation(names, read, targets, training._scores, ("f1", True))
    outcome = fit(network, stream, objective, validation, schedule, plain(0, device, tell, keeper))
    return network, outcome, targets


def test_a_network_of_findings_overfits_four_images(tell):
    schedule = Schedule(epochs=3, steps=40, batch=4, optimizer="adamw", learning_rate=5e-3, average=0.9)
    network, outcome, targets = fitted(tell, schedule)
    names, read, _ = four_images()
    confidence = infer(network, names, read, objectives.overlap_objective(1, 1, False), CPU)
    assert ((confidence[:, :-1] > 0.5) == (targets[:, :-1] > 0.5)).all()
    assert outcome.history["validation_f1"].iloc[-1] > 0.95


def test_members_train_as_if_alone_and_their_confidences_are_averaged(tell):
    schedule = Schedule(epochs=1, steps=5, batch=4, optimizer="adamw", learning_rate=5e-3)
    (alone, _, _), (both, _, _) = (fitted(tell, schedule, members=members) for members in (1, 2))
    (first,), (again, second) = alone.networks, both.networks
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not torch.equal(first.maps.weight, second.maps.weight)
    names, read, _ = four_images()
    objective = objectives.overlap_objective(1, 1, False)
    each = [infer(network, names, read, objective, CPU) for network in (first, second)]
    mean = infer(both, names, read, objective, CPU)
    np.testing.assert_allclose(mean, (each[0] + each[1]) / 2, rtol=1e-6)


def test_a_flip_at_test_time_makes_mirror_images_of_mirrored_images(tell):
    schedule = Schedule(epochs=1, steps=5, batch=4, optimizer="adamw", learning_rate=5e-3)
    (plain_, _, _), (flipped, _, _) = (fitted(tell, schedule, test_time_flip=each) for each in (False, True))
    names, read, _ = four_images()
    objective = objectives.overlap_objective(1, 1, False)

    def mirrored(wanted):
        return np.ascontiguousarray(read(wanted)[..., ::-1])

    once, back = (infer(plain_, names, each, objective, CPU) for each in (read, mirrored))
    here, there = (infer(flipped, names, each, objective, CPU) for each in (read, mirrored))
    np.testing.assert_allclose(here, (once + back[..., ::-1]) / 2, rtol=1e-5, err_msg="trained alike, judged twice")
    np.testing.assert_allclose(here, there[..., ::-1], rtol=1e-5)
    assert not np.allclose(once, back[..., ::-1])


@pytest.mark.parametrize(("chances", "device"), [([2], CPU), ([3, 3], CPU), ([3, 3], ROUNDED)])
def test_an_interrupted_training_with_dropout_ends_with_the_same_networks(tell, tmp_path, chances, device):
    schedule = Schedule(epochs=3, steps=2, batch=3, optimizer="adamw", average=0.8, keep="best")
    whole, expected, _ = fitted(tell, schedule, dropout=0.3, device=device)
    for chance in chances:
        keeper = Stopping(tmp_path / "state", "key", 0, tell, chance=chance)
        with pytest.raises(Interrupted, match=signal.SIGTERM.name):
            fitted(tell, schedule, keeper, dropout=0.3, device=device)
    keeper = Keeper(tmp_path / "state", "key", 1e9, tell)
    resumed, outcome, _ = fitted(tell, schedule, keeper, dropout=0.3, device=device)
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())
    assert expected.history.drop(columns="seconds").equals(outcome.history.drop(columns="seconds"))


def seen_by_fit(monkeypatch, tell, kind="coverage", augment=None):
    """What `fitted` gives to the loop for the four images: the stream, the validation, and the boxes drawn.

    The first image's box covers half of its second cell; findings of the last one are unknown.
    """
    seen = []
    monkeypatch.setattr(training, "fit", lambda *arguments: seen.append(arguments))
    names, read, drawn = four_images()
    drawn[0] = [("Mass", np.array([[0.0, 0, 96, 64]]))]
    boxed = training.Boxed(names, drawn, [set(), set(), set(), {"Edema", "Mass"}], read)
    chosen = GridCNN(head="findings", loss="overlap", image_size=64, width=4, target=kind, augment=augment or Augment())
    training.fitted(nn.Identity(), boxed, boxed, chosen, Schedule(batch=4), plain(0, CPU, tell))
    _, stream, _, validation, _, _ = seen[0]
    return stream, validation, drawn


@pytest.mark.parametrize(("kind", "half_covered"), [("coverage", 0.5), ("majority", 0)])
def test_training_has_the_targets_of_the_settings_and_validation_those_of_the_paper(
    tell, monkeypatch, kind, half_covered
):
    stream, validation, _ = seen_by_fit(monkeypatch, tell, kind)
    still = np.tile(np.eye(2, 3, dtype=np.float32), (4, 1, 1))
    targets = stream.targets(np.array([3, 0, 1, 2]), still)
    assert targets[1, MASS, 0, :3].tolist() == [1, half_covered, 0]
    assert np.isnan(targets[0, MASS]).all() and not np.isnan(targets[1:]).any(), "unknown in the fourth image"
    assert validation.targets[0, MASS, 0, :3].tolist() == [1, 0, 0], "covered by more than half"
    assert np.isnan(validation.targets[3, MASS]).all()
    assert validation.better == ("f1", True) and validation.scores is training._scores


def test_the_boxes_of_training_images_move_with_their_pixels(tell, monkeypatch):
    stream, _, drawn = seen_by_fit(monkeypatch, tell, augment=Augment(horizontal_flip=1.0))
    inputs, targets = stream(0)
    _, read, _ = four_images()
    place = {np.ascontiguousarray(read([name])[0][:, ::-1]).tobytes(): at for at, name in enumerate(stream.names)}
    order = [place[(image[0] * 255).round().to(torch.uint8).numpy().tobytes()] for image in inputs]
    assert sorted(order) == [0, 1, 2, 3]
    plain_ = gridcnn_targets.finding_targets(drawn, [set()] * 4, "coverage")
    np.testing.assert_allclose(targets[:, ANY].numpy(), plain_[order][:, ANY, :, ::-1], atol=1e-5)


def test_cells_start_at_the_mean_majority_mask():
    """Also where training is on covered shares."""
    chosen = GridCNN(head="findings", loss="overlap", image_size=64, width=4, target="coverage")
    network = training.built(chosen, [[("Mass", np.array([[0.0, 0, 96, 64]]))], []])
    start = network.networks[0].cell_bias.sigmoid()[MASS, 0, :2]
    assert start.tolist() == pytest.approx([0.5, gridcnn_network.RAREST], rel=1e-4)


def study(folder: Path, findings: dict[str, str]) -> dict[str, Path]:
    """A store of six 64-pixel images and their splits: image → its box text; the labels add an Effusion without box."""
    from PIL import Image

    random = np.random.default_rng(1)
    for name in findings:
        Image.fromarray(random.integers(0, 255, (64, 64), dtype=np.uint8)).save(folder / name)
    index = data_image_cache.update_store(
        folder, {name: name for name in findings}, findings, data_image_cache.ImageCache(folder / "store", 64, 64), workers=1,
        progress=lambda *_: None,
    )  # fmt: skip
    index.to_csv(folder / "images.csv", index=False)
    table = pd.DataFrame({
        "image": list(findings), "patient": range(6), "digest": index.set_index("image").loc[list(findings), "digest"].values,
        "labels": [text.split(" ")[0] for text in findings.values()], "boxes": list(findings.values()),
    })[splits.BOX_SPLIT_COLUMNS]  # fmt: skip
    paths = {"index": folder / "images.csv", "store": folder / "store"}
    for role, rows in (("train", slice(0, 4)), ("validation", slice(4, 5)), ("test", slice(5, 6))):
        paths[role] = folder / f"{role}.csv"
        splits.write_split(table[rows], paths[role])
    paths["labels"] = folder / "train_labels.csv"
    every = table[:4].assign(labels=table["labels"] + "|Effusion")[splits.SPLIT_COLUMNS]
    splits.write_split(every, paths["labels"])
    return paths


def trained(paths, chosen, folder, tell, labels=True, pretrained=None):
    out = {name: folder / f"out_{name}" for name in ("model", "history", "facts")}
    predictions = {name: folder / f"{name}.npz" for name in ("validation_predictions", "predictions")}
    training.train(
        train_split=paths["train"], train_labels=paths["labels"] if labels else None, pretrained=pretrained,
        inputs=detector_files.BoxedImages(paths["validation"], paths["test"], paths["index"], paths["store"], 64),
        outputs=detector_files.Trained(**out, **predictions), settings=chosen, run=plain(0, CPU, tell),
    )  # fmt: skip
    return {name: np.load(path) for name, path in predictions.items()}


BOXES = {
    "a.png": "Mass 100.000 100.000 400.000 400.000",
    "b.png": "Mass 600.000 100.000 900.000 400.000;Mass 0.000 0.000 200.000 200.000",
    "c.png": "Nodule 990.000 990.000 1024.000 1024.000",  # the only one of its finding; a shift may move it out
    "d.png": "Mass 300.000 500.000 700.000 900.000",
    "e.png": "Pneumonia 300.000 500.000 700.000 900.000",  # a finding that no training image has
    "f.png": "Cardiomegaly 300.000 500.000 800.000 900.000",
}
SOUND = GridCNN(
    head="findings", loss="overlap", image_size=64, width=4, target="coverage", dropout=0.2,
    augment=Augment(rotation=10, shift=0.5, zoom=0.2, gamma=0.3),
    training=Schedule(epochs=2, steps=4, batch=3, optimizer="adamw", decay="cosine", average=0.9, keep="best"),
)  # fmt: skip


def test_predictions_hold_a_map_of_each_finding_beside_any(tell, tmp_path):
    found = trained(study(tmp_path, BOXES), SOUND, tmp_path, tell)
    for name, image in (("validation_predictions", "e.png"), ("predictions", "f.png")):
        arrays = found[name]
        assert arrays["images"].tolist() == [image]
        assert arrays["findings"].tolist() == list(BOXED_FINDINGS)
        assert arrays["confidence"].shape == (1, 16, 16)
        assert arrays["finding_confidence"].shape == (1, 8, 16, 16)
        for maps in (arrays["confidence"], arrays["finding_confidence"]):
            assert maps.dtype == np.float32 and maps.min() >= 0 and maps.max() <= 1
    assert "4 of 4 training images have a label without a box" in (tmp_path / "log.txt").read_text()


def test_the_papers_predictions_hold_any_finding_alone(tell, tmp_path):
    chosen = GridCNN(image_size=64, width=4, training=Schedule(epochs=1, steps=2, batch=1))
    found = trained(study(tmp_path, BOXES), chosen, tmp_path, tell, labels=False)
    assert set(found["predictions"].files) == {"images", "confidence"}
    assert found["predictions"]["confidence"].shape == (1, 16, 16)


def test_predictions_made_for_a_decision_keep_the_probability(tell, tmp_path):
    last = SOUND.model_copy(update={"training": SOUND.training.model_copy(update={"keep": "last"})})
    found = {}
    for name in ("plain", "decisive"):
        folder = tmp_path / name
        folder.mkdir()
        found[name] = trained(
            study(folder, BOXES), last.model_copy(update={"decisive": name == "decisive"}), folder, tell
        )["predictions"]
    assert "probability" not in found["plain"]
    np.testing.assert_array_equal(found["decisive"]["probability"], found["plain"]["confidence"])
    assert found["decisive"]["confidence"].max() == 1
    assert (found["decisive"]["finding_confidence"].max((2, 3)) == 1).all()


def test_unknown_findings_change_what_is_learnt(tell, tmp_path):
    paths = study(tmp_path, BOXES)
    known, unknown = (
        trained(paths, SOUND.model_copy(update={"decisive": False}), tmp_path, tell, labels)["predictions"][
            "finding_confidence"
        ]
        for labels in (False, True)
    )
    effusion = BOXED_FINDINGS.index("Effusion")
    assert unknown[0, effusion].mean() > known[0, effusion].mean(), "absent pushes the map down, unknown does not"


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """Where a network was trained on twenty phantoms, and its settings."""
    folder = tmp_path_factory.mktemp("pretrained")
    chosen = SOUND.model_copy(update={"pretraining": Pretraining(images=100, training=SOUND.training)})
    pretraining.draw(folder / "drawn.npz", count=20, side=64, seed=0, workers=2)
    out = {name: folder / name for name in ("model", "fingerprint", "history", "facts")}
    with Journal(folder / "log.txt", "test") as tell:
        pretraining.train(drawn=folder / "drawn.npz", settings=chosen, run=plain(0, CPU, tell), **out)
    return folder, chosen


def test_phantoms_to_train_on_are_the_same_for_any_number_of_workers_and_not_the_data_sets(pretrained, tmp_path):
    folder, _ = pretrained
    pretraining.draw(tmp_path / "again.npz", count=20, side=64, seed=0, workers=1)
    first, again = (np.load(path) for path in (folder / "drawn.npz", tmp_path / "again.npz"))
    assert (first["pixels"] == again["pixels"]).all() and (first["boxes"] == again["boxes"]).all()
    assert first["pixels"].shape == (20, 64, 64) and len({each.tobytes() for each in first["pixels"]}) == 20
    assert all(gridcnn_targets.by_finding(text) for text in first["boxes"])
    own = [each for each in plan(patients=40, images=40, boxed=20, seed=0) if each.boxed]
    pixels, _ = data_set.draw(own[0], size=256, seed=0)
    assert not (training.reduced(pixels[None], 64) == first["pixels"]).all((1, 2)).any()


def test_the_network_starts_from_its_pretraining_but_for_its_cells_own_biases(pretrained, tell, tmp_path):
    folder, chosen = pretrained
    paths = study(tmp_path, BOXES)
    still = chosen.model_copy(update={"training": Schedule(epochs=1, steps=1, learning_rate=1e-12, batch=3)})
    trained(paths, still, tmp_path, tell, pretrained=folder / "model")
    before = torch.load(folder / "model", weights_only=True)["state"]
    after = torch.load(tmp_path / "out_model", weights_only=True)["state"]
    for name, _ in training.untrained(chosen)[0].named_parameters():
        same = torch.allclose(before[name], after[name], atol=1e-9)
        assert same != name.endswith("cell_bias"), name
    facts = json.loads((tmp_path / "out_facts").read_text())
    assert facts["pretrained_on"] == "18 generated phantoms, 2 epochs"
    assert (folder / "fingerprint").read_text().strip() == sha256_of(folder / "model")


def test_weights_pretrained_for_another_network_are_refused(pretrained, tell, tmp_path):
    folder, chosen = pretrained
    wider = chosen.model_copy(update={"members": 2})
    with pytest.raises(InputError, match="weights of another network"):
        trained(study(tmp_path, BOXES), wider, tmp_path, tell, pretrained=folder / "model")


def test_too_few_phantoms_are_refused():
    with pytest.raises(ValueError, match="too few to learn from"):
        Pretraining(images=99)


def test_a_box_that_leaves_the_frame_is_a_finding_that_left():
    right = np.array([[1, 0, -1.0], [0, 1, 0]], dtype=np.float32)  # pixels move half the frame to the right
    from cxr.training.batches import moved

    drawn = [
        ("Mass", moved(np.array([[700.0, 0, 900, 100]]), right)),
        ("Nodule", moved(np.array([[0.0, 0, 64, 64]]), right)),
    ]
    targets = gridcnn_targets.finding_targets([drawn], [set()], "coverage")[0]
    assert targets[MASS].sum() == 0
    assert targets[NODULE, 0, 8] == targets[ANY, 0, 8] == 1 and targets.sum() == 2


def test_heads_and_losses_that_do_not_fit_are_refused():
    for wrong in ({"head": "findings"}, {"loss": "overlap"}, {"head": "findings", "loss": "mse"}):
        with pytest.raises(ValueError, match="go together"):
            GridCNN(**wrong)
    for wrong in ({"members": 2}, {"test_time_flip": True}, {"decisive": True}, {"pretraining": {"images": 500}}):
        with pytest.raises(ValueError, match="need head findings"):
            GridCNN(**wrong)


def test_a_side_given_on_the_command_line_is_a_number():
    assert GridCNN(image_size="512").image_size == 512
    with pytest.raises(ValueError, match="should be 64, 128"):
        GridCNN(image_size="500")
