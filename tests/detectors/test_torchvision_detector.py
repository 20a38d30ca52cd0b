"""The detector of torchvision: it learns, boxes live in the 1024 frame, and a kill or a wrong weights file harms nothing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_study
import torch
from four_images import Stopping

from cxr.boxes import PREDICTION_COLUMNS, format_box_text, iou
from cxr.data.splits import read_split
from cxr.detectors import box_training, torchvision_detector
from cxr.detectors import files as detector_files
from cxr.detectors.box_training import BoxGoal, labelled, padded
from cxr.detectors.torchvision_detector import BoxNetwork, build
from cxr.errors import InputError, Interrupted
from cxr.labels import BOXED_FINDINGS
from cxr.metrics.detection import score_folds
from cxr.metrics.pooling import Fold, Thresholds
from cxr.runtime.journal import Journal
from cxr.settings import Augment, Schedule, TorchvisionDetector
from cxr.training.batches import Stream
from cxr.training.checkpoint import Keeper
from cxr.training.device import Device
from cxr.training.loop import Validation, fit
from cxr.training.runs import plain
from cxr.training.tensors import write_tensors

CPU, ROUNDED = (Device(torch.device("cpu"), bfloat16) for bfloat16 in (False, True))  # without instructions: emulated
SIDE = 64
# In the 1024 frame, of two findings; what they surround is bright, striped or not.
TRUTH = {"a.png": "Cardiomegaly 256.000 320.000 640.000 704.000", "b.png": "Nodule 512.000 128.000 896.000 512.000"}


@pytest.fixture
def tell(tmp_path):
    with Journal(tmp_path / "log.txt", "test") as journal:
        yield journal


def settings(architecture="retinanet", **more):
    return TorchvisionDetector(architecture=architecture, backbone="resnet10", image_size=SIDE, **more)


def pictures(names):
    noise = np.random.default_rng(0).integers(0, 60, (len(TRUTH), SIDE, SIDE), dtype=np.uint8)
    noise[0, 20:44, 16:40] += 150
    noise[1, 8:32, 32:56:3] += 150
    return np.stack([noise[list(TRUTH).index(name)] for name in names])


def train(tell, chosen, schedule, keeper=None, truth=TRUTH, augment=None, device=CPU):
    torch.manual_seed(0)
    network, _ = build(chosen, device)
    boxes = padded([labelled(text) for text in truth.values()])
    stream = Stream(list(truth), pictures, boxes, augment or Augment(), schedule.batch, 0, CPU.torch)
    validation = Validation(list(truth), pictures, boxes, box_training.scores, ("map50", True))
    outcome = fit(network, stream, BoxGoal(2), validation, schedule, plain(0, device, tell, keeper))
    return network, outcome


def anchors(network):
    """Sides of a network's anchors, in pixels."""
    generator = getattr(network.model, "anchor_generator", None) or network.model.rpn.anchor_generator
    return [list(level) for level in generator.sizes]


@pytest.mark.parametrize("architecture", ["retinanet", "fasterrcnn"])
def test_anchors_are_torchvisions_and_shrink_with_small_images(architecture):
    from torchvision.models import detection

    theirs = {"retinanet": detection.retinanet_resnet50_fpn, "fasterrcnn": detection.fasterrcnn_resnet50_fpn}
    chosen = settings(architecture)
    at = {side: anchors(BoxNetwork(chosen.model_copy(update={"image_size": side}), 5, CPU)) for side in (128, 512, 800)}
    assert (
        at[800]
        == at[512]
        == anchors(type("", (), {"model": theirs[architecture](weights=None, weights_backbone=None)}))
    )
    np.testing.assert_allclose([level[0] * 4 for level in at[128]], [level[0] for level in at[512]])
    smallest = min(map(min, at[128])) * 1024 / 128
    assert smallest == 64, "an anchor of the size of the release's nodules"


