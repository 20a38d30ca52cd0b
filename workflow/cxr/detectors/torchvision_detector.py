"""A torchvision detector (BSD licence): Faster R-CNN or RetinaNet on a ResNet with a feature pyramid.

It shares data, schedule and training loop with the other networks here. Images keep the cache's grey values; input and
output boxes are in the 1024 frame. Sources: Ren et al., Faster R-CNN (2015); Lin et al., Feature Pyramid Networks and Focal Loss
(2017); the networks are torchvision's, the ResNets those of `training.resnet`.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import (
    FasterRCNN,
    FasterRCNN_ResNet50_FPN_Weights,
    RetinaNet,
    RetinaNet_ResNet50_FPN_Weights,
)
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from cxr.boxes import FRAME
from cxr.detectors import box_training
from cxr.detectors import files as detector_files
from cxr.errors import InputError
from cxr.labels import BOXED_FINDINGS
from cxr.runtime import checksums
from cxr.settings import TorchvisionDetector
from cxr.training import weights
from cxr.training.batches import normalised
from cxr.training.device import Device
from cxr.training.resnet import resnet
from cxr.training.runs import Run
from cxr.training.tensors import load_tensors, write_tensors

MOST_BOXES = 100  # per image
LOWEST = 0.001  # lowest confidence of a box that is kept
PYRAMID = {"resnet50": 256, "resnet18": 256, "resnet10": 64}  # channels
PARTS = ("layer4", "layer3", "layer2", "layer1", "conv1 bn1")  # of a backbone, counted from its end
COCO = {"fasterrcnn": FasterRCNN_ResNet50_FPN_Weights.COCO_V1, "retinanet": RetinaNet_ResNet50_FPN_Weights.COCO_V1}
ANCHORS = (32, 64, 128, 256, 512)  # side in pixels of torchvision's anchors, one per level of the pyramid
ANCHORED = 512  # anchors shrink with images smaller than this side: most findings would be smaller than any anchor
ASPECTS = ((0.5, 1.0, 2.0),) * len(ANCHORS)
CLASS_HEADS = ("roi_heads.box_predictor.", "head.classification_head.cls_logits.")  # shaped by the number of classes
COUNTER = "num_batches_tracked"


class Pyramid(BackboneWithFPN):
    """Backbone and feature pyramid; in training only they may run in bfloat16, which is too coarse for boxes."""

    def __init__(self, device: Device, *arguments: Any):
        super().__init__(*arguments)
        self.device = device

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        device = self.device if self.training else self.device.exact()
        with device.autocast():
            features = super().forward(images)
        return {name: feature.float() for name, feature in features.items()}


class Top(LastLevelP6P7):
    """The pyramid's two coarsest levels, in float32.

    They halve maps down to 1 × 1, where the bfloat16 gradient of such a convolution is uninitialised memory (torch 2.15 on
    CPUs with bfloat16 instructions: NaN or 1e24 in one run, right by chance in the next).
    """

    def forward(
        self, p: list[torch.Tensor], c: list[torch.Tensor], names: list[str]
    ) -> tuple[list[torch.Tensor], list[str]]:
        with torch.autocast(p[-1].device.type, enabled=False):
            return super().forward([level.float() for level in p], [level.float() for level in c], names)


class BoxNetwork(nn.Module):
    """A detector: grey images (N, 1, S, S) in [0, 1] → boxes (N, 100, 6) float32.

    A box is (label, confidence, x0, y0, x1, y1): label 1 to 8 in the order of BOXED_FINDINGS, 0 for an empty place;
    corners in the 1024 frame. Anchors are torchvision's and shrink with images smaller than ANCHORED. `trainable`: number of
    backbone parts to train, counted from its end. A backbone trained whole normalises with the batch, any other with its
    stored statistics.
    """

    def __init__(self, settings: TorchvisionDetector, trainable: int, device: Device):
        super().__init__()
        self.side = settings.image_size
        backbone, channels = resnet(settings.backbone, 1), PYRAMID[settings.backbone]
        trained = tuple(" ".join(PARTS[:trainable]).split())
        for name, parameter in backbone.named_parameters():
            parameter.requires_grad_(name.startswith(trained))
        one_stage = settings.architecture == "retinanet"
        stages = range(2 if one_stage else 1, 5)
        widths = [backbone.before >> (4 - stage) for stage in stages]
        top = Top(channels, channels) if one_stage else LastLevelMaxPool()
        pyramid = Pyramid(
            device, backbone, {f"layer{stage}": str(at) for at, stage in enumerate(stages)}, widths, channels, top
        )
        classes = len(BOXED_FINDINGS) + 1  # 0 is the background
        common = {
            "min_size": self.side,
            "max_size": self.side,
            "image_mean": [0.0, 0.0, 0.0],  # normalised before
            "image_std": [1.0, 1.0, 1.0],
        }
        shrunk = [size * min(1.0, self.side / ANCHORED) for size in ANCHORS]
        if one_stage:
            self.model: nn.Module = RetinaNet(
                pyramid,
                classes,
                anchor_generator=AnchorGenerator(
                    tuple((x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in shrunk), ASPECTS
                ),
                score_thresh=LOWEST,
                detections_per_img=MOST_BOXES,
                **common,
            )
        else:
            hidden = channels * 4
            self.model = FasterRCNN(
                pyramid,
                rpn_anchor_generator=AnchorGenerator(tuple((x,) for x in shrunk), ASPECTS),
                box_score_thresh=LOWEST,
                box_detections_per_img=MOST_BOXES,
                box_head=TwoMLPHead(channels * 7**2, hidden),
                box_predictor=FastRCNNPredictor(hidden, classes),
                **common,
            )
        self.norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        self.frozen_norms = self.norms if trainable < len(PARTS) else []
        for norm in self.frozen_norms:
            norm.requires_grad_(False)

    def set_epsilon(self, value: float) -> None:
        """Set what batch norms add to a variance."""
        for norm in self.norms:
            norm.eps = value

    def train(self, mode: bool = True) -> "BoxNetwork":
        super().train(mode)
        for norm in self.frozen_norms:
            norm.eval()
        return self

    def losses(self, pictures: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the sum of the losses, a scalar. targets: (N, M, 5) label, x0, y0, x1, y1; label 0 is an empty place."""
        scale = self.side / FRAME
        truth = [
            {"labels": rows[:, 0].long(), "boxes": rows[:, 1:] * scale}
            for rows in (each[each[:, 0] > 0] for each in targets)
        ]
        training = self.training
        self.train()  # torchvision's networks return losses only in this mode
        if not training:
            for norm in self.norms:
                norm.eval()
        try:
            return torch.stack(list(self.model(list(normalised(pictures)), truth).values())).sum()
        finally:
            self.train(training)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(len(pictures), MOST_BOXES, 6, device=pictures.device)
        for place, each in zip(found, self.model(list(normalised(pictures))), strict=True):
            count = len(each["scores"])
            place[:count, 0] = each["labels"].float()
            place[:count, 1] = each["scores"]
            place[:count, 2:] = (each["boxes"] * (FRAME / self.side)).clamp(0, FRAME)
        return found


