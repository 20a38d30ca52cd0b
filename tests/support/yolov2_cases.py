"""Networks and pictures on which this package and OpenCV's Darknet reader are compared."""

import re
from pathlib import Path

import numpy as np
import torch

from cxr.data.formats import decode
from cxr.detectors.yolov2 import architecture, configuration, darknet_weights, detections, region
from cxr.detectors.yolov2.network import Darknet

WRITTEN = {"yolov2": 8, "yolov2-tiny": 80}  # architecture → classes
REAL = {"yololite_coco": 80, "yololite_voc": 20}  # files beside the repository → classes
RADIOGRAPHS = ("00000147_001.png", "00000180_002.png", "00001021_000.png")
OTHER_ANCHORS = (1.5, 1.0, 3.0, 4.0, 7.0, 5.0)  # of the tiny network: three, not those of COCO


def cfg(name: str) -> str:
    """The cfg of a network whose weights are written here."""
    anchors = OTHER_ANCHORS if name == "yolov2-tiny" else architecture.COCO_ANCHORS
    return architecture.cfg(name, WRITTEN[name], anchors)


def shows_all(text: str) -> str:
    """The cfg with which OpenCV gives every class of every box, however unsure."""
    return re.sub(r"^thresh *=.*$", "thresh=0", text, flags=re.M)


def written(name: str) -> Darknet:
    """A network whose weights follow from its name alone, such that its numbers stay near 1."""
    network = Darknet(configuration.parse(cfg(name), name)).eval()
    random = np.random.default_rng(len(name))
    with torch.no_grad():
        for layer in network.convolutions.values():
            spread = 1 if layer.norm is not None else 0.3  # the last decides how large boxes are
            _fill(layer.conv.weight, random, spread * (6 / layer.conv.weight[0].numel()) ** 0.5, 0)
            if layer.norm is not None:
                _fill(layer.norm.bias, random, 0.2, 0)
                _fill(layer.norm.weight, random, 0.2, 1)
                _fill(layer.norm.running_mean, random, 0.2, 0)
                _fill(layer.norm.running_var, random, 0.3, 1)
            else:
                _fill(layer.conv.bias, random, 0.5, 0)
    return network


def _fill(tensor: torch.Tensor, random: np.random.Generator, width: float, middle: float) -> None:
    numbers = random.random(tensor.numel(), dtype=np.float32) * 2 - 1
    tensor.copy_(torch.from_numpy(numbers).view(tensor.shape) * width + middle)


def real(name: str, folder: Path) -> Darknet:
    """A network of the files that lie beside the repository."""
    network = Darknet(configuration.read(folder / f"{name}.cfg")).eval()
    darknet_weights.load(network, folder / f"{name}.weights")
    return network


def drawn(side: int) -> np.ndarray:
    """A picture of waves (3, S, S), other waves in each colour."""
    y, x = np.mgrid[:side, :side] / side
    waves = [np.sin(7 * x * colour) * np.cos(5 * y / colour) for colour in (1, 2, 3)]
    return ((np.stack(waves) + 1) / 2).astype(np.float32)


def radiograph(path: Path, side: int) -> np.ndarray:
    """A radiograph (3, S, S), all colours the same."""
    pixels = decode.decode(path)[0]
    return np.repeat(decode.shrink(pixels, side)[None], 3, axis=0).astype(np.float32) / 255


@torch.inference_mode()
def answers(network: Darknet, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All boxes (K, 5), their confidences (K, C), and these with 0 where an overlapping box suppressed them."""
    boxes = region.decoded(network(torch.from_numpy(picture)[None]), network.region)[0]
    confidences = (boxes[:, 4:5] * boxes[:, 5:]).numpy()
    kept = np.zeros_like(confidences)
    rows, classes = detections.suppressed(boxes, lowest=0)[:, :2].long().numpy().T
    kept[rows, classes] = confidences[rows, classes]
    return boxes[:, :5].numpy(), confidences, kept