@pytest.mark.parametrize(("architecture", "steps"), [("retinanet", 90), ("fasterrcnn", 60)])
def test_it_overfits_two_images_and_finds_their_boxes_in_the_1024_frame(tell, architecture, steps):
    schedule = Schedule(epochs=1, steps=steps, batch=2, optimizer="adam", learning_rate=1e-3)
    network, outcome = train(tell, settings(architecture), schedule)
    found = box_training.predict(network, list(TRUTH), pictures, BoxGoal(2), CPU)
    assert found.columns.tolist() == PREDICTION_COLUMNS
    assert found[["x0", "y0", "x1", "y1"]].to_numpy().max() <= 1024
    for name, text in TRUTH.items():
        mine = found[found["image"] == name]
        assert mine["confidence"].is_monotonic_decreasing
        best, (label, *corners) = mine.iloc[0], text.split()
        assert best["label"] == label and best["confidence"] > 0.5
        assert iou([best[["x0", "y0", "x1", "y1"]]], [[float(corner) for corner in corners]])[0, 0] > 0.7
    assert outcome.history["validation_map50"].iloc[-1] == pytest.approx(1)


@pytest.mark.parametrize("architecture", ["retinanet", "fasterrcnn"])
def test_an_image_without_a_box_trains(tell, architecture):
    schedule = Schedule(epochs=1, steps=2, batch=2, learning_rate=1e-4)
    for truth in ({"a.png": TRUTH["a.png"], "b.png": ""}, {"a.png": "", "b.png": ""}):
        _, outcome = train(tell, settings(architecture), schedule, truth=truth)
        assert np.isfinite(outcome.history[["train_loss", "validation_loss"]].to_numpy()).all()


@pytest.mark.parametrize("architecture", ["retinanet", "fasterrcnn"])
def test_a_hundred_boxes_an_image_are_kept_also_those_of_little_confidence(architecture):
    """Average precision needs them; torchvision's own limits on confidence are 0.05."""
    torch.manual_seed(0)
    network = BoxNetwork(settings(architecture), 5, CPU).eval()
    if architecture == "fasterrcnn":
        torch.nn.init.zeros_(network.model.roi_heads.box_predictor.cls_score.weight)
        network.model.roi_heads.box_predictor.cls_score.bias.data = torch.tensor([4.0] + [0.0] * 8)
    with torch.no_grad():
        found = network(torch.rand(1, 1, SIDE, SIDE))
    assert found.shape == (1, 100, 6) and (found[0, :, 1] > 0).all(), "no place is empty"
    assert found[0, :, 1].min() < 0.05


def test_boxes_keep_their_places_and_labels_on_the_way_to_the_network_and_back():
    """64 pixels are the frame of 1024: a box of the last finding is given to the network 16 times smaller, and comes back."""
    network, given = BoxNetwork(settings(), 5, CPU), []

    class Told(torch.nn.Module):
        def forward(self, pictures, truth=None):
            given.append(truth)
            corners = torch.tensor([[8.0, 16.0, 32.0, 64.0], [0.0, 0.0, 70.0, 20.0]])
            boxes = {"boxes": corners, "scores": torch.tensor([0.3, 0.9]), "labels": torch.tensor([8, 1])}
            return (
                [boxes] * len(pictures)
                if truth is None
                else {"loss": pictures[0].sum() * 0 + 2, "other": torch.ones(())}
            )

    network.model = Told()
    truth = torch.from_numpy(padded([labelled("Pneumothorax 128.000 256.000 512.000 1024.000"), labelled("")]))
    assert network.losses(torch.rand(2, 1, SIDE, SIDE), truth).item() == 3, "the sum"
    assert given[0][0]["labels"].tolist() == [8] and given[0][0]["boxes"].tolist() == [[8, 16, 32, 64]]
    assert given[0][1]["boxes"].shape == (0, 4)
    found = box_training.predict(network, ["a.png"], pictures, BoxGoal(1), CPU)
    assert found.drop(columns="confidence").to_numpy().tolist() == [
        ["a.png", "Atelectasis", 0, 0, 1024, 320], ["a.png", "Pneumothorax", 128, 256, 512, 1024]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("trainable", "parts"),
    [
        (5, {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}),
        (4, {"layer1", "layer2", "layer3", "layer4"}),
        (1, {"layer4"}),
        (0, set()),
    ],
)
def test_trained_parts_are_counted_from_the_end_and_batch_norm_learns_where_all_is_trained(trainable, parts):
    network = BoxNetwork(settings(), trainable, CPU).train()
    body = network.model.backbone.body
    assert {name.split(".")[0] for name, each in body.named_parameters() if each.requires_grad} == parts
    modes = {norm.training for norm in network.norms}
    assert modes == {trainable == 5}
    assert {each.requires_grad for norm in network.norms for each in norm.parameters()} == {trainable == 5}


