"""YOLOv2 trains and predicts: only its final layers, from Darknet's weights, boxes in the 1024 frame, through a kill."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_study
import torch
from four_images import Stopping

from cxr.boxes import iou
from cxr.detectors import box_training
from cxr.detectors import files as detector_files
from cxr.detectors.box_training import BoxGoal, labelled, padded
from cxr.detectors.yolov2 import classes, configuration, darknet_weights, experiments, region
from cxr.detectors.yolov2 import loss as losses
from cxr.detectors.yolov2.detector import Detector
from cxr.detectors.yolov2.network import Darknet
from cxr.errors import InputError, Interrupted
from cxr.runtime.journal import Journal
from cxr.settings import Augment, Schedule, YoloV2
from cxr.training.batches import Stream
from cxr.training.checkpoint import Keeper
from cxr.training.device import Device
from cxr.training.loop import Validation, fit
from cxr.training.runs import plain

CPU = Device(torch.device("cpu"), bfloat16=False)
SIDE = 64
TRUTH = {"a.png": "Cardiomegaly 256.000 320.000 640.000 704.000", "b.png": "Nodule 512.000 128.000 896.000 512.000"}
CONVOLUTION = "[convolutional]\nbatch_normalize=1\nfilters={}\nsize=3\npad=1\nactivation=leaky\n"
CFG = (
    "[net]\nwidth=64\nheight=64\nchannels=3\n"
    + "[maxpool]\nsize=2\nstride=2\n".join(map(CONVOLUTION.format, (8, 16, 24, 32)))
    + "[convolutional]\nfilters=14\nsize=1\nactivation=linear\n"
    + "[region]\nanchors=1.5,1.5,3,3\nnum=2\nclasses=2\nsoftmax=1\nrescore=1\nbias_match=1\nobject_scale=5\nthresh=0.6\n"
)
OUTPUTS = ("model", "history", "facts", "validation_predictions", "predictions")


@pytest.fixture
def tell(tmp_path):
    with Journal(tmp_path / "log.txt", "test") as journal:
        yield journal


@pytest.fixture
def files(tmp_path):
    """A cfg and weights that belong to it, with odd statistics in the batch norms."""
    (tmp_path / "some.cfg").write_text(CFG)
    darknet = Darknet(configuration.parse(CFG, "some.cfg"))
    for layer in darknet.convolutions.values():
        if layer.norm is not None:
            layer.norm.running_mean.normal_(0, 0.1)
            layer.norm.running_var.uniform_(0.5, 1.5)
    darknet_weights.write(darknet, tmp_path / "some.weights", seen=77)
    return {"cfg": str(tmp_path / "some.cfg"), "pretrained": str(tmp_path / "some.weights")}


def pictures(names):
    noise = np.random.default_rng(0).integers(0, 60, (len(TRUTH), SIDE, SIDE), dtype=np.uint8)
    noise[0, 20:44, 16:40] += 150
    noise[1, 8:32, 32:56:3] += 150
    return np.stack([noise[list(TRUTH).index(name)] for name in names])


def train(tell, chosen, schedule, keeper=None, augment=None):
    torch.manual_seed(0)
    network, _, _ = experiments.build(chosen, CPU)
    boxes = padded([labelled(text) for text in TRUTH.values()])
    stream = Stream(list(TRUTH), pictures, boxes, augment or Augment(), schedule.batch, 0, CPU.torch)
    validation = Validation(list(TRUTH), pictures, boxes, box_training.scores, ("map50", True))
    return network, fit(network, stream, BoxGoal(2), validation, schedule, plain(0, CPU, tell, keeper))


def test_it_overfits_two_images_and_finds_their_boxes_in_the_1024_frame(tell, files):
    schedule = Schedule(epochs=1, steps=400, batch=2, optimizer="adam", learning_rate=3e-3)
    network, outcome = train(tell, YoloV2(cfg=files["cfg"], image_size=SIDE), schedule)
    found = box_training.predict(network, list(TRUTH), pictures, BoxGoal(2), CPU)
    for name, text in TRUTH.items():
        best, (label, *corners) = found[found["image"] == name].iloc[0], text.split()
        assert best["label"] == label and best["confidence"] > 0.5
        assert iou([best[["x0", "y0", "x1", "y1"]]], [[float(corner) for corner in corners]])[0, 0] > 0.7
    assert outcome.history["validation_map50"].iloc[-1] == pytest.approx(1)
    assert outcome.facts["trained_parameters"] == outcome.facts["parameters"], "from scratch all is trained"


def test_all_layers_but_the_last_start_from_the_weights_and_the_final_ones_alone_are_trained(tell, files):
    chosen = YoloV2(**files, image_size=SIDE, trainable=2)
    schedule = Schedule(epochs=1, steps=3, batch=2, optimizer="sgd", learning_rate=1e-2)
    source, facts = experiments.given(chosen)
    start, sections, own = experiments.build(chosen, CPU)
    assert start.darknet.region.classes == 8 and start.darknet.layers[-1].conv.out_channels == 2 * (5 + 8)
    assert facts.items() <= own.items() and (own["from"], own["weights_seen"]) == ("some.weights", 77)
    assert (own["weights_kind"], own["weights_published"]) == ("unknown Darknet weights", "")
    before, given = start.state_dict(), source.state_dict()
    same = {name for name in given if not name.startswith("layers.7.")}
    assert all(torch.equal(given[name], before[f"darknet.{name}"]) for name in same) and len(same) < len(given)
    network, outcome = train(tell, chosen, schedule)
    after = network.state_dict()
    changed = {name.split(".")[2] for name in after if name != "seen" and not torch.equal(after[name], before[name])}
    assert changed == {"6", "7"}, "weights and statistics of the last two convolutions"
    assert after["seen"] == 6 and outcome.facts["trained_parameters"] < outcome.facts["parameters"]
    assert "filters=26\n" in configuration.text(sections)


def test_another_side_and_other_anchors_are_the_settings(files):
    chosen = YoloV2(**files, image_size=128, anchors=[1, 2, 3, 4, 5, 6])
    network, sections, _ = experiments.build(chosen, CPU)
    assert network.darknet.region.anchors == ((1, 2), (3, 4), (5, 6)) and network.darknet.height == 128
    assert network.darknet.layers[-1].conv.out_channels == 3 * (5 + 8)
    again = Darknet(configuration.parse(configuration.text(sections), "again"))
    assert again.region == network.darknet.region


def test_the_papers_network_gets_65_filters_for_its_8_findings():
    network, sections, own = experiments.build(YoloV2(), Device(torch.device("cpu"), bfloat16=False))
    assert network.darknet.layers[30].conv.weight.shape == (65, 1024, 1, 1) and sections[-1].options["classes"] == "8"
    assert own == {"network": "yolov2", "from": "scratch"}


def test_drawn_boxes_reach_the_loss_as_fractions_and_early_training_ends(files, monkeypatch):
    network, _, _ = experiments.build(YoloV2(**files, image_size=SIDE), CPU)
    asked = []
    monkeypatch.setattr(
        "cxr.detectors.yolov2.detector.loss", lambda raw, truth, about, early: asked.append((truth, early)) or raw.sum()
    )
    targets = torch.from_numpy(padded([labelled("Pneumothorax 128.000 256.000 512.000 1024.000"), labelled("")]))
    images = torch.rand(2, 1, SIDE, SIDE)
    network.train().losses(images, targets)
    assert asked[0][0].tolist() == [[[8, 0.3125, 0.625, 0.375, 0.75]], [[0, 0, 0, 0, 0]]] and asked[0][1]
    network.seen.fill_(losses.EARLY - 1)
    network.losses(images, targets)
    network.losses(images, targets)
    network.eval().losses(images, targets)
    assert [early for _, early in asked] == [True, True, False, False] and network.seen == losses.EARLY + 3


def test_an_interrupted_training_ends_with_the_model_of_an_uninterrupted_one(tell, tmp_path, files):
    schedule, options = (
        Schedule(epochs=2, steps=2, batch=2, learning_rate=1e-3, keep="best"),
        {"augment": Augment(shift=0.1)},
    )
    chosen = YoloV2(**files, image_size=SIDE, trainable=2)
    whole, history = train(tell, chosen, schedule, **options)
    with pytest.raises(Interrupted):
        train(tell, chosen, schedule, Stopping(tmp_path / "state", "key", 1e9, tell, chance=3), **options)
    resumed, again = train(tell, chosen, schedule, Keeper(tmp_path / "state", "key", 1e9, tell), **options)
    assert "going on after step" in Path(tell.path).read_text()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert resumed.seen == 4, "images up to the kept epoch"
    assert history.history[["train_loss", "validation_loss"]].equals(again.history[["train_loss", "validation_loss"]])


def test_a_job_writes_the_model_that_predicted_and_what_it_started_from(tell, tmp_path, files):
    study = small_study.write(tmp_path)
    chosen = YoloV2(
        **files, image_size=SIDE, augment=Augment(horizontal_flip=0.5),
        training=Schedule(epochs=1, steps=2, batch=2, optimizer="sgd", learning_rate=1e-3),
    )  # fmt: skip
    out = {name: tmp_path / f"{name}.out" for name in OUTPUTS}
    experiments.fine_tune(
        train_split=study.split("train"), inputs=study.detector(), outputs=detector_files.Trained(**out),
        settings=chosen, run=plain(0, CPU, tell),
    )  # fmt: skip
    network, restored = experiments.restore(out["model"], CPU)
    assert restored == chosen and network.seen == 4
    written = pd.read_csv(out["predictions"])
    again = box_training.predict(network, study.names("test"), study.read, BoxGoal(2), CPU)
    assert again[["image", "label"]].equals(written[["image", "label"]])
    columns = ["confidence", "x0", "y0", "x1", "y1"]
    np.testing.assert_allclose(again[columns], written[columns], rtol=1e-4, atol=1e-4)
    assert set(pd.read_csv(out["validation_predictions"])["image"]) <= set(study.names("validation"))
    facts = json.loads(out["facts"].read_text())
    assert (facts["network"], facts["from"], facts["epochs"]) == ("some.cfg", "some.weights", 1)


def test_off_the_shelf_boxes_are_those_of_the_weights_under_their_own_names(tell, tmp_path, files):
    study = small_study.write(tmp_path)
    out = {name: tmp_path / f"{name}.out" for name in ("facts", "validation_predictions", "predictions")}
    chosen = YoloV2(**files, image_size=SIDE)
    experiments.off_the_shelf(
        settings=chosen, inputs=study.detector(), outputs=detector_files.Outputs(**out), run=plain(0, CPU, tell)
    )
    found = pd.read_csv(out["predictions"])
    assert set(found["image"]) == set(study.names("test")) and set(found["label"]) <= {"class 1", "class 2"}
    darknet, _ = experiments.given(chosen)
    name = study.names("test")[0]
    pixels = torch.from_numpy(study.read([name]))[:, None].float() / 255
    with torch.no_grad():
        boxes = region.decoded(darknet.eval()(pixels.expand(-1, 3, -1, -1)), darknet.region)[0]
    best = found[found["image"] == name].iloc[0]
    assert best["confidence"] == pytest.approx((boxes[:, 4:5] * boxes[:, 5:]).max().item(), rel=1e-4)
    facts = json.loads(out["facts"].read_text())
    assert (facts["trained_parameters"], facts["from"], facts["weights_version"]) == (0, "some.weights", "0.2.0")


def test_the_classes_of_coco_have_their_names_in_darknets_order():
    names = classes.names(80)
    assert len(names) == 80 and names[:3] == ["person", "bicycle", "car"] and names[-1] == "toothbrush"
    assert names[11] == "stop sign" and names[56] == "chair"
    assert classes.names(2) == ["class 1", "class 2"]


def test_weights_of_another_network_or_none_are_refused(tmp_path, files):
    with pytest.raises(InputError, match=r"some\.weights: too short for this network: layer 4"):
        experiments.build(YoloV2(pretrained=files["pretrained"], network="yolov2-tiny", image_size=SIDE), CPU)
    with pytest.raises(
        InputError, match=r"Darknet weights of YOLOv2 \(yolov2.pretrained\), such as yolov2.weights: the file"
    ):
        experiments.build(YoloV2(pretrained=str(tmp_path / "none")), CPU)
    with pytest.raises(InputError, match="expected abcdef01"):
        experiments.build(YoloV2(**files, sha256="abcdef01"), CPU)
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(InputError, match="not a readable detector"):
        experiments.restore(tmp_path / "model.pt", CPU)


def test_images_do_not_change_each_others_boxes(files):
    network = Detector(Darknet(configuration.parse(CFG, "some.cfg")), 0, CPU)
    both = box_training.predict(network, list(TRUTH), pictures, BoxGoal(4), CPU, classes.names(2))
    alone = box_training.predict(network, ["b.png"], pictures, BoxGoal(4), CPU, classes.names(2))
    assert both[both["image"] == "b.png"].reset_index(drop=True).equals(alone)
