"""The classifiers: ResNets, what of them is trained, and what the added layer reads."""

from typing import Literal

import torch
from torch import nn
from torchvision.models import resnet18, resnet50
from torchvision.models.resnet import BasicBlock

from cxr.datasets import normalised
from cxr.errors import InputError

SOURCE_CLASSES = 1000  # outputs of the source network's last layer, as in ImageNet


class NarrowResNet(nn.Module):
    """A ResNet of four single basic blocks, 24 to 192 channels: for CPUs. Children are named as in torchvision."""

    def __init__(self, num_classes: int, width: int = 24):
        super().__init__()
        channels = [width, width, 2 * width, 4 * width, 8 * width]
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for number in range(1, 5):
            before, after = channels[number - 1], channels[number]
            shortcut = None
            if number > 1:
                shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=2, bias=False), nn.BatchNorm2d(after))
            setattr(self, f"layer{number}", nn.Sequential(BasicBlock(before, after, 1 + (number > 1), shortcut)))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(pooled(self, images))


def pooled(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the pooled features (N, F) of a torchvision-like ResNet: everything before its `fc`."""
    hidden = network.maxpool(network.relu(network.bn1(network.conv1(images))))
    hidden = network.layer4(network.layer3(network.layer2(network.layer1(hidden))))
    return network.avgpool(hidden).flatten(1)


def resnet(name: str, outputs: int) -> nn.Module:
    """Return the named ResNet with random weights; images (N, 3, H, W) → (N, outputs)."""
    kinds = {"resnet50": resnet50, "resnet18": resnet18, "resnet10": NarrowResNet}
    return kinds[name](num_classes=outputs)


def parametered_layers(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the leaf modules with parameters, in definition order: ResNet50 has 107 (53 conv, 53 batch norm, 1 fc)."""
    return [
        (name, module)
        for name, module in network.named_modules()
        if not list(module.children()) and list(module.parameters(recurse=False))
    ]


class Classifier(nn.Module):
    """A ResNet with 15 outputs, trained whole: grey images (N, 1, H, W) in [0, 1] → logits (N, 15)."""

    def __init__(self, name: str, outputs: int):
        super().__init__()
        self.backbone = resnet(name, outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.backbone(normalised(images))


class TransferClassifier(nn.Module):
    """A pre-trained ResNet of which the last c parametered layers and an added 15-way layer are trained.

    The added layer reads the 1000-way layer's softmax (the paper's text), its logits, or the pooled features; in the
    last case the 1000-way layer still counts as layer 1 of c but receives no gradient. Source: paper, section 2.2.
    """

    def __init__(
        self,
        backbone: nn.Module,
        layers: int,
        outputs: int,
        head_input: Literal["softmax", "logits", "features"],
        frozen_batchnorm: Literal["eval", "batch"],
    ):
        super().__init__()
        parametered = parametered_layers(backbone)
        if layers > len(parametered):
            raise InputError(
                f"transfer.layers has c = {layers}, but the network has only {len(parametered)} parametered layers; "
                f"choose values from 0 to {len(parametered)}"
            )
        self.backbone = backbone
        self.head_input = head_input
        self.frozen_batchnorm = frozen_batchnorm
        fc: nn.Linear = backbone.fc
        self.head = nn.Linear(fc.in_features if head_input == "features" else fc.out_features, outputs)
        trained = {id(module) for _, module in parametered[len(parametered) - layers :]}
        self.frozen = [module for _, module in parametered if id(module) not in trained]
        for module in self.frozen:
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> "TransferClassifier":
        super().train(mode)
        if self.frozen_batchnorm == "eval":
            for module in self.frozen:
                module.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = normalised(images)
        if self.head_input == "features":
            return self.head(pooled(self.backbone, images))
        logits = self.backbone(images)
        return self.head(logits.softmax(1) if self.head_input == "softmax" else logits)