def test_a_job_trains_on_moved_boxes_and_its_model_file_is_the_network_that_predicted(tell, tmp_path, monkeypatch):
    study, seen, fit_ = small_study.write(tmp_path), [], box_training.fit

    def watched(network, stream, goal, validation, *rest):
        seen.append((network, stream, validation))
        network.set_epsilon(0.01)  # as weights may ask for
        return fit_(network, stream, goal, validation, *rest)

    monkeypatch.setattr(box_training, "fit", watched)
    chosen = settings(
        augment=Augment(horizontal_flip=1.0), training=Schedule(epochs=1, steps=1, batch=2, learning_rate=1e-3)
    )
    out = {
        name: tmp_path / f"{name}.out"
        for name in ("model", "history", "facts", "validation_predictions", "predictions")
    }
    torchvision_detector.train(
        train_split=study.split("train"), inputs=study.detector(), outputs=detector_files.Trained(**out),
        settings=chosen, run=plain(0, CPU, tell),
    )  # fmt: skip
    trained, stream, validation = seen[0]
    inputs, targets = stream(0)
    for image, boxes in zip(inputs, targets.numpy(), strict=True):
        pixels = (image[0].flip(1) * 255).round().to(torch.uint8).numpy()
        name = next(name for name, each in study.pixels.items() if (each == pixels).all())
        drawn = labelled(read_split(study.split("train")).set_index("image").loc[name, "boxes"])
        flipped = np.column_stack([drawn[:, 0], 1024 - drawn[:, 3], drawn[:, 2], 1024 - drawn[:, 1], drawn[:, 4]])
        np.testing.assert_allclose(boxes[boxes[:, 0] > 0], flipped, atol=0.1)
    still = [labelled(text) for text in read_split(study.split("validation"))["boxes"]]
    assert (validation.targets == padded(still)).all() and validation.better == ("map50", True)
    network, restored = torchvision_detector.restore(out["model"], CPU)
    assert restored == chosen and {norm.eps for norm in network.norms} == {0.01}
    assert all(torch.equal(each, trained.state_dict()[name]) for name, each in network.state_dict().items())
    again = box_training.predict(trained, study.names("test"), study.read, BoxGoal(2), CPU)
    written = pd.read_csv(out["predictions"])
    assert again[["image", "label"]].equals(written[["image", "label"]])
    columns = ["confidence", "x0", "y0", "x1", "y1"]
    np.testing.assert_allclose(again[columns], written[columns], rtol=1e-4, atol=1e-4)
    judged = pd.read_csv(out["validation_predictions"])
    assert judged["image"].unique().tolist() == study.names("validation")


@pytest.mark.parametrize(("architecture", "device"), [("retinanet", CPU), ("fasterrcnn", CPU), ("retinanet", ROUNDED)])
def test_an_interrupted_training_ends_with_the_model_of_an_uninterrupted_one(tell, tmp_path, architecture, device):
    """Bit for bit, also where proposals are sampled (Faster R-CNN) and in the losses on validation images."""
    schedule = Schedule(epochs=2, steps=2, batch=2, learning_rate=1e-3, keep="best")
    options = {"augment": Augment(rotation=5, shift=0.05), "device": device}
    whole, history = train(tell, settings(architecture), schedule, **options)
    with pytest.raises(Interrupted):
        train(
            tell, settings(architecture), schedule, Stopping(tmp_path / "state", "key", 1e9, tell, chance=3), **options
        )
    resumed, again = train(
        tell, settings(architecture), schedule, Keeper(tmp_path / "state", "key", 1e9, tell), **options
    )
    assert "going on after step" in Path(tell.path).read_text()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    losses = ["train_loss", "validation_loss"]
    assert history.history[losses].equals(again.history[losses])


def dirtied():
    """Leave memory behind that is full of numbers which no gradient has."""
    for _ in range(20):
        torch.full((50_000,), float("nan"))
        torch.full((int(torch.randint(1, 200_000, (1,))),), 1e30)


def gradient_of(convolution, run):
    """The gradient of a convolution's weights, of the sum of what `run` gives for a map of 1 × 1."""
    dirtied()
    convolution.zero_grad(set_to_none=True)
    run(torch.ones(2, 8, 1, 1)).float().sum().backward()
    return convolution.weight.grad


