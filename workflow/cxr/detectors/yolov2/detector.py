"""YOLOv2 as a detector of boxes: from grey images to detections, and to the loss of drawn boxes."""

import torch
from torch import nn

from cxr.boxes import FRAME
from cxr.detectors.yolov2 import detections, region
from cxr.detectors.yolov2.loss import EARLY, loss
from cxr.detectors.yolov2.network import Darknet
from cxr.training.device import Device


class Detector(nn.Module):
    """A detector: grey images (N, 1, S, S) in [0, 1] → boxes (N, 100, 6) float32, as of `detections.placed`.

    The channels of colour are equal, as Darknet reads a grey file. trainable: number of convolutions to train, counted from the
    end; the others keep their weights and the statistics of their batch norms. device: its arithmetic is that of training; boxes
    are computed in float32 and decoded in float64. seen: number of images learnt from, as Darknet counts them.
    """

    def __init__(self, darknet: Darknet, trainable: int, device: Device):
        super().__init__()
        self.darknet, self.device = darknet, device
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        layers = list(darknet.convolutions.values())
        self.frozen = layers[: max(0, len(layers) - trainable)]
        for layer in self.frozen:
            layer.requires_grad_(False)

    def train(self, mode: bool = True) -> "Detector":
        super().train(mode)
        for layer in self.frozen:
            layer.eval()
        return self

    def raw(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the last convolution's numbers."""
        device = self.device if self.training else self.device.exact()
        with device.autocast():
            numbers = self.darknet(pictures.expand(-1, self.darknet.channels, -1, -1))
        return numbers.float()

    def losses(self, pictures: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss, a scalar. targets: (N, M, 5) label, x0, y0, x1, y1 in the 1024 frame; label 0 is an empty place."""
        early = self.training and bool(self.seen < EARLY)
        if self.training:
            self.seen += len(pictures)
        corners = targets[..., 1:] / FRAME
        middles, sides = (corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]
        truth = torch.cat([targets[..., :1], middles, sides], dim=-1)
        return loss(self.raw(pictures), truth, self.darknet.region, early)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        boxes = region.decoded(self.raw(pictures).double(), self.darknet.region)
        return torch.stack([detections.placed(each) for each in boxes]).float()