def train(
    *,
    train_split: Path,
    inputs: detector_files.BoxedImages,
    outputs: detector_files.Trained,
    settings: TorchvisionDetector,
    run: Run,
) -> None:
    """Train the detector on the boxed training images, and predict the boxes of the validation and test images."""
    torch.manual_seed(run.seed)
    network, own = build(settings, run.device)
    box_training.train(network, own, settings, train_split=train_split, inputs=inputs, outputs=outputs, run=run)
    saved = {"settings": settings.received(), "state": network.cpu().state_dict(), "epsilon": network.norms[0].eps}
    write_tensors(saved, outputs.model)


def restore(path: Path, device: Device) -> tuple[BoxNetwork, TorchvisionDetector]:
    """Return a trained detector and its settings. Raises InputError if the file holds none."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        settings = TorchvisionDetector(**content["settings"])
        network = BoxNetwork(settings, settings.trainable if settings.pretrained else len(PARTS), device)
        network.load_state_dict(content["state"])
    except Exception as error:
        raise InputError(f"{path}: not a readable detector ({type(error).__name__}); delete it and run again") from None
    network.set_epsilon(content["epsilon"])
    return network, settings


def build(settings: TorchvisionDetector, device: Device) -> tuple[BoxNetwork, dict[str, Any]]:
    """Return the network with the weights it starts from, and facts about them.

    Raises InputError if the weights file is missing, damaged, of another checksum, or of another network.
    """
    own = {"network": f"{settings.architecture}, {settings.backbone}"}
    if not settings.pretrained:
        return BoxNetwork(settings, len(PARTS), device), own | {"from": "scratch"}
    known = COCO[settings.architecture]
    given = weights.verify(
        Path(settings.pretrained),
        settings.sha256,
        f"weights of the detector (torchvision_detector.pretrained): {known.url.rsplit('/', 1)[1]} ({known}, listed in "
        f"torchvision's model documentation), or a state dict of a {settings.backbone}",
    )
    network = BoxNetwork(settings, settings.trainable, device)
    of_detector = _load(network, load_tensors(given), given, settings)
    kind = "detector weights" if of_detector else f"{settings.backbone} weights"
    return network, own | {"from": given.name, "weights_kind": kind, "weights_sha256": checksums.sha256_of(given)}


def _load(network: BoxNetwork, state: dict[str, torch.Tensor], path: Path, settings: TorchvisionDetector) -> bool:
    """Load weights of a detector (except its class layer) or of a backbone; return whether they are a detector's."""
    of_detector = any(name.startswith("backbone.") for name in state)
    part: nn.Module = network.model if of_detector else network.model.backbone.body
    given = {name: tensor for name, tensor in state.items() if not name.startswith((*CLASS_HEADS, "fc."))}
    try:
        missing, unknown = part.load_state_dict(given, strict=False)
    except RuntimeError as error:  # tensors of another shape
        missing, unknown = (
            [],
            [line.strip() for line in str(error).splitlines() if "size mismatch" in line] or [str(error)],
        )
    wrong = [name for name in missing if not name.startswith(CLASS_HEADS) and not name.endswith(COUNTER)] + unknown
    if wrong:
        raise InputError(
            f"{path}: weights of another architecture: {len(wrong)} tensors do not fit a {settings.architecture} on a "
            f"{settings.backbone}, the first is {wrong[0]}; set torchvision_detector.architecture and backbone to what the "
            "file was made for"
        )
    if of_detector:  # torchvision trained its COCO weights without it
        network.set_epsilon(0.0)
    return of_detector