def test_levels_of_one_pixel_have_the_gradient_of_float32_in_bfloat16_too():
    """By hand: the one pixel, 1 in both images, meets the middle of the kernel; all else of it meets the margin."""
    top = torchvision_detector.Top(8, 8)
    wanted = torch.zeros(8, 8, 3, 3)
    wanted[:, :, 1, 1] = 2
    for _ in range(10):
        with ROUNDED.autocast():
            found = gradient_of(top.p6, lambda pixel: top([pixel], [pixel], [])[0][1])
        assert torch.equal(found, wanted)


def test_judging_changes_no_weight_and_no_statistic():
    torch.manual_seed(0)
    network = BoxNetwork(settings(), 5, CPU).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    truth = torch.from_numpy(padded([labelled(TRUTH["a.png"])]))
    with torch.no_grad():
        BoxGoal(1).judge(network, torch.rand(1, 1, SIDE, SIDE), truth, CPU)
    assert not network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_labels_move_with_their_boxes_and_go_with_those_that_leave():
    """Shifted to the left by a quarter: the left box leaves the frame, the right one keeps its label."""
    boxes = labelled("Mass 10.000 100.000 200.000 300.000;Effusion 600.000 100.000 700.000 300.000")
    matrix = np.array([[1, 0, 0.5], [0, 1, 0]], np.float32)
    moved = box_training.moved(boxes, matrix)
    assert moved.tolist() == [[BOXED_FINDINGS.index("Effusion") + 1, 344, 100, 444, 300]]


def test_weights_of_a_detector_keep_all_but_their_layer_of_classes(tmp_path):
    torch.manual_seed(1)
    other = BoxNetwork(settings("fasterrcnn"), 5, CPU).model
    state = other.state_dict() | {
        "roi_heads.box_predictor.cls_score.weight": torch.zeros(91, 256),
        "roi_heads.box_predictor.cls_score.bias": torch.zeros(91),
        "roi_heads.box_predictor.bbox_pred.weight": torch.zeros(364, 256),
        "roi_heads.box_predictor.bbox_pred.bias": torch.zeros(364),
    }
    write_tensors(state, tmp_path / "coco.pth")
    network, facts = build(settings("fasterrcnn", pretrained=str(tmp_path / "coco.pth"), trainable=2), CPU)
    assert facts["from"] == "coco.pth" and facts["weights_kind"] == "detector weights"
    assert torch.equal(network.model.rpn.head.cls_logits.weight, other.rpn.head.cls_logits.weight)
    assert network.model.roi_heads.box_predictor.cls_score.weight.shape == (9, 256)
    trained = {name.split(".")[3] for name, p in network.named_parameters() if p.requires_grad and ".body." in name}
    assert trained == {"layer3", "layer4"}
    assert not any(norm.training for norm in network.train().norms)


def test_a_resnet_goes_below_the_pyramid(tmp_path):
    from cxr.training.resnet import resnet

    torch.manual_seed(1)
    backbone = resnet("resnet10", 1000)
    write_tensors(backbone.state_dict(), tmp_path / "resnet.pt")
    network, facts = build(settings(pretrained=str(tmp_path / "resnet.pt")), CPU)
    assert facts["weights_kind"] == "resnet10 weights"
    assert torch.equal(network.model.backbone.body.layer4[0].conv2.weight, backbone.layer4[0].conv2.weight)


@pytest.mark.parametrize("architecture", ["fasterrcnn", "retinanet"])
def test_torchvisions_own_networks_fit(tmp_path, architecture):
    """The names and shapes of torchvision's COCO checkpoints, whose layer of classes is left out."""
    from torchvision.models import detection

    torch.manual_seed(0)
    peer = getattr(detection, f"{architecture}_resnet50_fpn")(weights=None, weights_backbone=None)
    write_tensors(peer.state_dict(), tmp_path / "coco.pth")
    chosen = TorchvisionDetector(architecture=architecture, image_size=64, pretrained=str(tmp_path / "coco.pth"))
    network, _ = build(chosen, CPU)
    mine, theirs = network.model.state_dict(), peer.state_dict()
    assert mine.keys() == theirs.keys()
    same = [name for name in mine if torch.equal(mine[name], theirs[name])]
    assert set(mine) - set(same) <= {name for name in mine if name.startswith(torchvision_detector.CLASS_HEADS)}
    assert {norm.eps for norm in network.norms} == {0.0}


