"""The YOLOv2 experiments: off the shelf, and fine-tuned on the boxed images (paper, sections 2.3.2 and 2.3.3)."""

import json
from pathlib import Path
from typing import Any

import torch

from cxr.data import splits
from cxr.detectors import box_training
from cxr.detectors import files as detector_files
from cxr.detectors.yolov2 import architecture, classes, configuration, darknet_weights
from cxr.detectors.yolov2.configuration import Section
from cxr.detectors.yolov2.detector import Detector
from cxr.detectors.yolov2.network import Darknet
from cxr.errors import InputError
from cxr.labels import BOXED_FINDINGS
from cxr.runtime import checksums
from cxr.settings import YoloV2
from cxr.training import weights
from cxr.training.device import Device
from cxr.training.loop import AT_ONCE
from cxr.training.runs import Run
from cxr.training.tensors import write_tensors


def off_the_shelf(
    *, settings: YoloV2, inputs: detector_files.BoxedImages, outputs: detector_files.Outputs, run: Run
) -> None:
    """Predict the boxed validation and test images with unchanged weights; boxes carry the names of their own classes."""
    darknet, own = given(settings)
    network = Detector(darknet, 0, run.device).eval()
    read = box_training.reader(inputs.pixels(run).read, settings)
    goal, labels = box_training.BoxGoal(AT_ONCE), classes.names(darknet.region.classes)
    asked = ((inputs.validation_split, outputs.validation_predictions), (inputs.predicted, outputs.predictions))
    for wanted, path in asked:
        names = splits.read_images(wanted)["image"].tolist()
        found = box_training.predict(network, names, read, goal, run.device, labels)
        run.tell(f"{len(names)} images, {len(found)} boxes")
        found.to_csv(path, index=False, float_format="%.6g")
    outputs.facts.write_text(json.dumps(own | {"trained_parameters": 0} | run.facts(), indent=1), encoding="utf-8")


def fine_tune(
    *,
    train_split: Path,
    settings: YoloV2,
    inputs: detector_files.BoxedImages,
    outputs: detector_files.Trained,
    run: Run,
) -> None:
    """Train YOLOv2 from given weights, or from scratch if there are none, and predict validation and test images."""
    torch.manual_seed(run.seed)
    network, sections, own = build(settings, run.device)
    box_training.train(network, own, settings, train_split=train_split, inputs=inputs, outputs=outputs, run=run)
    saved = {"settings": settings.received(), "cfg": configuration.text(sections), "state": network.cpu().state_dict()}
    write_tensors(saved, outputs.model)


def build(settings: YoloV2, device: Device) -> tuple[Detector, list[Section], dict[str, Any]]:
    """Return the network for the boxed findings with the weights that it starts from, its cfg, and facts about it.

    All convolutions but the last start from the given weights. Raises InputError if the file or the cfg does not fit.
    """
    source = _sections(settings)
    sections = configuration.adapted(source, len(BOXED_FINDINGS), settings.anchors, settings.image_size)
    darknet, trainable, own = Darknet(sections), len(sections), {"network": _named(settings), "from": "scratch"}
    if settings.pretrained:
        filled, facts = given(settings)
        kept, trainable = filled.state_dict(), settings.trainable
        last = f"layers.{len(darknet.layers) - 1}."
        fresh = {name: tensor for name, tensor in darknet.state_dict().items() if name.startswith(last)}
        darknet.load_state_dict(kept | fresh)
        own |= facts
    return Detector(darknet, trainable, device), sections, own


def given(settings: YoloV2) -> tuple[Darknet, dict[str, Any]]:
    """Return the network that the weights file is of, filled, and facts about the file.

    Raises InputError if the weights file is missing, damaged, of another checksum, or of another network.
    """
    path = weights.verify(
        Path(settings.pretrained),
        settings.sha256,
        "Darknet weights of YOLOv2 (yolov2.pretrained), such as yolov2.weights",
    )
    darknet = Darknet(_sections(settings))
    header = darknet_weights.load(darknet, path)
    published = darknet_weights.recognised(path)
    return darknet, {
        "network": _named(settings),
        "from": path.name,
        "weights_kind": "the authors' Darknet weights" if published else "unknown Darknet weights",
        "weights_published": published.name if published else "",
        "weights_sha256": checksums.sha256_of(path),
        "weights_version": ".".join(map(str, header.version)),
        "weights_seen": header.seen,
    }


def restore(path: Path, device: Device) -> tuple[Detector, YoloV2]:
    """Return a trained detector and its settings. Raises InputError if the file holds none."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        settings = YoloV2(**content["settings"])
        network = Detector(Darknet(configuration.parse(content["cfg"], str(path))), 0, device)
        network.load_state_dict(content["state"])
    except Exception as error:
        raise InputError(f"{path}: not a readable detector ({type(error).__name__}); delete it and run again") from None
    return network, settings


def _sections(settings: YoloV2) -> list[Section]:
    """Return the cfg that the weights file belongs to."""
    if settings.cfg:
        return configuration.read(Path(settings.cfg))
    return configuration.parse(architecture.cfg(settings.network, classes.COCO), settings.network)


def _named(settings: YoloV2) -> str:
    return Path(settings.cfg).name if settings.cfg else settings.network