def test_weights_that_do_not_fit_or_are_damaged_end_in_a_message(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "weights.pth"
    write_tensors(BoxNetwork(settings("fasterrcnn"), 5, CPU).model.state_dict(), path)
    with pytest.raises(InputError, match=r"weights\.pth: weights of another architecture: .* retinanet on a resnet10"):
        build(settings("retinanet", pretrained=str(path)), CPU)
    with pytest.raises(InputError, match="another architecture"):
        build(TorchvisionDetector(backbone="resnet18", image_size=64, pretrained=str(path)), CPU)
    with pytest.raises(InputError, match="expected 0123456789"):
        build(settings("fasterrcnn", pretrained=str(path), sha256="0123456789"), CPU)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="not a readable torch checkpoint"):
        build(settings("fasterrcnn", pretrained=str(path)), CPU)
    with pytest.raises(InputError, match=r"does not exist; download .*") as raised:
        build(settings("fasterrcnn", pretrained=str(tmp_path / "none.pth")), CPU)
    assert "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth" in str(raised.value)


def test_average_precision_in_training_is_that_of_the_report():
    random = np.random.default_rng(3)
    names = [f"{number}.png" for number in range(12)]
    truth, found, rows = [], [], []
    for name in names:
        corners = random.uniform(0, 500, (3, 2))
        true = np.column_stack([random.integers(1, 4, 3), corners, corners + random.uniform(100, 500, (3, 2))])
        near = np.concatenate([true, true])[:5]
        boxes = np.column_stack([near[:, 0], random.uniform(0, 1, 5), near[:, 1:] + random.normal(0, 40, (5, 4))])
        boxes[:, 2:] = boxes[:, 2:].clip(0, 1024)
        truth.append(true)
        found.append(boxes)
        rows += [(name, BOXED_FINDINGS[int(box[0]) - 1], *box[1:]) for box in boxes]
    texts = [format_box_text((BOXED_FINDINGS[int(row[0]) - 1], *row[1:]) for row in true) for true in truth]
    pairs = [at // 2 for at in range(12)]  # six patients: the report's mean leaves out no finding for want of ten
    split = pd.DataFrame({"image": names, "patient": pairs, "labels": "", "boxes": texts})
    fold = Fold(split, split, Thresholds(0.5), pd.DataFrame(rows, columns=PREDICTION_COLUMNS))
    table, _ = score_folds("paper", "x", [fold], samples=100, confidence=0.95, seed=0)
    expected = table[(table["metric"] == "map50") & (table["label"] == "all")]["value"].iloc[0]
    assert 0.1 < expected < 0.95
    assert box_training.scores(np.stack(found), padded(truth))["map50"] == pytest.approx(expected, abs=1e-6)


def test_average_precision_in_training_by_hand():
    """One finding, true at 0.9, false at 0.8, true at 0.7: precision 1 up to recall 0.5, 2/3 beyond; one never found."""
    truth = np.array(
        [[[3, 0, 0, 100, 100], [5, 600, 600, 700, 700]], [[3, 0, 0, 100, 100], [0, 0, 0, 0, 0]]], np.float32
    )
    found = np.zeros((2, 3, 6), np.float32)  # the rest are empty places
    found[0, 0] = 3, 0.7, 0, 0, 100, 100
    found[1, :2] = (3, 0.9, 0, 0, 100, 90), (3, 0.8, 0, 0, 100, 100)  # the second is of a box that is found already
    expected = ((51 + 50 * 2 / 3) / 101 + 0) / 2
    assert box_training.scores(found, truth)["map50"] == pytest.approx(expected)
    assert box_training.scores(found, np.zeros((2, 0, 5), np.float32))["map50"] == 0.0
    assert box_training.scores(np.zeros_like(found), truth)["map50"] == 0.0


def test_an_image_has_a_prediction_where_a_box_is_confident_enough():
    found = np.zeros((4, 3, 6), np.float32)  # an empty place has label 0
    found[0, :2] = (3, 0.25, 0, 0, 100, 100), (3, 0.1, 0, 0, 100, 100)
    found[1, 0] = 5, 0.24, 0, 0, 100, 100
    found[2, 0] = 0, 0.9, 0, 0, 100, 100
    assert box_training.scores(found, np.zeros((4, 1, 5), np.float32))["images_with_prediction"] == 0.25
